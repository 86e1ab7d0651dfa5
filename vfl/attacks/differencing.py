"""Differencing two runs that differ by one customer: what is in one histogram and not in the other is that customer.

Source: folklore of differential privacy; measured for boosted trees in docs/guide/privacy.md. The attacker is the
active party, who chooses whom a run has. In the first tree all rows have the same h, so H / h counts the rows of every
bin of the root. The figure is the share of features for which the bin with one row more is that of the customer.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import numpy.typing as npt

Reals = npt.NDArray[np.float64]
Int64s = npt.NDArray[np.int64]


def difference(with_one: Reals, without: Reals, offsets: Int64s) -> Int64s:
    """The customer's bin in each feature, guessed from rows per cell in either run, float64[cells]: int64[features].

    The bins must be the same in both runs, as they are but for a customer who moves a bin's bound.
    """
    gained = with_one - without
    guesses = [int(np.argmax(gained[a:b])) for a, b in pairwise(offsets.tolist())]
    return np.array(guesses, np.int64)
