# Puts a release in place and has kube-nginx run it; if that does not hold, puts back what served.
# It goes on to its end when nobody listens any more, so that no node stays half way.
# Given: lock, holder; release ("": the files stay as they are); previous (what `fab rollback` is to go to; "-":
# to what served until now); action (mode, enable, reload, upgrade, restart or stop); repair (1: user, folders and
# modes are put right, too); boot (1, 0 or "": whether it is to start at boot); listen and listened (addresses as
# /proc/net/tcp writes them, after and before); strays (PIDs that have the port); served (the release that the
# processes have loaded, "" if that is not known); was_active and was_enabled ("": as they are now); timeout,
# settle (hundredths of a second); keep (how many releases). Ends with 75 if nothing was begun.
trap '' HUP INT TERM PIPE
exec 8<>"$lock.action"
flock -n 8 || { echo 'another activation is under way on the node' >&2; exit 75; }
case $(cat "$lock.lock" 2>/dev/null) in
  "$holder since "*) ;;
  *) echo 'the lock on the node has gone to somebody else' >&2; exit 75 ;;
esac
why=

# the binary that a unit starts, which after a change of prefix is not $binary
program() { sed -n 's/^ExecStart=\([^ ]*\).*/\1/p' "$1" 2>/dev/null | tail -n 1; }
is_elsewhere() { case $(program "$1") in '' | "$binary") return 1 ;; esac; }

# --- files ---

same() { [ "$(sum "$1")$(stat -c %a:%u:%g "$1" 2>/dev/null)" = "$(sum "$2")$(stat -c %a:%u:%g "$2" 2>/dev/null)" ]; }
# the name of a release: from the sums of its files, as `release.name_of` makes it; "" for those in use
name_of() {
  for name in $names; do
    printf '%s %s\n' "$name" "$(sum "$([ -n "$1" ] && echo "$1/$name" || live "$name")")"
  done | sha256sum | cut -c1-10
}
is_whole() { [ -n "$1" ] && [ "$(name_of "$releases/$1")" = "$1" ]; }
# whether it can serve: a unit that starts another program, under another prefix, needs nothing here
is_complete() {
  is_whole "$1" && [ -f "$releases/$1/$unit" ] || return
  ! is_elsewhere "$releases/$1/$unit" || return 0
  for name in $names; do [ -f "$releases/$1/$name" ] || return; done
}
copy() {
  dd if="$1" of="$2" bs=1M conv=fsync 2>/dev/null && chmod --reference="$1" "$2" && chown --reference="$1" "$2"
}
# over whatever is there: a link, or an empty folder
over() {
  [ ! -d "$2" ] || [ -L "$2" ] || rmdir "$2" || return
  mv -fT "$1" "$2"
}
keep_live() {
  is_whole "$before" && [ -d "$releases/$before" ] && return
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
  is_whole "$1" || { why="the release $1 is damaged on the node"; return 1; }
  for name in $names; do rm -f "$(fresh_of "$name")"; done # of one that failed half way
  for name in $names; do
    [ ! -f "$releases/$1/$name" ] || same "$releases/$1/$name" "$(live "$name")" ||
      copy "$releases/$1/$name" "$(fresh_of "$name")" || { rm -f "$(fresh_of "$name")"; return 1; }
  done
  for name in $names; do
    if [ -f "$(fresh_of "$name")" ]; then
      over "$(fresh_of "$name")" "$(live "$name")" || return
    elif [ ! -f "$releases/$1/$name" ]; then
      [ "$(live "$name")" != "$unit_path" ] || systemctl disable "$unit" 2>/dev/null
      rm -f "$(live "$name")"
    fi
  done
}
modes() {
  for name in $names; do
    file=$(live "$name") mode=644
    [ "$name" != kube-nginx ] || mode=755
    [ -f "$file" ] || continue
    [ ! -L "$file" ] || { copy "$file" "$(fresh_of "$name")" && over "$(fresh_of "$name")" "$file"; } || return
    [ "$(stat -c %a:%u "$file")" = "$mode:0" ] || { chown 0:0 "$file" && chmod "$mode" "$file"; } || return
  done
}
point() {
  ln -sfn "$2" "$releases/.$1" || return
  [ ! -d "$releases/$1" ] || [ -L "$releases/$1" ] || rm -rf "${releases:?}/$1"
  mv -fT "$releases/.$1" "$releases/$1"
}

# --- the service ---

now() { read -r up _ < /proc/uptime; echo "${up%.*}${up#*.}"; }
refresh() {
  [ "$(of_systemd NeedDaemonReload)$(of_systemd LoadState)$(new_drop_ins)" = noloaded ] || systemctl daemon-reload
}

