"""Measurements of the running service: `python -m benchmarks`. What they mean: docs/performance.md."""
