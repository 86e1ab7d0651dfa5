"""What SQLite's write-ahead log would lose without a word: a frame that fails its check ends the log for SQLite.

Source: sqlite.org/fileformat2.html, section 4. File = header (32 bytes), then frames: header (24 bytes) and a page.

Power that fails leaves the last transaction in pieces, which was not acknowledged. A frame that fails its check before
a commit that others follow is damage: those that follow were only written when the commit was on disk.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from ledger.errors import StoreDamaged

_HEADER, _FRAME = 32, 24
_MAGIC = {0x377F0682: "<", 0x377F0683: ">"}  # and the order of bytes in what is summed
_LARGEST_PAGE = 65536


class _Frame(NamedTuple):
    """A frame: whether it fails its check, whether it has the salts of this log, whether it ends a transaction."""

    fails: bool
    salted: bool
    commits: bool


def require_whole(database: Path) -> None:
    """Raise StoreDamaged if the log beside `database` is damaged before its last transaction."""
    path = database.with_name(database.name + "-wal")
    if not path.exists():
        return
    with path.open("rb") as file:
        failed = committed = False
        for frame in _frames(file):
            if failed and committed and frame.salted:
                raise StoreDamaged(
                    f"{path} is damaged: entries that were kept would be lost",
                    remedy="Restore both files from a backup; the peers' cosigned heads show what they must contain.",
                )
            committed |= (failed or frame.fails) and frame.commits
            failed |= frame.fails


def _frames(file: BinaryIO) -> Iterator[_Frame]:
    header = file.read(_HEADER)
    if len(header) < _HEADER:
        return
    magic, _, size, _, *salts = struct.unpack(">6I", header[:24])
    order = _MAGIC.get(magic, ">")
    summed = _sum(order, header[:24], (0, 0))
    fails = magic not in _MAGIC or struct.pack(">2I", *summed) != header[24:]
    if fails:  # then nothing it says can be relied upon: the frames speak for themselves
        size, salts = _as_framed(file)
    while len(data := file.read(_FRAME + size)) == _FRAME + size:
        _, pages, first, second, *sums = struct.unpack(">6I", data[:_FRAME])
        salted = [first, second] == salts
        if not fails:
            summed = _sum(order, data[:8], summed)
            summed = _sum(order, data[_FRAME:], summed)
            fails = not salted or list(summed) != sums
        yield _Frame(fails, salted, pages > 0)


def _as_framed(file: BinaryIO) -> tuple[int, list[int]]:
    """Page size and salts of a log whose header is damaged, from its first two frames; the file stays where it was."""
    start = file.tell()
    first = file.read(_FRAME)
    found = _LARGEST_PAGE, [0, 0]
    size = 512
    while len(first) == _FRAME and size <= _LARGEST_PAGE:
        file.seek(start + _FRAME + size)
        if file.read(_FRAME)[8:16] == first[8:16]:
            found = size, list(struct.unpack(">2I", first[8:16]))
            break
        size *= 2
    file.seek(start)
    return found


def _sum(order: str, data: bytes, start: tuple[int, int]) -> tuple[int, int]:
    first, second = start
    words = iter(struct.unpack(f"{order}{len(data) // 4}I", data))
    for one, other in zip(words, words, strict=True):
        first = (first + one + second) & 0xFFFFFFFF
        second = (second + other + first) & 0xFFFFFFFF
    return first, second
