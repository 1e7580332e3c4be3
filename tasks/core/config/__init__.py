"""hosts.toml -> frozen Settings: every check of what a user wrote.

It knows no host, no file but hosts.toml, and nothing of nginx's files.
"""