# whether the service does what it should; if not, $why says what is missing. The five are its arguments:
# addresses that it must have, what its main process must not be, workers that do not count, whether processes of
# before may still accept connections, and what its binary must be, if not the one on disk
expected= unlike= stale= beside= image=
anew() { unlike=none stale= beside= image=; }
anew
holds() {
  why="the service is $(of_systemd ActiveState) ($(of_systemd SubState))"
  [ "$why" = 'the service is active (running)' ] || return 1
  pid=$(main)
  why="the process that was there goes on (PID $pid)"
  [ "$pid" != "$unlike" ] || return 1
  runs=$(program "$unit_path")
  why="it runs another file than $runs: $(readlink "/proc/$pid/exe" | clean)"
  [ "$(sum "/proc/$pid/exe")" = "${image:-$(sum "$runs")}" ] || return 1
  why='nginx did not take the new configuration: no new worker has come'
  news=
  for worker in $(workers "$pid"); do
    case " $stale " in *" $worker "*) ;; *) news="$news $worker" ;; esac
  done
  [ -n "$news" ] || return 1
  own=" $(sockets "$pid")"
  for address in $expected; do
    why="it does not listen where it should ($address)"
    inode=$(listening | while read -r _ local _ _ _ _ _ _ _ inode _; do [ "$local" != "$address" ] || echo "$inode"; done)
    case $own in *" ${inode:-none} "*) ;; *) return 1 ;; esac
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
# by a signal: nginx's own `-s reload` would believe its pid file, which others may have removed
reload() {
  unlike=none stale=$(list "$(workers "$(main)")") beside= image=$(sum "/proc/$(main)/exe")
  kill -HUP "$(main)" 2>/dev/null || { why='the service does not run'; return 1; }
  until_it_holds "$1"
}
# the new master is seen to live before the old one is sent away; if it dies, the old one has gone on
upgrade() {
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
    kill -QUIT "$old"
    beside=
    until_it_holds "$until"
    return
  fi
  why="the new binary did not take over: $why"
  send_away TERM 500 || send_away KILL 200
  return 1
}
takes_over() {
  soon=$(($(now) + 200))
  until [ -e "$pid_file.oldbin" ] || [ "$(now)" -gt "$soon" ]; do sleep 0.02; done
  until holds; do # nginx takes its pid file back as soon as the new master has died
    [ -e "$pid_file.oldbin" ] || { why='its process ended'; return 1; }
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
  unlike=$(main) stale= beside= image=
  refresh
  systemctl reset-failed "$unit" 2>/dev/null
  for pid in $strays; do
    ! is_ours "$pid" || in_unit "$pid" || kill -TERM "$pid"
  done
  timeout "$((timeout / 100))" systemctl restart "$unit" || { why='the service did not start'; return 1; }
  settles "$1"
}
stop() { systemctl stop "$unit" 2>/dev/null; systemctl reset-failed "$unit" 2>/dev/null; }

# --- what it needs besides ---

