# What several scripts need. Given: prefix, unit, unit_path.
releases=$prefix/releases
binary=$prefix/sbin/kube-nginx
pid_file=$prefix/logs/nginx.pid
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
list() { echo $*; } # on one line

# --- systemd and the processes of the unit ---

of_systemd() { systemctl show -p "$1" "$unit" 2>/dev/null | cut -d= -f2-; }
# this systemd's: a container may have a unit of the same name. Of one that does not run systemd names none, and
# where it is in a container without a namespace of its own, all names begin with where that is
group=$(of_systemd ControlGroup)
first=$(sed -n '/:name=systemd:\|^0::/s/^[^:]*:[^:]*://p' /proc/1/cgroup | head -n 1)
first=${first%/init.scope}
group=$(printf ':%s' "${group:-${first%/}/system.slice/$unit}" | sed 's/[].[\*^$]/\\&/g')
# a folder of drop-ins that is new is unknown to systemd 252 until it is told, NeedDaemonReload or not
new_drop_ins() {
  known=" $(of_systemd DropInPaths) " taken=/
  # of two of one name systemd takes the first
  for drop_in in "/etc/systemd/system/$unit.d"/*.conf "/run/systemd/system/$unit.d"/*.conf; do
    [ -e "$drop_in" ] || continue
    case $taken in *"/${drop_in##*/}/"*) continue ;; esac
    taken=$taken${drop_in##*/}/
    case $known in *" $drop_in "* | *" $(readlink -f "$drop_in") "*) ;; *) echo "$drop_in" ;; esac
  done
}
in_unit() { grep -q "$group\$" "/proc/$1/cgroup" 2>/dev/null; }
of_unit() { grep -ls "$group\$" /proc/[0-9]*/cgroup | cut -d/ -f3; }
is_master() { in_unit "$1" && grep -q 'master process' "/proc/$1/cmdline" 2>/dev/null; }
# what the service's user may have put there is no more than a hint
recorded_pid() { [ -f "$pid_file" ] && [ ! -L "$pid_file" ] && head -c 20 "$pid_file" | head -n 1; }
# While an old master ends after an upgrade, systemd still calls it the main process; 0: there is none. A file
# that is gone or names no master says nothing: of several masters it is then the youngest, which the others begat
main() {
  # a unit that names no pid file is lost with the process that systemd knows
  grep -q '^PIDFile=' "$unit_path" 2>/dev/null || { of_systemd MainPID; return; }
  fresh=$(recorded_pid) || fresh=
  case $fresh in '' | *[!0-9]*) fresh=0 ;; esac
  if [ "$fresh" -gt 0 ] && is_master "$fresh"; then echo "$fresh"; return; fi
  fresh=$(of_systemd MainPID)
  while [ "${fresh:-0}" -gt 0 ]; do
    for child in $(children "$fresh"); do is_master "$child" && fresh=$child && continue 2; done
    break
  done
  echo "${fresh:-0}"
}
started() { sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -d' ' -f20; }
parent() { sed -n 's/^PPid:[[:space:]]*//p' "/proc/$1/status" 2>/dev/null; }
children() { grep -ls "^PPid:[[:space:]]*$1\$" /proc/[0-9]*/status | cut -d/ -f3; }
is_stopped() { grep -q '^State:[[:space:]]*[Tt]' "/proc/$1/status" 2>/dev/null; }
is_worker() { grep -q 'worker process' "/proc/$1/cmdline" 2>/dev/null; }
workers() {
  for child in $(children "$1"); do
    is_worker "$child" && ! grep -q 'shutting down' "/proc/$child/cmdline" && echo "$child"
  done
}
# whether it runs the file at $binary, or what that was before it was replaced, by whatever way that is written;
# what a link in its place leads to may be anybody's
is_ours() {
  [ ! -L "$binary" ] && [ "/proc/$1/exe" -ef "$binary" ] && return
  [ "$(readlink "/proc/$1/exe")" = "$(readlink -f "$prefix/sbin")/kube-nginx (deleted)" ]
}

# --- who listens ---

sockets() { ls -l "/proc/$1/fd" 2>/dev/null | sed -n 's/.*socket:\[\([0-9]*\)\]$/\1/p' | tr '\n' ' '; }
# the kernel lists those that listen first, old ones with half-open requests (03) among them; the rest may be
# many thousands
listening() {
  for table in /proc/net/tcp /proc/net/tcp6; do
    [ ! -r "$table" ] || sed -n -e 1d -e '/^ *[0-9]*: [^ ]* [^ ]* 0[A3] /!q' -e '/^ *[0-9]*: [^ ]* [^ ]* 0A /p' "$table"
  done
}
inodes() { listening | while read -r _ _ _ _ _ _ _ _ _ inode _; do echo "$inode"; done | tr '\n' ' '; }
# the processes of the unit that can accept a connection, without those that are named; an nginx that is told to
# quit closes its listening sockets at once, whatever sessions it still has
accepting() {
  of_all=$(inodes)
  for process in $(of_unit); do
    case " $1 " in *" $process "*) continue ;; esac
    grep -q '^nginx: ' "/proc/$process/cmdline" || continue
    theirs=" $(sockets "$process")" # may be thousands
    for inode in $of_all; do
      case $theirs in *" $inode "*) echo "$process"; break ;; esac
    done
  done
}
