# Puts a release in place and has kube-nginx run it; if that does not hold, puts back what was there.
# It goes on to its end when nobody listens any more, so that no node stays half way.
# Given: lock, holder; release ("": the files stay as they are); previous (what `fab rollback` is to go to; "-":
# to what is there now); action (enable, reload, upgrade, restart or stop); boot (1, 0 or "": whether it is to
# start at boot); listen and listened (addresses as /proc/net/tcp writes them, after and before); strays (PIDs
# that have the port); was_active and was_enabled ("": as they are now); timeout, settle (hundredths of a
# second); keep (how many releases). Ends with 75 if nothing was begun.
trap '' HUP INT TERM PIPE
exec 8<>"$lock.action"
flock -n 8 || { echo 'another activation is under way on the node' >&2; exit 75; }
case $(cat "$lock.lock" 2>/dev/null) in
  "$holder since "*) ;;
  *) echo 'the lock on the node has gone to somebody else' >&2; exit 75 ;;
esac
why=

# --- files ---

same() { [ "$(sum "$1")$(stat -c %a:%u:%g "$1" 2>/dev/null)" = "$(sum "$2")$(stat -c %a:%u:%g "$2" 2>/dev/null)" ]; }
# the name of a release: from the sums of its files, as `release.name_of` makes it; "" for those in use
name_of() {
  for name in $names; do
    printf '%s %s\n' "$name" "$(sum "$([ -n "$1" ] && echo "$1/$name" || live "$name")")"
  done | sha256sum | cut -c1-10
}
copy() {
  dd if="$1" of="$2" bs=1M conv=fsync 2>/dev/null && chmod --reference="$1" "$2" && chown --reference="$1" "$2"
}
keep_live() {
  [ "$(name_of "$releases/$before")" = "$before" ] && [ -d "$releases/$before" ] && return
  rm -rf "${releases:?}/$before" "$releases/$before.part"
  mkdir -p "$releases/$before.part" || return
  for name in $names; do
    [ ! -f "$(live "$name")" ] || copy "$(live "$name")" "$releases/$before.part/$name" || return
  done
  mv "$releases/$before.part" "$releases/$before"
}
fresh_of() { echo "$(dirname "$(live "$1")")/.$1.fresh"; }
# all of a release or nothing: what can fail for want of room comes first
put() {
  [ "$(name_of "$releases/$1")" = "$1" ] || { why="the release $1 is damaged on the node"; return 1; }
  for name in $names; do rm -f "$(fresh_of "$name")"; done # of one that failed half way
  for name in $names; do
    [ ! -f "$releases/$1/$name" ] || same "$releases/$1/$name" "$(live "$name")" ||
      copy "$releases/$1/$name" "$(fresh_of "$name")" || { rm -f "$(fresh_of "$name")"; return 1; }
  done
  for name in $names; do
    if [ -f "$(fresh_of "$name")" ]; then
      mv -f "$(fresh_of "$name")" "$(live "$name")" || return
    elif [ ! -f "$releases/$1/$name" ]; then
      [ "$(live "$name")" != "$unit_path" ] || systemctl disable "$unit" 2>/dev/null
      rm -f "$(live "$name")"
    fi
  done
}
point() { ln -sfn "$2" "$releases/.$1" && mv -fT "$releases/.$1" "$releases/$1"; }

# --- the service ---

now() { read -r up _ < /proc/uptime; echo "${up%.*}${up#*.}"; }
refresh() { [ "$(of_systemd NeedDaemonReload)" != yes ] || systemctl daemon-reload; }
list() { echo $1; } # on one line

