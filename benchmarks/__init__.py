"""Benchmarks: figures, not tests. `python -m benchmarks` runs all of them; `make bench` keeps them as JSON."""

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as the command line does, before numpy is imported
