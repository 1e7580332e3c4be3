# Everything that later steps need to know of a node, as lines `kn.KEY=VALUE`. It only reads.
# Given: user (may be empty), ports (hexadecimal), hosts (names to resolve; may be empty), properties of the unit,
# tools (programs that scripts need).
for tool in $tools; do command -v "$tool" >/dev/null || say "missing.$tool" 1; done
booted='' uptime=''
kernel=''
read -r booted < /proc/sys/kernel/random/boot_id
read -r kernel < /proc/sys/kernel/osrelease
say now "$(date +%s.%N)"
read -r uptime _ < /proc/uptime
say kernel "$kernel"; say boot "$booted"; say uptime "$uptime"; say ticks "$(getconf CLK_TCK)"
say arch "$(uname -m)"; say uid "$(owner self)"
say libc "$(getconf GNU_LIBC_VERSION 2>/dev/null)"
[ -d /run/systemd/system ] && say systemd 1
[ -n "$user" ] && say user "$(id -u "$user" 2>/dev/null)"

place=$prefix
while [ ! -d "$place" ]; do place=${place%/*}; place=${place:-/}; done
free='' of_place='' of_unit_path=''
{
  read -r _
  read -r _ _ _ free _ of_place
  read -r _ _ _ _ _ of_unit_path
} <<END
$(df -Pk "$place" "${unit_path%/*}" 2>/dev/null)
END
options=$(findmnt -n -o OPTIONS -T "$place")
say free "$free"; say mount.prefix "$options"
[ -n "$of_place" ] && [ "$of_place" = "$of_unit_path" ] || options=$(findmnt -n -o OPTIONS -T "${unit_path%/*}")
say mount.unit "$options"
storage=$(sed -n 's/^[[:space:]]*Storage[[:space:]]*=[[:space:]]*/=/p' /etc/systemd/journald.conf \
  /usr/lib/systemd/journald.conf.d/*.conf /etc/systemd/journald.conf.d/*.conf 2>/dev/null)
storage=${storage##*"$newline"} # the last one counts
say journal "${storage#=}"

# as sshd's StrictModes: whoever may write to one of them, sticky or not, can put something else in place of ours.
# Each folder above a path, links on the way followed one by one; the parameters are a function's own
above() { # PATH
  while [ "${1:-/}" != / ]; do
    if [ -L "$1" ] && [ -e "$1" ]; then
      to=$(readlink "$1")
      case $to in /*) above "$to" ;; *) above "${1%/*}/$to" ;; esac
    fi
    set -- "${1%/*}"
    [ "$1" = "$prefix" ] || printf '%s\n' "${1:-/}"
  done
}
(
  IFS=$newline
  set -f
  # shellcheck disable=SC2046 # a folder a line
  find -L $(for d in "$prefix/conf" "$prefix/sbin" "$releases" "$unit_path.d/x"; do above "$d"; done) -maxdepth 0 \
    -type d \( ! -uid 0 -o -perm /022 \) -printf 'kn.unsafe.%p=belongs to %u and has mode %m\n' 2>/dev/null |
    while IFS= read -r row; do
      case $row in kn.unsafe./*'=belongs to '*' and has mode '*) ;; *) continue ;; esac
      case ${row##*' and has mode '} in *[!0-7]*) ;; *) printf '%s\n' "$row" ;; esac
    done # a name with a newline in it tells nothing else
)

# --- the process ---

# a survey is of one moment: what it needs twice it asks once
recorded=$(recorded_pid)
recorded_pid() { echo "$recorded"; }
pid=$(main) mine='' own=''
[ "${pid:-0}" -gt 0 ] && [ -d "/proc/$pid" ] || pid=
while IFS= read -r row; do
  case $row in '' | ControlGroup=*) ;; *) printf 'kn.unit.%s\n' "$row" ;; esac
done <<END
$shown
END
found=$(outsider "$(of_systemd MainPID)") && say outsider "$found"
for f in $(new_drop_ins); do say "drop_in.$(echo "$f" | clean)" 1; done
if [ -n "$pid" ]; then
  say pid "$pid"; say started "$(started "$pid")"; say owner "$(owner "$pid")"
  # a way through links is another text for the same file
  if is_ours "$pid"; then say exe "$binary"; else say exe "$(readlink "/proc/$pid/exe" | tr -d '\n' | tr '[:cntrl:]' '?')"; fi
  mine=$(list "$(workers "$pid")")
  for worker in $mine; do say "worker.$worker" "$(started "$worker")"; done
  members=$(of_unit)
  of_unit() { echo "$members"; }
  for process in $(accepting "$pid $mine"); do say "beside.$process" 1; done
  for process in $members; do ! is_stopped "$process" || say "stopped.$process" 1; done
  [ "$recorded" = "$pid" ] && say pid_file 1
  # where the unit gives it a view of its own of logs, that goes with the folder
  logs=$(cd -P "$prefix/logs" 2>/dev/null && echo "$PWD") || logs=$(readlink -f "$prefix/logs")
  views=$(sed -n -e "s|^[0-9]* [0-9]* [^ ]* \([^ ]*\) $logs .*| of=\1|p" -e 's|^[^ ]* [^ ]* [^ ]* [^ ]* / ro[ ,].*|/ ro|p' \
    "/proc/$pid/mountinfo")
  mounted=${views##*' of='}
  case $views in
    *' of='*) case ${mounted%%"$newline"*} in *//deleted) say detached 1 ;; esac ;;
    *'/ ro'*) ! has_line ReadWritePaths= "$unit_path" || say detached 1 ;; # which an old systemd does not know
  esac
  own=$(sockets "$pid")
fi

if there "$watch_path"; then
  of_watch=$(systemctl show -p LoadState,ActiveState,SubState,UnitFileState,NeedDaemonReload,StatusText "$watch_unit" 2>/dev/null)
  while IFS= read -r row; do [ -z "$row" ] || printf 'kn.watch.%s\n' "$row"; done <<END
$of_watch
END
fi

# --- the files ---

# what is looked at together, as parameters: folders first, each with /. behind it, so that a link is followed
set --
for d in "$prefix" "$prefix/conf" "$prefix/logs" "$prefix/sbin" "$releases"; do
  if [ -d "$d" ]; then set -- "$@" "$d/."; elif [ -e "$d" ] || [ -L "$d" ]; then say "instead.$d" 'no folder'; fi
done
folders=$#
for f in "$binary" "$conf" "$unit_path" "$watcher" "$watch_path"; do
  if [ -f "$f" ]; then
    set -- "$@" "$f"
    case $f in "$conf" | "$unit_path") say "text.$f" "$(some "$f" 16 | base64 -w 0)" ;; esac
  elif [ -d "$f" ] && [ -n "$(ls -A "$f")" ]; then # an empty one in its place is no loss
    say "instead.$f" 'a folder that is not empty'
  fi
