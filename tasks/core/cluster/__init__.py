"""What a Kubernetes cluster says of itself, by kubectl on this machine.

It only reads; it knows no hosts.toml.
"""
