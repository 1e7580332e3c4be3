"""facts -> plan -> stage -> activate -> verify, in batches.

It knows all below it; it knows no task and no client's traffic.
"""
