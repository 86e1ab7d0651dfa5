"""Pre-bins: small codes of a numeric feature, made without labels, before anybody counts who defaulted.

    code  0 .. values - 1      ordinary values, equally filled intervals (upper[b-1], upper[b]]
          then                 one for each special value with rows enough
          last                 missing values (NaN), with rows enough

A special value is a number that stands for a state (-1 = never, 999 = unknown) and has no place in the order. Special
and missing values with too few training rows count as the ordinary bin with the most rows, so that no bin has fewer
than the agreed minimum and every value has a code.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from vfl.errors import UsageError

Codes = npt.NDArray[np.uint8] | npt.NDArray[np.uint16]
Reals = npt.NDArray[np.float64]
Int64s = npt.NDArray[np.int64]

LARGEST = 1e300


@dataclass(frozen=True, eq=False)
class PreBins:
    """The pre-bins of one feature.

    upper: upper bounds of the ordinary bins, float64[values], increasing, the last +inf.
    special: the declared special values.   special_codes: the code of each.   missing_code: the code of NaN.
    """

    upper: Reals
    special: tuple[float, ...]
    special_codes: tuple[int, ...]
    missing_code: int

    @classmethod
    def fit(
        cls, values: npt.ArrayLike, max_prebins: int, min_population: int, special: Sequence[float] = ()
    ) -> PreBins:
        """From a training column, float[n], NaN = missing: at least `min_population` rows in every bin, or one bin.

        Raises UsageError for a column that is not numeric, not one-dimensional, empty, or holds |x| > 1e300; for
        special values that are not numbers, come twice or leave no bin for ordinary ones.
        """
        column, known = _training_column(values), _special_values(special, max_prebins)
        missing, marked = np.isnan(column), np.isin(column, known)
        ordinary, least = column[~missing & ~marked], max(1, min_population)
        if len(ordinary) < least:
            return cls(np.array([np.inf]), known, (0,) * len(known), 0)
        own = [value for value in known if (column == value).sum() >= least]
        with_missing = missing.sum() >= least
        upper, rest = _quantile_bins(ordinary, max(1, max_prebins - len(own) - int(with_missing)), least)
        codes = {value: len(upper) + number for number, value in enumerate(own)}
        missing_code = len(upper) + len(own) if with_missing else rest
        return cls(upper, known, tuple(codes.get(value, rest) for value in known), missing_code)

    @property
    def values(self) -> int:
        """Bins of ordinary values."""
        return len(self.upper)

    @property
    def has_missing(self) -> bool:
        """Whether missing values have a bin of their own."""
        return self.missing_code >= self.values

    @property
    def n_bins(self) -> int:
        """Bins in all."""
        return 1 + max(self.values - 1, self.missing_code, *self.special_codes)

    def codes(self, values: npt.ArrayLike) -> Codes:
        """Codes of a column, seen in training or not: float[n] -> uint8[n], or uint16[n] for more than 256 bins."""
        column = number_column(values)
        found = np.minimum(np.searchsorted(self.upper, column, side="left"), self.values - 1)
        for value, code in zip(self.special, self.special_codes, strict=True):
            found[column == value] = code
        found[np.isnan(column)] = self.missing_code
        return found.astype(np.uint8) if self.n_bins <= 256 else found.astype(np.uint16)

    def names(self, groups: Int64s) -> list[str]:
        """What is in each bin once pre-bins of the same number in `groups`, int64[n_bins], are one."""
        parts: list[list[str]] = [[] for _ in range(int(groups.max()) + 1)]
        ordinary = groups[: self.values]
        for group in np.unique(ordinary).tolist():
            inside = np.flatnonzero(ordinary == group)
            lower = -np.inf if inside[0] == 0 else self.upper[inside[0] - 1]
            upper = self.upper[inside[-1]]
            parts[group].append(f"({lower:g}, {upper:g}{')' if np.isinf(upper) else ']'}")
        for value, code in zip(self.special, self.special_codes, strict=True):
            parts[int(groups[code])].append(f"{value:g}")
        parts[int(groups[self.missing_code])].append("missing")
        return [" or ".join(part) for part in parts]


def number_column(values: npt.ArrayLike) -> Reals:
    """A one-dimensional float64 column; raises UsageError for anything else."""
    try:
        column: npt.NDArray[Any] = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise UsageError(f"a column is not numeric: {error}") from None
    if column.ndim != 1:
        raise UsageError(f"a column has one dimension, not {column.ndim}")
    return column


def _training_column(values: npt.ArrayLike) -> Reals:
    column = number_column(values)
    if len(column) == 0:
        raise UsageError("a column without rows has no bins")
    if np.any(np.abs(column[~np.isnan(column)]) > LARGEST):
        raise UsageError(
            f"a column holds an infinite value or one beyond {LARGEST}",
            remedy="Replace it, or write it as missing (NaN).",
        )
    return column


def _special_values(special: Sequence[float], max_prebins: int) -> tuple[float, ...]:
    known = tuple(float(value) for value in special)
    if not np.isfinite(known).all() or len(set(known)) < len(known):
        raise UsageError(
            f"special values are {', '.join(f'{value:g}' for value in known)}",
            remedy="Allowed: different finite numbers; NaN is missing without being listed.",
        )
    if len(known) > max_prebins - 2:
        raise UsageError(
            f"{len(known)} special values leave no bin for ordinary ones",
            remedy=f"Raise max_prebins ({max_prebins}), or list fewer.",
        )
    return known


def _quantile_bins(ordinary: Reals, count: int, least: int) -> tuple[Reals, int]:
    """Upper bounds of at most `count` equally filled bins with `least` rows each, and which has the most rows."""
    # A bound is a value that occurs, so equal values stay together.
    cuts = np.unique(np.quantile(ordinary, np.arange(1, count) / count, method="inverted_cdf")) + 0.0
    fine = np.append(cuts[cuts < ordinary.max()], np.inf)
    rows = np.bincount(np.searchsorted(fine, ordinary, side="left"), minlength=len(fine))
    groups = join_small(rows, least)
    last = np.append(np.diff(groups) > 0, True)
    joined = np.bincount(groups, weights=rows)
    return fine[last], int(joined.argmax())


def join_small(rows: npt.NDArray[np.integer], least: npt.ArrayLike) -> Int64s:
    """The group of each bin, so that groups of neighbours have `least` rows each: int64[n], 0, 0, 1, ...

    Bins are joined from the lowest up; a remainder joins the group below. All in one if there are not as many rows.
    `rows`: int64[n], or int64[n, kinds] with as many in `least`, each of which must be reached.
    """
    groups, waiting, group = [], np.zeros(rows.shape[1:], dtype=np.int64), 0
    for count in rows:
        groups.append(group)
        waiting = waiting + count
        if (waiting >= least).all():
            group, waiting = group + 1, np.zeros_like(waiting)
    return np.minimum(np.array(groups, dtype=np.int64), max(group - 1, 0))
