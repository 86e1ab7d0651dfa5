"""Sums of ring elements over the rows of each cell, part by part: what an evaluator of the lattice does with rows.

A part has as many whole ring blocks as fit into `Engine.partition_rows`. Its matrix is moved to the engine once; the
rows of a query come in messages, and each message, cut where parts end, is a piece of work. Sums are int64, so that of
parts they are what they would be of all rows at once.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import scipy.sparse

from vfl.crypto import ring
from vfl.crypto.bin_matrix import BinMatrix, indicators
from vfl.crypto.scheme import CellLayout, Codes, Int64s
from vfl.engine import Engine, Queue, parts


class RowSums:
    """The rows of a run, bound to their cells."""

    def __init__(self, codes: Codes, layout: CellLayout, engine: Engine) -> None:
        """`codes`: uint8 or uint16, shape (rows, features)."""
        self._cells, self._engine = layout.cells, engine
        self._size = blocks_a_part(engine)
        self._kept = [engine.keep(BinMatrix(codes[rows], layout)) for rows in parts(len(codes), self._size * ring.N)]
        self._sums = np.empty((0, 3, 0), dtype=np.int64)
        self._queue = Queue(engine, sum_blocks, self._add)

    def begin(self, vectors: int) -> None:
        """A query of so many encrypted vectors begins."""
        self._queue.finish()  # of a query that was given up
        self._sums = np.zeros((self._cells, 3, vectors), dtype=np.int64)

    def add(self, first: int, low: ring.Words, high: ring.Words) -> None:
        """Rows of whole ring blocks from block `first` on, the last one of the run's as long as it is: uint64[rows,
        vectors] each.
        """
        at = first * ring.N
        for rows in _cut(at, at + len(low), self._size * ring.N):
            part, inside = divmod(rows.start // ring.N, self._size)
            here = slice(rows.start - at, rows.stop - at)
            self._queue.add(self._kept[part], inside, low[here], high[here])

    def finish(self) -> Int64s:
        """The sums of all rows that came: int64[cells, 3, vectors]."""
        self._queue.finish()
        return self._sums

    def _add(self, partial: Int64s) -> None:
        self._sums += partial


def sum_blocks(matrix: BinMatrix, first: int, low: ring.Words, high: ring.Words) -> Int64s:
    """Work: the sums of some blocks of a part, from its block `first` on: int64[cells, 3, vectors]."""
    blocks = matrix.blocks()[first : first + -(-len(low) // ring.N)]
    sums = np.zeros((blocks[0].shape[0], 3 * low.shape[1]), dtype=np.int64)
    for block, rows in zip(blocks, parts(len(low), ring.N), strict=True):
        sums += _product(block, low[rows], high[rows])
    return sums.reshape(len(sums), 3, -1)


def _product(block: scipy.sparse.csr_array, low: ring.Words, high: ring.Words) -> Int64s:
    found: Int64s = block @ thirds(low, high).reshape(len(low), -1)
    return found


def thirds(low: ring.Words, high: ring.Words) -> Int64s:
    """Elements as thirds of 36 bits, so that 2^26 of them can be added: uint64[n, vectors] -> int64[n, 3, vectors]."""
    cut = np.empty((len(low), 3, low.shape[1]), dtype=np.uint64)
    mask = np.uint64((1 << 36) - 1)
    np.bitwise_and(low, mask, out=cut[:, 0])
    np.bitwise_and((low >> np.uint64(36)) | (high << np.uint64(28)), mask, out=cut[:, 1])
    np.right_shift(high, np.uint64(8), out=cut[:, 2])
    return cut.view(np.int64)


def products(cells: range, codes: Codes, layout: CellLayout, spectra: list[ring.Spectrum]) -> Int64s:
    """Work: sum over the blocks of a part of a_t d_jt(1/x) for some cells, as limbs: int64[cells, 4, 4096]."""
    limbs = np.zeros((len(cells), ring.LIMBS, ring.N), dtype=np.int64)
    waiting = np.zeros((len(cells), ring.LIMBS, ring.N // 2), dtype=np.complex128)
    for t, element in enumerate(spectra):
        waiting += ring.spectrum(indicators(cells, codes, layout, t)).conj()[:, None, :] * element
        if (t + 1) % ring.MAX_SUM == 0 or t + 1 == len(spectra):
            limbs += ring.coefficients(waiting)
            waiting[:] = 0
    return limbs


def blocks_a_part(engine: Engine) -> int:
    """Ring blocks in a part."""
    return max(1, engine.partition_rows // ring.N)


def _cut(start: int, stop: int, size: int) -> Iterator[range]:
    """`start` to `stop`, cut at the multiples of `size`."""
    while start < stop:
        end = min(stop, (start // size + 1) * size)
        yield range(start, end)
        start = end
