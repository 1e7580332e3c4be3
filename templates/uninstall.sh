# Removes the unit and what was shipped; a file of somebody else's keeps its folder. What is a link is removed with
# what is ours where it leads to.
is_active() { case $(of_systemd ActiveState) in '' | inactive) return 1 ;; esac; }
if [ ! -e "$unit_path" ] && [ ! -L "$unit_path" ] && ! there "$watch_path" && [ ! -d "$prefix/sbin" ] && [ ! -d "$prefix/conf" ] && ! is_active; then
  say changed 0
  exit 0
fi
no_watch || exit
if [ -e "$unit_path" ] || [ -L "$unit_path" ] || is_active; then
  is_safe || { echo "$why" >&2; exit 1; }
  ! is_active || systemctl stop "$unit" || exit
  systemctl disable "$unit" 2>/dev/null
  rm -rf "$unit_path" && systemctl daemon-reload || exit
  systemctl reset-failed "$unit" 2>/dev/null
fi
rm -f /etc/systemd/system/*.wants/"$unit" /etc/systemd/system/*.wants/"$watch_unit"
rmdir "$unit_path.wants" 2>/dev/null

# a folder that is reached through a link may hold what is not ours
linked() {
  rm -f "$1/kube-nginx" "$1/kube-nginx-watch" "$1/kube-nginx.conf" "$1"/.kube-nginx* "$1/nginx.pid" "$1/error.log" "$1/access.log"
  case $1 in */releases) rm -rf "$1"/[0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f] \
    "$1"/*.part "$1/watch.former" "$1/current" "$1/previous" "$1/running" ;; esac
  target=$(readlink -f "$1")
  rm -f "$1"
  rmdir "$target" 2>/dev/null || { [ ! -e "$target" ] || say "kept.$target" 1; }
}
for folder in conf logs sbin releases; do
  if [ -L "$prefix/$folder" ]; then linked "$prefix/$folder"; else rm -rf "${prefix:?}/$folder" || exit; fi
done
if [ -L "$prefix" ]; then linked "$prefix"; else rmdir "$prefix" 2>/dev/null || { [ ! -e "$prefix" ] || say "kept.$prefix" 1; }; fi
say changed 1
