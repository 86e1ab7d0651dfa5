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


@dataclass(frozen=True)
class Claim:
    """The row, numbered within the node, is in this cell of the histogram."""

    row: int
    cell: int


def invert(g: Int64s, h: Int64s, cells: Int64s, slack: tuple[int, int] = (0, 0)) -> list[Claim]:
    """Claims from one node: `g`, `h`: int64[rows of the node], `cells`: int64[cells, 2], the partner's sums.

    `slack`: how far G and H may be from the truth where the partner adds noise; a cell is claimed if nothing else, the
    empty cell included, is as near.
    """
    order = np.argsort(g, kind="stable")
    ranked, heavy = g[order], h[order]
    most = 2 * int(np.abs(g).max(initial=0)) + slack[0], 2 * int(h.max(initial=0)) + slack[1]
    empty = (np.abs(cells[:, 0]) <= slack[0]) & (np.abs(cells[:, 1]) <= slack[1])
    small = np.flatnonzero(~empty & (cells[:, 1] <= most[1]) & (np.abs(cells[:, 0]) <= most[0]))
    claims = []
    for cell in small.tolist():
        target, weight = int(cells[cell, 0]), int(cells[cell, 1])
        solutions = _singles(ranked, heavy, target, weight, slack) + _pairs(ranked, heavy, target, weight, slack)
        if len(solutions) == 1:
            claims += [Claim(int(order[place]), cell) for place in solutions[0]]
    return claims


def _singles(ranked: Int64s, heavy: Int64s, target: int, weight: int, slack: tuple[int, int]) -> list[tuple[int, ...]]:
    """Rows that have the sums alone, as places in `ranked`; two are as good as many."""
    low, high = np.searchsorted(ranked, [target - slack[0], target + slack[0] + 1])
    near = np.flatnonzero(np.abs(heavy[low:high] - weight) <= slack[1]) + low
    return [(int(place),) for place in near[:2]]


def _pairs(ranked: Int64s, heavy: Int64s, target: int, weight: int, slack: tuple[int, int]) -> list[tuple[int, ...]]:
    """Pairs of rows that have the sums together; two are as good as many."""
    lows = np.maximum(np.searchsorted(ranked, target - slack[0] - ranked), np.arange(len(ranked)) + 1)
    highs = np.searchsorted(ranked, target + slack[0] + 1 - ranked)
    found: list[tuple[int, ...]] = []
    for place in np.flatnonzero(highs > lows).tolist():
        others = heavy[lows[place] : highs[place]]
        near = np.flatnonzero(np.abs(heavy[place] + others - weight) <= slack[1])
        found += [(place, int(lows[place] + other)) for other in near[:2]]
        if len(found) > 1:
            break
    return found
