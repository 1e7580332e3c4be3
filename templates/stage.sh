# Receives a release on standard input, checks it, and tests it as the user that it will run as.
# Given: prefix, user (may be empty), unit_path, release, parts (lines `NAME MODE SHA256 SIZE`, in the
# order in which they come; SIZE 0: it is on the node already), options for nginx.
# Ends with 65 if other bytes arrived than were sent, with 67 if the test fails.
set -e
releases=$prefix/releases
live() {
  case $1 in
    kube-nginx) echo "$prefix/sbin/$1" ;;
    kube-nginx.conf) echo "$prefix/conf/$1" ;;
    *) echo "$unit_path" ;;
  esac
}
sum() { sha256sum < "$1" | cut -c1-64; }

if [ -n "$user" ] && ! id -u "$user" >/dev/null 2>&1; then
  useradd --system --user-group --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin "$user"
fi
mkdir -p "$prefix/conf" "$prefix/logs" "$prefix/sbin" "$releases"
# an earlier service that ran as root has left its pid file and its log there
[ -z "$user" ] || find "$prefix/logs" ! -user "$user" -exec chown -h "$user:$user" {} +

whole=1
part=$releases/$release.part
mkdir "$part"
while read -r name mode sha size; do
  if [ "$size" -gt 0 ]; then
    head -c "$size" <&3 > "$part/$name" || true
  elif [ "$(sum "$(live "$name")")" = "$sha" ]; then
    cat < "$(live "$name")" > "$part/$name"
  else
    cat < "$releases/$release/$name" > "$part/$name"
  fi
  seen=$(sum "$part/$name")
  if [ "$seen" != "$sha" ]; then
    echo "$name arrived on the node with sha256 $seen, not $sha" >&2
    whole=0
  fi
  chmod "$mode" "$part/$name"
done <<END
$parts
END
if [ "$whole" = 0 ]; then
  df -hP "$prefix" >&2
  rm -rf "$part"
  exit 65
fi

as_user=
[ -z "$user" ] || as_user="runuser -u $user --"
# the word splitting is meant: a user's name and nginx's options hold no blanks of their own
if ! $as_user "$part/kube-nginx" -t -q -c "$part/kube-nginx.conf" -p "$prefix" $options >&2; then
  rm -rf "$part"
  exit 67
fi
sync "$part"/* # a name that says what is in it must be true after a power cut, too
rm -rf "${releases:?}/$release"
mv "$part" "$releases/$release"
