"""What a fleet costs on control, beside other tools: `python -m benchmarks.fleet`, docs/performance.md."""
