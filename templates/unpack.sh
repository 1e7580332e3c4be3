# Unpacks nginx's tarball beside its place and renames the source there when it is whole.
# Given: work, source (the folder), version, sha256 (of the tarball, by which the source is known).
cd "$work" || exit
[ "$(cat "$source/.unpacked" 2>/dev/null)" = "$sha256" ] && { echo kn.changed=0; exit 0; }
fresh=$(mktemp -d ./.unpack.XXXXXX) || exit
trap 'rm -rf "$fresh"' EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM
set -e
tar -xzf "nginx-$version.tar.gz" --no-same-owner -C "$fresh"
echo "$sha256" > "$fresh/nginx-$version/.unpacked"
rm -rf "$source"
mv "$fresh/nginx-$version" "$source"
echo kn.changed=1
