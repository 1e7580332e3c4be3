"""What nginx itself says of a version: who signed it, and what is known to be wrong with it.

It asks no network: what has to be fetched, others fetch.
"""
