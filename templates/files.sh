# The files of the releases on a node, and how one of them comes into use.
why=

# the binary that a unit starts, which after a change of prefix is not $binary
program() {
  starts=$(last_of ExecStart= "$1")
  echo "${starts%% *}"
}
is_elsewhere() { case $(program "$1") in '' | "$binary") return 1 ;; esac; }

# by what `sums` has seen
same() {
  digest "$1"
  of_first=$digest
  digest "$2"
  [ ! -L "$2" ] && [ "$digest" = "$of_first" ]
}
permit() { # FILE AS
  seen=$(stat -c %a:%u:%g "$1" "$2") && [ "${seen%"$newline"*}" = "${seen#*"$newline"}" ] ||
    { chown --reference="$2" "$1" && chmod --reference="$2" "$1"; }
}
file_of() { if [ -n "$1" ]; then echo "$1/$2"; else live "$2"; fi; } # FOLDER NAME
# the sums of the files of releases, as far as they are there; "" for those in use
sums_of() { # FOLDERS
  for folder; do
    shift
    for name in $names; do set -- "$@" "$(file_of "$folder" "$name")"; done
  done
  sums "$@"
}
# the name of a release: from the sums of its files, as `release.name_of` makes it; "" for those in use
name_of() {
  sums_of "$1"
  name_by_sums "$1"
}
name_by_sums() {
  made=$(
    for name in $names; do
      digest "$(file_of "$1" "$name")"
      printf '%s %s\n' "$name" "$digest"
    done | sha256sum
  )
  printf '%.10s\n' "$made"
}
is_whole() { [ -n "$1" ] && [ "$(name_of "$releases/$1")" = "$1" ]; }
# whether it can serve: a unit that starts another program, under another prefix, needs nothing here
is_complete() {
  [ -n "$1" ] && [ -f "$releases/$1/$unit" ] && is_whole "$1" || return
  ! is_elsewhere "$releases/$1/$unit" || return 0
  for name in $names; do [ -f "$releases/$1/$name" ] || return; done
}
# a new file, whatever waits under its name: dd would write to where a link leads
copy() {
  { ! there "$2" || rm -f "$2"; } && dd if="$1" of="$2" bs=1M conv=fsync,excl 2>/dev/null && permit "$2" "$1"
}
# over whatever is there: a link, or an empty folder
over() {
  [ ! -d "$2" ] || [ -L "$2" ] || rmdir "$2" || return
  mv -fT "$1" "$2"
}
keep_live() {
  if there "$releases/$before"; then
    [ -d "$releases/$before" ] && is_whole "$before" && return
    rm -rf "${releases:?}/$before"
  fi
  ! there "$releases/$before.part" || rm -rf "$releases/$before.part"
  mkdir -p "$releases/$before.part" || return
  for name in $names; do
    [ ! -f "$(live "$name")" ] || copy "$(live "$name")" "$releases/$before.part/$name" ||
      { rm -rf "$releases/$before.part"; return 1; }
  done
  mv "$releases/$before.part" "$releases/$before"
}
fresh_of() { # NAME
  file=$(live "$1")
  echo "${file%/*}/.$1.fresh"
}
no_fresh() { for name in $names; do ! there "$(fresh_of "$name")" || rm -f "$(fresh_of "$name")"; done; }
# all of a release or nothing: what can fail for want of room comes first
put() {
  sums_of "$releases/$1" ''
  [ -n "$1" ] && [ "$(name_by_sums "$releases/$1")" = "$1" ] || { why="the release $1 is damaged on the node"; return 1; }
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
    file=$(live "$name")
    [ ! -f "$file" ] || [ ! -L "$file" ] ||
      { copy "$file" "$(fresh_of "$name")" && over "$(fresh_of "$name")" "$file"; } || return
  done
  seen=$(stat -c '%u:%a %n' "$binary" "$conf" "$unit_path" 2>/dev/null)
  while read -r has file; do
    mode=644
    [ "$file" != "$binary" ] || mode=755
    [ ! -f "$file" ] || [ "$has" = "0:$mode" ] || { chown 0:0 "$file" && chmod "$mode" "$file"; } || return
  done <<END
$seen
END
}
point() {
  ln -sfn "$2" "$releases/.$1" || return
  [ ! -d "$releases/$1" ] || [ -L "$releases/$1" ] || rm -rf "${releases:?}/$1"
  mv -fT "$releases/.$1" "$releases/$1"
}
# the newest releases stay, and with them this one and the one before, however old they are
prune() { # RELEASE
  kept=2 previous_one=$(named previous)
  # shellcheck disable=SC2012 # the order is ls's
  ls -1t "$releases" | while read -r one; do
    case $one in
      "$1" | "$previous_one" | *[!0-9a-f]*) ;;
      ??????????)
        kept=$((kept + 1))
        [ "$kept" -le "$keep" ] || rm -rf "${releases:?}/$one"
        ;;
    esac
  done
}
