# What several scripts need. Given: prefix, unit, unit_path; properties (more of the unit's to ask for; may be missing).
# Ends with 69 if systemd hangs. A node pays for every program that is run: what the shell can do itself, it does.
releases=$prefix/releases
binary=$prefix/sbin/kube-nginx
conf=$prefix/conf/kube-nginx.conf
pid_file=$prefix/logs/nginx.pid
# shellcheck disable=SC2034 # for scripts that follow
watch_unit=kube-nginx-watch.service watcher=$prefix/sbin/kube-nginx-watch watch_path=${unit_path%/*}/kube-nginx-watch.service
# shellcheck disable=SC2034 # for scripts that follow
names='kube-nginx kube-nginx.conf kube-nginx.service'
live() {
  case $1 in
    kube-nginx) echo "$binary" ;;
    kube-nginx.conf) echo "$conf" ;;
    kube-nginx-watch) echo "$watcher" ;;
    kube-nginx-watch.service) echo "$watch_path" ;;
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

there() { [ -e "$1" ] || [ -L "$1" ]; } # whatever it is, and wherever it leads
# what follows BEGINNING in the last line that begins so, as of a unit file's options the last one counts
last_of() { # BEGINNING FILE
  said=
  while IFS= read -r row || [ -n "$row" ]; do
    case $row in "$1"*) said=${row#"$1"} ;; esac
  done 2>/dev/null < "$2"
  printf '%s\n' "$said"
}

# What the service's user may have put there is read as a regular file, no more than so much of it, and not for long.
# A pipe or a lease is not waited for; a link is followed only where `nofollow` is not given.
sum() { [ ! -f "$1" ] || { digest=$(timeout -s KILL 5 sha256sum -- "$1") 2>/dev/null; echo "${digest%% *}"; }; }
# the sums of several files at once, for `digest`; where one keeps us waiting, each has time of its own
sums() { # FILES
  for file; do
    shift
    [ ! -f "$file" ] || set -- "$@" "$file"
  done
  of_files='' ended=0
  [ "$#" = 0 ] || of_files=$(timeout -s KILL 5 sha256sum -- "$@" 2>/dev/null) 2>/dev/null || ended=$?
  if [ "$ended" = 137 ]; then
    of_files=''
    for file; do of_files=$of_files$(sum "$file")"  $file$newline"; done
  fi
  of_files=$newline$of_files$newline
}
digest() { # FILE
  case $of_files in
    *"  $1$newline"*) digest=${of_files%%"  $1$newline"*} && digest=${digest##*"$newline"} ;;
    *) digest= ;;
  esac
}
some() { # FILE BLOCKS [nofollow]: its first blocks, each of 64 KB
  { [ ! -f "$1" ] || timeout -s KILL 5 dd if="$1" iflag="nonblock${3:+,$3}" bs=64k count="$2"; } 2>/dev/null
}
# current, previous: the release that it names; a link that leads anywhere else names none
named() {
  leads=
  [ ! -L "$releases/$1" ] || leads=$(readlink "$releases/$1")
  case $leads in *[!0-9a-f]*) return 1 ;; ??????????) echo "$leads" ;; *) return 1 ;; esac
}

# --- systemd and the processes of the unit ---

# systemd is asked for all at once, and anew once something has been done; what it said then of one property
properties=DropInPaths,NeedDaemonReload${properties:+,$properties}
properties=ControlGroup,MainPID,LoadState,ActiveState,SubState,UnitFileState,$properties
ask() { shown=$(systemctl show -p "$properties" "$unit" 2>/dev/null); }
of_systemd() { # PROPERTY
  case $newline$shown in
    *"$newline$1="*) said=$newline$shown said=${said#*"$newline$1="} && echo "${said%%"$newline"*}" ;;
  esac
}
# every systemd to date opens the pid file as it is, and waits for whoever would write to a pipe
if [ -p "$pid_file" ] && { timeout -s KILL 10 systemctl show "$unit" >/dev/null 2>&1; [ "$?" = 137 ]; }; then
  echo "systemd hangs: $pid_file is a pipe; on the node: mv -T $pid_file /root/pipe && echo 1<> /root/pipe" >&2
  exit 69
fi
ask
# this systemd's: a container may have a unit of the same name. Of one that does not run systemd names none, and
# where it is in a container without a namespace of its own, all names begin with where that is
group=$(of_systemd ControlGroup) number='' first=''
while IFS= read -r row; do
  case ${row#*:} in
    name=systemd:*) number=${row%%:*} first=${first:-${row#*:*:}} ;;
    :*) first=${first:-${row#*:*:}} ;;
  esac
done 2>/dev/null < /proc/1/cgroup
first=${first%/init.scope}
group=${group:-${first%/}/system.slice/$unit}
# whole lines of /proc/PID/cgroup: others may make groups with a colon in their names
group="0::$group${number:+$newline$number:name=systemd:$group}"
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
in_unit() {
  while IFS= read -r row; do
    case $newline$group$newline in *"$newline$row$newline"*) return ;; esac
  done 2>/dev/null < "/proc/$1/cgroup"
  return 1
}
# shellcheck disable=SC2317,SC2329 # a survey has its own
of_unit() { pids_in "$(grep -lsFx "$group" /proc/[0-9]*/cgroup)"; }
pids_in() { # PATHS like /proc/PID/cgroup
  for row in $1; do row=${row%/*} && echo "${row##*/}"; done
}
# what a process calls itself: it may write more there, and other lines
title() { head -c 4096 "/proc/$1/cmdline" 2>/dev/null | { IFS= read -r row; printf '%s\n' "$row"; }; }
is_master() { in_unit "$1" && case $(title "$1") in *'master process'*) ;; *) false ;; esac; }
# no more than a hint
# shellcheck disable=SC2317,SC2329 # a survey has its own
recorded_pid() {
  some "$pid_file" 1 nofollow | {
    IFS= read -r row
    case $row in '' | *[!0-9]* | ??????????*) ;; *) echo "$row" ;; esac
  }
}
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
  has_line PIDFile= "$unit_path" || { known; return; }
  fresh=$(recorded_pid)
  if is_master "$fresh"; then echo "$fresh"; return; fi
  fresh=$(known)
  while [ "$fresh" -gt 0 ]; do
    for child in $(children "$fresh"); do is_master "$child" && fresh=$child && continue 2; done
    break
  done
  echo "$fresh"
}
has_line() { # BEGINNING FILE
  while IFS= read -r row || [ -n "$row" ]; do
    case $row in "$1"*) return ;; esac
  done 2>/dev/null < "$2"
  return 1
}
# what the kernel says of a process behind its name, which may be anything: its state, its parent, ...
behind_name() {
  fields=
  while IFS= read -r row; do fields=${row##*) }; done 2>/dev/null < "/proc/$1/stat" || : # it has ended
}
# shellcheck disable=SC2086 # words
started() { behind_name "$1"; set -- $fields; [ -z "${20-}" ] || echo "${20}"; }
# shellcheck disable=SC2086 # words
parent() { behind_name "$1"; set -- $fields; [ -z "${2-}" ] || echo "$2"; }
# shellcheck disable=SC2329 # for scripts that follow
owner() { # PID: its effective user
  while read -r word _ effective _; do
    [ "$word" != Uid: ] || { echo "$effective"; return; }
  done 2>/dev/null < "/proc/$1/status"
}
is_stopped() { behind_name "$1"; case $fields in [Tt]*) ;; *) false ;; esac; }
children() {
  # not every kernel has that
  [ -e "/proc/$$/task/$$/children" ] || { pids_in "$(grep -ls "^PPid:[[:space:]]*$1\$" /proc/[0-9]*/status)"; return; }
  # one that ends meanwhile may hide another: it counts what is said twice
  again=none
  for _ in 1 2 3 4 5; do
    once=$again again=
    for row in "/proc/$1/task"/*/children; do
      word=
      read -r word 2>/dev/null < "$row"
      again="$again $word"
    done
    [ "$again" != "$once" ] || break
  done
  for word in $again; do echo "$word"; done
}
is_worker() { case $(title "$1") in *'worker process'*) ;; *) false ;; esac; }
workers() {
  for child in $(children "$1"); do
    case $(title "$child") in *'shutting down'*) ;; *'worker process'*) echo "$child" ;; esac
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
sockets() { find "/proc/$1/fd" -lname 'socket:\[*\]' -printf '%l ' 2>/dev/null; }
# addresses and inodes. The kernel lists those that listen first, old ones with half-open requests (03) among them;
# the rest may be many thousands. Read by the shell, a byte or a line at a time, the list could change meanwhile
listening() {
  for table in /proc/net/tcp /proc/net/tcp6; do
    [ ! -r "$table" ] || sed -n -e 1d -e '/^ *[0-9]*: [^ ]* [^ ]* 0[A3] /!q' -e '/^ *[0-9]*: [^ ]* [^ ]* 0A /p' "$table"
  done | while read -r _ local _ _ _ _ _ _ _ inode _; do echo "$local $inode"; done
}
# the processes of the unit that can accept a connection, without those that are named; an nginx that is told to
# quit closes its listening sockets at once, whatever sessions it still has
accepting() {
  of_all=
  for process in $(of_unit); do
    case " $1 " in *" $process "*) continue ;; esac
    case $(title "$process") in *'nginx: '*) ;; *) continue ;; esac
    of_all=${of_all:-$(listening)}
    theirs=$(sockets "$process") # may be thousands
    while read -r _ inode; do
      case $theirs in *"socket:[$inode]"*) echo "$process"; break ;; esac
    done <<END
$of_all
END
  done
}
