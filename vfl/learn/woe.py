"""Features as weights of evidence: what their owner holds of them, and what the party with the labels holds.

    WoeFeature   the owner's: bounds, groups of pre-bins, WOE of each bin     turns values into bins and WOE
    BinTable     goods, bads, WOE and IV of each bin, without bounds          the party with the labels has one of every
                                                                              feature, whosever it is

An owner with labels at hand fits a feature alone (`WoeFeature.fit`); one without gets groups and WOE from the party
that has them (`vfl.protocols.woe`). Both come to the same bins.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from vfl.errors import UsageError
from vfl.learn.evidence import information_parts, information_value, weights_of_evidence
from vfl.learn.feature_parameters import TRENDS, BinningParameters
from vfl.learn.merging import merge, summed
from vfl.learn.objective import binary_labels
from vfl.learn.prebins import Codes, PreBins

Int64s = npt.NDArray[np.int64]
Reals = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Specials = Mapping[str, Sequence[float]]
"""Special values by feature name."""
Trends = Mapping[str, str]
"""Directions of the bad rate by feature name, where they are not those of the parameters."""


@dataclass(frozen=True)
class BinRow:
    """One line of a binning table. What nobody told the owner is None."""

    bin: str
    rows: int | None
    goods: int | None
    bads: int | None
    bad_rate: float | None
    woe: float | None
    iv: float | None


@dataclass(frozen=True, eq=False)
class BinTable:
    """What the party with the labels knows of a feature.

    counts: goods and bads of each bin, int64[n_bins, 2].   ordinary: how many bins are of ordinary values; the others
    are of special and missing ones.   woe: float64[n_bins].
    """

    counts: Int64s
    ordinary: int
    woe: Reals

    @property
    def iv(self) -> float:
        """The information value."""
        return information_value(self.counts)

    @property
    def rows(self) -> int:
        """Rows counted."""
        return int(self.counts.sum())

    def table(self, names: Sequence[str] | None = None) -> list[BinRow]:
        """A line for each bin. `names`: of the bins, where the reader may know them; else they have numbers."""
        if names is None:
            kinds = ["ordinary"] * self.ordinary + ["set apart"] * (len(self.counts) - self.ordinary)
            names = [f"{kind} {number}" for number, kind in enumerate(kinds, 1)]
        parts = information_parts(self.counts)
        return [
            BinRow(name, goods + bads, goods, bads, bads / max(1, goods + bads), float(woe), float(part))
            for name, (goods, bads), woe, part in zip(names, self.counts.tolist(), self.woe, parts, strict=True)
        ]


@dataclass(frozen=True, eq=False)
class WoeFeature:
    """A feature as its owner holds it.

    groups: the bin of each pre-bin, int64[prebins.n_bins].   woe: of each bin, float64[n_bins]; None where the
    agreement keeps it from the owner.   counted: goods and bads; None where the owner has no labels.
    """

    name: str
    prebins: PreBins
    groups: Int64s
    woe: Reals | None
    counted: BinTable | None = None

    @classmethod
    def fit(
        cls,
        name: str,
        values: npt.ArrayLike,
        labels: npt.ArrayLike,
        parameters: BinningParameters,
        min_population: int,
        special: Sequence[float] = (),
    ) -> WoeFeature:
        """From training rows: values float[n], NaN = missing, and labels 0/1 of each. Raises UsageError."""
        prebins = prebin(name, values, parameters, min_population, special)
        counts = label_counts(prebins.codes(values), binary_labels(labels), prebins.n_bins)
        groups, table = decide(counts, prebins.values, parameters, min_population)
        return cls(name, prebins, groups, table.woe, table)

    @property
    def n_bins(self) -> int:
        """Bins in all."""
        return int(self.groups.max()) + 1

    @property
    def iv(self) -> float | None:
        """The information value; None where the owner has no labels."""
        return None if self.counted is None else self.counted.iv

    def codes(self, values: npt.ArrayLike) -> Codes:
        """The bin of each value: float[n] -> uint8[n] (uint16 for more than 256 pre-bins)."""
        codes = self.prebins.codes(values)
        groups: Codes = self.groups.astype(np.uint8) if codes.dtype == np.uint8 else self.groups.astype(np.uint16)
        return groups[codes]

    def transform(self, values: npt.ArrayLike) -> Reals:
        """The WOE of each value: float[n] -> float64[n]. Raises UsageError where the WOE was kept from the owner."""
        if self.woe is None:
            raise UsageError(
                f"the weights of evidence of {self.name!r} were not told to its owner",
                remedy="Agree on share_woe = true.",
            )
        return np.asarray(self.woe[self.codes(values)], dtype=np.float64)

    def table(self) -> list[BinRow]:
        """A line for each bin, named by its bounds."""
        names = self.prebins.names(self.groups)
        if self.counted is not None:
            return self.counted.table(names)
        woe = [None] * len(names) if self.woe is None else self.woe.tolist()
        return [BinRow(name, None, None, None, None, one, None) for name, one in zip(names, woe, strict=True)]

    def without_counts(self) -> WoeFeature:
        """The same feature as an owner without labels would hold it."""
        return replace(self, counted=None)


def label_counts(codes: Codes, labels: npt.NDArray[np.integer], n_bins: int) -> Int64s:
    """Goods and bads in each bin: int64[n_bins, 2]."""
    rows = np.bincount(codes, minlength=n_bins)
    bads = np.bincount(codes[labels == 1], minlength=n_bins)
    return np.column_stack([rows - bads, bads]).astype(np.int64)


def decide(counts: Int64s, values: int, parameters: BinningParameters, min_population: int) -> tuple[Int64s, BinTable]:
    """Groups and table of a feature from the counts of its pre-bins, the first `values` of them ordinary."""
    groups = merge(counts, values, parameters, min_population)
    now = summed(counts, groups)
    table = BinTable(now, int(groups[:values].max()) + 1, weights_of_evidence(now, parameters.woe_bits))
    return groups, table


def prebin(
    name: str, values: npt.ArrayLike, parameters: BinningParameters, min_population: int, special: Sequence[float]
) -> PreBins:
    """Pre-bins of a training column. Raises UsageError naming the feature."""
    try:
        return PreBins.fit(values, parameters.max_prebins, min_population, special)
    except UsageError as error:
        raise UsageError(f"feature {name!r}: {error}", remedy=error.remedy) from None


def fit_features(
    names: Sequence[str],
    values: Reals,
    labels: npt.NDArray[np.integer],
    train: Flags,
    parameters: BinningParameters,
    min_population: int,
    *,
    special: Specials | None = None,
    trends: Trends | None = None,
) -> list[WoeFeature]:
    """A party's own features, fitted on its training rows. `values`: float64[n, n_features], `train`: bool[n].

    Raises UsageError for a bad column, and for special values or trends of a feature that is not there.
    """
    coded, directed = special or {}, trends or {}
    check_wishes(names, coded, directed)
    return [
        WoeFeature.fit(
            name,
            column[train],
            labels[train],
            replace(parameters, trend=directed.get(name, parameters.trend)),
            min_population,
            coded.get(name, ()),
        )
        for name, column in zip(names, values.T, strict=True)
    ]


def check_wishes(names: Sequence[str], special: Specials, trends: Trends) -> None:
    """Raises UsageError for special values or trends of a feature that is not there, and for an unknown trend."""
    for what, given in (("special values are", special), ("a trend is", trends)):
        if strangers := sorted(set(given) - set(names)):
            remedy = f"Features: {', '.join(names)}."
            raise UsageError(f"{what} given for {strangers[0]!r}, which is no feature", remedy=remedy)
    for name, trend in trends.items():
        if trend not in TRENDS:
            raise UsageError(f"the trend of {name!r} is {trend!r}", remedy=f"Allowed: {', '.join(TRENDS)}.")


def woe_matrix(features: Sequence[WoeFeature], values: Reals) -> Reals:
    """The WOE of a party's columns: float64[n, n_features] -> the same shape."""
    columns = [feature.transform(column) for feature, column in zip(features, values.T, strict=True)]
    return np.column_stack(columns) if columns else np.zeros((len(values), 0))
