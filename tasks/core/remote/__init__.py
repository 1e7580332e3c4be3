"""Hosts: connections, what is known of them, what is run there."""
