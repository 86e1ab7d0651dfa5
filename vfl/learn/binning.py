"""From real values to small codes: LightGBM's bins of a numeric feature.

A bin is a half-open interval (lower, upper]: code b holds the values above upper[b-1] and not above upper[b]. Zero has
a bin of its own among positive and negative values. Missing values (NaN), when training saw any, have the last bin.

Source: LightGBM 4.x, src/io/bin.cpp (`GreedyFindBin`, `FindBinWithZeroAsOneBin`, `BinMapper::FindBin`) with
`use_missing=true`, `zero_as_missing=false` and every row sampled. Categories: `vfl.learn.categories`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from vfl.errors import UsageError

Codes = npt.NDArray[np.uint8] | npt.NDArray[np.uint16]
Reals = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

LARGEST = 1e300  # LightGBM writes an infinite threshold as this number (Common::AvoidInf)
_ZERO = float(np.float32(1e-35))  # |x| at or below is zero (kZeroThreshold, a float32 constant there)
_SPARSE = 0.7  # a bin with this share of rows is left out of LightGBM's histograms (kSparseThreshold)


@dataclass(frozen=True, eq=False)
class BinMapper:
    """The bins of one feature.

    upper: upper bounds of the value bins, float64[n_value_bins], increasing, the last +inf.
    has_missing: training saw NaN, so the last bin is theirs.
    modal_first: LightGBM would derive bin 0 from the node total (its most frequent bin is 0), see `FeatureLayout`.
    """

    upper: Reals
    has_missing: bool
    modal_first: bool

    @classmethod
    def fit(cls, values: npt.ArrayLike, max_bin: int, min_data_in_bin: int) -> BinMapper:
        """Bins of a training column: values float[n], NaN = missing, at most `max_bin` bins (missing included).

        Raises UsageError for a column that is not numeric, not one-dimensional, empty, or holds |x| > 1e300.
        """
        column = _column(values)
        if len(column) == 0:
            raise UsageError("a column without rows has no bins")
        if np.any(np.abs(column[~np.isnan(column)]) > LARGEST):
            raise UsageError(
                f"a column holds an infinite value or one beyond {LARGEST}",
                remedy="Replace it, or write it as missing (NaN).",
            )
        missing = bool(np.isnan(column).any())
        distinct, counts = _distinct(column[~np.isnan(column)])
        upper = _with_zero_bin(distinct, counts, max_bin - missing, min_data_in_bin)
        fitted = cls(np.array(upper), missing, False)
        return cls(fitted.upper, missing, fitted._first_is_modal(fitted.population(fitted.transform(column))))

    @property
    def n_bins(self) -> int:
        """Bins in all, the missing one included."""
        return len(self.upper) + self.has_missing

    @property
    def missing_bin(self) -> int | None:
        """Code of missing values; None when training saw none (NaN is then read as 0.0, as in LightGBM)."""
        return len(self.upper) if self.has_missing else None

    def transform(self, values: npt.ArrayLike) -> Codes:
        """Codes of a column: float[n] -> uint8[n], or uint16[n] when there are more than 256 bins."""
        column = _column(values)
        gone = np.isnan(column)
        codes = np.searchsorted(self.upper, np.where(gone, 0.0, column), side="left")
        codes = np.minimum(codes, len(self.upper) - 1)
        if self.has_missing:
            codes[gone] = len(self.upper)
        return codes.astype(np.uint8) if self.n_bins <= 256 else codes.astype(np.uint16)

    def threshold(self, code: int) -> float:
        """The real number t such that a value has a code <= `code` exactly when it is <= t."""
        return min(float(self.upper[code]), LARGEST)

    def population(self, codes: Codes) -> Integers:
        """Rows in each bin: codes[n] -> int64[n_bins]."""
        return np.bincount(codes, minlength=self.n_bins).astype(np.int64)

    def merge_small(self, codes: Codes, min_population: int) -> BinMapper:
        """Coarser bins with at least `min_population` training rows each (or a single bin): a privacy option.

        codes: the training column's codes under this mapper. Neighbouring value bins are joined from the lowest up; a
        remainder joins the bin below. A missing bin that is too small is dropped: its rows, and NaN ever after, count
        as 0.0, which is how LightGBM reads NaN in a feature that had none. The same happens when all values together
        are too few beside the missing ones, and leaves one bin.
        """
        population = self.population(codes)
        values, missing = population[: len(self.upper)].copy(), self.has_missing
        if missing and (population[-1] < min_population or values.sum() < min_population):
            values[np.searchsorted(self.upper, 0.0, side="left")] += population[-1]
            missing = False
        ends: list[int] = []
        waiting = 0
        for code, rows in enumerate(values):
            waiting += int(rows)
            if waiting >= min_population:
                ends.append(code)
                waiting = 0
        last = len(self.upper) - 1
        ends = [*ends[:-1], last] if ends else [last]
        starts = [0, *(end + 1 for end in ends[:-1])]
        merged = BinMapper(self.upper[ends], missing, False)
        rows_now = np.add.reduceat(values, starts)
        counts = np.append(rows_now, population[-1]) if missing else rows_now
        return BinMapper(merged.upper, missing, merged._first_is_modal(counts))

    def _first_is_modal(self, counts: Integers) -> bool:
        """Whether LightGBM takes bin 0 as the most frequent one: the mode when it dominates, else the bin of zero."""
        zero = int(np.searchsorted(self.upper, 0.0, side="left"))
        mode = int(np.argmax(counts))
        return (mode if counts[mode] / counts.sum() >= _SPARSE else zero) == 0


def _column(values: npt.ArrayLike) -> Reals:
    """A one-dimensional float64 column; raises UsageError for anything else."""
    try:
        column: npt.NDArray[Any] = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise UsageError(f"a column is not numeric: {error}") from None
    if column.ndim != 1:
        raise UsageError(f"a column has one dimension, not {column.ndim}")
    return column


def _distinct(present: Reals) -> tuple[Reals, Integers]:
    """Distinct values and their counts; neighbours one float apart are one value (the larger), |x| <= 1e-35 is zero."""
    values = np.sort(np.where(np.abs(present) > _ZERO, present, 0.0))
    if len(values) == 0:
        return np.zeros(1), np.zeros(1, dtype=np.int64)
    last = np.append(values[1:] > np.nextafter(values[:-1], np.inf), True)
    ends = np.flatnonzero(last)
    return values[ends], np.diff(ends, prepend=-1).astype(np.int64)


def _with_zero_bin(distinct: Reals, counts: Integers, max_bin: int, min_data_in_bin: int) -> list[float]:
    """Upper bounds of the value bins, zero in one of its own (`FindBinWithZeroAsOneBin`)."""
    negative, positive = distinct <= -_ZERO, distinct > _ZERO
    upper: list[float] = []
    if negative.any() and max_bin > 1:
        below, apart = int(counts[negative].sum()), int(counts[negative | positive].sum())
        share = max(1, int(below / apart * (max_bin - 1)))
        upper = _greedy(distinct[negative], counts[negative], share, min_data_in_bin)
        upper[-1] = -_ZERO
    room = max_bin - 1 - len(upper)
    if positive.any() and room > 0:
        return [*upper, _ZERO, *_greedy(distinct[positive], counts[positive], room, min_data_in_bin)]
    return [*upper, math.inf]


def _greedy(distinct: Reals, counts: Integers, max_bin: int, min_data_in_bin: int) -> list[float]:
    """Upper bounds of about equally filled bins (`GreedyFindBin`): float64, the last +inf."""
    if len(distinct) <= max_bin:
        ends = _ends_when_few(counts, min_data_in_bin)
    else:
        ends = _ends_when_many(counts, max_bin, min_data_in_bin)
    upper: list[float] = []
    for end in ends:
        bound = float(np.nextafter((distinct[end] + distinct[end + 1]) / 2.0, np.inf))
        if not upper or bound > np.nextafter(upper[-1], np.inf):
            upper.append(bound)
    return [*upper, math.inf]


def _ends_when_few(counts: Integers, min_data_in_bin: int) -> list[int]:
    """Last distinct value of every bin but the last: one bin per value, joined up to `min_data_in_bin` rows."""
    ends, inside = [], 0
    for index, count in enumerate(counts[:-1]):
        inside += int(count)
        if inside >= min_data_in_bin:
            ends.append(index)
            inside = 0
    return ends


def _ends_when_many(counts: Integers, max_bin: int, min_data_in_bin: int) -> list[int]:
    """Last distinct value of every bin but the last, jumping from bin to bin along the cumulated counts.

    A value with more rows than an average bin gets a bin of its own; the average of what is left is kept up to date. A
    bin ends where it is full, at a frequent value, or before one if it is half full.
    """
    total = int(counts.sum())
    max_bin = max(1, min(max_bin, total // min_data_in_bin))
    frequent = counts >= total / max_bin
    places = np.flatnonzero(frequent)
    bins_left = max_bin - len(places)
    seen = np.cumsum(counts)
    rare_left = int(counts[~frequent].sum()) - np.cumsum(np.where(frequent, 0, counts))
    mean = _ratio(int(counts[~frequent].sum()), bins_left)
    ends: list[int] = []
    start = before = 0
    while len(ends) < max_bin - 1:
        end = len(counts)
        if math.isfinite(mean):
            end = max(start, int(np.searchsorted(seen, before + math.ceil(mean), side="left")))
        next_frequent = int(np.searchsorted(places, start, side="left"))
        if next_frequent < len(places):
            place = int(places[next_frequent])
            end = min(end, place)
            half = max(1.0, mean * 0.5) if not math.isnan(mean) else 1.0
            if place > start and seen[place - 1] - before >= half:
                end = min(end, place - 1)
        if end >= len(counts) - 1:
            break
        ends.append(end)
        if not frequent[end]:
            bins_left -= 1
            mean = _ratio(int(rare_left[end]), bins_left)
        start, before = end + 1, int(seen[end])
    return ends


def _ratio(rows: int, bins: int) -> float:
    """rows / bins in IEEE arithmetic, where bins may have run out."""
    if bins:
        return rows / bins
    return math.inf if rows else math.nan
