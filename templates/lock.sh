# Holds the node for one command, for as long as that says every now and then that it is there; surveys it meanwhile.
# Given: lock (a folder), wait and patience (seconds), holder, survey (a script). Ends with 76 if the folder cannot be made.
# On standard input `.` is a sign of life, and `?` asks for the survey: its lines, then kn.surveyed with its exit status.
umask 077
uid=$(id -u)
if [ -e "$lock" ] || [ -L "$lock" ]; then
  [ -d "$lock" ] && [ ! -L "$lock" ] && [ "$(stat -c %u "$lock")" = "$uid" ] || rm -rf "$lock"
fi
[ -d "$lock" ] || mkdir "$lock" || [ -d "$lock" ] || exit 76
chmod 700 "$lock" || exit 76
for name in lock action drill; do
  file=$lock/$name old=$lock.$name
  for place in "$file" "$old"; do
    [ -f "$place" ] && [ ! -L "$place" ] && continue
    [ ! -e "$place" ] && [ ! -L "$place" ] || rm -f "$place" 2>/dev/null || rmdir "$place" 2>/dev/null ||
      { echo "$place is a folder that is not empty: move it away" >&2; exit 76; }
  done
  # the version before opens another name: of the same file, so that it and we take the same lock
  [ -f "$file" ] || { true >> "$old" && ln "$old" "$file" 2>/dev/null; }
  [ "$file" -ef "$old" ] || ln -f "$file" "$old" || exit 76
done
chown "$uid" "$lock"/* && chmod 600 "$lock"/* || exit 76

exec 9<>"$lock/lock"
take "$wait" 9 || refused lock "$(cat "$lock/lock")"
printf '%s since %s' "$holder" "$(date '+%F %T %Z')" > "$lock/lock"
# an activation goes on when its connection breaks: it is waited for
exec 8<>"$lock/action"
take "$patience" 8 || refused action 'an activation that was begun earlier, which is not over yet'
exec 8>&-
echo kn.locked=1
while :; do
  case $(timeout 120 head -c 1) in
    .) ;;
    # it may hang: nobody waits for it then, and the lock is not its
    '?') { (eval "$survey"); echo "kn.surveyed=$?"; } </dev/null 2>&1 9>&- & ;;
    *) break ;;
  esac
done
