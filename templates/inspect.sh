# Runs a binary of nginx, and reads its ELF header. Given: binary.
"$binary" -V >/dev/null || exit
"$binary" -V 2>&1 | sed 's/^/kn./'
echo "kn.sum=$(sha256sum < "$binary" | cut -c1-64)"
echo "kn.arch=$(uname -m)"
readelf -dV "$binary" || exit
