# Removes what a run that was cut off has left behind; only for whoever has the node's lock.
rm -rf "$releases"/*.part "$prefix"/conf/.kube-nginx* "$prefix"/sbin/.kube-nginx* "${unit_path%/*}/.$unit"*