# whether the service does what it should; if not, $why says what is missing. The three are its arguments:
# addresses that it must have, what its main process must not be, workers that do not count
expected= unlike= stale=
anew() { unlike=none stale=; }
anew
holds() {
  why="the service is $(of_systemd ActiveState) ($(of_systemd SubState))"
  [ "$why" = 'the service is active (running)' ] || return 1
  pid=$(main)
  why="the process that was there goes on (PID $pid)"
  [ "$pid" != "$unlike" ] || return 1
  why="it runs another file than $binary: $(readlink "/proc/$pid/exe" | clean)"
  [ "$(sum "/proc/$pid/exe")" = "$(sum "$binary")" ] || return 1
  why='nginx did not take the new configuration: no new worker has come'
  news=
  for worker in $(workers "$pid"); do
    case " $stale " in *" $worker "*) ;; *) news=$worker ;; esac
  done
  [ -n "$news" ] || return 1
  own=" $(sockets "$pid")"
  for address in $expected; do
    why="it does not listen where it should ($address)"
    inode=$(listening | while read -r _ local _ _ _ _ _ _ _ inode _; do [ "$local" != "$address" ] || echo "$inode"; done)
    case $own in *" ${inode:-none} "*) ;; *) return 1 ;; esac
  done
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
  chosen=$(main) quiet=$(($(now) + settle))
  while [ "$(now)" -lt "$quiet" ]; do
    sleep 0.1
    holds && [ "$(main)" = "$chosen" ] && continue
    [ -d "/proc/$chosen" ] || why='its process ended'
    why="it came up, but within $((settle / 100)) s: ${why:-another process came}"
    return 1
  done
}
began=$(date +%s)
journal() { journalctl -q -u "$unit" --since "@$began" -n 8 --no-pager -o cat >&2; }

boots() {
  case $boot in
    '') return ;;
    1) verb=enable wanted=enabled ;;
    0) verb=disable wanted=disabled ;;
  esac
  [ "$(of_systemd UnitFileState)" = "$wanted" ] || systemctl "$verb" "$unit" >/dev/null 2>&1 ||
    { why="systemctl $verb failed"; return 1; }
}
reload() {
  unlike=none stale=$(list "$(workers "$(main)")")
  systemctl reload "$unit" || { why='systemd could not reload it'; return 1; }
  until_it_holds "$1"
}
# the new master is seen to live before the old one is sent away; if it dies, the old one has gone on
upgrade() {
  old=$(main) unlike=$old stale=
  [ "${old:-0}" -gt 0 ] || { why='the service does not run'; return 1; }
  handed_over=$prefix/logs/nginx.pid.oldbin
  # while the master before it still lives, for the sessions that it had, nginx ignores USR2
  until ! in_unit "$(parent "$old")"; do
    [ "$(now)" -lt "$1" ] || { why='the process before the last upgrade still has sessions'; return 1; }
    sleep 0.1
  done
  until=$(($(now) + timeout))
  kill -USR2 "$old" || { why='the main process is gone'; return 1; }
  if takes_over "$until" && settles "$until"; then
    kill -QUIT "$old"
    return 0
  fi
  why="the new binary did not take over: $why"
  send_away TERM 500 || send_away KILL 200
  return 1
}
takes_over() {
  soon=$(($(now) + 200))
  until [ -e "$handed_over" ] || [ "$(now)" -gt "$soon" ]; do sleep 0.02; done
  until holds; do # nginx takes its pid file back as soon as the new master has died
    [ -e "$handed_over" ] || { why='its process ended'; return 1; }
    [ "$(now)" -lt "$1" ] || return 1
    sleep 0.05
  done
}
# ends whatever came of USR2, with a signal, and waits until the old master is the main process again
successors() { for child in $(children "$old"); do is_worker "$child" || echo "$child"; done; }
send_away() {
  soon=$(($(now) + $2))
  for master in $(successors); do
    [ "$1" = TERM ] || kill -KILL $(children "$master") 2>/dev/null
    kill -"$1" "$master" 2>/dev/null
  done
  until [ -z "$(successors)" ] && [ "$(main)" = "$old" ]; do
    [ "$(now)" -lt "$soon" ] || return 1
    sleep 0.05
  done
}
restart() {
  unlike=$(main) stale=
  refresh
  systemctl reset-failed "$unit" 2>/dev/null
  for pid in $strays; do
    case $(readlink "/proc/$pid/exe") in
      "$binary" | "$binary (deleted)") in_unit "$pid" || kill -TERM "$pid" ;;
    esac
  done
  timeout "$((timeout / 100))" systemctl restart "$unit" || { why='the service did not start'; return 1; }
  settles "$1"
}
stop() { systemctl stop "$unit" 2>/dev/null; systemctl reset-failed "$unit" 2>/dev/null; }

