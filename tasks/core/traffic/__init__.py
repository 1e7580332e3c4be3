"""The sessions of a node, and its packets to an apiserver.

It knows probes and facts; it knows no run.
"""
