"""Whether a feature or a score is still spread as it was: the population stability index.

    PSI = sum over b of (a_b - e_b) ln(a_b / e_b)      e, a: share of rows in bin b, in the base and in the other sample

Of a feature it is also called CSI, characteristic stability index. It is symmetric and never negative. A bin without
rows in one of the samples would make it infinite: half a row is counted there. Labels play no part, so every party
computes it alone, of its own features.

Source: N. Siddiqi, Credit Risk Scorecards, Wiley 2006, chapter 9 (bounds 0.1 and 0.25).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from vfl.errors import UsageError
from vfl.learn.prebins import number_column
from vfl.learn.woe import WoeFeature

Int64s = npt.NDArray[np.int64]
Reals = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

SHIFTED, UNSTABLE = 0.1, 0.25
SCORE_BINS = 10


@dataclass(frozen=True, eq=False)
class Stability:
    """The index of one feature or score between two samples.

    base, other: rows in each bin, int64[n_bins].
    """

    name: str
    base: Int64s
    other: Int64s

    @property
    def psi(self) -> float:
        """The index."""
        return float(self.parts.sum())

    @property
    def parts(self) -> Reals:
        """Each bin's summand, float64[n_bins]; 0 for a bin that neither sample has."""
        found, used = np.zeros(len(self.base)), (self.base > 0) | (self.other > 0)
        base, other = _shares(self.base[used]), _shares(self.other[used])
        found[used] = (other - base) * np.log(other / base)
        return found

    @property
    def band(self) -> str:
        """`stable` below 0.1, `unstable` above 0.25, `shifted` between."""
        return band(self.psi)


def band(psi: float) -> str:
    """An index in a word."""
    if psi > UNSTABLE:
        return "unstable"
    return "shifted" if psi >= SHIFTED else "stable"


def psi(base: Int64s, other: Int64s) -> float:
    """The index of two samples' rows by bin, int64[n_bins] each. Raises UsageError for a sample without rows."""
    return Stability("", base, other).psi


def feature_stability(features: Sequence[WoeFeature], base: Reals, other: Reals) -> list[Stability]:
    """Of a party's own features, by their bins. `base`, `other`: values of each sample, float64[rows, n_features]."""
    return [
        Stability(one.name, _rows(one.codes(old), one.n_bins), _rows(one.codes(new), one.n_bins))
        for one, old, new in zip(features, base.T, other.T, strict=True)
    ]


def outside_training(features: Sequence[WoeFeature], values: Reals, train: Flags, min_rows: int) -> list[float | None]:
    """The index of each feature between the training rows and all others; None where those are fewer than `min_rows`.

    `values`: float64[n, n_features], `train`: bool[n].
    """
    if (~train).sum() < min_rows:
        return [None] * len(features)
    return [one.psi for one in feature_stability(features, values[train], values[~train])]


def score_stability(base: npt.ArrayLike, other: npt.ArrayLike, name: str = "score") -> Stability:
    """Of a score, in ten bins that hold a tenth of the base each, ties kept together."""
    old, new = number_column(base), number_column(other)
    if np.isnan(old).any() or np.isnan(new).any():
        raise UsageError(f"{int(np.isnan(old).sum() + np.isnan(new).sum())} values of {name!r} are not a number")
    if len(old) == 0:
        raise UsageError(f"there is no {name!r} in the base sample")
    cuts = score_cuts(old)
    return Stability(name, *(score_rows(cuts, values) for values in (old, new)))


def score_cuts(base: Reals) -> Reals:
    """Where the base falls into ten bins of a tenth each, ties kept together: inner edges, float64[at most 9]."""
    return np.unique(np.quantile(base, np.arange(1, SCORE_BINS) / SCORE_BINS, method="inverted_cdf"))


def score_rows(cuts: Reals, values: npt.ArrayLike) -> Int64s:
    """How many of `values` each bin of `score_cuts` holds, int64[len(cuts) + 1]. An edge belongs to the bin below."""
    return _rows(np.searchsorted(cuts, np.asarray(values, np.float64), side="left"), len(cuts) + 1)


def by_period(
    features: Sequence[WoeFeature], values: Reals, base: Flags, periods: Sequence[Any]
) -> dict[str, list[Stability]]:
    """Of each period's rows against the base rows: by period, in sorted order, a list in the order of the features.

    `values`: float64[n, n_features].   base: bool[n], for example the training rows.   periods: of each row, such as
    a column of months; rows of the base are left out, so that a period is never compared with itself.
    """
    column = np.asarray(periods)
    if column.shape != (len(values),):
        raise UsageError(f"{len(values)} rows, but periods of shape {column.shape}")
    return {
        str(period): feature_stability(features, values[base], values[(column == period) & ~base])
        for period in np.unique(column[~base]).tolist()
    }


def _rows(codes: npt.NDArray[np.integer], n_bins: int) -> Int64s:
    return np.bincount(codes, minlength=n_bins).astype(np.int64)


def _shares(rows: Int64s) -> Reals:
    if not rows.sum():
        raise UsageError("a sample has no rows", remedy="Stability compares two samples that both have rows.")
    filled = np.where(rows == 0, 0.5, rows)
    return np.asarray(filled / filled.sum(), dtype=np.float64)
