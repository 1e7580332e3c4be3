# Puts a release in place and has kube-nginx run it; if that does not hold, puts back what served.
# It goes on to its end when nobody listens any more, so that no node stays half way.
# Given: lock, holder; release ("": the files stay as they are); previous (what `fab rollback` is to go to; "-":
# to what served until now); action (mode, enable, reload, upgrade, restart or stop); repair (1: user, folders and
# modes are put right, too); boot (1, 0 or "": whether it is to start at boot); listen and listened (addresses as
# /proc/net/tcp writes them, after and before); unmanaged (PIDs that have the port); served (the release that the
# processes have loaded, "" if that is not known) and began_by (the sum of the unit that they began with); was_active and was_enabled ("": as they are now); timeout,
# settle (hundredths of a second); keep (how many releases); watch (as watch.sh). Ends with 75 if nothing was begun.
trap '' HUP INT TERM PIPE
exec 8<>"$lock/action"
take 0 8 || refused action 'another activation is under way on the node'
taken_by=
IFS= read -r taken_by 2>/dev/null < "$lock/lock"
case $taken_by in
  "$holder since "*) ;;
  *) echo 'the lock on the node has gone to somebody else' >&2; exit 75 ;;
esac

# --- what it needs besides ---

# of several masters, one that an upgrade by hand, or one that was cut off, has left goes on with what it once read
alone() { # MAIN PID
  [ "$1" -gt 0 ] || return 0
  for process in $(of_unit); do ! is_stopped "$process" || kill -CONT "$process"; done
  soon=$(($(now) + 500))
  while left=$(list "$(accepting "$(list "$1 $(workers "$1")")")") && [ -n "$left" ]; do
    # shellcheck disable=SC2086 # words
    kill -QUIT $left 2>/dev/null
    [ "$(now)" -lt "$soon" ] || { why="a process beside the main one does not end (PID $left)"; return 1; }
    sleep 0.1
  done
}
# written by the service's user, who may write there anyway: root follows no link that they left
pid_right() { # USER, MAIN PID
  # shellcheck disable=SC2016 # the other shell's
  [ "$2" -eq 0 ] || [ "$(recorded_pid)" = "$2" ] ||
    as "$1" sh -c 'rm -rf "$0" && echo "$1" > "$0"' "$pid_file" "$2"
}
needs() {
  owner=$(user_of "$unit_path") pid=$(main)
  why="the user $owner could not be made"
  account "$owner" || return
  why='folders and modes could not be put right'
  folders "$owner" && logs_for "$owner" && modes && pid_right "$owner" "$pid" || return
  refresh
  why="systemd cannot use the unit: $(of_systemd LoadState)"
  [ "$(of_systemd LoadState)" = loaded ] && alone "$pid"
}
# what is about to run is tested before anything is stopped
tested() {
  is_safe || return
  case $action in reload | upgrade | restart) ;; *) return 0 ;; esac
  if [ -n "$release" ]; then
    why="the release $release is damaged on the node"
    is_whole "$release" || return
    ! is_elsewhere "$releases/$release/$unit" || return 0
    why='the folders could not be made'
    owner=$(user_of "$releases/$release/$unit")
    account "$owner" && folders "$owner" || return
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
  mkdir -p "$releases" && mkdir "$part" || return
  for name in $names; do ln -s "$(live "$name")" "$part/$name"; done
  # in place of the folders it sees no more than what the service's user does
  as "$(user_of "$unit_path")" test -x "$binary" -a -r "$prefix/conf/kube-nginx.conf" -a -w "$prefix/logs" ||
    { echo "the service's user may not run $binary, read its configuration, or write to $prefix/logs" >&2; false; } &&
    passes "$part"
  passed=$?
  rm -rf "$part"
  return "$passed"
}
# whatever else the unit has run before the service starts, by drop-ins, say; what may fail, and what only systemd
# can read, is left out
before_start() {
  why='what the unit runs before its start fails'
  systemctl cat "$unit" 2>/dev/null | sed -n 's/^ExecStartPre=[[:space:]]*//p' | {
    commands=
    while read -r line; do
      case $line in
        '') commands= ;;
        "$binary "*' -t' | -* | @* | *%*) ;;
        *) commands="$commands$line
" ;;
      esac
    done
    printf '%s' "$commands"
  } | while read -r line; do
    whom=$(user_of "$unit_path")
    case $line in [+!]*) whom= ;; esac
    as "$whom" sh -c "${line#"${line%%[!+!]*}"}" || exit 1
  done
}

# --- what is noted when it is over ---

record() {
  pid=$(main)
  sums "$conf" "$unit_path"
  digest "$conf" && of_conf=$digest
  # a process that goes on is one of the unit with which it began
  digest "$unit_path" && of_file=$digest
  [ "$pid" != "$first" ] || of_file=$began_by
  of_workers=$(for worker in $(workers "$pid"); do echo "$worker:$(started "$worker")"; done)
  read -r boot_id < /proc/sys/kernel/random/boot_id
  ! there "$releases/.running" || rm -f "$releases/.running"
  (
    set -C # not to where a link leads
    printf '%s\n' "main=$boot_id:$pid:$(started "$pid")" "conf=$of_conf" "unit=$of_file" \
      "changed=$(stat -c %.9Z "$conf")" "workers=$(list "$of_workers")" > "$releases/.running"
  ) &&
    mv -fT "$releases/.running" "$releases/running"
}
done_with() {
  if [ -n "$release" ]; then
    touch "$releases/$release"
    point current "$release"
    case $previous in
      -)
        for one in "$served" "$before" "$proven"; do
          [ "$one" != "$release" ] && is_complete "$one" && point previous "$one" && break
        done
        ;;
      '') rm -f "$releases/previous" ;;
      *) point previous "$previous" ;;
    esac
    prune "$release"
  fi
  case $action in stop | enable) ;; *) record ;; esac
}

# --- there, and if need be back again ---

forth() {
  why='the files could not be put in place'
  [ -z "$release" ] || { keep_live && put "$release"; } || return 1
  [ -z "$repair" ] || [ "$action" = stop ] || needs || return 1
  watch_along # if it cannot be put there now, it is told when nginx serves
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
  { [ "$action" = reload ] && [ "$(main)" = "$first" ] && reload "$deadline"; } ||
    restart "$(($(now) + timeout))" || return
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
    { is_complete "$one" && back_to "$one"; } || continue
    [ "$one" != "$release" ] || point current "$one"
    record
    say result back
    return
  done
  expected=$listened
  if as_before; then say result back; return; fi
  say still "$why"
  say result lost
}

before=$(name_of '') proven=$(named current)
if [ -z "$was_active" ]; then
  case $(of_systemd ActiveState) in
    active | reloading) was_active=1 ;;
    activating) was_active=trying ;;
    *) was_active=0 ;;
  esac
fi
: "${was_enabled:=$([ "$(of_systemd UnitFileState)" = enabled ] && echo 1 || echo 0)}"
[ -z "$unmanaged" ] || was_active=1 # they served clients
say was_active "$was_active"
say was_enabled "$was_enabled"
say before "$before"
if ! tested; then
  say why "$why"
  say result refused
  exit 1
fi
first=$(main)
first_workers=$(list "$(workers "$first")")
if forth; then
  done_with
  watch_over || say watch "$why"
  say result 'done'
  exit 0
fi
say why "$why"
journal
[ -z "$along" ] || no_watch
if [ -z "$release" ]; then
  [ "$was_active" = 1 ] || { say result failed; exit 1; }
  keep_live # what others have edited, and may be replaced now
fi
back
exit 1