# of several masters, one that an upgrade by hand, or one that was cut off, has left goes on with what it once read
alone() {
  pid=$(main)
  [ "${pid:-0}" -gt 0 ] || return 0
  for process in $(of_unit); do ! is_stopped "$process" || kill -CONT "$process"; done
  soon=$(($(now) + 500))
  while left=$(list "$(accepting "$(list "$pid" $(workers "$pid"))")") && [ -n "$left" ]; do
    kill -QUIT $left 2>/dev/null
    [ "$(now)" -lt "$soon" ] || { why="a process beside the main one does not end (PID $left)"; return 1; }
    sleep 0.1
  done
}
# written by the service's user, who may write there anyway: root follows no link that they left
pid_right() { # USER
  pid=$(main)
  [ "${pid:-0}" -eq 0 ] || [ "$(recorded_pid)" = "$pid" ] ||
    as "$1" sh -c 'rm -rf "$0" && echo "$1" > "$0"' "$pid_file" "$pid"
}
needs() {
  owner=$(user_of "$unit_path")
  why="the user $owner could not be made"
  account "$owner" || return
  why='folders and modes could not be put right'
  folders "$owner" && logs_for "$owner" && modes && pid_right "$owner" || return
  refresh
  why="systemd cannot use the unit: $(of_systemd LoadState)"
  [ "$(of_systemd LoadState)" = loaded ] && alone
}
# what is about to run is tested before anything is stopped
tested() {
  case $action in reload | upgrade | restart) ;; *) return 0 ;; esac
  if [ -n "$release" ]; then
    why="the release $release is damaged on the node"
    is_whole "$release" || return
    ! is_elsewhere "$releases/$release/$unit" || return 0
    why='the folders could not be made'
    account "$(user_of "$releases/$release/$unit")" && folders "$(user_of "$releases/$release/$unit")" || return
    why='nginx refuses the release there'
    passes "$releases/$release"
  else
    [ -z "$repair" ] || needs || return
    refresh
    why="systemd cannot load the unit: $(of_systemd LoadState)"
    [ "$(of_systemd LoadState)" = loaded ] || return
    why='nginx refuses the files that are there'
    passes_live && { [ "$action" = reload ] || before_start; }
  fi
}
passes_live() {
  part=$releases/live.part
  rm -rf "$part"
  mkdir -p "$part" || return
  for name in $names; do ln -s "$(live "$name")" "$part/$name"; done
  # in place of the folders it sees no more than what the service's user does
  as "$(user_of "$unit_path")" test -x "$binary" -a -r "$prefix/conf/kube-nginx.conf" -a -w "$prefix/logs" ||
    { echo "$(user_of "$unit_path") may not run $binary, read its configuration, or write to $prefix/logs" >&2; false; } &&
    passes "$part"
  passed=$?
  rm -rf "$part"
  return "$passed"
}
# whatever else the unit has run before the service starts, by drop-ins, say
before_start() {
  why='what the unit runs before its start fails'
  systemctl show -p ExecStartPre "$unit" | sed -n 's/.*argv\[\]=\(.*\) ; ignore_errors=no .*/\1/p' |
    while read -r line; do
      case $line in "$binary "*' -t') continue ;; esac
      as "$(user_of "$unit_path")" $line >&2 || exit 1
    done
}

# --- what is noted when it is over ---

identity() { echo "$(cat /proc/sys/kernel/random/boot_id):$1:$(started "$1")"; }
record() {
  pid=$(main) conf=$prefix/conf/kube-nginx.conf
  of_workers=$(for worker in $(workers "$pid"); do echo "$worker:$(started "$worker")"; done)
  printf '%s\n' "main=$(identity "$pid")" "conf=$(sum "$conf")" "unit=$(sum "$unit_path")" \
    "changed=$(stat -c %.9Z "$conf")" "workers=$(list "$of_workers")" > "$releases/.running" &&
    mv -fT "$releases/.running" "$releases/running"
}
done_with() {
  if [ -n "$release" ]; then
    touch "$releases/$release"
    point current "$release"
    case $previous in
      -)
        for one in "$served" "$before"; do
          [ "$one" != "$release" ] && is_complete "$one" && point previous "$one" && break
        done
        ;;
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
  [ -z "$repair" ] || [ "$action" = stop ] || needs || return 1
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
back_to() {
  [ "$(name_of '')" = "$1" ] || put "$1" || return
  [ "$was_enabled" = 1 ] || systemctl disable "$unit" >/dev/null 2>&1
  refresh
  is_elsewhere "$unit_path" || needs || return
  expected=$listened settle=0
  deadline=$(($(now) + timeout))
  as_before && return
  is_elsewhere "$unit_path" || passes_live 2>/dev/null || { why='nginx refuses it'; return 1; }
  { [ "$action" = reload ] && [ "$(main)" = "$first" ] && reload "$deadline"; } || restart "$deadline" || return
  anew
  holds
}
back() {
  if [ "$was_active" != 1 ]; then
    if [ -n "$release" ] && [ "$(name_of '')" != "$before" ] && ! put "$before"; then
      say still "$why"
      say result lost
      return
    fi
    [ "$was_enabled" = 1 ] || systemctl disable "$unit" >/dev/null 2>&1
    refresh
    stop
    [ "$was_active" = 0 ] || systemctl --no-block start "$unit"
    say result "$was_active"
    return
  fi
  # what served, or what was on disk if that is not known; in need, what was proven before
  tried=
  for one in "$served" "$before" "$proven"; do
    case " $tried " in *" $one "*) continue ;; esac
    tried="$tried $one"
    is_complete "$one" && back_to "$one" || continue
    record
    say result back
    return
  done
  expected=$listened
  if as_before; then say result back; return; fi
  say still "$why"
  say result lost
}

before=$(name_of '') proven=$(readlink "$releases/current")
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
if ! tested; then
  say why "$why"
  say result refused
  exit 1
fi
first=$(main) first_workers=$(list "$(workers "$(main)")")
if forth; then
  done_with
  say result done
  exit 0
fi
say why "$why"
journal
if [ -z "$release" ]; then
  [ "$was_active" = 1 ] || { say result failed; exit 1; }
  keep_live # what others have edited, and may be replaced now
fi
back
exit 1
