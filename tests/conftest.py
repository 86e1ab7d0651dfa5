"""One thread a process, before numpy is imported: the suite's processes share the cores among themselves.

The products of a test are small: threads of OpenBLAS and of LightGBM that wait for the next one take the cores from the
other processes of the suite. The command line and the benchmarks set the same.
"""

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import vfl.net  # noqa: F401  # before any test loads grpc
