"""What packages of the extra `chain` change in the interpreter, undone.

Some raise the limit of recursion for all of Python when they are imported. A text nested a hundred thousand deep would
then end the process instead of being refused.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def limits_kept() -> Iterator[None]:
    """Import them within; afterwards the limit is what it was."""
    before = sys.getrecursionlimit()
    try:
        yield
    finally:
        sys.setrecursionlimit(before)
