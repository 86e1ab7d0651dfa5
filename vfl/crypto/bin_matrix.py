"""The static matrix D of a passive party, 0/1: which cell (feature, bin) each of its rows is in."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse

from vfl.crypto import ring
from vfl.crypto.scheme import CellLayout, Codes, Int64s

Int32s = npt.NDArray[np.int32]


def indicators(cells: range, codes: Codes, layout: CellLayout, t: int) -> npt.NDArray[np.int8]:
    """d_jt for some cells: int8[cells, 4096]."""
    picks = np.zeros((len(cells), ring.N), dtype=np.int8)
    rows = codes[t * ring.N : (t + 1) * ring.N]
    for feature, offset in enumerate(layout.offsets):
        place = rows[:, feature].astype(np.int64) + offset - cells.start
        inside = np.flatnonzero((place >= 0) & (place < len(cells)))
        picks[place[inside], inside] = 1
    return picks


class BinMatrix:
    """D of some whole ring blocks and the rest behind them, cut by block. Of four bytes for each row and feature."""

    def __init__(self, codes: Codes, layout: CellLayout) -> None:
        """`codes`: of the rows of these blocks."""
        self._layout = layout
        self._parts = [_sorted(codes[start : start + ring.N], layout) for start in range(0, len(codes), ring.N)]
        self._built: list[scipy.sparse.csr_array] = []

    def blocks(self) -> list[scipy.sparse.csr_array]:
        """D of each block: int64, cells x rows of the block."""
        if not self._built:
            ones = np.ones(ring.N * self._layout.features, dtype=np.int64)  # one array for all blocks
            self._built = [_matrix(order, ends, self._layout, ones) for order, ends in self._parts]
        return self._built

    def __reduce__(self) -> tuple[Any, ...]:
        return _again, (self._layout, self._parts)  # without the ones


def _again(layout: CellLayout, parts: list[tuple[Int32s, Int32s]]) -> BinMatrix:
    found = BinMatrix(np.empty((0, layout.features), np.uint8), layout)
    found._parts = parts
    return found


def _sorted(codes: Codes, layout: CellLayout) -> tuple[Int32s, Int32s]:
    """Rows by feature, then bin, and where the rows of each cell end."""
    order = np.argsort(codes, axis=0, kind="stable").T.astype(np.int32)
    counts = [np.bincount(column, minlength=bins) for column, bins in zip(codes.T, layout.n_bins, strict=True)]
    return order.reshape(-1), np.concatenate([[0], np.cumsum(np.concatenate(counts))]).astype(np.int32)


def _matrix(order: Int32s, ends: Int32s, layout: CellLayout, ones: Int64s) -> scipy.sparse.csr_array:
    shape = (layout.cells, len(order) // layout.features)
    return scipy.sparse.csr_array((ones[: order.size], order, ends), shape=shape)
