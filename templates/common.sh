# What several scripts need. Given: prefix, unit, unit_path.
releases=$prefix/releases
binary=$prefix/sbin/kube-nginx
names='kube-nginx kube-nginx.conf kube-nginx.service'
live() {
  case $1 in
    kube-nginx) echo "$binary" ;;
    kube-nginx.conf) echo "$prefix/conf/$1" ;;
    *) echo "$unit_path" ;;
  esac
}

say() { printf 'kn.%s=%s\n' "$1" "$2"; }
# names that others choose: one word, whatever is in it
clean() { tr -d '\n' | tr '[:space:][:cntrl:]' '?'; }
sum() { { sha256sum < "$1"; } 2>/dev/null | cut -c1-64; }

of_systemd() { systemctl show -p "$1" "$unit" | cut -d= -f2-; }
in_unit() { grep -q "/$unit\$" "/proc/$1/cgroup" 2>/dev/null; }
# while an old master ends after an upgrade, systemd still calls it the main process; 0: there is none
main() {
  fresh=$(cat "$prefix/logs/nginx.pid" 2>/dev/null)
  case $fresh in '' | *[!0-9]*) fresh=0 ;; esac
  if [ "$fresh" -gt 0 ] && in_unit "$fresh"; then echo "$fresh"; else of_systemd MainPID; fi
}
started() { sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -d' ' -f20; }
parent() { sed -n 's/^PPid:[[:space:]]*//p' "/proc/$1/status" 2>/dev/null; }
children() { grep -ls "^PPid:[[:space:]]*$1\$" /proc/[0-9]*/status | cut -d/ -f3; }
is_worker() { grep -q 'worker process' "/proc/$1/cmdline" 2>/dev/null; }
workers() {
  for child in $(children "$1"); do
    is_worker "$child" && ! grep -q 'shutting down' "/proc/$child/cmdline" && echo "$child"
  done
}
sockets() { ls -l "/proc/$1/fd" 2>/dev/null | sed -n 's/.*socket:\[\([0-9]*\)\]$/\1/p' | tr '\n' ' '; }
# the kernel lists those that listen first, old ones with half-open requests (03) among them; the rest may be
# many thousands
listening() {
  for table in /proc/net/tcp /proc/net/tcp6; do
    [ ! -r "$table" ] || sed -n -e 1d -e '/^ *[0-9]*: [^ ]* [^ ]* 0[A3] /!q' -e '/^ *[0-9]*: [^ ]* [^ ]* 0A /p' "$table"
  done
}
