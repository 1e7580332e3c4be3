# Ends the watch, and removes what there is of it.
no_watch() {
  { there "$watch_path" && systemctl disable --now "$watch_unit"; } 2>/dev/null || systemctl stop "$watch_unit" 2>/dev/null
  # where its program was gone at its end, its filter is still there
  for cleaner in "$watcher" "$releases"/*/kube-nginx-watch; do
    [ ! -f "$cleaner" ] || ! timeout 10 "$cleaner" clean 2>/dev/null || break
  done
  rm -rf "$watcher" "$watch_path" && systemctl daemon-reload || return
  systemctl reset-failed "$watch_unit" 2>/dev/null
  return 0
}
