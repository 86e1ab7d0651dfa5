"""Noise that a partner adds to the sums of its cells, under encryption, where the agreement says so.

Exact sums of few rows say whose they are (`vfl.attacks.inversion`). Each cell b of a feature gets r_b - r_{b+1}, the
last one r_last - r_first, with r uniform in [-W, W]: the cells of a feature still add up to the node's total, which the
active party checks, and the sums of any run of neighbouring cells are off by 2 W at most, however many they are. The
draws are keyed by tree, node and cell, so nothing is drawn twice for one question and replay draws the same again.

It is no differential privacy: a bounded, agreed blur against an active party that is curious. One that tags gradients
with large numbers reads through it.
"""

from __future__ import annotations

import numpy as np

from vfl.crypto.scheme import CellLayout, Int64s, Lanes
from vfl.randomness import Randomness


def cell_noise(layout: CellLayout, lanes: Lanes, rng: Randomness) -> Int64s:
    """What is added to G and H of every cell, in fixed-point units: int64[cells, 2], zero without agreed noise."""
    noise = np.zeros((layout.cells, 2), dtype=np.int64)
    for value, width in enumerate((lanes.g_noise, lanes.h_noise)):
        if not width:
            continue
        drawn = _uniform(rng.child(f"noise/{value}"), layout.cells, width)
        for offset, bins in zip(layout.offsets, layout.n_bins, strict=True):
            own = drawn[offset : offset + bins]
            noise[offset : offset + bins, value] = own - np.roll(own, -1)
    return noise


def _uniform(rng: Randomness, count: int, width: int) -> Int64s:
    """Whole numbers in [-width, width]; 64 bits a draw, so that the bias is below 2^-24 for the widest lanes."""
    return (rng.uint64(count) % np.uint64(2 * width + 1)).astype(np.int64) - width
