"""Every fault that a rollout must survive, on real hosts; what is seen becomes docs/reliability.md."""
