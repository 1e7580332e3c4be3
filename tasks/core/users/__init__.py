"""Who uses kube-nginx on a node, and who goes past it: what the node says, and what that means.

It knows facts; it asks nothing itself.
"""
