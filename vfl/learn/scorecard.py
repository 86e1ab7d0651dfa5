"""Points: log-odds as whole numbers that people can add up.

    score  = offset + factor ln(odds of good)        factor = pdo / ln 2,  offset = base_score - factor ln(base_odds)
    points = -factor coefficient WOE                 of a bin of a feature (an attribute), rounded
    base   = offset - factor intercept               what everybody starts with, rounded

WOE is positive where a bin is riskier than the average (`vfl.learn.evidence`), so riskier attributes have fewer points.
Whoever owns a feature computes the points of its bins alone.

Source: N. Siddiqi, Credit Risk Scorecards, Wiley 2006, chapter 6.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vfl.learn.logistic import Logistic
from vfl.learn.scorecard_parameters import ScorecardParameters
from vfl.learn.woe import WoeFeature, woe_matrix

Reals = npt.NDArray[np.float64]
Int64s = npt.NDArray[np.int64]
Labels = npt.NDArray[np.int8]


@dataclass(frozen=True)
class Scaling:
    """From log-odds of default to points."""

    factor: float
    offset: float

    @classmethod
    def of(cls, parameters: ScorecardParameters) -> Scaling:
        """As agreed."""
        factor = parameters.pdo / math.log(2.0)
        return cls(factor, parameters.base_score - factor * math.log(parameters.base_odds))

    def base(self, intercept: float) -> int:
        """Points that everybody starts with."""
        return round(self.offset - self.factor * intercept)

    def points(self, feature: WoeFeature, coefficient: float) -> Int64s:
        """Points of each bin, int64[n_bins]."""
        assert feature.woe is not None
        return np.rint(-self.factor * coefficient * feature.woe).astype(np.int64)


@dataclass(frozen=True)
class Attribute:
    """One line of a scorecard."""

    feature: str
    attribute: str
    woe: float
    points: int


@dataclass(frozen=True, eq=False)
class Card:
    """One party's part of a scorecard: its features, a coefficient for each, and how points are scaled."""

    features: tuple[WoeFeature, ...]
    coefficients: Reals  # float64[features]
    scaling: Scaling

    def predictor(self, values: Reals) -> Reals:
        """The party's part of the log-odds: float64[n, features] -> float64[n]."""
        return np.asarray(woe_matrix(self.features, values) @ self.coefficients, dtype=np.float64)

    def points(self, values: Reals) -> Int64s:
        """The party's points of each row: float64[n, features] -> int64[n]."""
        total = np.zeros(len(values), dtype=np.int64)
        for feature, coefficient, column in zip(self.features, self.coefficients.tolist(), values.T, strict=True):
            total += self.scaling.points(feature, coefficient)[feature.codes(column)]
        return total

    def attributes(self) -> list[Attribute]:
        """A line for each bin of each feature."""
        return [
            Attribute(feature.name, row.bin, float(row.woe or 0.0), points)
            for feature, coefficient in zip(self.features, self.coefficients.tolist(), strict=True)
            for row, points in zip(feature.table(), self.scaling.points(feature, coefficient).tolist(), strict=True)
        ]


def central(features: Sequence[WoeFeature], values: Reals, labels: Labels, parameters: ScorecardParameters) -> Logistic:
    """The scorecard of one table, as whoever holds all its columns fits it: float64[n, features], int8[n]."""
    positive = parameters.signs == "positive"
    return Logistic.fit(woe_matrix(features, values), labels, l1=parameters.l1, l2=parameters.l2, positive=positive)
