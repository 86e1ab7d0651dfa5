"""Points: odds double where they should, and the lines of a card add up to the log-odds."""

from __future__ import annotations

import math

import numpy as np
import pytest

from vfl.errors import UsageError
from vfl.learn.feature_parameters import BinningParameters
from vfl.learn.scorecard import Card, Scaling, central
from vfl.learn.scorecard_parameters import ScorecardParameters
from vfl.learn.woe import WoeFeature

RNG = np.random.default_rng(4)
VALUES = RNG.normal(size=(900, 3))
VALUES[RNG.random(VALUES.shape) < 0.05] = np.nan
LABELS = (np.nan_to_num(VALUES) @ [1.0, 0.7, 0.4] + RNG.logistic(size=900) > 1.0).astype(np.int8)
FEATURES = tuple(
    WoeFeature.fit(name, column, LABELS, BinningParameters(), 20)
    for name, column in zip(("late", "use", "age"), VALUES.T, strict=True)
)
PARAMETERS = ScorecardParameters(pdo=40.0, base_score=500.0, base_odds=20.0)


def card() -> tuple[Card, float]:
    model = central(FEATURES, VALUES, LABELS, PARAMETERS)
    return Card(FEATURES, model.coefficients, Scaling.of(PARAMETERS)), model.intercept


def test_scaling() -> None:
    scaling = Scaling.of(PARAMETERS)
    assert scaling.base(-math.log(20.0)) == 500
    assert scaling.base(-math.log(40.0)) == 540
    assert scaling.base(-math.log(10.0)) == 460


def test_points_add_up_to_the_log_odds_but_for_rounding() -> None:
    mine, intercept = card()
    score = mine.scaling.base(intercept) + mine.points(VALUES)
    exact = mine.scaling.offset - mine.scaling.factor * (intercept + mine.predictor(VALUES))
    assert np.abs(score - exact).max() <= 0.5 * (len(FEATURES) + 1)
    assert np.corrcoef(score, LABELS)[0, 1] < -0.3


def test_a_card_has_a_line_for_every_bin() -> None:
    mine, _ = card()
    lines = mine.attributes()
    assert [line.feature for line in lines] == [one.name for one in FEATURES for _ in range(one.n_bins)]
    assert lines[-1].attribute == FEATURES[-1].table()[-1].bin
    first = [line.points for line in lines if line.feature == "late"]
    codes = FEATURES[0].codes(VALUES[:, 0])
    alone = Card(FEATURES[:1], mine.coefficients[:1], mine.scaling).points(VALUES[:, :1])
    assert alone.tolist() == np.array(first)[codes].tolist()
    riskier = max((line for line in lines if line.feature == "late"), key=lambda line: line.woe)
    assert riskier.points == min(first), "riskier attributes have fewer points"


def test_an_unknown_sign_is_refused() -> None:
    with pytest.raises(UsageError, match="'signs' is 'up'"):
        ScorecardParameters(signs="up")
    with pytest.raises(UsageError, match="'pdo' is 0"):
        ScorecardParameters(pdo=0)
