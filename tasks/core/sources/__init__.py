"""What a first hosts.toml may be taken from, read: an Ansible inventory, environment.sh, or a cluster.

It runs ansible-inventory and kubectl, which only read; it knows no settings.
"""
