# Runs kube-nginx-watch, and reads its ELF header. Given: binary.
said=$("$binary" version) || exit
echo "kn.version=${said##* }"
echo "kn.sum=$(sha256sum < "$binary" | cut -c1-64)"
echo "kn.arch=$(uname -m)"
readelf -dV "$binary" || exit
