# Compiles kube-nginx-watch. Given: place (where it is kept), sources (a folder of C files: tar, gzip, base64).
# Ends with 65 if it does not compile there.
set -e
mkdir -p "$place"
rm -rf "$place/.build"
mkdir "$place/.build"
cd "$place/.build"
printf %s "$sources" | base64 -d | gzip -d | tar -xf -
# one that needs no libc of the node, where this machine can link it
compile() { cc -std=c11 -O2 "$@" -o kube-nginx-watch ./*.c; }
compile -static 2>/dev/null || compile || exit 65
strip kube-nginx-watch
mv -f kube-nginx-watch "$place/kube-nginx-watch"
cd "$place"
rm -rf "$place/.build"
