"""All of a party's splits decided at once: what `left_values` says, without a call for each record.

A row is decided in a few calls of numpy however many records there are; many rows in blocks that stay in the
processor's caches.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vfl.learn.tree import SplitRecord

Flags = npt.NDArray[np.bool_]
Reals = npt.NDArray[np.float64]
Places = npt.NDArray[np.intp]

_CELLS = 1 << 18  # decisions at a time


@dataclass(frozen=True, eq=False)
class CompiledSplits:
    """A party's split records, ready for any number of rows."""

    n_records: int
    _ordered: _Ordered
    _listed: _Listed

    @classmethod
    def of(cls, records: Sequence[SplitRecord]) -> CompiledSplits:
        """From the records in the order of their numbers."""
        return cls(len(records), _Ordered.of(records), _Listed.of(records))

    def left(self, values: Reals) -> Flags:
        """Which rows of `values`, float64[n, n_features], go left at each record: bool[n_records, n]."""
        decided = np.empty((self.n_records, len(values)), dtype=np.bool_)
        step = max(1, _CELLS // max(1, self.n_records))
        for start in range(0, len(values), step):
            some = slice(start, start + step)
            columns = np.ascontiguousarray(values[some].T)
            for part in (self._ordered, self._listed):
                part.decide(columns, decided[:, some])
        return decided


@dataclass(frozen=True, eq=False)
class _Ordered:
    """Records with a threshold. number: of each, its place among all records."""

    number: Places
    feature: Places
    threshold: Reals  # float64[records, 1]
    default_left: Flags  # bool[records, 1]

    @classmethod
    def of(cls, records: Sequence[SplitRecord]) -> _Ordered:
        own = [(number, record) for number, record in enumerate(records) if not record.categories]
        return cls(
            np.array([number for number, _ in own], np.intp),
            np.array([record.feature for _, record in own], np.intp),
            np.array([record.threshold for _, record in own], np.float64)[:, None],
            np.array([record.default_left for _, record in own], np.bool_)[:, None],
        )

    def decide(self, columns: Reals, decided: Flags) -> None:
        """Fill in the records' rows of `decided` by `columns`, float64[n_features, n]."""
        if not len(self.number):
            return
        left = columns.take(self.feature, axis=0) <= self.threshold
        missing = np.isnan(columns)
        if missing.any():
            left |= missing.take(self.feature, axis=0) & self.default_left
        decided[self.number] = left


@dataclass(frozen=True, eq=False)
class _Listed:
    """Records with a list of categories.

    known: all categories of all records, ascending, then NaN, which equals nothing.
    goes: bool[records, len(known)], which of them go left; the last one stands for every other value.
    """

    number: Places
    slot: Places  # of each record, the place of its feature in `features`
    features: Places
    known: Reals
    goes: Flags

    @classmethod
    def of(cls, records: Sequence[SplitRecord]) -> _Listed:
        own = [(number, record) for number, record in enumerate(records) if record.categories]
        features, slot = np.unique(np.array([record.feature for _, record in own], np.intp), return_inverse=True)
        lists = [np.array(record.categories, np.float64) for _, record in own]
        known = np.append(np.unique(np.concatenate([*lists, np.empty(0)])), np.nan)
        goes = np.array([np.isin(known, one) for one in lists], np.bool_).reshape(len(own), len(known))
        return cls(np.array([number for number, _ in own], np.intp), slot, features, known, goes)

    def decide(self, columns: Reals, decided: Flags) -> None:
        """Fill in the records' rows of `decided` by `columns`, float64[n_features, n]."""
        if not len(self.number):
            return
        values, others = columns.take(self.features, axis=0), len(self.known) - 1
        place = self.known.searchsorted(values).clip(max=others)  # numpy has NaN after all numbers
        place[self.known.take(place) != values] = others
        starts = np.arange(0, self.goes.size, len(self.known))[:, None]
        decided[self.number] = self.goes.take(place.take(self.slot, axis=0) + starts)
