"""Score bands: how many customers fall into each and how many of them are bad, and whether the bands hold still.

The bands are cut where the training scores have equal shares, ties kept together, so that the stability index compares
each band's share of training and hold-out.

Source: N. Siddiqi, Credit Risk Scorecards, Wiley 2006, chapter 9.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vfl.errors import UsageError
from vfl.learn.metrics import checked
from vfl.learn.stability import psi

Reals = npt.NDArray[np.float64]
Int64s = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Bands:
    """Bands of a score, the safest first; all arrays are [n_bands].

    low, high: a band has the scores low < score <= high; the outer ones are -inf and inf.
    trained, customers: customers of training and hold-out in it.   bads: of the hold-out.
    mean_score, bad_rate: of its hold-out customers, NaN where there are none.
    cumulative_bad_rate: of this and the safer bands.
    """

    low: Reals
    high: Reals
    trained: Int64s
    customers: Int64s
    bads: Int64s
    mean_score: Reals
    bad_rate: Reals
    cumulative_bad_rate: Reals

    @property
    def psi(self) -> float:
        """Population stability index of the hold-out against training."""
        return psi(self.trained, self.customers)


def bands(trained: npt.ArrayLike, y: npt.ArrayLike, score: npt.ArrayLike, groups: int) -> Bands:
    """Cut the scores of training customers, [n_train], into `groups` bands and sort hold-out customers into them.

    y, score: of the hold-out, [n]. Fewer bands come out where training scores repeat.

    Raises UsageError for scores and labels that cannot be measured, and where nobody trained.
    """
    labels, values = checked(y, score)
    base = np.asarray(trained, np.float64)
    if base.ndim != 1 or not len(base) or np.isnan(base).any():
        raise UsageError(f"training scores of shape {base.shape} cannot be cut into bands")
    cuts = np.unique(np.quantile(base, np.arange(1, groups) / groups, method="inverted_cdf"))
    cuts = cuts[cuts < base.max()]
    member, size = np.searchsorted(cuts, values, side="left"), len(cuts) + 1
    customers = np.bincount(member, minlength=size)
    bads = np.bincount(member, weights=labels, minlength=size).astype(np.int64)
    with np.errstate(invalid="ignore"):  # a band may be empty
        return Bands(
            low=np.append(-np.inf, cuts),
            high=np.append(cuts, np.inf),
            trained=np.bincount(np.searchsorted(cuts, base, side="left"), minlength=size),
            customers=customers,
            bads=bads,
            mean_score=np.bincount(member, weights=values, minlength=size) / customers,
            bad_rate=bads / customers,
            cumulative_bad_rate=np.cumsum(bads) / np.cumsum(customers),
        )
