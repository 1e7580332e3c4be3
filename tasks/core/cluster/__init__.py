"""hosts.toml beside a Kubernetes cluster, of which kubectl on this machine tells.

It only reads, and knows no nodes that are reached.
"""
