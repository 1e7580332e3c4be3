"""What OpenSSH would use for a host: its settings, as the user's ssh_config files say them.

It knows files and the ssh program; it opens no connection, and knows neither nodes nor hosts.toml.
"""
