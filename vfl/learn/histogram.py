"""Gradient histograms: for every feature and bin, the sums of g and h over the rows of a node, as exact integers.

Cells of all features lie one after the other, in feature order and within a feature in bin order (missing last).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from vfl.errors import UsageError
from vfl.learn.binning import BinMapper
from vfl.learn.categories import CategoryMapper

Integers = npt.NDArray[np.int64]
Mapper = BinMapper | CategoryMapper
"""The bins of a feature, numeric or categorical."""

_EXACT = 1 << 53  # every whole number up to here is a float64
_LOW_BITS = 26


@dataclass(frozen=True)
class FeatureLayout:
    """Where each feature's cells lie in a histogram.

    n_bins: bins per feature, the missing one included.   missing: whether the last bin is for missing values.
    modal_first: whether LightGBM leaves bin 0 out of its histograms and derives it from the node total. That changes
    its estimate of the rows in bin 0 when it looks for a split with missing values on the right, and nothing else. May
    be left empty: all false.   categorical: features whose bins are categories; may be left empty: none.

    Raises UsageError for lengths that differ, a feature without bins, and a missing bin that is the only one.
    """

    n_bins: tuple[int, ...]
    missing: tuple[bool, ...]
    modal_first: tuple[bool, ...] = ()
    categorical: tuple[bool, ...] = ()

    def __post_init__(self) -> None:
        for name in ("modal_first", "categorical"):
            object.__setattr__(self, name, getattr(self, name) or (False,) * len(self.n_bins))
        if not len(self.n_bins) == len(self.missing) == len(self.modal_first) == len(self.categorical):
            raise UsageError(
                f"{len(self.n_bins)} features, but {len(self.missing)} flags for missing values "
                f"and {len(self.modal_first)} for the first bin"
            )
        for feature, (bins, missing) in enumerate(zip(self.n_bins, self.missing, strict=True)):
            if bins < 1 + missing:
                raise UsageError(f"feature {feature} has {bins} bins, {'missing values among them' if missing else ''}")

    @classmethod
    def of(cls, mappers: Sequence[Mapper]) -> FeatureLayout:
        """The layout of features binned by `mappers`."""
        return cls(
            tuple(mapper.n_bins for mapper in mappers),
            tuple(mapper.has_missing for mapper in mappers),
            tuple(mapper.modal_first for mapper in mappers),
            tuple(isinstance(mapper, CategoryMapper) for mapper in mappers),
        )

    @cached_property
    def offsets(self) -> Integers:
        """First cell of each feature, and the number of cells at the end: int64[n_features + 1]."""
        return np.concatenate([[0], np.cumsum(self.n_bins, dtype=np.int64)]).astype(np.int64)

    @property
    def cells(self) -> int:
        """Cells in all."""
        return int(self.offsets[-1])

    def cells_of(self, feature: int) -> slice:
        """The feature's cells."""
        return slice(int(self.offsets[feature]), int(self.offsets[feature + 1]))


def build(
    codes: npt.NDArray[np.unsignedinteger],
    layout: FeatureLayout,
    g: Integers,
    h: Integers,
    rows: npt.NDArray[np.bool_] | Integers | None = None,
) -> Integers:
    """Sums per cell: int64[layout.cells, 2], column 0 of g and column 1 of h.

    codes: uint8 or uint16 [n, n_features], Fortran order is fastest.   g, h: int64[n].
    rows: the node's rows as bool[n] or as row numbers int64[m]; None: all.

    Exact as long as the sums fit int64. Raises UsageError for a code outside the layout.
    """
    if rows is not None:
        g, h = g[rows], h[rows]
    # np.bincount works on int64 groups and float64 weights: converted once for all it is asked of them.
    weights = [values.astype(np.float64) if _adds_exactly(values) else None for values in (g, h)]
    sums = np.empty((layout.cells, 2), dtype=np.int64)
    for feature, bins in enumerate(layout.n_bins):
        column = (codes[:, feature] if rows is None else codes[rows, feature]).astype(np.int64)
        cells = layout.cells_of(feature)
        for which, (values, quick) in enumerate(zip((g, h), weights, strict=True)):
            found = group_sums(column, values, bins) if quick is None else np.bincount(column, quick, bins)
            if len(found) > bins:
                raise UsageError(f"feature {feature} has a code {len(found) - 1}, but {bins} bins")
            sums[cells, which] = found
    return sums


def first_unequal(cells: Integers, layout: FeatureLayout, g: int, h: int) -> int | None:
    """The first feature whose bins, int64[cells, 2], do not add up to the node's `g` and `h`; None where all do."""
    sums = np.add.reduceat(cells, layout.offsets[:-1], axis=0)
    wrong = np.flatnonzero((sums != (g, h)).any(axis=1))
    return int(wrong[0]) if len(wrong) else None


def _adds_exactly(values: Integers) -> bool:
    """Whether no sum of these values can pass 2**53, so that float64 adds them exactly."""
    return not len(values) or max(abs(int(values.max())), abs(int(values.min()))) * len(values) < _EXACT


def group_sums(groups: npt.NDArray[np.integer], values: Integers, n_groups: int) -> Integers:
    """Exact sum of `values` int64[n] in every group 0 <= groups[n] < n_groups: int64[n_groups].

    np.bincount adds float64, exact while no partial sum can pass 2**53; larger values are added in two halves.
    """
    if len(values) == 0:
        return np.zeros(n_groups, dtype=np.int64)
    if _adds_exactly(values):
        return np.bincount(groups, weights=values, minlength=n_groups).astype(np.int64)
    if len(values) >= 1 << (53 - _LOW_BITS):
        half = len(values) // 2
        return group_sums(groups[:half], values[:half], n_groups) + group_sums(groups[half:], values[half:], n_groups)
    high = values >> _LOW_BITS
    low = values - (high << _LOW_BITS)
    low_sums = np.bincount(groups, weights=low, minlength=n_groups).astype(np.int64)
    return (group_sums(groups, high, n_groups) << _LOW_BITS) + low_sums
