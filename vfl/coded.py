"""Features as bins and their weights: what both ends of a protocol know that sums by bin and weighs bins by WOE."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vfl.crypto.scheme import CellLayout, Codes
from vfl.errors import UsageError
from vfl.learn.woe import BinTable, WoeFeature

Int64s = npt.NDArray[np.int64]
Reals = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Coded:
    """The bins of some features and their weights of evidence.

    weights: of each bin, feature by feature, in units of 2**-woe_bits, int64[cells].   weight: no less than the average
    absolute weight of the training rows, by any of the features; at whoever has no counts, the largest of all.
    counts: goods and bads of each bin, int64[cells, 2], at the party with the labels.
    """

    layout: CellLayout
    weights: Int64s
    weight: int
    woe_bits: int
    counts: Int64s | None = None

    @classmethod
    def of(cls, features: Sequence[WoeFeature], woe_bits: int) -> Coded:
        """Of an owner. Raises UsageError where it was not told the weights."""
        for one in features:
            if one.woe is None:
                raise UsageError(
                    f"the weights of evidence of {one.name!r} were not told to its owner",
                    remedy="Agree on share_woe = true.",
                )
        return cls._made([one.woe for one in features if one.woe is not None], None, woe_bits)

    @classmethod
    def told(cls, tables: Sequence[BinTable], woe_bits: int) -> Coded:
        """Of the party with the labels."""
        return cls._made([one.woe for one in tables], [one.counts for one in tables], woe_bits)

    @classmethod
    def _made(cls, woe: Sequence[Reals], counts: Sequence[Int64s] | None, woe_bits: int) -> Coded:
        units = [np.rint(np.ldexp(one, woe_bits)).astype(np.int64) for one in woe]
        if counts is None:
            largest = max(int(np.abs(one).max()) for one in units)
        else:
            pairs = zip(units, (one.sum(axis=1) for one in counts), strict=True)
            largest = max(math.ceil(np.abs(one) @ rows / rows.sum()) for one, rows in pairs)
        known = None if counts is None else np.concatenate(counts)
        return cls(CellLayout(tuple(map(len, units))), np.concatenate(units), max(1, largest), woe_bits, known)

    @property
    def farthest(self) -> float:
        """No row's weights of evidence, each times a coefficient from -1 to 1, sum to more."""
        largest = np.maximum.reduceat(np.abs(self.weights), self.layout.offsets)
        return float(np.ldexp(float(largest.sum()), -self.woe_bits))

    def columns(self, codes: Codes) -> Reals:
        """Weights of evidence of rows: [n, features] -> float64[n, features]."""
        offsets = np.array(self.layout.offsets)
        return np.asarray(np.ldexp(self.weights[codes + offsets].astype(np.float64), -self.woe_bits), dtype=np.float64)


def codes_of(features: Sequence[WoeFeature], values: Reals) -> Codes:
    """The bin of every value: float64[n, features] -> uint8[n, features]."""
    codes = np.empty(values.shape, dtype=np.uint8, order="F")
    for place, one in enumerate(features):
        codes[:, place] = one.codes(values[:, place])
    return codes
