"""Do predicted probabilities come true? Brier score, reliability by bins, Hosmer-Lemeshow test.

Sources: G. Brier, Monthly Weather Review 78 (1950) 1-3; E. Wilson, JASA 22 (1927) 209-212; D. Hosmer and S. Lemeshow,
Communications in Statistics A9 (1980) 1043-1069. The tails are scipy's.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

import numpy as np
import numpy.typing as npt
from scipy.special import chdtrc, ndtri

from vfl.errors import UsageError
from vfl.learn.metrics import checked

Reals = npt.NDArray[np.float64]
Int64s = npt.NDArray[np.int64]


@dataclass(frozen=True)
class HosmerLemeshow:
    """The statistic, its degrees of freedom, and the probability of so large a one if all probabilities are true."""

    statistic: float
    degrees: int
    p_value: float


@dataclass(frozen=True, eq=False)
class Reliability:
    """Bins of about equal size by predicted probability, ascending; all arrays are [n_bins].

    mean_pd: predicted.   bad_rate: found, with its Wilson interval bad_rate_low .. bad_rate_high.
    """

    customers: Int64s
    bads: Int64s
    mean_pd: Reals
    bad_rate: Reals
    bad_rate_low: Reals
    bad_rate_high: Reals

    def hosmer_lemeshow(self) -> HosmerLemeshow:
        """The test, with as many degrees of freedom as bins: these customers did not train the model."""
        expected = self.customers * self.mean_pd
        variance = expected * (1.0 - self.mean_pd)
        missed = (self.bads - expected) ** 2
        with np.errstate(divide="ignore", invalid="ignore"):  # a bin of certain predictions has no variance
            parts = np.where(missed > 0.0, missed / variance, 0.0)
        statistic = float(parts.sum())
        return HosmerLemeshow(statistic, len(parts), float(chdtrc(len(parts), statistic)))


def brier(y: npt.ArrayLike, pd: npt.ArrayLike) -> float:
    """Mean squared difference of label and probability: 0 is perfect, bad rate x good rate is knowing nothing."""
    labels, values = probabilities(y, pd)
    return float(((values - labels) ** 2).mean())


def reliability(y: npt.ArrayLike, pd: npt.ArrayLike, groups: int, confidence: float) -> Reliability:
    """Bins of customers with labels `y` [n] and probabilities `pd` [n]; equal probabilities stay together."""
    labels, values = probabilities(y, pd)
    cuts = np.unique(np.quantile(values, np.arange(1, groups) / groups, method="inverted_cdf"))
    cuts = cuts[cuts < values.max()]
    member, size = np.searchsorted(cuts, values, side="left"), len(cuts) + 1
    customers = np.bincount(member, minlength=size)
    bads = np.bincount(member, weights=labels, minlength=size).astype(np.int64)
    around = [wilson(int(k), int(n), confidence) for k, n in zip(bads, customers, strict=True)]
    low, high = np.array(around).T
    mean = np.bincount(member, weights=values, minlength=size) / customers
    return Reliability(customers, bads, mean, bads / customers, low, high)


def wilson(bads: int, customers: int, confidence: float) -> tuple[float, float]:
    """Wilson's interval of a share (1927): the shares from which `bads` is z standard deviations away."""
    z = float(ndtri((1 + confidence) / 2))
    share, wide = bads / customers, z**2 / customers
    half = z * sqrt((share * (1 - share) + wide / 4) / customers)
    middle = share + wide / 2
    low = (middle - half) / (1 + wide) if bads else 0.0  # what it comes to but for rounding
    return low, (middle + half) / (1 + wide) if bads < customers else 1.0


def probabilities(y: npt.ArrayLike, pd: npt.ArrayLike) -> tuple[npt.NDArray[np.int8], Reals]:
    """Labels int8[n] and probabilities float64[n]; raises UsageError for scores that are none."""
    labels, values = checked(y, pd)
    if values.min() < 0.0 or values.max() > 1.0:
        raise UsageError(
            f"calibration needs probabilities, found {values.min():g} to {values.max():g}",
            remedy="Apply the sigmoid to raw scores.",
        )
    return labels, values
