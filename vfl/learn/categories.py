"""Categorical features: bins that are categories, and splits that send a set of them left.

Categories are whole numbers, 0 or above. The most frequent ones have a bin each, in the order of their frequency; bin 0
is for all others, for missing values and for categories that training never saw. Bin 0 always goes right.

    few categories    one of them goes left: the best one
    many              sorted by g / (h + cat_smooth); the first ones go left, or the last ones, at most
                      max_cat_threshold and never more than half

In the second case leaves have a larger L2 penalty, lambda_l2 + cat_l2.

Source: LightGBM 4.x, src/io/bin.cpp (`BinMapper::FindBin`, categorical) and src/treelearner/feature_histogram.cpp
(`FindBestThresholdCategoricalInner`). LightGBM goes beyond `max_bin` until 99 % of the rows have a bin of their own;
here `max_bin` holds. Sorting: Fisher, On Grouping for Maximum Homogeneity, JASA 53, 1958.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vfl.errors import UsageError
from vfl.learn.parameters import GBDTParameters

Codes = npt.NDArray[np.uint8] | npt.NDArray[np.uint16]
Reals = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Gain = Callable[[float, float, float], float]
"""Gain of a split from g and h of its left side and the L2 penalty."""

MOST = 2**31 - 1
_COVERED = float(np.float32(0.99))


@dataclass(frozen=True, eq=False)
class CategoryMapper:
    """The bins of one categorical feature: `categories[b - 1]` has bin b, all else bin 0."""

    categories: tuple[int, ...]

    has_missing = False
    missing_bin = None
    modal_first = False

    @classmethod
    def fit(cls, values: Reals, max_bin: int, min_data_in_bin: int, min_population: int = 0) -> CategoryMapper:
        """Bins of a training column, float64[n], NaN = missing, at most `max_bin` of them.

        min_population: rows of a bin at least, bin 0 included unless it is empty. Raises UsageError for a value that is
        no category.
        """
        check_categories(values)
        found, counts = np.unique(values[~np.isnan(values)].astype(np.int64), return_counts=True)
        order = np.argsort(-counts, kind="stable")
        found, counts = found[order], counts[order]
        missing = int(np.isnan(values).sum())
        enough = int((len(values) - missing) * _COVERED + 0.5)
        wanted = min(len(found) + (missing > 0), max_bin)
        kept, rows = 0, 0
        while kept < min(len(found), max_bin - 1) and (rows < enough or kept + 1 < wanted):
            if counts[kept] < min_data_in_bin and kept > 1:
                break
            rows += int(counts[kept])
            kept += 1
        while kept and (counts[kept - 1] < min_population or 0 < len(values) - rows < min_population):
            kept -= 1
            rows -= int(counts[kept])
        return cls(tuple(found[:kept].tolist()))

    @property
    def n_bins(self) -> int:
        """Bins in all, bin 0 included."""
        return len(self.categories) + 1

    def transform(self, values: npt.ArrayLike) -> Codes:
        """Codes of a column: float[n] -> uint8[n], or uint16[n] when there are more than 256 bins."""
        column = np.asarray(values, dtype=np.float64)
        if not self.categories:
            return np.zeros(len(column), np.uint8)
        known = np.array(self.categories, dtype=np.float64)
        order = np.argsort(known)
        place = np.minimum(np.searchsorted(known[order], column), len(known) - 1)
        code = np.where(known[order][place] == column, order[place] + 1, 0)
        return code.astype(np.uint8) if self.n_bins <= 256 else code.astype(np.uint16)

    def population(self, codes: Codes) -> Integers:
        """Rows in each bin: codes[n] -> int64[n_bins]."""
        return np.bincount(codes, minlength=self.n_bins).astype(np.int64)


def check_categories(values: Reals, where: str = "") -> None:
    """Raise UsageError unless every value of a column, float64[n], is missing or a whole number from 0 to 2**31 - 1.

    where: what the error calls the column.
    """
    wrong = np.flatnonzero(~(np.isnan(values) | ((values >= 0) & (values <= MOST) & (values == np.floor(values)))))
    if len(wrong):
        raise UsageError(
            f"{where}{': ' * bool(where)}{values[wrong[0]]:g} in row {wrong[0] + 1} is no category",
            remedy=f"Number the categories with whole numbers from 0 to {MOST}, or do not list the column there.",
        )


@dataclass(frozen=True)
class Subset:
    """A split of a categorical feature: `bins` go left. l2: penalty on its leaves beside lambda_l2."""

    gain: float
    bins: tuple[int, ...]
    l2: float


def best_subset(
    g: Reals, h: Reals, rows: Integers, node: tuple[float, int], params: GBDTParameters, gain: Gain, least: float
) -> Subset | None:
    """The best split of one feature; None where none gains more than `least`.

    g, h: sums of each bin, float64[n_bins].   rows: estimated rows of each, int64[n_bins].   node: h and rows in all.
    """
    one = len(g) <= params.max_cat_to_onehot
    l2 = 0.0 if one else params.cat_l2
    best: Subset | None = None
    for bins in _single(g, h, rows, node, params) if one else _sorted(g, h, rows, node, params):
        chosen = np.array(bins)
        found = gain(_sum(g[chosen]), _sum(h[chosen]), params.lambda_l2 + l2)
        if found > least and (best is None or found > best.gain):
            best = Subset(found, bins, l2)
    return best


def _sum(values: Reals) -> float:
    """One after the other, as LightGBM adds them."""
    return float(np.cumsum(values)[-1])


def _single(
    g: Reals, h: Reals, rows: Integers, node: tuple[float, int], params: GBDTParameters
) -> Iterator[tuple[int, ...]]:
    """Every category that may go left alone."""
    for code in range(1, len(g)):
        fewest = min(int(rows[code]), node[1] - int(rows[code]))
        if fewest >= params.min_data_in_leaf and min(h[code], node[0] - h[code]) >= params.min_sum_hessian_in_leaf:
            yield (code,)


def _sorted(
    g: Reals, h: Reals, rows: Integers, node: tuple[float, int], params: GBDTParameters
) -> Iterator[tuple[int, ...]]:
    """Every set of sorted categories that may go left: from the front, then from the back."""
    codes = np.flatnonzero(rows[1:] >= params.cat_smooth) + 1
    smoothed = h[codes] + params.cat_smooth
    rate = np.divide(g[codes], smoothed, out=np.zeros(len(codes)), where=smoothed > 0.0)
    order = codes[np.argsort(rate, kind="stable")].tolist()
    most = min(params.max_cat_threshold, (len(order) + 1) // 2)
    for line in (order, order[::-1]):
        weight, count, group = 0.0, 0, 0
        for place, code in enumerate(line[:most]):
            weight, count, group = weight + h[code], count + int(rows[code]), group + int(rows[code])
            if count < params.min_data_in_leaf or weight < params.min_sum_hessian_in_leaf:
                continue
            if node[1] - count < max(params.min_data_in_leaf, params.min_data_per_group):
                break
            if node[0] - weight < params.min_sum_hessian_in_leaf:
                break
            if group < params.min_data_per_group:
                continue
            group = 0
            yield tuple(line[: place + 1])
