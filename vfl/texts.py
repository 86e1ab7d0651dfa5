"""Millions of short texts in two arrays instead of as many objects: 11 characters take 19 bytes, not 70."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import overload

import numpy as np
import numpy.typing as npt

Rows = npt.NDArray[np.int64]
Words = npt.NDArray[np.uint64]
_AT_ONCE = 1 << 16


class Texts(Sequence[str]):
    """A sequence of texts that never changes. Slices share its memory."""

    __slots__ = ("_data", "_ends")

    def __init__(self, data: npt.NDArray[np.uint8], ends: Rows) -> None:
        """Text i is `data[ends[i] : ends[i + 1]]`, in UTF-8."""
        self._data, self._ends = data, ends

    @classmethod
    def of(cls, texts: Iterable[str]) -> Texts:
        """Of any texts, one after the other; those that are `Texts` already stay what they are."""
        if isinstance(texts, Texts):
            return texts
        waiting, parts = iter(texts), []
        while some := [text.encode(errors="surrogatepass") for text in islice(waiting, _AT_ONCE)]:
            lengths = np.fromiter(map(len, some), np.int64, len(some))
            parts.append(cls(np.frombuffer(b"".join(some), np.uint8), _ends(lengths)))
        return cls.joined(parts)

    @classmethod
    def joined(cls, parts: Sequence[Texts]) -> Texts:
        """One part after the other."""
        if len(parts) == 1:
            return parts[0]
        lengths = [np.diff(part._ends) for part in parts]
        data = [part._data[part._ends[0] : part._ends[-1]] for part in parts]
        none = np.empty(0, np.int64), np.empty(0, np.uint8)
        return cls(np.concatenate([none[1], *data]), _ends(np.concatenate([none[0], *lengths])))

    def take(self, rows: Rows) -> Texts:
        """The texts at these places, in this order."""
        starts = self._ends[rows]
        ends = _ends(self._ends[rows + 1] - starts)
        data = np.empty(int(ends[-1]), np.uint8)
        for first in range(0, len(rows), _AT_ONCE):  # the places of single bytes take eight times the texts
            part = ends[first : first + _AT_ONCE + 1]
            shifts = np.repeat(starts[first : first + _AT_ONCE] - part[:-1], np.diff(part))
            data[part[0] : part[-1]] = self._data[shifts + np.arange(part[0], part[-1])]
        return Texts(data, ends)

    def replaced(self, old: str, new: str) -> Texts:
        """With one ASCII character in place of another."""
        return Texts(np.where(self._data == ord(old), np.uint8(ord(new)), self._data), self._ends)

    @property
    def lengths(self) -> Rows:
        """Bytes of each text."""
        return np.diff(self._ends)

    def digests(self, key: bytes) -> Words:
        """BLAKE2b-128 of each text under `key`: uint64, shape (n, 2)."""
        keyed = hashlib.blake2b(digest_size=16, key=key)
        found = np.empty((len(self), 2), np.uint64)
        for start in range(0, len(self), _AT_ONCE):
            digests = []
            for item in self[start : start + _AT_ONCE].encoded():
                state = keyed.copy()  # half the time of starting with the key again
                state.update(item)
                digests.append(state.digest())
            found[start : start + len(digests)] = np.frombuffer(b"".join(digests), "<u8").reshape(-1, 2)
        return found

    def encoded(self) -> Iterator[bytes]:
        """The texts as bytes."""
        for first in range(0, len(self), _AT_ONCE):
            places = self._ends[first : first + _AT_ONCE + 1]
            data = self._data[places[0] : places[-1]].tobytes()
            bounds = (places - places[0]).tolist()
            yield from map(data.__getitem__, map(slice, bounds, bounds[1:]))

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __iter__(self) -> Iterator[str]:
        return (item.decode(errors="surrogatepass") for item in self.encoded())

    @overload
    def __getitem__(self, place: int) -> str: ...
    @overload
    def __getitem__(self, place: slice) -> Texts: ...
    def __getitem__(self, place: int | slice) -> str | Texts:
        if isinstance(place, slice):
            chosen = range(len(self))[place]
            if chosen.step != 1:
                return self.take(np.fromiter(chosen, np.int64, len(chosen)))
            return Texts(self._data, self._ends[chosen.start : chosen.start + len(chosen) + 1])
        at = range(len(self))[place]
        return bytes(self._data[self._ends[at] : self._ends[at + 1]]).decode(errors="surrogatepass")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence) or isinstance(other, str):
            return NotImplemented
        return len(self) == len(other) and all(mine == theirs for mine, theirs in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]

    def __reduce__(self) -> tuple[type[Texts], tuple[npt.NDArray[np.uint8], Rows]]:
        start = self._ends[0]  # of a slice its own bytes alone
        return Texts, (self._data[start : self._ends[-1]], self._ends - start)


def first_places(texts: Texts) -> Rows:
    """For each text the place of the first one that equals it: its own where it is new."""
    hashes = np.fromiter(map(hash, texts.encoded()), np.int64, len(texts))  # 8 bytes each, where a set takes 100
    order = np.argsort(hashes)
    alike = np.zeros(len(texts), np.bool_)
    same = np.flatnonzero(np.diff(hashes[order]) == 0)
    alike[order[same]] = alike[order[same + 1]] = True
    firsts = np.arange(len(texts))
    seen: dict[str, int] = {}
    for place in np.flatnonzero(alike).tolist():
        firsts[place] = seen.setdefault(texts[place], place)
    return firsts


def _ends(lengths: Rows) -> Rows:
    ends = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=ends[1:])
    return ends
