# The files of the releases on a node, and how one of them comes into use.
why=

# the binary that a unit starts, which after a change of prefix is not $binary
program() { sed -n 's/^ExecStart=\([^ ]*\).*/\1/p' "$1" 2>/dev/null | tail -n 1; }
is_elsewhere() { case $(program "$1") in '' | "$binary") return 1 ;; esac; }

same() { [ ! -L "$2" ] && [ "$(sum "$1")" = "$(sum "$2")" ]; }
permit() { # FILE AS
  [ "$(stat -c %a:%u:%g "$1")" = "$(stat -c %a:%u:%g "$2")" ] || { chown --reference="$2" "$1" && chmod --reference="$2" "$1"; }
}
# the name of a release: from the sums of its files, as `release.name_of` makes it; "" for those in use
name_of() {
  for name in $names; do
    printf '%s %s\n' "$name" "$(sum "$(if [ -n "$1" ]; then echo "$1/$name"; else live "$name"; fi)")"
  done | sha256sum | cut -c1-10
}
is_whole() { [ -n "$1" ] && [ "$(name_of "$releases/$1")" = "$1" ]; }
# whether it can serve: a unit that starts another program, under another prefix, needs nothing here
is_complete() {
  is_whole "$1" && [ -f "$releases/$1/$unit" ] || return
  ! is_elsewhere "$releases/$1/$unit" || return 0
  for name in $names; do [ -f "$releases/$1/$name" ] || return; done
}
# a new file, whatever waits under its name: dd would write to where a link leads
copy() {
  rm -f "$2" && dd if="$1" of="$2" bs=1M conv=fsync,excl 2>/dev/null && permit "$2" "$1"
}
# over whatever is there: a link, or an empty folder
over() {
  [ ! -d "$2" ] || [ -L "$2" ] || rmdir "$2" || return
  mv -fT "$1" "$2"
}
keep_live() {
  is_whole "$before" && [ -d "$releases/$before" ] && return
  rm -rf "${releases:?}/$before" "$releases/$before.part"
  mkdir -p "$releases" && mkdir "$releases/$before.part" || return
  for name in $names; do
    [ ! -f "$(live "$name")" ] || copy "$(live "$name")" "$releases/$before.part/$name" ||
      { rm -rf "$releases/$before.part"; return 1; }
  done
  mv "$releases/$before.part" "$releases/$before"
}
fresh_of() { echo "$(dirname "$(live "$1")")/.$1.fresh"; }
no_fresh() { for name in $names; do rm -f "$(fresh_of "$name")"; done; }
# all of a release or nothing: what can fail for want of room comes first
put() {
  is_whole "$1" || { why="the release $1 is damaged on the node"; return 1; }
  no_fresh # of one that failed half way
  for name in $names; do
    [ -f "$releases/$1/$name" ] || continue
    if same "$releases/$1/$name" "$(live "$name")"; then
      permit "$(live "$name")" "$releases/$1/$name"
    else
      copy "$releases/$1/$name" "$(fresh_of "$name")"
    fi || { no_fresh; return 1; }
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
