"""A copy of a party, made while its service goes on: settings, keys, cards, agreements and runs, in one signed file.

    tar:  party.toml, state/...       every file; ledgers as SQLite copies them, whole and of one moment
          SHA256SUMS                  "<hex>  <name>" of each of them
          BACKUP.note                 signed by the party: its name, the time, the digest of SHA256SUMS

Left out are locks, files that are being written, indices that are made again, and approvals: each of those counts once,
and a copy would count again.
A ledger in a database is not in it; the database has backups of its own.
"""

from __future__ import annotations

import io
import os
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO

from ledger.clock import format_time
from ledger.copying import copy_store
from ledger.note import sign_note
from ledger.store import SQLiteStore
from vfl import __version__
from vfl.errors import UsageError
from vfl.files import refusals
from vfl.own_ledger import own_ledger
from vfl.party.config import NAME, PartyFile
from vfl.party.keystore import Keys
from vfl.party.state import APPROVALS
from vfl.scoring.volumes import INDEX, VOLUMES, VolumeStore

FORMAT = "tallystick-backup-v1"
STATE, SUMS, NOTE = "state", "SHA256SUMS", "BACKUP.note"
LEDGER = "ledger.sqlite"
_LEFT_OUT = ("lock", ".part", "-wal", "-shm", INDEX)  # how such names end
_TRIES = 3


@dataclass(frozen=True)
class Backup:
    """What was written. `size`: in bytes."""

    path: Path
    files: int
    size: int


def back_up(party: PartyFile, keys: Keys, out: Path, now: datetime) -> Backup:
    """Copy the party into the new file `out`, which its owner alone may read. Raises UsageError, and leaves nothing."""
    if out.exists():
        raise UsageError(f"{out} exists; a backup is never overwritten", remedy="name another file")
    if not out.parent.is_dir():
        raise UsageError(f"there is no folder {out.parent}", remedy="make it, or name another file")
    part = out.with_name(out.name + ".part")
    with refusals(out, "free some space, or name another file"):
        for left in reversed(range(_TRIES)):
            try:
                count = _write(party, keys, part, now)
                break
            except (FileNotFoundError, _Shrunk) as error:  # a run was completed, or cut its transcript, meanwhile
                part.unlink(missing_ok=True)
                if not left:
                    raise UsageError(f"{error}: the party changed while it was copied", remedy="try again") from None
            except BaseException:
                part.unlink(missing_ok=True)
                raise
        part.replace(out)
    return Backup(out, count, out.stat().st_size)


def note_of(party: str, made: str, software: str, sums: bytes) -> str:
    """The text that is signed."""
    return f"{FORMAT}\nparty {party}\nmade {made}\nsoftware {software}\nfiles {sha256(sums).hexdigest()}\n"


def _write(party: PartyFile, keys: Keys, part: Path, now: datetime) -> int:
    descriptor = os.open(part, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
    lines = []
    with os.fdopen(descriptor, "wb") as file:
        with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as archive:
            for name, path in _files(party):
                lines.append(f"{_add(archive, name, path, part.parent)}  {name}\n")
            sums = "".join(sorted(lines, key=lambda line: line.partition("  ")[2])).encode()
            text = note_of(party.name, format_time(now), __version__, sums)
            for name, data in ((SUMS, sums), (NOTE, str(sign_note(text, [keys.identity.identity])).encode())):
                _pour(archive, name, io.BytesIO(data), len(data))
        file.flush()
        os.fsync(file.fileno())
    return len(lines)


def _files(party: PartyFile) -> Iterator[tuple[str, Path]]:
    """Name in the archive and path of every file."""
    yield NAME, party.source
    for path in sorted(party.state.rglob("*")):
        name = path.relative_to(party.state).as_posix()
        if path.is_file() and not path.name.endswith(_LEFT_OUT) and not name.startswith(f"{APPROVALS}/"):
            yield f"{STATE}/{name}", path


def _add(archive: tarfile.TarFile, name: str, path: Path, near: Path) -> str:
    """Add a file; its SHA-256 in hex."""
    if path.suffix != ".sqlite":
        with path.open("rb") as file:
            return _pour(archive, name, file, os.fstat(file.fileno()).st_size)
    with tempfile.TemporaryDirectory(dir=near) as beside:
        copy = Path(beside) / LEDGER
        if not path.exists():
            raise FileNotFoundError(str(path))
        with own_ledger():
            copy_store(path, copy, VolumeStore if path.parent.name == VOLUMES else SQLiteStore)
        with copy.open("rb") as file:
            return _pour(archive, name, file, copy.stat().st_size)


def _pour(archive: tarfile.TarFile, name: str, file: BinaryIO, size: int) -> str:
    info = tarfile.TarInfo(name)
    info.size, info.mode = size, 0o600
    reading = _Summed(file, name)
    archive.addfile(info, reading)  # type: ignore[arg-type]  # it needs nothing but `read`
    return reading.sum.hexdigest()


class _Shrunk(Exception):
    """A file became shorter while it was read."""


class _Summed:
    """A file that is summed while it is read."""

    def __init__(self, file: BinaryIO, name: str) -> None:
        self._file, self._name, self.sum = file, name, sha256()

    def read(self, size: int) -> bytes:
        data = self._file.read(size)
        if len(data) != size:
            raise _Shrunk(self._name)
        self.sum.update(data)
        return data
