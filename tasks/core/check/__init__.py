"""What `fab check` shows: what each node meets, judged, as a table and for programs.

It knows probes and facts; it changes nothing, and knows no rollout.
"""
