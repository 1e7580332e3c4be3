"""kube-nginx-watch beside nginx: what has to be done for it on a node, and what it has found.

It knows facts and settings, and no SSH.
"""
