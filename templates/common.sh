# What several scripts need. Given: prefix, unit, unit_path. Ends with 69 if systemd hangs.
releases=$prefix/releases
binary=$prefix/sbin/kube-nginx
pid_file=$prefix/logs/nginx.pid
# shellcheck disable=SC2034 # for scripts that follow
names='kube-nginx kube-nginx.conf kube-nginx.service'
live() {
  case $1 in
    kube-nginx) echo "$binary" ;;
    kube-nginx.conf) echo "$prefix/conf/$1" ;;
    *) echo "$unit_path" ;;
  esac
}

newline='
'
# one line, whatever is in the names of files and processes
say() {
  case $1$2 in *"$newline"*) set -- "$(printf %s "$1" | tr '\n' '?')" "$(printf %s "$2" | tr '\n' '?')" ;; esac
  printf 'kn.%s=%s\n' "$1" "$2"
}
# names that others choose: one word, whatever is in it
clean() { tr -d '\n' | tr '[:space:][:cntrl:]' '?'; }
# shellcheck disable=SC2048,SC2086 # words
list() { echo $*; } # on one line

# What the service's user may have put there is read as a regular file, no more than so much of it, and not for long.
# A pipe or a lease is not waited for; a link is followed only where `nofollow` is not given.
sum() { [ ! -f "$1" ] || { digest=$(timeout -s KILL 5 sha256sum -- "$1") 2>/dev/null; echo "${digest%% *}"; }; }
some() { # FILE BLOCKS [nofollow]: its first blocks, each of 64 KB
  { [ ! -f "$1" ] || timeout -s KILL 5 dd if="$1" iflag="nonblock${3:+,$3}" bs=64k count="$2"; } 2>/dev/null
}
# current, previous: the release that it names; a link that leads anywhere else names none
named() { readlink "$releases/$1" | grep -x '[0-9a-f]\{10\}'; }

# --- systemd and the processes of the unit ---

of_systemd() { systemctl show -p "$1" "$unit" 2>/dev/null | cut -d= -f2-; }
# every systemd to date opens the pid file as it is, and waits for whoever would write to a pipe
if [ -p "$pid_file" ] && { timeout -s KILL 10 systemctl show "$unit" >/dev/null 2>&1; [ "$?" = 137 ]; }; then
  echo "systemd hangs: $pid_file is a pipe; on the node: mv -T $pid_file /root/pipe && echo 1<> /root/pipe" >&2
  exit 69
fi
# this systemd's: a container may have a unit of the same name. Of one that does not run systemd names none, and
# where it is in a container without a namespace of its own, all names begin with where that is
group=$(of_systemd ControlGroup)
first=$(sed -n '/:name=systemd:\|^0::/s/^[^:]*:[^:]*://p' /proc/1/cgroup | head -n 1)
first=${first%/init.scope}
group=$(printf %s "${group:-${first%/}/system.slice/$unit}" | sed 's/[].[\*^$]/\\&/g')
group="^[0-9]*:[^:]*:$group\$" # others may make groups with a colon in their names
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
in_unit() { grep -q "$group" "/proc/$1/cgroup" 2>/dev/null; }
of_unit() { grep -ls "$group" /proc/[0-9]*/cgroup | cut -d/ -f3; }
calls_itself() { head -c 4096 "/proc/$1/cmdline" 2>/dev/null | grep -q "$2"; } # a process may write more there
is_master() { in_unit "$1" && calls_itself "$1" 'master process'; }
# no more than a hint
recorded_pid() { some "$pid_file" 1 nofollow | sed -n '/^[0-9]\{1,9\}$/p; q'; }
# Systemd before 237 (of RHEL 7: before 219-67) takes for the main process whatever the service's user has written into
# the pid file, and kills it when it stops the unit (CVE-2018-16888); later ones do where root has written it
outsider() { # MAINPID
  found=$1
  [ "${found:-0}" -gt 0 ] && [ -d "/proc/$found" ] && ! in_unit "$found" && echo "$found"
}
# shellcheck disable=SC2034 # for scripts that follow
is_safe() { # to stop
  ! found=$(outsider "$(of_systemd MainPID)") || { why="systemd takes PID $found, which is not the unit's, for its main process"; return 1; }
}
known() { found=$(of_systemd MainPID); if in_unit "$found"; then echo "$found"; else echo 0; fi; }
# While an old master ends after an upgrade, systemd still calls it the main process; 0: there is none. A file
# that is gone or names no master says nothing: of several masters it is then the youngest, which the others begat
main() {
  # a unit that names no pid file is lost with the process that systemd knows
  grep -q '^PIDFile=' "$unit_path" 2>/dev/null || { known; return; }
  fresh=$(recorded_pid)
  if is_master "$fresh"; then echo "$fresh"; return; fi
  fresh=$(known)
  while [ "$fresh" -gt 0 ]; do
    for child in $(children "$fresh"); do is_master "$child" && fresh=$child && continue 2; done
    break
  done
  echo "$fresh"
}
started() { sed -n '$s/.*) //p' "/proc/$1/stat" 2>/dev/null | cut -d' ' -f20; }
parent() { sed -n 's/^PPid:[[:space:]]*//p' "/proc/$1/status" 2>/dev/null; }
children() { grep -ls "^PPid:[[:space:]]*$1\$" /proc/[0-9]*/status | cut -d/ -f3; }
is_stopped() { grep -q '^State:[[:space:]]*[Tt]' "/proc/$1/status" 2>/dev/null; }
is_worker() { calls_itself "$1" 'worker process'; }
workers() {
  for child in $(children "$1"); do
    is_worker "$child" && ! calls_itself "$child" 'shutting down' && echo "$child"
  done
}
# whether it runs the file at $binary, or what that was before it was replaced, by whatever way that is written;
# what a link in its place leads to may be anybody's
is_ours() {
  [ ! -L "$binary" ] && [ "/proc/$1/exe" -ef "$binary" ] && return
  [ "$(readlink "/proc/$1/exe")" = "$(readlink -f "$prefix/sbin")/kube-nginx (deleted)" ]
}

# --- who listens ---

# by the whole of what the link says: a file may have the name of a socket
sockets() { find "/proc/$1/fd" -lname 'socket:\[*\]' -printf '%l ' 2>/dev/null | tr -dc '0-9 '; }
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
    calls_itself "$process" '^nginx: ' || continue
    theirs=" $(sockets "$process")" # may be thousands
    for inode in $of_all; do
      case $theirs in *" $inode "*) echo "$process"; break ;; esac
    done
  done
}
