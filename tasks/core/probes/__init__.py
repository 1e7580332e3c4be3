"""Can A reach B, and what answers: one prober for verify, status, check and drill.

It knows SSH, and no rollout. One more reason goes into `Reason`, one more finding into `classify`.
"""
