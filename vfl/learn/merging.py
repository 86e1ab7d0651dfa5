"""Which neighbouring pre-bins become one bin, decided from the good and bad rows of each alone.

Whether the counts were made from a column at hand or came out of an encrypted sum makes no difference, so one code
serves every party's features. Counts are int64[n, 2], goods in column 0 and bads in column 1, in the order of
`PreBins`; the result is the group of each pre-bin: int64[n], ordinary bins 0, 0, 1, ..., then the others.

Source: ChiMerge (Kerber, AAAI 1992); pool adjacent violators by `scipy.optimize.isotonic_regression`; optimal binning
(Navas-Palencia 2020, arXiv:2001.08025) by the library optbinning.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
import scipy  # loads its parts when they are asked for: every party starts with this module, few have a trend to fit
from scipy.special import chdtri

from vfl.errors import UsageError
from vfl.learn.evidence import information_value
from vfl.learn.feature_parameters import BinningParameters
from vfl.learn.prebins import join_small

Int64s = npt.NDArray[np.int64]
Reals = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class _Floor:
    """What a bin has at least: rows, and rows of either class."""

    rows: int
    each: int

    def reached(self, counts: Int64s) -> Flags:
        """Which bins have as much, bool[n]."""
        return np.asarray((counts.sum(axis=1) >= self.rows) & (counts.min(axis=1) >= self.each))


def merge(counts: Int64s, values: int, parameters: BinningParameters, min_population: int) -> Int64s:
    """The group of each pre-bin; the first `values` of them are ordinary, the others special or missing.

    Bins of ordinary values have `min_bin_share` of all rows, special and missing ones `min_population` rows; all have
    `min_population` rows and `min_class_rows` goods and bads, or there is one bin for everything. Special and missing
    pre-bins join nobody unless they have too few; then they join the ordinary bin with the most rows.
    """
    ordinary, least = counts[:values], max(1, min_population)
    apart = _Floor(least, parameters.min_class_rows)
    if not apart.reached(ordinary.sum(axis=0, keepdims=True))[0]:
        return np.zeros(len(counts), dtype=np.int64)
    share = min(math.ceil(parameters.min_bin_share * int(counts.sum())), int(ordinary.sum()))
    safe = join_small(ordinary.sum(axis=1), least)  # nothing below the minimum is looked at, even here
    floor = _Floor(max(least, share), parameters.min_class_rows)
    groups = _METHODS[parameters.method](summed(ordinary, safe), parameters, floor)[safe]
    biggest, free = int(np.bincount(groups, weights=ordinary.sum(axis=1)).argmax()), int(groups[-1]) + 1
    others = []
    for enough in apart.reached(counts[values:]).tolist():
        others.append(free if enough else biggest)
        free += enough
    return np.concatenate([groups, np.array(others, dtype=np.int64)])


def summed(counts: Int64s, groups: Int64s) -> Int64s:
    """Counts of the groups: int64[n, 2], int64[n] -> int64[n_groups, 2]."""
    found = np.zeros((int(groups.max()) + 1, 2), dtype=np.int64)
    np.add.at(found, groups, counts)
    return found


def _chimerge(counts: Int64s, parameters: BinningParameters, floor: _Floor) -> Int64s:
    """Merge the two most alike neighbours until all differ at the level, have rows enough and are few enough."""
    threshold = float(chdtri(1, parameters.significance))
    groups = np.arange(len(counts), dtype=np.int64)
    while len(now := summed(counts, groups)) > 1:
        alike = _chi_squares(now)
        small = ~floor.reached(now)
        if small.any():  # first: what is too small goes anyway, to the neighbour that is most alike
            alike = np.where(small[:-1] | small[1:], alike, np.inf)
        elif len(now) <= parameters.max_bins and alike.min() >= threshold:
            break
        place = int(alike.argmin())
        groups = groups - (groups > place)
    return _monotone(counts, groups, parameters.trend)


def _chi_squares(counts: Int64s) -> Reals:
    """Pearson's chi-square of each pair of neighbours, one degree of freedom: float64[n - 1]; 0 for an empty margin."""
    left, right = counts[:-1].astype(np.float64), counts[1:].astype(np.float64)
    cross = left[:, 0] * right[:, 1] - left[:, 1] * right[:, 0]
    margins = left.sum(axis=1) * right.sum(axis=1) * (left + right).prod(axis=1)
    total = (left + right).sum(axis=1)
    found: Reals = np.divide(total * cross**2, margins, out=np.zeros_like(total), where=margins > 0)
    return found


