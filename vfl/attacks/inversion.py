"""Exact-sum inversion by a curious active party: cells that hold one or two customers say who they are.

Source: Weng et al., "Practical privacy attacks on vertical federated learning" (arXiv:2011.09290), the honest half of
the reverse-sum attack. The attacker knows (g, h) of every row of a node, as it made them, and the exact sums (G, H) of
every cell of a partner. Where exactly one row, or one pair of rows, has the sums of a cell, it claims that they are in
the cell's bin. The figure counts (customer, feature, bin) claims.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Int64s = npt.NDArray[np.int64]
_WIDTH = 1 << 31  # one key of g and h adds up as they do, while |H| of two rows stays below


@dataclass(frozen=True)
class Claim:
    """The row, numbered within the node, is in this cell of the histogram."""

    row: int
    cell: int


def invert(g: Int64s, h: Int64s, cells: Int64s) -> list[Claim]:
    """Claims from one node: `g`, `h`: int64[rows of the node], `cells`: int64[cells, 2], the partner's sums."""
    keys = g * _WIDTH + h
    order = np.argsort(keys, kind="stable")
    ranked = keys[order]
    claims = []
    most = 2 * int(np.abs(g).max(initial=0)), 2 * int(h.max(initial=0))
    small = np.flatnonzero((cells[:, 1] > 0) & (cells[:, 1] <= most[1]) & (np.abs(cells[:, 0]) <= most[0]))
    for cell in small.tolist():
        target = int(cells[cell, 0]) * _WIDTH + int(cells[cell, 1])
        singles = _matches(ranked, np.array([target]))
        pairs = _matches(ranked, target - ranked)
        # Every pair of rows is counted from both ends, and a row with itself is none.
        count = int(pairs.sum()) - int((2 * ranked == target).sum())
        if int(singles.sum()) * 2 + count == 2:
            claims += [Claim(int(row), cell) for row in _rows(order, ranked, target, pairs)]
    return claims


def _rows(order: Int64s, ranked: Int64s, target: int, pairs: Int64s) -> Int64s:
    """The rows of the only solution."""
    alone: Int64s = order[ranked == target]
    paired: Int64s = order[pairs > (2 * ranked == target)]
    return alone if len(alone) else paired


def _matches(ranked: Int64s, wanted: Int64s) -> Int64s:
    """How often each wanted key is among the ranked ones."""
    found: Int64s = np.searchsorted(ranked, wanted, side="right") - np.searchsorted(ranked, wanted, side="left")
    return found
