# What is done to the service, and whether it then does what it should.
# --- the service ---

now() { read -r up _ < /proc/uptime; echo "${up%.*}${up#*.}"; }
refresh() {
  ask
  [ "$(of_systemd NeedDaemonReload)$(of_systemd LoadState)$(new_drop_ins)" = noloaded ] && return
  systemctl daemon-reload
  ask
}

# whether the service does what it should; if not, $why says what is missing. The five are its arguments:
# addresses that it must have, what its main process must not be, workers that do not count, whether processes of
# before may still accept connections, and what its binary must be, if not the one on disk
expected=
anew() { unlike=none stale= beside= image=; }
anew
holds() {
  ask
  why="the service is $(of_systemd ActiveState) ($(of_systemd SubState))"
  [ "$why" = 'the service is active (running)' ] || return 1
  pid=$(main)
  why="the process that was there goes on (PID $pid)"
  [ "$pid" != "$unlike" ] || return 1
  runs=$(program "$unit_path")
  if [ -n "$image" ] || ! [ "/proc/$pid/exe" -ef "$runs" ]; then
    why="it runs another file than $runs: $(readlink "/proc/$pid/exe" | clean)"
    [ "$(sum "/proc/$pid/exe")" = "${image:-$(sum "$runs")}" ] || return 1
  fi
  why='nginx did not take the new configuration: no new worker has come'
  news=
  for worker in $(workers "$pid"); do
    case " $stale " in *" $worker "*) ;; *) news="$news $worker" ;; esac
  done
  [ -n "$news" ] || return 1
  own=$(sockets "$pid")
  listed=$newline$(listening)
  for address in $expected; do
    why="it does not listen where it should ($address)"
    inode=${listed##*"$newline$address "}
    inode=${inode%%"$newline"*}
    case $own in *"socket:[${inode:-none}]"*) ;; *) return 1 ;; esac
  done
  # whatever is proven through the listener could be their doing
  left=$([ -n "$beside" ] || list "$(accepting "$pid $news")")
  why="what was there before still accepts connections (PID $left)"
  [ -z "$left" ] || return 1
  why=
}
until_it_holds() {
  until holds; do
    [ "$(now)" -lt "$1" ] || return 1
    sleep 0.05
  done
}
# a new process must also live for a while: the same one, all the time
settles() {
  until_it_holds "$1" || return 1
  chosen=$(main) seconds=$((settle / 100)) over=$(($(now) + settle))
  [ "$seconds" -gt 0 ] || return 0
  # no longer than it lives, but also when nobody reads what this script writes; TERM is ignored
  timeout -s USR1 "$seconds" tail -f /dev/null -s 0.1 --pid="$chosen" >/dev/null
  # tail may have its own reasons to end
  while [ -d "/proc/$chosen" ] && [ "$(now)" -lt "$over" ]; do sleep 0.1; done
  holds && [ "$(main)" = "$chosen" ] && return
  [ -d "/proc/$chosen" ] || why='its process ended'
  why="it came up, but within $seconds s: ${why:-another process came}"
  return 1
}
began=$(date +%s)
journal() { journalctl -q -u "$unit" --since "@$began" -n 8 --no-pager -o cat >&2; }

boots() {
  case $boot in
    '') return ;;
    1) verb=enable wanted=enabled ;;
    0) verb=disable wanted=disabled ;;
  esac
  [ "$(of_systemd UnitFileState)" = "$wanted" ] ||
    { [ -n "$along" ] && systemctl enable "$unit" "$along" >/dev/null 2>&1; } ||
    systemctl "$verb" "$unit" >/dev/null 2>&1 || { why="systemctl $verb failed"; return 1; }
}
# by a signal: nginx's own `-s reload` would believe its pid file, which others may have removed
reload() {
  ask
  pid=$(main)
  unlike=none stale=$(list "$(workers "$pid")") beside= image=
  [ "/proc/$pid/exe" -ef "$(program "$unit_path")" ] || image=$(sum "/proc/$pid/exe")
  { [ "$pid" -gt 0 ] && kill -HUP "$pid" 2>/dev/null; } || { why='the service does not run'; return 1; }
  until_it_holds "$1"
}
# the new master is seen to live before the old one is sent away; if it dies, the old one has gone on
upgrade() {
  ask
  old=$(main) unlike=$old stale= beside=may image=
  [ "${old:-0}" -gt 0 ] || { why='the service does not run'; return 1; }
  # while the master before it still lives, for the sessions that it had, nginx ignores USR2
  until ! in_unit "$(parent "$old")"; do
    [ "$(now)" -lt "$1" ] || { why='the process before the last upgrade still has sessions'; return 1; }
    sleep 0.1
  done
  until=$(($(now) + timeout))
  kill -USR2 "$old" || { why='the main process is gone'; return 1; }
  if takes_over "$until" && settles "$until"; then
    ! in_unit "$old" || kill -QUIT "$old" # its number may be another's by now
    beside=
    until_it_holds "$until"
    return
  fi
  why="the new binary did not take over: $why"
  send_away TERM 500 || send_away KILL 200
  return 1
}
takes_over() {
  soon=$(($(now) + timeout / 2)) # a master that dies at once may not be seen at all
  until [ -e "$pid_file.oldbin" ] || [ "$(now)" -gt "$soon" ]; do sleep 0.02; done
  until holds; do # nginx takes its pid file back as soon as the new master has died
    [ -e "$pid_file.oldbin" ] || { why='its process ended'; return 1; }
    [ "$(now)" -lt "$1" ] || return 1
    sleep 0.05
  done
}
# ends whatever came of USR2, with a signal, and waits until the old master is the main process again
successors() { for child in $(children "$old"); do is_worker "$child" || ! in_unit "$child" || echo "$child"; done; }
send_away() {
  soon=$(($(now) + $2))
  for master in $(successors); do
    # shellcheck disable=SC2046 # words
    [ "$1" = TERM ] || kill -KILL $(children "$master") 2>/dev/null
    kill -"$1" "$master" 2>/dev/null
  done
  until ask; [ -z "$(successors)" ] && [ "$(main)" = "$old" ]; do
    [ "$(now)" -lt "$soon" ] || return 1
    sleep 0.05
  done
}
restart() {
  refresh
  unlike=$(main) stale= beside= image=
  # root's nginx would write to where a user's links lead
  [ -n "$(user_of "$unit_path")" ] || is_elsewhere "$unit_path" || logs_for '' ||
    { why="$prefix/logs could not be put right"; return 1; }
  systemctl reset-failed "$unit" 2>/dev/null
  for pid in $unmanaged; do
    ! is_ours "$pid" || in_unit "$pid" || kill -TERM "$pid"
  done
  is_safe || return
  timeout "$((timeout / 100))" systemctl restart "$unit" || { why='the service did not start'; return 1; }
  settles "$1"
}
stop() { ask; is_safe && systemctl stop "$unit" 2>/dev/null; systemctl reset-failed "$unit" 2>/dev/null; }
