# Holds the node for one command, for as long as that says every now and then that it is there.
# Given: lock, wait and patience (seconds), holder.
# util-linux before 2.25 takes no 0 for a time; 1 is its answer that somebody has it, all else that it cannot tell
take() {
  if [ "$1" = 0 ]; then flock -n "$2"; else flock -w "$1" "$2"; fi
  taken=$?
  [ "$taken" -le 1 ] || exit "$taken"
  return "$taken"
}

rmdir "$lock.lock" "$lock.action" 2>/dev/null # an empty folder in its place
for file in "$lock.lock" "$lock.action"; do
  [ ! -d "$file" ] || { echo "$file is a folder that is not empty: move it away" >&2; exit 76; }
done
exec 9<>"$lock.lock"
if ! take "$wait" 9; then
  printf 'kn.held=%s\n' "$(cat "$lock.lock")"
  exit 75
fi
# an activation goes on when its connection breaks: it is waited for
exec 8<>"$lock.action"
if ! take "$patience" 8; then
  echo 'kn.held=an activation that was begun earlier, which is not over yet'
  exit 75
fi
printf '%s since %s' "$holder" "$(date '+%F %T %Z')" > "$lock.lock"
exec 8>&-
echo kn.locked=1
while [ "$(timeout 120 head -c 1 | wc -c)" -eq 1 ]; do :; done
