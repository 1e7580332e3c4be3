"""The sessions that the proxies carry, and what becomes of them when an apiserver dies."""