done
there=$([ "$#" = 0 ] || stat -c '%u %a %.9Z %.9Y %n' -- "$@")
shift "$folders"
kept=
for link in current previous; do
  release=$(named "$link") || continue
  kept="$kept $link:$release"
  say "release.$link" "$release"
  # shellcheck disable=SC2016 # sed's
  say "listens.$link" "$(sed -n '/^[[:space:]]*listen/{s/^[[:space:]]*listen[[:space:]]*\([^;[:space:]]*\).*/\1/;H;}
    ${x;s/^\n//;s/\n/ /g;p;}' "$releases/$release/kube-nginx.conf" 2>/dev/null)"
  for name in $names; do set -- "$@" "$releases/$release/$name"; done
done
runs=$binary
if [ -n "$pid" ] && ! [ "/proc/$pid/exe" -ef "$binary" ]; then
  runs=/proc/$pid/exe
  set -- "$@" "$runs"
fi
sums "$@"
while read -r uid mode changed modified f; do
  case $f in
    '') ;;
    */.) say "dir.${f%/.}" "$uid $mode" ;;
    *) digest "$f"; say "file.$f" "$digest $mode $uid $changed $modified" ;;
  esac
done <<END
$there
END
for link in $kept; do
  for name in $names; do
    f=$releases/${link#*:}/$name
    [ ! -f "$f" ] || { digest "$f"; say "kept.${link%:*}.$name" "$digest"; }
  done
done
# read, not run: whoever is the service's user may have put another program there
version() {
  found=$(some "$1" 512 | grep -a -o 'nginx version: nginx/[0-9.]*')
  echo "${found%%"$newline"*}"
}
installed=$(version "$binary")
say installed "$installed"
if [ -n "$pid" ]; then
  digest "$binary" && on_disk=$digest
  digest "$runs" && say running_sum "$digest"
  [ "$digest" = "$on_disk" ] || installed=$(version "$runs")
  say running "$installed"
fi
for f in "$releases"/*.part "$prefix"/conf/.kube-nginx* "$prefix"/sbin/.kube-nginx* "${unit_path%/*}/.$unit"*; do
  [ ! -e "$f" ] || say "leftover.$f" 1
done
if [ -f "$releases/running" ]; then
  while IFS= read -r row || [ -n "$row" ]; do printf 'kn.recorded.%s\n' "$row"; done < "$releases/running"
fi

# --- who listens, and where names lead ---

listening |
  while read -r local inode; do
    case $own in *"socket:[$inode]"*) say "listen.$local" ours; continue ;; esac
    case " $ports " in *" ${local##*:} "*) ;; *) continue ;; esac
    holder=$(find /proc/[0-9]*/fd -lname "socket:\[$inode\]" 2>/dev/null)
    holder=$(pids_in "${holder%%/fd/*}/fd")
    [ -n "$holder" ] || { say "listen.$local" '0 - - unknown'; continue; }
    # of an nginx that forked, the master; ending a worker alone would only bring the next one
    above=$(parent "$holder")
    [ "$above" = 1 ] || ! [ "/proc/$above/exe" -ef "/proc/$holder/exe" ] || holder=$above
    # `systemctl stop` is good advice only if it ends nothing else; whoever may make a group names it as they like
    where=$(sed -n '/:name=systemd:\|^0::/s/.*\/\([a-zA-Z0-9:_.@\\-]*\.service\)$/\1/p' "/proc/$holder/cgroup" | head -n 1)
    [ "$(systemctl show -p MainPID -- "${where:-none.service}" | cut -d= -f2)" = "$holder" ] || where=
    # whoever has the port chooses these names, and may not write lines of this survey with them
    if is_ours "$holder"; then exe=$binary; else exe=$(readlink "/proc/$holder/exe" | clean); fi
    name=$(clean < "/proc/$holder/comm")
    say "listen.$local" "$holder ${where:--} ${exe:--} ${name:-unknown}"
  done

if [ -n "$hosts" ]; then
  command -v getent >/dev/null || say resolver missing
  # all at once: where the resolver is dead, the survey waits for it no longer than for one name
  for host in $hosts; do
    say "address.$host" "$(timeout 5 getent ahosts "$host" 2>/dev/null | while read -r address _; do printf '%s ' "$address"; done)" &
  done
  wait
fi
say end "$(date +%s.%N)"
