# What the service needs besides its files: its user, and the folders. Given: user (may be empty).

# an account that was deleted while the service runs comes back with the number that the service goes by
account() { # USER
  [ -n "$1" ] && ! id -u "$1" >/dev/null 2>&1 || return 0
  number=$(stat -c %u "/proc/$(main)" 2>/dev/null)
  case $number in '' | 0) number='' ;; *) ! getent passwd "$number" >/dev/null || number='' ;; esac
  useradd --system --user-group ${number:+--uid "$number"} --no-create-home --home-dir /nonexistent \
    --shell /usr/sbin/nologin "$1"
}
# root's folders, which the service's user may read, and logs, which an earlier one may still write to
folders() { # USER
  mkdir -p "$prefix/conf" "$prefix/sbin" "$releases" || return
  for folder in "$prefix" "$prefix/conf" "$prefix/sbin" "$releases"; do
    case $(stat -Lc %u:%a "$folder") in 0:755 | 0:?755) ;; *) chown 0:0 "$folder" && chmod 755 "$folder" || return ;; esac
  done
  [ -d "$prefix/logs" ] || { mkdir "$prefix/logs" && logs_for "$1"; }
}
logs_for() { # USER
  [ "$(stat -Lc %U "$prefix/logs")" = "${1:-root}" ] || chown "${1:-root}:${1:-root}" "$prefix/logs/" || return
  case $(stat -Lc %a "$prefix/logs") in 755 | ?755) ;; *) chmod 755 "$prefix/logs/" || return ;; esac
  # an earlier service that ran as somebody else has left its pid file and its log there; what it may have linked to
  # root would write, now that it is root who runs it
  [ -n "$1" ] || find "$prefix/logs/" -mindepth 1 -maxdepth 1 ! -type d \( -links +1 -o ! -type f ! -user root \) \
    -exec rm -f {} +
  find "$prefix/logs/" -mindepth 1 -maxdepth 1 -type f -links 1 ! -user "${1:-root}" \
    -exec chown -h "${1:-root}:${1:-root}" {} +
}
user_of() { sed -n 's/^User=-.*/User=?/; s/^User=//p' "$1" 2>/dev/null | tail -n 1; } # UNIT FILE; no option

# nobody else has our lock (8) and what we are told (3), writes our answer, or keeps us waiting
as() { # USER COMMAND...
  whom=$1
  shift
  [ -z "$whom" ] || set -- timeout -s KILL 90 runuser -u "$whom" -- "$@"
  "$@" < /dev/null >&2 3<&- 8<&-
}
# nginx -t of the files in a folder as the unit among them runs them, but with logs of its own: a test in those in
# use would open the pid file, which is another user's while that still serves
passes() { # FOLDER
  trial=$releases/trial.part whom=$(user_of "$1/kube-nginx.service") stderr=
  ! grep -q '^ExecStart=.* -e stderr' "$1/kube-nginx.service" || stderr=1
  rm -rf "$trial"
  mkdir "$trial" "$trial/logs" && sed "s|$prefix/logs/|$trial/logs/|" "$1/kube-nginx.conf" > "$trial/kube-nginx.conf" &&
    chown "${whom:-root}" "$trial/logs" &&
    as "$whom" "$1/kube-nginx" -t -q -c "$trial/kube-nginx.conf" -p "$trial" ${stderr:+-e stderr}
  passed=$?
  rm -rf "$trial"
  return "$passed"
}
