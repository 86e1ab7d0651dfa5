"""A party's transcript on disk: append-only, one framed record a message.

    record = length (4 bytes, big-endian) || CRC-32 of the body (4 bytes, big-endian) || body (MessagePack `Record`)

Each record is handed to the operating system before the message is acted upon, so a killed process loses nothing.
An incomplete last record is what such a kill can leave and is cut off; damage anywhere else is refused. One process
at a time may hold a transcript open.
"""

from __future__ import annotations

import fcntl
import os
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from vfl.channel import Record
from vfl.errors import UsageError

_HEADER = 8
_SLOT_WITHIN = 1024  # bytes: direction, peer and slot are the first fields of a record


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
        body = msgspec.msgpack.encode(record)
        left = memoryview(len(body).to_bytes(4, "big") + zlib.crc32(body).to_bytes(4, "big") + body)
        while left:
            left = left[self._file.write(left) :]

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
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise UsageError(f"{path}: there is no transcript") from None
    start = 0
    while start < len(data):
        size = int.from_bytes(data[start : start + 4], "big")
        end = start + _HEADER + size
        if end > len(data):
            if not repair:
                raise UsageError(f"{path}: the record at byte {start} is incomplete")
            os.truncate(path, start)
            return
        body = data[start + _HEADER : end]
        if zlib.crc32(body).to_bytes(4, "big") != data[start + 4 : start + _HEADER]:
            raise UsageError(f"{path}: the record at byte {start} is damaged", remedy="restore the file from a backup")
        try:
            yield msgspec.msgpack.decode(body, type=Record)
        except (msgspec.DecodeError, ValueError) as error:
            raise UsageError(f"{path}: the record at byte {start} is no record: {error}") from None
        start = end


def pick_received(path: Path, kinds: Iterable[str]) -> Iterator[Record]:
    """The received messages of these kinds, by class name: of a large transcript only they are read.

    Raises UsageError if the file is not there or ends inside a record.
    """
    wanted = [f"/{kind}/".encode() for kind in kinds]
    try:
        file = path.open("rb")
    except FileNotFoundError:
        raise UsageError(f"{path}: there is no transcript") from None
    with file:
        while header := file.read(_HEADER):
            size = int.from_bytes(header[:4], "big")
            body = file.read(min(size, _SLOT_WITHIN))
            if len(header) < _HEADER or len(body) < min(size, _SLOT_WITHIN):
                raise UsageError(f"{path} ends inside a record", remedy="restore the file from a backup")
            if not any(kind in body for kind in wanted):
                file.seek(size - len(body), os.SEEK_CUR)
                continue
            record = msgspec.msgpack.decode(body + file.read(size - len(body)), type=Record)
            if not record.sent and record.slot.split("/")[2].encode() in {kind.strip(b"/") for kind in wanted}:
                yield record
