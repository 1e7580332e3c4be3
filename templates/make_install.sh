# Runs make and make install, and keeps a stripped copy. Given: source (the folder), place (where it is kept).
set -e
cd "$source"
make -j"$(getconf _NPROCESSORS_ONLN)"
make install
mkdir -p "$place"
strip -o "$place/.new" nginx-prefix/sbin/nginx
mv -f "$place/.new" "$place/kube-nginx"
