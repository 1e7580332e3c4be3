# Removes what a run that was cut off has left behind; only for whoever has the node's lock.
failed=
for left in "$releases"/*.part "$prefix"/conf/.kube-nginx* "$prefix"/sbin/.kube-nginx* "${unit_path%/*}/.$unit"*; do
  ! there "$left" || rm -rf "$left" || failed=1
done
[ -z "$failed" ]
