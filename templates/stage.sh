# Receives a release on standard input, checks it, and tests it as the user that it will run as.
# Given: user (may be empty), release, parts (lines `NAME MODE SHA256 SIZE`, in the order in which they come;
# SIZE 0: it is on the node already).
# Ends with 65 if other bytes arrived than were sent, with 67 if the test fails, with 68 if the watch cannot run.
exec 3<&0
account "$user" && folders "$user" || exit
set -e
set --
whole=1
part=$releases/$release.part
mkdir "$part"
while read -r name mode sha size; do
  # written through: a name that says what is in it must be true after a power cut, too
  if [ "$size" -gt 0 ]; then
    head -c "$size" <&3 | dd of="$part/$name" bs=64k conv=fsync,excl 2>/dev/null || true
  else
    from=$(live "$name")
    [ "$(sum "$from")" = "$sha" ] || from=$releases/$release/$name
    dd if="$from" of="$part/$name" bs=64k conv=fsync,excl 2>/dev/null || true
  fi
  set -- "$@" "$part/$name"
done <<END
$parts
END
sums "$@"
while read -r name mode sha _; do
  digest "$part/$name"
  if [ "$digest" != "$sha" ]; then
    echo "$name arrived on the node with sha256 $digest, not $sha" >&2
    whole=0
  else
    chmod "$mode" "$part/$name"
  fi
done <<END
$parts
END
if [ "$whole" = 0 ]; then
  df -hP "$prefix" >&2
  rm -rf "$part"
  exit 65
fi
if ! passes "$part"; then
  rm -rf "$part"
  exit 67
fi
if [ -f "$part/kube-nginx-watch" ] && ! as "$user" "$part/kube-nginx-watch" version; then
  rm -rf "$part"
  exit 68
fi
! there "$releases/$release" || rm -rf "${releases:?}/$release"
mv "$part" "$releases/$release"
