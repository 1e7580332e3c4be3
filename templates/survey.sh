# Everything that later steps need to know of a node, as lines `kn.KEY=VALUE`. It only reads.
# Given: user (may be empty), ports (hexadecimal), hosts (names to resolve; may be empty), properties of the unit,
# tools (programs that scripts need).
for tool in $tools; do command -v "$tool" >/dev/null || say "missing.$tool" 1; done
say arch "$(uname -m)"; say uid "$(id -u)"
say boot "$(cat /proc/sys/kernel/random/boot_id)"
say now "$(date +%s.%N)"; say uptime "$(cut -d' ' -f1 /proc/uptime)"; say ticks "$(getconf CLK_TCK)"
say libc "$(getconf GNU_LIBC_VERSION 2>/dev/null)"
[ -d /run/systemd/system ] && say systemd 1
[ -n "$user" ] && say user "$(id -u "$user" 2>/dev/null)"

place=$prefix
while [ ! -d "$place" ]; do place=${place%/*}; place=${place:-/}; done
say free "$(df -Pk "$place" | tail -n 1 | tr -s ' ' | cut -d' ' -f4)"
say mount.prefix "$(findmnt -n -o OPTIONS -T "$place")"
say mount.unit "$(findmnt -n -o OPTIONS -T "${unit_path%/*}")"
say journal "$(cat /etc/systemd/journald.conf /usr/lib/systemd/journald.conf.d/*.conf /etc/systemd/journald.conf.d/*.conf \
  2>/dev/null | sed -n 's/^[[:space:]]*Storage[[:space:]]*=[[:space:]]*//p' | tail -n 1)"

# read, not run: whoever is the service's user may have put another program there
version() { some "$1" 512 | grep -a -o 'nginx version: nginx/[0-9.]*' | head -n 1; }
installed=$(version "$binary") on_disk=
say installed "$installed"
for d in "$prefix" "$prefix/conf" "$prefix/logs" "$prefix/sbin" "$releases"; do
  if [ -d "$d" ]; then say "dir.$d" "$(stat -Lc '%u %a' "$d")"; elif [ -e "$d" ] || [ -L "$d" ]; then say "instead.$d" 'no folder'; fi
done
# each folder above a path, links on the way followed one by one; the parameters are a function's own
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
# as sshd's StrictModes: whoever may write to one of them, sticky or not, can put something else in place of ours
(
  IFS='
'
  set -f
  # shellcheck disable=SC2046 # a folder a line
  find -L $(for d in "$prefix/conf" "$prefix/sbin" "$releases" "$unit_path.d/x"; do above "$d"; done) -maxdepth 0 \
    -type d \( ! -uid 0 -o -perm /022 \) -printf 'kn.unsafe.%p=belongs to %u and has mode %m\n' 2>/dev/null |
    grep -x 'kn\.unsafe\./.*=belongs to [^ ]* and has mode [0-7]*' # a name with a newline in it tells nothing else
)
for name in $names; do
  f=$(live "$name")
  if [ ! -f "$f" ]; then
    # an empty folder in its place is no loss
    if [ -d "$f" ] && [ -n "$(ls -A "$f")" ]; then say "instead.$f" 'a folder that is not empty'; fi
    continue
  fi
  digest=$(sum "$f")
  say "file.$f" "$digest $(stat -c '%a %u %.9Z %.9Y' "$f")"
  if [ "$f" = "$binary" ]; then on_disk=$digest; else say "text.$f" "$(some "$f" 16 | base64 | tr -d '\n')"; fi
done
for link in current previous; do
  release=$(named "$link") || continue
  say "release.$link" "$release"
  say "listens.$link" "$(sed -n 's/^[[:space:]]*listen[[:space:]]*\([^;[:space:]]*\).*/\1/p' \
    "$releases/$release/kube-nginx.conf" 2>/dev/null | tr '\n' ' ')"
  for name in $names; do
    [ -f "$releases/$release/$name" ] && say "kept.$link.$name" "$(sum "$releases/$release/$name")"
  done
done
for f in "$releases"/*.part "$prefix"/conf/.kube-nginx* "$prefix"/sbin/.kube-nginx* "${unit_path%/*}/.$unit"*; do
  [ ! -e "$f" ] || say "leftover.$f" 1
done
[ -f "$releases/running" ] && sed 's/^/kn.recorded./' "$releases/running"

shown=$(systemctl show -p "$properties" "$unit")
printf '%s\n' "$shown" | sed 's/^/kn.unit./'
found=$(outsider "$(printf '%s\n' "$shown" | sed -n 's/^MainPID=//p')") && say outsider "$found"
for f in $(new_drop_ins); do say "drop_in.$(echo "$f" | clean)" 1; done
pid=$(main) own=' '
if [ "${pid:-0}" -gt 0 ] && [ -d "/proc/$pid" ]; then
  say pid "$pid"; say started "$(started "$pid")"; say owner "$(stat -c %u "/proc/$pid")"
  # a way through links is another text for the same file
  if is_ours "$pid"; then say exe "$binary"; else say exe "$(readlink "/proc/$pid/exe" | tr -d '\n' | tr '[:cntrl:]' '?')"; fi
  running_sum=$(sum "/proc/$pid/exe"); say running_sum "$running_sum"
  [ "$running_sum" = "$on_disk" ] || installed=$(version "/proc/$pid/exe")
  say running "$installed"
  mine=$(workers "$pid")
  for worker in $mine; do say "worker.$worker" "$(started "$worker")"; done
  for process in $(accepting "$(list "$pid $mine")"); do say "beside.$process" 1; done
  for process in $(of_unit); do ! is_stopped "$process" || say "stopped.$process" 1; done
  [ "$(recorded_pid)" = "$pid" ] && say pid_file 1
  # where the unit gives it a view of its own of logs, that goes with the folder
  mounted=$(sed -n "s|^[0-9]* [0-9]* [^ ]* \([^ ]*\) $(readlink -f "$prefix/logs") .*|\1|p" "/proc/$pid/mountinfo" | tail -n 1)
  case $mounted in
    *//deleted) say detached 1 ;;
    '')
      ! grep -q '^ReadWritePaths=' "$unit_path" 2>/dev/null || # which an old systemd does not know
        ! grep -q '^[^ ]* [^ ]* [^ ]* [^ ]* / ro[ ,]' "/proc/$pid/mountinfo" || say detached 1 ;;
  esac
  own=" $(sockets "$pid")"
fi

listening |
  while read -r _ local _ _ _ _ _ _ _ inode _; do
    case $own in *" $inode "*) say "listen.$local" ours; continue ;; esac
    case " $ports " in *" ${local##*:} "*) ;; *) continue ;; esac
    holder=$(find /proc/[0-9]*/fd -lname "socket:\[$inode\]" 2>/dev/null | head -n 1 | cut -d/ -f3)
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
    say "address.$host" "$(timeout 5 getent ahosts "$host" 2>/dev/null | cut -d' ' -f1 | tr '\n' ' ')" &
  done
  wait
fi
say end "$(date +%s.%N)"
