"""A copy of a store while its writer goes on: SQLite's own backup, which is one moment of it, whole.

Copying the file with other tools can miss what is still in the write-ahead log beside it, or tear a page. A copy is for
the day the store is lost. It must never go on in the place of a newer one: it would sign a second history.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from ledger.errors import StoreError
from ledger.store import SQLiteStore
from ledger.wal import require_whole


def copy_store(source: Path, target: Path, kind: Callable[[Path], SQLiteStore] = SQLiteStore) -> None:
    """Copy the store in `source` into the new file `target`, which its owner alone may read, and check the copy.

    `kind`: what opens it, and finds it whole.
    Raises StoreError if `target` exists or either refuses, StoreDamaged if the store is damaged.
    """
    if not source.is_file():
        raise StoreError(f"there is no store {source}")
    require_whole(source)
    try:
        os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        # Read-only: the last connection to close would otherwise write the log into the file of others.
        with (
            closing(sqlite3.connect(f"file:{quote(str(source))}?mode=ro", uri=True, timeout=10.0)) as there,
            closing(sqlite3.connect(target)) as here,
        ):
            there.backup(here)
    except OSError as error:
        raise StoreError(f"{target} cannot be written: {error.strerror}", remedy="Name another file.") from None
    except sqlite3.DatabaseError as error:
        target.unlink()
        raise StoreError(f"could not copy {source}: {error}") from error
    try:
        kind(target).close()
    except StoreError:
        target.unlink()
        raise
