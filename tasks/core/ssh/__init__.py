"""One host: connection, host keys, sudo. Many: the Fleet.

It knows settings and scripts; it knows no task.
"""
