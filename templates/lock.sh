# Holds the node for one command, for as long as that says every now and then that it is there.
# Given: lock (a folder), wait and patience (seconds), holder. Ends with 76 if the folder cannot be made.
umask 077
[ -d "$lock" ] && [ ! -L "$lock" ] && [ "$(stat -c %u "$lock")" = "$(id -u)" ] || rm -rf "$lock"
[ -d "$lock" ] || mkdir "$lock" || [ -d "$lock" ] || exit 76
chmod 700 "$lock" || exit 76
for name in lock action drill; do
  file=$lock/$name old=$lock.$name
  for place in "$file" "$old"; do
    [ -f "$place" ] && [ ! -L "$place" ] || rm -f "$place" 2>/dev/null || rmdir "$place" 2>/dev/null ||
      { echo "$place is a folder that is not empty: move it away" >&2; exit 76; }
  done
  # the version before opens another name: of the same file, so that it and we take the same lock
  [ -f "$file" ] || { touch "$old" && ln "$old" "$file" 2>/dev/null; }
  [ "$file" -ef "$old" ] || ln -f "$file" "$old" || exit 76
done
chown "$(id -u)" "$lock"/* && chmod 600 "$lock"/* || exit 76

exec 9<>"$lock/lock"
take "$wait" 9 || refused lock "$(cat "$lock/lock")"
printf '%s since %s' "$holder" "$(date '+%F %T %Z')" > "$lock/lock"
# an activation goes on when its connection breaks: it is waited for
exec 8<>"$lock/action"
take "$patience" 8 || refused action 'an activation that was begun earlier, which is not over yet'
exec 8>&-
echo kn.locked=1
while [ "$(timeout 120 head -c 1 | wc -c)" -eq 1 ]; do :; done
