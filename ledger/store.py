"""Where a log rests: an append-only table of entries, its signed heads, and the heads seen of others.

`SQLiteStore` is one file (WAL, synchronous=FULL, STRICT tables, triggers that refuse UPDATE and DELETE); `MemoryStore`
serves tests and dry runs. A store knows bytes and positions; `Log` knows what they mean and re-hashes them on opening.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, Protocol

from ledger.errors import StoreDamaged, StoreError
from ledger.tables import FORMAT, make_tables, tables, tables_due
from ledger.wal import require_whole


class Row(NamedTuple):
    """A stored entry: position, canonical bytes, leaf hash (32 bytes)."""

    seq: int
    body: bytes
    leaf: bytes


class Head(NamedTuple):
    """A signed head: number of entries, root (32 bytes) and the note text that was signed, with its signature lines."""

    size: int
    root: bytes
    note: str


class PeerAdvance(NamedTuple):
    """A newer head of another log, to be kept only where `expected` is the newest so far."""

    origin: str
    expected: Head | None
    head: Head


class Store(Protocol):
    """What a log and a witness ask of their store. Every method raises StoreError when the database refuses."""

    def write(
        self,
        rows: Sequence[Row] = (),
        checkpoint: Head | None = None,
        cosignatures: Sequence[tuple[int, str]] = (),
        peers: Sequence[PeerAdvance] = (),
    ) -> bool:
        """Keep all of it durably or nothing, in one transaction; False, and nothing, where a peer's head is another.

        Rows must continue the log; at most one own checkpoint per size. A cosignature is the size of a checkpoint and
        a signature line; lines already there are left alone.
        """
        ...

    def rows(self, start: int = 0) -> Iterator[Row]:
        """All entries from position `start` on, in order."""
        ...

    def row(self, seq: int) -> Row:
        """The entry at one position."""
        ...

    def checkpoints(self) -> list[Head]:
        """The own checkpoints by size, as the log signed them."""
        ...

    def cosignatures(self, size: int) -> list[str]:
        """The lines kept for the checkpoint of `size`, in order of arrival."""
        ...

    def peer_head(self, origin: str) -> Head | None:
        """The newest head cosigned for another log."""
        ...

    def close(self) -> None:
        """Release the file."""
        ...


class SQLiteStore:
    """One SQLite file. Appending is one transaction with one fsync; an error leaves nothing behind."""

    def __init__(self, path: str | Path) -> None:
        """Raises StoreDamaged where SQLite would find its pages damaged, or pass over damage in silence."""
        self.path = Path(path)
        self._lock = threading.RLock()
        require_whole(self.path)
        with self._speaking("open"):
            self._db = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False, timeout=10.0)
            try:
                self._db.execute("PRAGMA journal_mode=WAL")
                self._db.execute("PRAGMA synchronous=FULL")
                self._db.execute("PRAGMA foreign_keys=ON")
                self._create()
                self._check()
            except BaseException:
                self._db.close()
                raise

    def _create(self) -> None:
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        if version not in (0, FORMAT):
            raise StoreError(f"{self.path} has store format {version}; this program reads format {FORMAT}")
        if not version:
            make_tables(self._db)

    def _tables_due(self) -> list[tuple[str, str]]:
        return tables_due()

    def _check(self) -> None:
        # A damaged index finds no row: the head that was cosigned of another log would be forgotten.
        (found,) = self._db.execute("PRAGMA integrity_check(1)").fetchone()
        if found != "ok" or tables(self._db) != self._tables_due():
            raise StoreDamaged(f"{self.path} is damaged: {found if found != 'ok' else 'its tables'}", remedy=_RESTORE)

    @contextmanager
    def _speaking(self, verb: str) -> Iterator[None]:
        try:
            yield
        except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
            text = str(error)
            kind = StoreDamaged if _remedy(text) == _RESTORE else StoreError
            raise kind(f"could not {verb} {self.path}: {text}", remedy=_remedy(text)) from error

    def write(
        self,
        rows: Sequence[Row] = (),
        checkpoint: Head | None = None,
        cosignatures: Sequence[tuple[int, str]] = (),
        peers: Sequence[PeerAdvance] = (),
    ) -> bool:
        """One transaction and fsync; heads are compared and set under its lock, as c2sp.org/tlog-witness asks."""
        with self._lock, self._speaking("write to"):
            self._db.execute("BEGIN IMMEDIATE")
            try:
                if kept := all(self.peer_head(peer.origin) == peer.expected for peer in peers):
                    self._insert(rows, checkpoint, cosignatures, peers)
                self._db.execute("COMMIT" if kept else "ROLLBACK")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise
            return kept

    def _insert(
        self,
        rows: Sequence[Row],
        checkpoint: Head | None,
        cosignatures: Sequence[tuple[int, str]],
        peers: Sequence[PeerAdvance],
    ) -> None:
        self._db.executemany("INSERT INTO entry VALUES (?, ?, ?)", rows)
        if checkpoint is not None:
            self._db.execute("INSERT INTO checkpoint VALUES (?, ?, ?)", checkpoint)
        if cosignatures:
            query = "INSERT INTO cosignature (size, line) VALUES (?, ?) ON CONFLICT (size, line) DO NOTHING"
            self._db.executemany(query, cosignatures)
        query = (
            "INSERT INTO peer_head VALUES (?, ?, ?, ?) ON CONFLICT (origin) DO UPDATE "
            "SET size = excluded.size, root = excluded.root, note = excluded.note"
        )
        self._db.executemany(query, [(peer.origin, *peer.head) for peer in peers])

    def rows(self, start: int = 0) -> Iterator[Row]:
        """Entries from `start` on, read in slices so that a long log needs little memory."""
        while True:
            with self._lock, self._speaking("read"):
                query = "SELECT seq, body, leaf FROM entry WHERE seq >= ? ORDER BY seq LIMIT 1000"
                part = self._db.execute(query, (start,)).fetchall()
            yield from map(Row._make, part)
            if len(part) < 1000:
                return
            start = part[-1][0] + 1

    def row(self, seq: int) -> Row:
        """One entry; raises StoreError when it is not there."""
        with self._lock, self._speaking("read"):
            found = self._db.execute("SELECT seq, body, leaf FROM entry WHERE seq = ?", (seq,)).fetchone()
        if found is None:
            raise StoreError(f"{self.path} holds no entry {seq}")
        return Row._make(found)

    def checkpoints(self) -> list[Head]:
        """All own checkpoints by size."""
        with self._lock, self._speaking("read"):
            return [Head._make(r) for r in self._db.execute("SELECT size, root, note FROM checkpoint ORDER BY size")]

    def cosignatures(self, size: int) -> list[str]:
        """Lines for one checkpoint in order of arrival."""
        with self._lock, self._speaking("read"):
            query = "SELECT line FROM cosignature WHERE size = ? ORDER BY id"
            return [line for (line,) in self._db.execute(query, (size,))]

    def peer_head(self, origin: str) -> Head | None:
        """The newest head cosigned for `origin`."""
        with self._lock, self._speaking("read"):
            query = "SELECT size, root, note FROM peer_head WHERE origin = ?"
            found = self._db.execute(query, (origin,)).fetchone()
        return None if found is None else Head._make(found)

    def close(self) -> None:
        """Close the file; a second call does nothing."""
        self._db.close()


_RESTORE = "Restore the file from a backup; the peers' cosigned heads show what it must contain."


def _remedy(text: str) -> str:
    if any(word in text for word in ("malformed", "not a database", "utf-8", "UTF-8")):
        return _RESTORE
    if "full" in text:
        return "Free disk space and commit again; nothing of this batch was kept."
    if "locked" in text or "busy" in text or "continue" in text or "UNIQUE" in text:
        return "Another process writes to this log; let only one do so."
    return ""


class MemoryStore:
    """The same promises without a file, for tests and dry runs."""

    def __init__(self) -> None:
        self._rows: list[Row] = []
        self._checkpoints: dict[int, Head] = {}
        self._lines: dict[int, dict[str, None]] = {}
        self._heads: dict[str, Head] = {}
        self._lock = threading.RLock()

    def write(
        self,
        rows: Sequence[Row] = (),
        checkpoint: Head | None = None,
        cosignatures: Sequence[tuple[int, str]] = (),
        peers: Sequence[PeerAdvance] = (),
    ) -> bool:
        """Check everything, then keep it."""
        with self._lock:
            if any(self._heads.get(peer.origin) != peer.expected for peer in peers):
                return False
            for offset, row in enumerate(rows):
                if row.seq != len(self._rows) + offset:
                    raise StoreError(f"entry {row.seq} does not continue a log of {len(self._rows)}")
            if checkpoint is not None and checkpoint.size in self._checkpoints:
                raise StoreError(f"there is a checkpoint of size {checkpoint.size} already")
            sizes = {*self._checkpoints, *([checkpoint.size] if checkpoint else [])}
            if missing := [size for size, _ in cosignatures if size not in sizes]:
                raise StoreError(f"there is no checkpoint of size {missing[0]}")
            self._rows.extend(rows)
            if checkpoint is not None:
                self._checkpoints[checkpoint.size] = checkpoint
            for size, line in cosignatures:
                self._lines.setdefault(size, {})[line] = None
            self._heads.update({peer.origin: peer.head for peer in peers})
            return True

    def rows(self, start: int = 0) -> Iterator[Row]:
        """Entries from `start` on."""
        return iter(self._rows[start:])

    def row(self, seq: int) -> Row:
        """One entry; raises StoreError when it is not there."""
        if not 0 <= seq < len(self._rows):
            raise StoreError(f"the memory store holds no entry {seq}")
        return self._rows[seq]

    def checkpoints(self) -> list[Head]:
        """All own checkpoints by size."""
        return [self._checkpoints[size] for size in sorted(self._checkpoints)]

    def cosignatures(self, size: int) -> list[str]:
        """Lines for one checkpoint in order of arrival."""
        return list(self._lines.get(size, ()))

    def peer_head(self, origin: str) -> Head | None:
        """The newest head cosigned for `origin`."""
        return self._heads.get(origin)

    def close(self) -> None:
        """Nothing to release."""
