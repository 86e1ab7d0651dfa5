"""Benchmarks: figures, not tests. `python -m benchmarks` runs all of them; `make bench` keeps them as JSON."""
