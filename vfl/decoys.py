"""Decoy rows: rows of the passive parties without a customer of the active's, so that being aligned says less.

The active asks every passive party for its real rows and, mixed with them, for random others of its stream; it gives
the others a gradient of zero under encryption, so that sums and model stay what they are. The passive parties see the
mixture only: with a share of decoys of 1, being in it means being common with probability 1/2, if whoever guesses has
nothing else to go by.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil

import numpy as np
import numpy.typing as npt

from vfl.errors import UsageError
from vfl.randomness import Randomness

DECOY = -1  # the own index of a decoy row
Rows = npt.NDArray[np.int64]


def with_decoys(
    rows: Rows, positions: Mapping[str, Rows], stream_sizes: Mapping[str, int], share: float, rng: Randomness
) -> tuple[Rows, dict[str, Rows]]:
    """Mix ceil(share * len(rows)) decoys among the common customers, in a new random order.

    `rows`, `positions`: from `intersect.common`. `stream_sizes`: ids of each partner. Returns the own index of each
    row, DECOY for a decoy, and the positions in each partner's stream, all different. There are fewer decoys if a
    partner has not as many other ids; then its whole stream takes part, and no row of it says more than another.
    """
    if not 0 <= share < float("inf"):
        raise UsageError(f"the share of decoys is 0 or more, not {share}")
    spare = [stream_sizes[name] - len(rows) for name in positions]
    count = min([ceil(share * len(rows)), *spare])
    order = rng.child("order").permutation(len(rows) + count)
    mixed = {}
    for name, real in positions.items():
        member = np.zeros(stream_sizes[name], np.bool_)
        member[real] = True
        others = np.flatnonzero(~member)
        drawn = others[rng.child(f"decoys/{name}").permutation(len(others))[:count]]
        mixed[name] = np.concatenate([real, drawn])[order]
    return np.concatenate([rows, np.full(count, DECOY, np.int64)])[order], mixed
