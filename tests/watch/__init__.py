"""kube-nginx-watch: compiled from templates/watch, and tried in network namespaces without systemd."""
