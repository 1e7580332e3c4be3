"""Tests of kube-nginx, and the lab of real systemd hosts that some of them use."""
