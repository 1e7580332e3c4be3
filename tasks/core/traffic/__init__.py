"""Sessions, and what clients notice when an apiserver dies.

It knows probes and runs; it knows no rollout.
"""
