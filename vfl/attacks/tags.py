"""Tagged gradients: a malicious active party marks customers in the lowest bits of g and reads their bins.

Source: Weng et al., "Practical privacy attacks on vertical federated learning" (arXiv:2011.09290), reverse sum. The
attacker rounds every g to a multiple of 2**count units and adds 2**k to that of the k-th victim: a change too small for
any model to show. The low bits of each cell's sum then say which victims are in it, whatever else is. The figure is the
share of (victim, feature) whose bin is read. It needs the exact sum: noise of the size of the tags closes it.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import numpy.typing as npt

Int64s = npt.NDArray[np.int64]


def tag(g: Int64s, victims: Int64s, largest: int) -> Int64s:
    """Tagged gradients, still within the bounds that the run declares: |g| <= `largest`."""
    unit = 1 << len(victims)
    tagged = np.clip(g // unit, -(largest // unit), largest // unit - 1) * unit
    tagged[victims] += 1 << np.arange(len(victims))
    return tagged


def read(sums: Int64s, count: int, offsets: Int64s) -> Int64s:
    """Bins of the victims from the cells' sums of g, int64[cells]: int64[count, features], -1 where none or several."""
    bits = (sums[:, None] >> np.arange(count)) & 1 == 1
    bins = np.full((count, len(offsets) - 1), -1, np.int64)
    for feature, (start, end) in enumerate(pairwise(offsets.tolist())):
        here = bits[start:end]
        found = np.argmax(here, axis=0)
        bins[:, feature] = np.where(here.sum(axis=0) == 1, found, -1)
    return bins
