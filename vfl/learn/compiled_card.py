"""A party's part of a scorecard evaluated fast: `Card.predictor` and `Card.points`, bit for bit.

A feature's codes change at its bounds, at its special values and just below them, and nowhere else. Between two of
these cuts all values are worth the same, so one search among them says what a value is worth; after the largest comes
the place of missing values.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vfl.learn.prebins import PreBins
from vfl.learn.scorecard import Card

Reals = npt.NDArray[np.float64]
Int64s = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class CompiledCard:
    """A party's part of a scorecard, ready for any number of rows.

    best: points of the best attribute of each feature, int64[features].
    """

    best: Int64s
    _cuts: tuple[Reals, ...]
    _starts: Int64s  # of each feature in the two below, which have its cuts, then missing values
    _terms: Reals
    _points: Int64s

    @classmethod
    def of(cls, card: Card) -> CompiledCard:
        """From a finished card. Raises UsageError where a feature's weights of evidence were kept from its owner."""
        cuts, terms, points = [], [np.empty(0)], [np.empty(0, np.int64)]
        for feature, coefficient in zip(card.features, card.coefficients.tolist(), strict=True):
            cuts.append(_cuts(feature.prebins))
            examples = np.append(cuts[-1], np.nan)
            terms.append(feature.transform(examples) * coefficient)
            points.append(card.scaling.points(feature, coefficient)[feature.codes(examples)])
        starts = np.cumsum([0, *map(len, terms[1:])])[:-1].astype(np.int64)
        best = [card.scaling.points(*one).max() for one in zip(card.features, card.coefficients.tolist(), strict=True)]
        return cls(np.array(best, np.int64), tuple(cuts), starts, np.concatenate(terms), np.concatenate(points))

    def parts(self, values: Reals) -> tuple[Reals, Int64s, Int64s]:
        """Of rows float64[n, features]: log-odds float64[n], points int64[n], points by feature int64[n, features]."""
        place = np.empty((len(self._cuts), len(values)), np.int64)
        for its, cuts, column in zip(place, self._cuts, values.T, strict=True):
            its[:] = cuts.searchsorted(column)
        place += self._starts[:, None]
        predictor = np.zeros(len(values))
        for term in self._terms.take(place):
            predictor += term
        points = self._points.take(place)
        return predictor, points.sum(axis=0), points.T

    def lost(self, points: Int64s) -> Int64s:
        """What each feature costs against its best attribute: points by feature int64[n, features] -> points lost."""
        return self.best - points


def _cuts(prebins: PreBins) -> Reals:
    """Upper bounds, the last one infinite, of intervals (lower, upper] whose values have the same code."""
    special: Sequence[float] = prebins.special
    return np.unique(np.concatenate([prebins.upper[:-1], special, np.nextafter(special, -np.inf), [np.inf]]))
