"""What clients notice when an apiserver dies.

It knows probes, sessions and runs; it knows no rollout.
"""
