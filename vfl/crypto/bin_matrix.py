"""The static matrix D of a passive party, 0/1: which cell (feature, bin) each of its rows is in."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import scipy.sparse

from vfl.crypto import ring
from vfl.crypto.scheme import CellLayout, Codes, Int64s


def indicators(cells: range, codes: Codes, layout: CellLayout, t: int) -> npt.NDArray[np.int8]:
    """d_jt for some cells: int8[cells, 4096]."""
    picks = np.zeros((len(cells), ring.N), dtype=np.int8)
    rows = codes[t * ring.N : (t + 1) * ring.N]
    for feature, offset in enumerate(layout.offsets):
        place = rows[:, feature].astype(np.int64) + offset - cells.start
        inside = np.flatnonzero((place >= 0) & (place < len(cells)))
        picks[place[inside], inside] = 1
    return picks


def matrices(codes: Codes, layout: CellLayout) -> list[scipy.sparse.csr_array]:
    """The 0/1 matrix D, cut by ring block: int64, cells x rows of the block."""
    ones = np.ones(ring.N * layout.features, dtype=np.int64)  # one array for all blocks
    return [_matrix(codes[start : start + ring.N], layout, ones) for start in range(0, len(codes), ring.N)]


def _matrix(codes: Codes, layout: CellLayout, ones: Int64s) -> scipy.sparse.csr_array:
    order = np.argsort(codes, axis=0, kind="stable").T.astype(np.int32)  # rows by feature, then bin
    counts = [np.bincount(column, minlength=bins) for column, bins in zip(codes.T, layout.n_bins, strict=True)]
    ends = np.concatenate([[0], np.cumsum(np.concatenate(counts))]).astype(np.int32)
    shape = (layout.cells, len(codes))
    return scipy.sparse.csr_array((ones[: order.size], order.reshape(-1), ends), shape=shape)
