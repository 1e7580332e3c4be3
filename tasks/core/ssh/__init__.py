"""One host: connection, host keys, sudo. Many: the Fleet, and the Connections that its tasks share.

It knows settings and scripts; it knows no task.
"""