record() {
  pid=$(main)
  printf 'main=%s\nconf=%s\nunit=%s\n' "$(cat /proc/sys/kernel/random/boot_id):$pid:$(started "$pid")" \
    "$(sum "$prefix/conf/kube-nginx.conf")" "$(sum "$unit_path")" > "$releases/.running" &&
    mv -f "$releases/.running" "$releases/running"
}
done_with() {
  if [ -n "$release" ]; then
    touch "$releases/$release"
    point current "$release"
    case $previous in
      -) [ "$before" = "$release" ] || [ ! -f "$releases/$before/kube-nginx" ] || point previous "$before" ;;
      '') rm -f "$releases/previous" ;;
      *) point previous "$previous" ;;
    esac
    ls -1t "$releases" | grep -vx 'running\|current\|previous' |
      grep -vx "$(readlink "$releases/current")\|$(readlink "$releases/previous")" |
      tail -n "+$((keep - 1))" | while read -r old; do rm -rf "${releases:?}/$old"; done
  fi
  case $action in stop | enable) ;; *) record ;; esac
}

# --- there, and if need be back again ---

forth() {
  why='the files could not be put in place'
  [ -z "$release" ] || { keep_live && put "$release"; } || return 1
  expected=$listen
  deadline=$(($(now) + timeout))
  case $action in
    stop)
      stop
      [ "$was_enabled" = 1 ] || systemctl disable "$unit" >/dev/null 2>&1
      refresh
      [ "$was_active" != trying ] || systemctl --no-block start "$unit"
      ;;
    enable) boots ;;
    reload) reload "$deadline" && boots ;;
    upgrade) upgrade "$deadline" && boots ;;
    restart) boots && restart "$deadline" ;;
  esac
}
# whether the very process that was there before is there, and does what it did
as_before() {
  anew
  holds && [ "$(main)" = "$first" ] && { [ "$action" != reload ] || [ "$(list "$(workers "$first")")" = "$first_workers" ]; }
}
back() {
  if [ -n "$release" ] && [ "$(name_of '')" != "$before" ] && ! put "$before"; then
    say result lost
    say still "$why"
    return
  fi
  [ "$was_enabled" = 1 ] || systemctl disable "$unit" >/dev/null 2>&1
  refresh
  if [ "$was_active" != 1 ]; then
    stop
    [ "$was_active" = 0 ] || systemctl --no-block start "$unit"
    say result "$was_active"
    return
  fi
  expected=$listened settle=0
  deadline=$(($(now) + timeout))
  if ! as_before; then
    if [ "$action" = reload ] && [ "$(main)" = "$first" ]; then reload "$deadline"; else restart "$deadline"; fi
  fi
  anew
  if holds; then
    record
    say result back
  else
    say still "$why"
    say result lost
  fi
}

before=$(name_of '')
if [ -z "$was_active" ]; then
  case $(of_systemd ActiveState) in
    active | reloading) was_active=1 ;;
    activating) was_active=trying ;;
    *) was_active=0 ;;
  esac
fi
: "${was_enabled:=$([ "$(of_systemd UnitFileState)" = enabled ] && echo 1 || echo 0)}"
[ -z "$strays" ] || was_active=1 # they served clients
say was_active "$was_active"
say was_enabled "$was_enabled"
say before "$before"
first=$(main) first_workers=$(list "$(workers "$(main)")")
if forth; then
  done_with
  say result done
  exit 0
fi
say why "$why"
journal
[ -n "$release" ] || { say result failed; exit 1; }
back
exit 1
