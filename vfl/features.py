"""From raw columns to the weights of evidence of the features that stay: `woe` and `correlate`, one after the other.

`active` and `passive` await nothing but their channels. Each protocol has a key of its own: a key lives for one set of
bins.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from vfl.bits import Mask
from vfl.channel import Channel
from vfl.crypto.schemes import SchemeTerms
from vfl.decoys import Shown
from vfl.learn.feature_parameters import BinningParameters, SelectionParameters
from vfl.learn.rounds import Parts
from vfl.learn.woe import Specials, Trends, WoeFeature, fit_features, woe_matrix
from vfl.protocols import correlate, woe
from vfl.protocols.correlate import Others, Selection
from vfl.protocols.woe import FeatureReport
from vfl.randomness import Randomness

Reals = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int8]
COUNT_BITS = 8
"""A label is 0 or 1: any width does, and this is the smallest that every scheme has."""
COLUMN_BITS = 20
"""Columns are told to 2**-20 of their largest value: correlations are exact to six digits."""


@dataclass(frozen=True)
class FeatureTerms:
    """What was agreed about features.

    columns: how many features the active party has.   partners: the features of each passive party, by name.
    min_population: training rows in a bin at least.   min_shown_population: the same where decoys are among the rows.
    """

    binning: BinningParameters
    selecting: SelectionParameters
    columns: int
    partners: tuple[tuple[str, ...], ...]
    min_population: int
    min_shown_population: int
    run: str
    scheme: str
    key_bits: int

    @property
    def counting(self) -> SchemeTerms:
        """The encryption of labels."""
        return self._terms("woe", 1, COUNT_BITS)

    @property
    def comparing(self) -> SchemeTerms:
        """The encryption of columns, two in a query."""
        return self._terms("correlate", max(1, (self.columns + 1) // 2), COLUMN_BITS)

    @property
    def between(self) -> SchemeTerms:
        """The encryption of a passive party's columns, one in a query, for another's bins."""
        return self._terms("correlate_partners", max(map(len, self.partners)), COLUMN_BITS)

    def others(self, names: Sequence[str]) -> Others | None:
        """What the passive party with features `names` was agreed to do with others."""
        if not self.selecting.partner_correlations:
            return None
        widths = [len(partner) for partner in self.partners]
        widths.remove(len(names))
        return Others(self.between.key_holder, self.between.evaluator, tuple(widths))

    def _terms(self, protocol: str, queries: int, bits: int) -> SchemeTerms:
        cells = max(map(len, self.partners)) * self.binning.max_prebins
        return SchemeTerms(
            self.scheme, f"{self.run}/{protocol}", self.key_bits, cells, trees=queries, queries=queries, fixed_bits=bits
        )


@dataclass(frozen=True, eq=False)
class OwnFeatures:
    """A party's features that stay.

    kept: which of its columns, bool[n_columns].   features: of those.   values: float64[n, kept], over its rows.
    """

    kept: Mask
    features: tuple[WoeFeature, ...]
    values: Reals

    @classmethod
    def of(cls, everything: Sequence[WoeFeature], values: Reals, kept: Mask) -> OwnFeatures:
        """Those that are kept of `everything`, in its order."""
        return cls(kept, tuple(one for one, stays in zip(everything, kept, strict=True) if stays), values[:, kept])

    @cached_property
    def matrix(self) -> Reals:
        """Weights of evidence, float64[n, kept]. Raises UsageError where they were not told."""
        return woe_matrix(self.features, self.values)


@dataclass(frozen=True, eq=False)
class ActiveFeatures:
    """What the active party holds at the end: its own features, and of everybody's the tables and verdicts."""

    own: OwnFeatures
    report: FeatureReport
    selection: Selection


async def active(
    passives: Sequence[Channel],
    names: Sequence[str],
    values: Reals,
    labels: Labels,
    parts: Parts,
    terms: FeatureTerms,
    rng: Randomness,
    *,
    shown: Shown | None = None,
    special: Specials | None = None,
    trends: Trends | None = None,
) -> ActiveFeatures:
    """Bin and select the features of all parties. `values`: float64[n, columns] over our rows, as `labels`, `parts`."""
    shown = shown or Shown.plain(parts)
    rows, least = int(shown.train.sum()), terms.min_population
    mine = fit_features(names, values, labels, parts.train, terms.binning, least, special=special, trends=trends)
    key = terms.counting.key_holder(rows, rng.child("woe/key"))
    counts = [len(partner) for partner in terms.partners]
    stream = rng.child("woe")
    report = await woe.active(passives, counts, mine, labels, parts, terms.binning, least, key, stream, shown=shown)
    key, stream = terms.comparing.key_holder(rows, rng.child("correlate/key")), rng.child("correlate")
    selection = await correlate.active(
        passives, terms.partners, report.partners, mine, values, parts, terms.selecting, key, stream, shown=shown
    )
    return ActiveFeatures(OwnFeatures.of(mine, values, selection.kept(0)), report, selection)


async def passive(
    active: Channel,
    names: Sequence[str],
    values: Reals,
    terms: FeatureTerms,
    rng: Randomness,
    *,
    special: Specials | None = None,
    trends: Trends | None = None,
) -> OwnFeatures:
    """Bin the own features and hear which stay. `values`: float64[n, columns] over the aligned rows."""
    least, evaluators = terms.min_shown_population, terms.counting.evaluator
    features = await woe.passive(
        active, names, values, terms.binning, least, evaluators, rng.child("woe"), special=special, trends=trends
    )
    evaluators, stream = terms.comparing.evaluator, rng.child("correlate")
    others, columns = terms.others(names), terms.columns
    kept = await correlate.passive(
        active, features, values, columns, terms.selecting, evaluators, stream, others=others
    )
    return OwnFeatures.of(features, values, kept)
