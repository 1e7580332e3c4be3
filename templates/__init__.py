"""The files that are rendered for every node: nginx's configuration and its systemd unit."""
