# Sees that a C program can be compiled and linked, and make is there; installs what is missing.
# Given: static (1: it must link without shared libraries). Ends with 69 if that cannot be had.
works() {
  try=$(mktemp) && echo 'int main(void) { return 0; }' | cc -x c ${static:+-static} -o "$try" - 2>/dev/null
  status=$?
  rm -f "$try"
  [ "$status" = 0 ] && command -v make >/dev/null
}
works && { echo kn.changed=0; exit 0; }
has() { command -v "$1" >/dev/null; }
if has apt-get; then
  how='apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq gcc make libc6-dev'
elif has dnf; then how="dnf install -y gcc make${static:+ glibc-static}"
elif has yum; then how="yum install -y gcc make${static:+ glibc-static}"
elif has zypper; then how="zypper --non-interactive install gcc make glibc-devel${static:+ glibc-devel-static}"
elif has apk; then how='apk add gcc make musl-dev linux-headers'
else echo 'no C compiler, and no package manager that is known here' >&2; exit 69; fi
if [ "$(id -u)" = 0 ]; then sh -c "$how" >&2 </dev/null || exit
elif sudo -n true 2>/dev/null; then sudo -n sh -c "$how" >&2 </dev/null || exit
else echo "a C compiler or make is missing; as root: $how" >&2; exit 69; fi
works || { echo 'installed, but a C program still cannot be linked' >&2; exit 69; }
echo kn.changed=1
