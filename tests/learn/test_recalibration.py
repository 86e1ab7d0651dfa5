"""Recalibration against scikit-learn, and by what it must keep."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.isotonic import IsotonicRegression

from vfl.learn.calibration import brier
from vfl.learn.metrics import log_loss
from vfl.learn.objective import sigmoid
from vfl.learn.recalibration import MAPS, Isotonic, Platt, cross_fitted
from vfl.randomness import Randomness

RNG = Randomness(bytes(32))


def bent(count: int, seed: int, intercept: float, slope: float) -> tuple[np.ndarray, np.ndarray]:
    """Labels, and probabilities that sigmoid(intercept + slope x log-odds) would make true."""
    rng = np.random.default_rng(seed)
    odds = rng.normal(-1, 1.2, count)
    y = (rng.random(count) < sigmoid(intercept + slope * odds)).astype(int)
    return y, sigmoid(odds)


def test_platt_finds_how_probabilities_are_bent() -> None:
    found = Platt.fit(*bent(60_000, 1, -0.5, 0.6))
    assert found.intercept == pytest.approx(-0.5, abs=0.05)
    assert found.slope == pytest.approx(0.6, abs=0.03)


def test_platt_stays_finite_where_classes_are_apart() -> None:
    found = Platt.fit([0, 0, 1, 1], [0.1, 0.2, 0.8, 0.9])
    assert 0 < found.slope < 100
    pd = np.array([0.1, 0.2, 0.8, 0.9])
    assert found(pd).mean() == pytest.approx(0.5, abs=1e-4), "targets of 3/4 and 1/4 are met on average"
    assert found(pd)[[0, 3]] == pytest.approx([0.22, 0.78], abs=0.03)
    assert Platt.fit([1, 1, 0, 0], [0.1, 0.2, 0.8, 0.9]).slope == 0.0, "a map never turns the order round"


def test_isotonic_is_scikit_learns() -> None:
    y, pd = bent(2_000, 2, 0.3, 1.4)
    pd = np.round(pd, 3)
    other = IsotonicRegression(y_min=0.5 / 2_001, y_max=1 - 0.5 / 2_001, out_of_bounds="clip").fit(pd, y)
    at = np.linspace(0, 1, 301)
    assert Isotonic.fit(y, pd)(at) == pytest.approx(other.predict(at), abs=1e-9)


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 20)), min_size=4, max_size=60), st.sampled_from([*MAPS]))
def test_maps_keep_the_order_and_give_probabilities(rows: list[tuple[int, int]], kind: str) -> None:
    if len({label for label, _ in rows}) < 2:
        return
    y, pd = np.array([label for label, _ in rows]), np.array([score for _, score in rows]) / 20
    after = MAPS[kind](y, pd)(np.linspace(0, 1, 50))
    assert (np.diff(after) >= -1e-12).all()
    assert after.min() >= 0
    assert after.max() <= 1


@pytest.mark.parametrize("kind", MAPS)
def test_what_was_bent_is_straightened_across_folds(kind: str) -> None:
    y, pd = bent(4_000, 3, -1.0, 0.7)
    better = cross_fitted(MAPS[kind], y, pd, 5, RNG.child("folds"))
    assert brier(y, better) < brier(y, pd) - 0.005
    assert log_loss(y, better) < log_loss(y, pd) - 0.01
    assert better.mean() == pytest.approx(y.mean(), abs=0.005)
    assert (cross_fitted(MAPS[kind], y, pd, 5, RNG.child("folds")) == better).all()


def test_nobody_is_recalibrated_by_a_map_that_knows_the_label() -> None:
    """With a label that the probability says nothing of, a map across folds must find nothing."""
    rng = np.random.default_rng(6)
    y, pd = (np.arange(400) % 4 == 0).astype(int), rng.random(400)
    better = cross_fitted(Isotonic.fit, y, pd, 5, RNG.child("none"))
    assert brier(y, better) > 0.25 * 0.75 - 0.001
