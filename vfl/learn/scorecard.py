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

from vfl.learn.collinearity import correlations
from vfl.learn.logistic import Logistic
from vfl.learn.scorecard_parameters import ScorecardModel, ScorecardParameters
from vfl.learn.selection import Candidate, screen, select
from vfl.learn.stability import outside_training
from vfl.learn.woe import Specials, Trends, WoeFeature, fit_features, woe_matrix

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
        """The party's part of the log-odds: float64[n, features] -> float64[n].

        Summed feature by feature: a matrix product may round one row otherwise than the same row among many.
        """
        total = np.zeros(len(values))
        for feature, coefficient, column in zip(self.features, self.coefficients.tolist(), values.T, strict=True):
            total += feature.transform(column) * coefficient
        return total

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


@dataclass(frozen=True, eq=False)
class Central:
    """A scorecard of one table, as whoever holds all its columns makes it."""

    card: Card
    intercept: float
    columns: tuple[int, ...]  # of the table, those that stay

    @classmethod
    def fit(
        cls,
        names: Sequence[str],
        values: Reals,
        labels: Labels,
        train: npt.NDArray[np.bool_],
        model: ScorecardModel,
        min_population: int,
        special: Specials | None = None,
        trends: Trends | None = None,
    ) -> Central:
        """Bins, selection and coefficients from training rows. `values`: float64[n, columns], `train`: bool[n].

        Raises UsageError for a bad column, and where columns tell the classes apart.
        """
        made = fit_features(names, values, labels, train, model.binning, min_population, special=special, trends=trends)
        psi = outside_training(made, values, train, model.selecting.min_psi_rows)
        found = [Candidate(0, one.name, one.n_bins, one.iv or 0.0, index) for one, index in zip(made, psi, strict=True)]
        screened = screen(found, model.selecting)
        left = np.array([one.kept for one in screened], dtype=np.bool_)
        matrix = woe_matrix([one for one, stays in zip(made, left, strict=True) if stays], values[:, left])
        verdicts = select(screened, correlations(matrix[train]), model.selecting)
        columns = tuple(number for number, one in enumerate(verdicts) if one.kept)
        features = tuple(made[number] for number in columns)
        fitted = central(features, values[train][:, list(columns)], labels[train], model.card)
        return cls(Card(features, fitted.coefficients, Scaling.of(model.card)), fitted.intercept, columns)

    def predictor(self, values: Reals) -> Reals:
        """Log-odds of label 1: float64[n, columns of the table] -> float64[n]."""
        return self.intercept + self.card.predictor(values[:, list(self.columns)])


def central(features: Sequence[WoeFeature], values: Reals, labels: Labels, parameters: ScorecardParameters) -> Logistic:
    """The scorecard of one table, as whoever holds all its columns fits it: float64[n, features], int8[n]."""
    positive = parameters.signs == "positive"
    return Logistic.fit(woe_matrix(features, values), labels, l1=parameters.l1, l2=parameters.l2, positive=positive)
