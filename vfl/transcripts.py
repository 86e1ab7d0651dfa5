"""A party's transcript on disk: append-only, one framed record a message.

    record = length of the head (4 bytes) || that of the body || CRC-32 of the rest || head || body
    head   = MessagePack `Record` with an empty body

Each record is handed to the operating system before the message is acted upon, so a killed process loses nothing.
An incomplete last record is what such a kill can leave and is cut off; damage anywhere else is refused, also where a
damaged length reaches beyond the end of the file: then whole records follow. One process at a time may hold a
transcript open.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import msgspec

from vfl.channel import Record
from vfl.errors import UsageError

_HEADER = 12
_MAX_HEAD = 1 << 16  # bytes
_HEAD_START = msgspec.msgpack.encode(Record(True, "", "", b""))[:6]  # so many fields, the first is `sent`
_LOOKED_AT = 64  # places at most that look like the start of a record: a peer's message may be full of them


class FileTranscript:
    """The transcript in one file; opening it reads what an earlier process recorded."""

    def __init__(self, path: Path) -> None:
        """Raises UsageError if the file is damaged before its end, or another process writes to it."""
        self._file = path.open("ab", buffering=0)  # a buffer would be written once more when a full disk ends the run
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._past = list(read_transcript(path, repair=True))
        except BlockingIOError:
            self._file.close()
            raise UsageError(
                f"{path} is being written by another process", remedy="wait until that run has ended, or stop it"
            ) from None
        except UsageError:
            self._file.close()
            raise

    def append(self, record: Record) -> None:
        """Raises OSError when the disk is full."""
        head = msgspec.msgpack.encode(msgspec.structs.replace(record, body=b""))
        lengths = len(head).to_bytes(4, "big") + len(record.body).to_bytes(4, "big")
        start = lengths + _checksum(lengths, head, record.body) + head
        left = [memoryview(start), memoryview(record.body)]
        while left:
            written = os.writev(self._file.fileno(), left)
            while left and written >= len(left[0]):
                written -= len(left.pop(0))
            if left:
                left[0] = left[0][written:]

    def records(self) -> Iterable[Record]:
        return self._past

    def close(self) -> None:
        """Force everything to disk and close the file."""
        try:
            os.fsync(self._file.fileno())
        finally:
            self._file.close()


def read_transcript(path: Path, *, repair: bool = False) -> Iterator[Record]:
    """The records of the file at `path`; with `repair`, an incomplete last record is cut off.

    Raises UsageError naming the file and the byte where it is damaged, or that it does not exist.
    """
    for start, record in _records(path, None):
        if record is None:
            if not repair:
                raise UsageError(f"{path}: the record at byte {start} is incomplete")
            os.truncate(path, start)
            return
        yield record


def pick_received(path: Path, kinds: Iterable[str]) -> Iterator[Record]:
    """The received messages of these kinds, by class name: of a large transcript only they are read.

    Raises UsageError if the file is not there, is damaged, or ends inside a record.
    """
    wanted = set(kinds)
    for _, record in _records(path, [f"/{kind}/".encode() for kind in wanted]):
        if record is None:
            raise UsageError(f"{path} ends inside a record", remedy="restore the file from a backup")
        if not record.sent and record.slot.split("/")[2] in wanted:
            yield record


def _records(path: Path, kinds: Sequence[bytes] | None) -> Iterator[tuple[int, Record | None]]:
    """Where each record starts, and the record; None where the file ends inside it. `kinds`: what a wanted
    head holds one of."""
    try:
        file = path.open("rb")
    except FileNotFoundError:
        raise UsageError(f"{path}: there is no transcript") from None
    with file:
        start, end = 0, os.fstat(file.fileno()).st_size
        while start < end:
            header = file.read(_HEADER)
            head_size, body_size = int.from_bytes(header[:4], "big"), int.from_bytes(header[4:8], "big")
            next_start = start + _HEADER + head_size + body_size
            if len(header) < _HEADER or next_start > end:
                if _record_after(file, start):
                    raise _damaged(path, start)
                yield start, None
                return
            head = file.read(min(head_size, _MAX_HEAD))
            wanted = kinds is None or any(kind in head for kind in kinds)
            if wanted:
                body = file.read(body_size)
                if _checksum(header[:8], head, body) != header[8:]:
                    raise _damaged(path, start)
                try:
                    record = msgspec.structs.replace(msgspec.msgpack.decode(head, type=Record), body=body)
                except (msgspec.DecodeError, ValueError) as error:
                    raise UsageError(f"{path}: the record at byte {start} is no record: {error}") from None
                yield start, record
            file.seek(next_start)
            start = next_start


def _damaged(path: Path, start: int) -> UsageError:
    return UsageError(f"{path}: the record at byte {start} is damaged", remedy="restore the file from a backup")


def _record_after(file: BinaryIO, start: int) -> bool:
    """Whether a whole record lies somewhere behind the beginning of the one at `start`."""
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        at = start + _HEADER
        for _ in range(_LOOKED_AT):
            at = data.find(_HEAD_START, at + 1)
            if at < 0:
                return False
            lengths, checksum = data[at - _HEADER : at - 4], data[at - 4 : at]
            head, body = int.from_bytes(lengths[:4], "big"), int.from_bytes(lengths[4:], "big")
            whole = at + head + body <= len(data) and head <= _MAX_HEAD
            if whole and _checksum(lengths, data[at : at + head + body]) == checksum:
                return True
    return False


def _checksum(*parts: bytes) -> bytes:
    found = 0
    for part in parts:
        found = zlib.crc32(part, found)
    return found.to_bytes(4, "big")
