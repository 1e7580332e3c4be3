"""A first hosts.toml, from answers or from the runbook's environment.sh.

It knows settings; it connects to nothing.
"""
