"""hosts.toml: how it is read, checked and written, and the files that are rendered from it."""
