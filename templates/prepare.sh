# What the service needs besides its files: its user, and the folders. Given: user (may be empty).

# an account that was deleted while the service runs comes back with the number that the service goes by
account() { # USER
  [ -n "$1" ] && ! id -u "$1" >/dev/null 2>&1 || return 0
  number=$(main)
  [ "${number:-0}" = 0 ] || number=$(stat -c %u "/proc/$number" 2>/dev/null)
  case $number in '' | 0) number='' ;; *) ! getent passwd "$number" >/dev/null || number='' ;; esac
  useradd --system --user-group ${number:+--uid "$number"} --no-create-home --home-dir /nonexistent \
    --shell /usr/sbin/nologin "$1"
}
# root's folders, which the service's user may read, and logs, which an earlier one may still write to
folders() { # USER
  [ -d "$prefix/conf" ] && [ -d "$prefix/sbin" ] && [ -d "$releases" ] ||
    mkdir -p "$prefix/conf" "$prefix/sbin" "$releases" || return
  seen=$(stat -Lc '%u:%a %n' "$prefix" "$prefix/conf" "$prefix/sbin" "$releases") || return
  while read -r mode folder; do
    case $mode in 0:755 | 0:?755) ;; *) chown 0:0 "$folder" && chmod 755 "$folder" || return ;; esac
  done <<END
$seen
END
  [ -d "$prefix/logs" ] || { mkdir "$prefix/logs" && logs_for "$1"; }
}
logs_for() { # USER
  of=${1:-root} seen=$(stat -Lc %U:%a "$prefix/logs")
  [ "${seen%:*}" = "$of" ] || chown "$of:$of" "$prefix/logs/" || return
  case ${seen#*:} in 755 | ?755) ;; *) chmod 755 "$prefix/logs/" || return ;; esac
  # an earlier service that ran as somebody else has left its pid file and its log there; what it may have linked to
  # root would write, now that it is root who runs it
  [ -n "$1" ] || find "$prefix/logs/" -mindepth 1 -maxdepth 1 ! -type d \( -links +1 -o ! -type f ! -user root \) \
    -exec rm -f {} +
  find "$prefix/logs/" -mindepth 1 -maxdepth 1 -type f -links 1 ! -user "$of" -exec chown -h "$of:$of" {} +
}
user_of() { # UNIT FILE
  whose=$(last_of User= "$1")
  case $whose in -*) whose='?' ;; esac # no option
  echo "$whose"
}

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
  case $(last_of ExecStart= "$1/kube-nginx.service") in *' -e stderr'*) stderr=1 ;; esac
  ! there "$trial" || rm -rf "$trial"
  mkdir "$trial" "$trial/logs" && sed "s|$prefix/logs/|$trial/logs/|" "$1/kube-nginx.conf" > "$trial/kube-nginx.conf" &&
    chown "${whom:-root}" "$trial/logs" &&
    as "$whom" "$1/kube-nginx" -t -q -c "$trial/kube-nginx.conf" -p "$trial" ${stderr:+-e stderr}
  passed=$?
  rm -rf "$trial"
  return "$passed"
}
