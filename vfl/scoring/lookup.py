"""Rows of a table by token: sorted once, then found by bisection, many at a time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from vfl.protocols.score_online import TOKEN

Int64s = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


class Lookup:
    """Tokens of the rows of one table, 16 bytes each and all different."""

    def __init__(self, tokens: Sequence[bytes]) -> None:
        words = _words(b"".join(tokens))
        self._order = np.lexsort((words[:, 1], words[:, 0]))
        self._first, self._second = words[self._order].T.copy()

    def find(self, tokens: Sequence[bytes]) -> tuple[Flags, Int64s]:
        """Which of `tokens` are here, bool[n], and the rows of those, int64[known]."""
        wanted = _words(b"".join(tokens))
        known, rows = np.zeros(len(wanted), np.bool_), np.zeros(len(wanted), np.int64)
        if len(self._first):
            at = np.searchsorted(self._first, wanted[:, 0])
            for step in range(2):  # tokens of which the first halves are equal lie side by side
                place = np.minimum(at + step, len(self._first) - 1)
                same = (self._first[place] == wanted[:, 0]) & (self._second[place] == wanted[:, 1]) & ~known
                rows[same] = self._order[place[same]]
                known |= same
        return known, rows[known]


def _words(data: bytes) -> npt.NDArray[np.uint64]:
    return np.frombuffer(data, ">u8").astype(np.uint64).reshape(-1, TOKEN // 8)
