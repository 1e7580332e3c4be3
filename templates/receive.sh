# Takes a file from standard input and renames it over its destination; nothing is half written. The temporary file is
# beside the destination, so that the rename is atomic and the file gets that folder's SELinux label.
# Given: path, size, sha256, mode, owner ("": it stays ours). Ends with 65 if other bytes arrived than were sent,
# with 66 where there is no folder.
folder=${path%/*}
new=$folder/.${path##*/}.part
[ -d "$folder" ] || { echo "$folder does not exist" >&2; exit 66; }
trap 'rm -f "$new"' EXIT
# made anew: `>` would write to where a link leads that waits under its name
rm -rf "$new"
(
  set -C
  head -c "$size" > "$new"
)
sum=$(sha256sum < "$new" | cut -c1-64)
if [ "$sum" != "$sha256" ]; then
  echo "the upload of $path arrived with sha256 $sum, not $sha256" >&2
  df -hP "$folder" >&2
  exit 65
fi
set -e
chmod "$mode" "$new"
[ -z "$owner" ] || chown "$owner" "$new"
[ ! -d "$path" ] || [ -L "$path" ] || rmdir "$path"
mv -fT "$new" "$path"
