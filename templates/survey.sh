# Everything that later steps need to know of a node, as lines `kn.KEY=VALUE`. It only reads.
# Given: prefix, user (may be empty), ports (hexadecimal), unit, unit_path.
say() { printf 'kn.%s=%s\n' "$1" "$2"; }
sum() { sha256sum < "$1" | cut -c1-64; }
in_unit() { grep -q "/$unit\$" "/proc/$1/cgroup" 2>/dev/null; }
since_boot() { sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -d' ' -f20; }
releases=$prefix/releases

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

for d in conf logs sbin; do
  [ -d "$prefix/$d" ] && say "dir.$d" "$(stat -c %u "$prefix/$d")"
done
for f in "$prefix/sbin/kube-nginx" "$prefix/conf/kube-nginx.conf" "$unit_path"; do
  [ -f "$f" ] && say "file.$f" "$(sum "$f") $(stat -c '%a %u %.9Z' "$f")"
done
for f in "$prefix/conf/kube-nginx.conf" "$unit_path"; do
  [ -f "$f" ] && say "text.$f" "$(base64 < "$f" | tr -d '\n')"
done
for link in current previous; do
  release=$(readlink "$releases/$link") || continue
  say "release.$link" "$release"
  for f in kube-nginx kube-nginx.conf kube-nginx.service; do
    [ -f "$releases/$release/$f" ] && say "kept.$link.$f" "$(sum "$releases/$release/$f")"
  done
done
for f in "$releases"/*.part "$prefix"/conf/.kube-nginx* "$prefix"/sbin/.kube-nginx* "${unit_path%/*}/.$unit"*; do
  [ ! -e "$f" ] || say "leftover.$f" 1
done
[ -f "$releases/running" ] && sed 's/^/kn.recorded./' "$releases/running"

shown=$(systemctl show -p "$properties" "$unit")
printf '%s\n' "$shown" | sed 's/^/kn.unit./'
pid=$(printf '%s\n' "$shown" | sed -n 's/^MainPID=//p')
# while an old master ends after an upgrade, systemd still calls it the main process
fresh=$(cat "$prefix/logs/nginx.pid" 2>/dev/null)
[ -n "$fresh" ] && in_unit "$fresh" && pid=$fresh
own=' '
if [ "${pid:-0}" -gt 0 ] && [ -d "/proc/$pid" ]; then
  say pid "$pid"; say started "$(since_boot "$pid")"
  say exe "$(readlink "/proc/$pid/exe")"; say running "$("/proc/$pid/exe" -v 2>&1)"
  say running_sum "$(sum "/proc/$pid/exe")"
  for worker in $(grep -ls "^PPid:[[:space:]]*$pid\$" /proc/[0-9]*/status | cut -d/ -f3); do
    grep -q 'shutting down' "/proc/$worker/cmdline" || say "worker.$worker" "$(since_boot "$worker")"
  done
  own=" $(ls -l "/proc/$pid/fd" | sed -n 's/.*socket:\[\([0-9]*\)\]$/\1/p' | tr '\n' ' ') "
fi

# the kernel lists those that listen first; the rest may be many thousands
for table in /proc/net/tcp /proc/net/tcp6; do
  [ ! -r "$table" ] || sed -n -e 1d -e '/^ *[0-9]*: [^ ]* [^ ]* 0A /!q' -e p "$table"
done |
  while read -r _ local _ _ _ _ _ _ _ inode _; do
    case $own in *" $inode "*) say "listen.$local" ours; continue ;; esac
    case " $ports " in *" ${local##*:} "*) ;; *) continue ;; esac
    holder=$(find /proc/[0-9]*/fd -lname "socket:\[$inode\]" 2>/dev/null | head -n 1 | cut -d/ -f3)
    [ -n "$holder" ] || { say "listen.$local" '0 - - unknown'; continue; }
    # of an nginx that forked, the master; ending a worker alone would only bring the next one
    parent=$(sed -n 's/^PPid:[[:space:]]*//p' "/proc/$holder/status")
    [ "$(readlink "/proc/$parent/exe")" != "$(readlink "/proc/$holder/exe")" ] || holder=$parent
    where=$(sed -n '/:name=systemd:\|^0::/s/.*\///p' "/proc/$holder/cgroup" | grep . | head -n 1)
    # whoever has the port chooses these names, and may not write lines of this survey with them
    exe=$(readlink "/proc/$holder/exe" | tr -d '\n' | tr '[:space:][:cntrl:]' '?')
    name=$(tr -d '\n' < "/proc/$holder/comm" | tr '[:space:][:cntrl:]' '?')
    say "listen.$local" "$holder ${where:--} ${exe:--} ${name:-unknown}"
  done
:
