# How the watch comes to a node, and goes. Whatever becomes of it, what serves goes on to serve.
# Given: watch (1: it is to run, 0: it is to go, back: it is to be as before the last of these, "": it stays as it is),
# release (whose folder may have its files).
former=$releases/watch.former
links_to=${watch_path%/*}/$unit.wants/$watch_unit along=

watch_files() { # FOLDER: those that differ come into use together
  fresh=${watcher%/*}/.kube-nginx-watch fresh_unit=${watch_path%/*}/.$unit.watch
  if ! copy "$1/kube-nginx-watch" "$fresh" || ! copy "$1/$watch_unit" "$fresh_unit"; then
    rm -f "$fresh" "$fresh_unit"
    return 1
  fi
  # by the unit with which it began, which cleans up after it
  ! there "$watch_path" || systemctl stop "$watch_unit" 2>/dev/null
  over "$fresh" "$watcher" && over "$fresh_unit" "$watch_path"
}
watch_runs() {
  # to enable has systemd read it, too
  if ! [ "$links_to" -ef "$watch_path" ]; then systemctl enable "$watch_unit" 2>/dev/null
  else [ -n "$along" ] || systemctl daemon-reload; fi || { why='systemctl fails'; return 1; }
  if [ -n "$along" ]; then # it has begun with the service, or is about to
    how=start
    ! systemctl is-active -q "$watch_unit" || return 0
  else # where the service itself is stopped, it comes with it
    how=restart
    systemctl is-active -q "$unit" || return 0
  fi
  timeout 20 systemctl "$how" "$watch_unit" && systemctl is-active -q "$watch_unit" && return
  why='it does not start'
  journalctl -q -u "$watch_unit" --since "@$began" -n 4 --no-pager -o cat >&2
  return 1
}
# where neither is there yet, systemd reads the units of both at once, and starts both at once
watch_along() {
  [ "$watch$boot$was_enabled$was_active$action" = 1100restart ] && ! there "$links_to" || return 0
  [ -n "$release" ] && [ -f "$releases/$release/kube-nginx-watch" ] || return 0
  rm -rf "$former"
  if watch_files "$releases/$release"; then along=$watch_unit; else no_watch; fi
}
# a release that came back may be another user's, under another prefix: it is whose sessions are the ones to watch
watch_follows() {
  serves=$(user_of "$unit_path") of=$(last_of ExecStart= "$unit_path") told=$(last_of ExecStart= "$watch_path")
  case $of in *' -c '*) ;; *) of=$told ;; esac
  of=${of#* -c } of=${of%% *}
  case "$told " in ' ' | *" -c $of -u $serves "*) return ;; esac
  [ -n "$serves" ] || { no_watch; return; }
  fresh_unit=${watch_path%/*}/.$unit.watch
  why='its unit could not be changed'
  copy "$watch_path" "$fresh_unit" &&
    sed -i "s|^\(ExecStart=[^ ]* run\) -c [^ ]* -u [^ ]*|\1 -c $of -u $serves|" "$fresh_unit" || return
  systemctl stop "$watch_unit" 2>/dev/null
  over "$fresh_unit" "$watch_path" && watch_runs
}
keep_watch() {
  ! there "$former" || rm -rf "$former"
  runs=$(program "$watch_path") # under another prefix, maybe
  [ -f "$runs" ] || runs=$watcher
  [ -f "$watch_path" ] && [ -f "$runs" ] || return 0
  mkdir -p "$former" && copy "$runs" "$former/kube-nginx-watch" && copy "$watch_path" "$former/$watch_unit" && return
  rm -rf "$former"
  return 1
}
watch_back() {
  if [ ! -d "$former" ]; then no_watch; return; fi
  watch_files "$former" && watch_runs
}
# one that does not start makes room for the one that did
watch_over() {
  case $watch in
    '') watch_follows; return ;;
    back) why='the one of before cannot be put back' && watch_back; return ;;
  esac
  if [ -z "$along" ]; then
    why='there is no room to keep the one of before'
    keep_watch || [ "$watch" = 0 ] || return
    if [ "$watch" = 0 ]; then why='it cannot be removed' && no_watch; return; fi
    why='its files could not be put in place'
    [ -z "$release" ] || [ ! -f "$releases/$release/kube-nginx-watch" ] || watch_files "$releases/$release" || return
  fi
  ! watch_runs || return 0
  wrong=$why
  if [ -d "$former" ] && watch_files "$former" && watch_runs; then
    wrong="$wrong; the one of before runs again"
  else
    no_watch
    wrong="$wrong; it was removed"
  fi
  why=$wrong
  return 1
}
