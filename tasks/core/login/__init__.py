"""Logging in as OpenSSH does: which keys, in which order, from files, certificates and the agent.

It knows what ssh_config says of a host; it opens no connection, and knows neither nodes nor hosts.toml.
"""