def _quantile(counts: Int64s, parameters: BinningParameters, floor: _Floor) -> Int64s:
    """Groups of about equal population."""
    rows = counts.sum(axis=1)
    middle = (np.cumsum(rows) - rows / 2.0) / rows.sum()
    groups = np.unique((middle * parameters.max_bins).astype(np.int64), return_inverse=True)[1]
    now = summed(counts, groups)
    small = join_small(np.column_stack([now.sum(axis=1), now]), [floor.rows, floor.each, floor.each])
    return _monotone(counts, small[groups], parameters.trend)


def _monotone(counts: Int64s, groups: Int64s, trend: str) -> Int64s:
    """Pool neighbours until bad rates only rise, or only fall; `auto`: whichever keeps more information."""
    if trend == "none":
        return groups
    return _best_trend(counts, trend, partial(_pooled, counts, groups))


def _pooled(counts: Int64s, groups: Int64s, trend: str) -> Int64s:
    now = summed(counts, groups)
    rows = now.sum(axis=1).astype(np.float64)
    fitted = scipy.optimize.isotonic_regression(now[:, 1] / rows, weights=rows, increasing=trend == "ascending")
    blocks = np.repeat(np.arange(len(fitted.blocks) - 1, dtype=np.int64), np.diff(fitted.blocks))
    return np.asarray(blocks[groups], dtype=np.int64)


def _best_trend(counts: Int64s, trend: str, grouped: Callable[[str], Int64s]) -> Int64s:
    found = [grouped(one) for one in (("ascending", "descending") if trend == "auto" else (trend,))]
    return max(found, key=lambda groups: information_value(summed(counts, groups)))


def _optimal(counts: Int64s, parameters: BinningParameters, floor: _Floor) -> Int64s:
    """The groups with the greatest information value that keep to trend, number and size of bins."""
    if len(counts) == 1:
        return np.zeros(1, dtype=np.int64)
    try:
        from optbinning import OptimalBinning  # noqa: PLC0415
    except ImportError:
        raise UsageError(
            "parameter 'method' is 'optimal', but the library optbinning is not installed",
            remedy="Install the extra: pip install 'tallystick[binning]'; or use method 'chimerge'.",
        ) from None

    # One weighted row for each pre-bin and class; its value is the number of the pre-bin.
    number, outcome = (axis.ravel() for axis in np.meshgrid(np.arange(len(counts)), [0, 1], indexing="ij"))
    weights = counts.ravel()
    there = weights > 0

    def grouped(trend: str) -> Int64s:
        solver = OptimalBinning(
            dtype="numerical",
            solver="cp",  # one worker and a fixed seed: the same bins every time
            user_splits=np.arange(len(counts) - 1) + 0.5,
            max_n_bins=parameters.max_bins,
            min_bin_size=floor.rows / int(counts.sum()),
            min_bin_n_event=floor.each,
            min_bin_n_nonevent=floor.each,
            monotonic_trend=None if trend == "none" else trend,
        )
        solver.fit(number[there].astype(np.float64), outcome[there], sample_weight=weights[there])
        return np.searchsorted(solver.splits, np.arange(len(counts)), side="left").astype(np.int64)

    return _best_trend(counts, parameters.trend, grouped)


_METHODS: dict[str, Callable[[Int64s, BinningParameters, _Floor], Int64s]] = {
    "chimerge": _chimerge,
    "quantile": _quantile,
    "optimal": _optimal,
}
