# Sees that the work folder is there and the user's alone; prints the sha256 of a file in it. What is built there runs
# as root on the nodes, so nobody else may write to it, or to a folder above it: as StrictModes of sshd_config(5), but
# one above may be sticky, as /tmp is, and the user may have a group to himself.
# Given: work, name (of the file). Ends with 73 if others may, or the user may not.
# shellcheck disable=SC2174 # it alone
[ -e "$work" ] || (umask 022 && mkdir -p -m 700 "$work")
cd -P "$work" && [ -w . ] || { echo "name a folder that $(id -un) may write to: build.work_dir" >&2; exit 73; }
own=$(getent group "$(id -gn)" | cut -d: -f4)
[ "$(id -gn):$own" = "$(id -un):" ] && own=$(id -g) || own=none
alone() {
  uid=$(stat -c %u "$1") mode=$(stat -c %A "$1") others=
  [ "$uid" = 0 ] || [ "$uid" = "$(id -u)" ] || others="it belongs to uid $uid"
  case $mode in
    l* | d*[tT]) [ "$1" != "$PWD" ] && [ "$1" != "$work" ] || others="its mode is $mode" ;;
    ????????w*) others="its mode is $mode" ;;
    ?????w*) [ "$(stat -c %g "$1")" = "$own" ] || others="its mode is $mode" ;;
  esac
  [ -z "$others" ] || { echo "others may change $1: $others; what is built there runs as root:" \
    "name a folder of $(id -un) alone: build.work_dir" >&2; exit 73; }
  [ "$1" = / ] || alone "$(dirname "$1")"
}
alone "$work"
alone "$PWD"
[ ! -f "$name" ] || echo "kn.sum=$(sha256sum < "$name" | cut -c1-64)"
