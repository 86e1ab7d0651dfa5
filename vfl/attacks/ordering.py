"""Putting shuffled bins back into order by H.

Some systems shuffle a feature's candidates before they send cumulated sums. H is never negative, so cumulated H grows
from bin to bin: sorting by it is the order. The attacker is the active party; the figure is the share of bins put in
their place. This protocol sends bins in order and says so: what it keeps back are thresholds, not the order.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Int64s = npt.NDArray[np.int64]


def in_order(cumulated_h: Int64s) -> Int64s:
    """The place of each shuffled candidate in the feature's order: int64[candidates]."""
    place = np.empty(len(cumulated_h), np.int64)
    place[np.argsort(cumulated_h, kind="stable")] = np.arange(len(cumulated_h))
    return place
