"""What a party's disk keeps: a transcript file as the operating system has it, and a ledger's store.

Every durable step is a place to die. A killed process loses nothing it handed over; a power cut takes any part of the
transcript that was not synced, and everything the ledger had not committed.
"""

from __future__ import annotations

import copy
import errno
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ledger.errors import StoreError
from ledger.store import Head, MemoryStore, PeerAdvance, Row
from vfl.channel import Record
from vfl.transcripts import FileTranscript


class Killed(BaseException):
    """The party's process is gone. `power`: so is everything that was not synced."""

    def __init__(self, *, power: bool) -> None:
        super().__init__()
        self.power = power


class Disk:
    """The files of one party. `step` may raise Killed; `fails` says whether a write shall fail."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "transcript.bin"
        self.store = MemoryStore()
        self.backups: list[tuple[int, MemoryStore]] = []  # entries, and the store as it was then
        self.synced = 0  # bytes of the transcript that a power cut leaves
        self.begun = 0  # where its last record starts
        self.step: Callable[[str], None] = lambda what: None
        self.fails: Callable[[], bool] = lambda: False

    def open(self) -> Transcript:
        return Transcript(self)

    def size(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0

    def lose(self, chance: random.Random, *, power: bool) -> None:
        """What a death takes: at most the end of the last record, or all that was not synced."""
        size = self.size()
        if not size:
            return
        left = (
            chance.randint(min(self.synced, size), size) if power else chance.choice([size, size, self._torn(chance)])
        )
        with self.path.open("r+b") as file:
            file.truncate(left)

    def _torn(self, chance: random.Random) -> int:
        return chance.randint(max(self.begun, self.synced), self.size()) if self.begun else self.size()

    def keep_backup(self) -> None:
        """Remember the ledger as it is."""
        self.backups.append((len(list(self.store.rows())), copy_of(self.store)))


def copy_of(store: MemoryStore) -> MemoryStore:
    """The same content, apart."""
    found = MemoryStore()
    for name in ("_rows", "_checkpoints", "_lines", "_heads"):
        setattr(found, name, copy.copy(getattr(store, name)))
    found._lines = {size: dict(lines) for size, lines in store._lines.items()}
    return found


class Transcript(FileTranscript):
    """The product's transcript file; a process may die before, in or after every record."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        super().__init__(disk.path)
        disk.synced, disk.begun = disk.size(), 0  # opening cuts a torn record off

    def append(self, record: Record) -> None:
        self._disk.step("before a record")
        self._disk.begun = self._disk.size()
        super().append(record)
        if self._disk.fails():
            with self._disk.path.open("r+b") as file:
                file.truncate((self._disk.begun + self._disk.size()) // 2)
            raise OSError(errno.ENOSPC, "no space left on device")
        self._disk.step("after a record")

    def close(self) -> None:
        self._file.close()
        self._disk.synced = self._disk.size()

    def abandon(self) -> None:
        """The process died: nothing is synced."""
        self._file.close()


class Store:
    """A ledger's store on a disk (`ledger.store.Store`)."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk

    def __getattr__(self, name: str) -> Any:
        return getattr(self._disk.store, name)

    def write(
        self,
        rows: Sequence[Row] = (),
        checkpoint: Head | None = None,
        cosignatures: Sequence[tuple[int, str]] = (),
        peers: Sequence[PeerAdvance] = (),
    ) -> bool:
        self._disk.step("before a transaction")
        if self._disk.fails():
            raise StoreError("database or disk is full")
        kept = self._disk.store.write(rows, checkpoint, cosignatures, peers)
        if self._disk.fails():
            raise StoreError("disk I/O error")  # only the answer is lost
        self._disk.step("after a transaction")
        return kept
