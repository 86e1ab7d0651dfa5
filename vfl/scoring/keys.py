"""Which entry answers an idempotency key: an index of what the volumes know, made again when it is lost or damaged.

SEAT/scoring/keys.sqlite      asked (caller, key, body, volume, seq, moment)      `body`: SHA-256 of the request
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

KEPT_SECONDS = 86_400
"""How long an idempotency key is remembered at least."""
_REMEMBER = "INSERT OR REPLACE INTO asked VALUES (?, ?, ?, ?, ?, unixepoch())"


@dataclass(frozen=True)
class Asked:
    """An idempotency key: who used it, and SHA-256 of the request."""

    caller: str
    key: str
    body: bytes


class Keys:
    """The index. last: the newest volume that it knew when it was opened."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        self._unkept: dict[tuple[str, str], tuple[bytes, int, int]] = {}
        try:
            self.last = self._read(path)
        except sqlite3.DatabaseError:  # damaged; the volumes know it all
            for each in (path, path.with_name(f"{path.name}-wal"), path.with_name(f"{path.name}-shm")):
                each.unlink(missing_ok=True)
            self.last = self._read(path)

    def _read(self, path: Path) -> int:
        """Open the index and forget old keys."""
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10.0)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=NORMAL")
        self._db.execute(
            "CREATE TABLE IF NOT EXISTS asked (caller TEXT, key TEXT, body BLOB, volume INTEGER, seq INTEGER,"
            " moment INTEGER, PRIMARY KEY (caller, key)) WITHOUT ROWID"
        )
        last: int = self._db.execute("SELECT coalesce(max(volume), 0) FROM asked").fetchone()[0]
        self._db.execute("DELETE FROM asked WHERE moment < unixepoch() - ?", (KEPT_SECONDS,))
        return last

    def add(self, found: Iterable[tuple[Asked, int, int]]) -> None:
        """Remember keys, each with the volume and the entry that answers it."""
        rows = [(one.caller, one.key, one.body, volume, seq) for one, volume, seq in found]
        if not rows:
            return
        with self._lock:
            try:
                self._db.execute("BEGIN")
                self._db.executemany(_REMEMBER, rows)
                self._db.execute("COMMIT")
            except sqlite3.Error:  # they are on record, so the answer stands; at the next start they are found there
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                self._unkept |= {(caller, key): (body, volume, seq) for caller, key, body, volume, seq in rows}

    def find(self, caller: str, key: str) -> tuple[bytes, int, int] | None:
        """Digest of the request, volume and entry of a key once used."""
        with self._lock:
            if (unkept := self._unkept.get((caller, key))) is not None:
                return unkept
            query = "SELECT body, volume, seq FROM asked WHERE caller = ? AND key = ?"
            found: tuple[bytes, int, int] | None = self._db.execute(query, (caller, key)).fetchone()
        return found

    def close(self) -> None:
        """Release the file."""
        self._db.close()
