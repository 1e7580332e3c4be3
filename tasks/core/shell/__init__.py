"""How a command runs on a host, here or over SSH: its frame, its bounds, what it gives back.

It knows nothing of kube-nginx.
"""
