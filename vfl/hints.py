"""Hints kept on disk, so that a second training on the same aligned bins computes, sends and hashes none again.

    file = SHA-256 of the rest || for each block: length (8 bytes, big-endian) || block

A hint is named by its maker (`vfl.crypto.lattice`): equal names mean equal bytes. A file that is damaged counts as
absent. Files appear whole.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

_DIGEST = 32
_LENGTH = 8


class HintFolder:
    """Hints in files (`vfl.crypto.scheme.HintStore`)."""

    def __init__(self, read: Sequence[Path], write: Path | None) -> None:
        """`read`: folders to look into.   `write`: where new hints are kept; None: nowhere."""
        self._read, self._write = tuple(read), write

    def find(self, name: bytes) -> Iterator[bytes] | None:
        """The blocks of the hint of that name, or None."""
        for folder in self._read:
            path = _path(folder, name)
            if path.exists() and _is_whole(path):
                return _blocks(path)
        return None

    def keep(self, name: bytes, blocks: Iterator[bytes]) -> Iterator[bytes]:
        """`blocks` again; the file appears when the last one was taken."""
        if self._write is None:
            yield from blocks
            return
        self._write.mkdir(parents=True, exist_ok=True)
        path = _path(self._write, name)
        partial, digest = path.with_suffix(".partial"), hashlib.sha256()
        with partial.open("wb") as file:
            file.write(bytes(_DIGEST))
            for block in blocks:
                length = len(block).to_bytes(_LENGTH, "big")
                for part in (length, block):
                    digest.update(part)
                    file.write(part)
                yield block
            file.seek(0)
            file.write(digest.digest())
        os.replace(partial, path)


def _path(folder: Path, name: bytes) -> Path:
    return folder / f"{name.hex()}.hint"


def _is_whole(path: Path) -> bool:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        wanted = file.read(_DIGEST)
        while part := file.read(1 << 20):
            digest.update(part)
    return digest.digest() == wanted


def _blocks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        file.seek(_DIGEST)
        while length := file.read(_LENGTH):
            yield file.read(int.from_bytes(length, "big"))
