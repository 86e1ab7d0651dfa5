"""Monotone constraints: LightGBM's trees, and predictions that keep the agreed direction."""

from __future__ import annotations

from typing import Any

import lightgbm
import numpy as np
import pytest
from effort import examples
from hypothesis import given
from hypothesis import strategies as st

from vfl.learn.monotone import FREE, Bounds, directions
from vfl.learn.parameters import GBDTParameters
from vfl.learn.reference import train_reference

from .columns import credit_like

WAYS = [(1, 0, -1, 0, 0, 1), (-1, -1, -1, -1, -1, -1), (1, 1, 0, 0, 0, 0)]
OPTIONS: list[dict[str, Any]] = [
    {},
    {"lambda_l1": 2.0, "lambda_l2": 3.0},
    {"max_depth": 4},
    {"objective": "regression"},
]


@pytest.mark.parametrize("options", OPTIONS, ids=["defaults", "penalties", "shallow", "regression"])
@pytest.mark.parametrize("ways", WAYS)
def test_lightgbm_trees(ways: tuple[int, ...], options: dict[str, Any]) -> None:
    x, y = credit_like(3000, np.random.default_rng(5), missing=0.1)
    params = GBDTParameters.from_mapping({"num_iterations": 10, "max_bin": 15, "num_leaves": 15, **options})
    model = train_reference(x, y, params, monotone=np.array(ways, np.int8))
    wanted = params.lightgbm_params() | {"monotone_constraints": list(ways), "monotone_constraints_method": "basic"}
    theirs = lightgbm.train(wanted, lightgbm.Dataset(x, y), num_boost_round=10)
    np.testing.assert_allclose(model.predict_raw(x), theirs.predict(x, raw_score=True), atol=1e-6)
    free = train_reference(x, y, params)
    assert np.abs(free.predict_raw(x) - model.predict_raw(x)).max() > 1e-3


@examples(10, thorough=40)
@given(st.integers(0, 2**32 - 1), st.lists(st.sampled_from([-1, 0, 1]), min_size=6, max_size=6))
def test_predictions_keep_the_direction(seed: int, ways: list[int]) -> None:
    """One feature is moved up, all others stay: no prediction goes the wrong way."""
    rng = np.random.default_rng(seed)
    x, y = credit_like(300, rng, missing=0.1)
    params = GBDTParameters(num_iterations=6, min_data_in_leaf=3, learning_rate=0.5, num_leaves=20)
    model = train_reference(x, y, params, monotone=np.array(ways, np.int8))
    for feature, way in enumerate(ways):
        low, high = x.copy(), x.copy()
        low[:, feature] = rng.normal(size=300) * 3
        high[:, feature] = low[:, feature] + rng.exponential(size=300) * 3
        gap = model.predict_raw(high) - model.predict_raw(low)
        assert not np.any(way * gap < -1e-12)


def test_bounds_divide_by_direction() -> None:
    below, above = Bounds(-1.0, 1.0).divide(1, 0.2, 0.6)
    assert (below, above) == (Bounds(-1.0, 0.4), Bounds(0.4, 1.0))
    assert Bounds(-1.0, 1.0).divide(-1, 0.6, 0.2) == (above, below)
    assert FREE.divide(0, 5.0, 1.0) == (FREE, FREE)
    assert Bounds(-1.0, 0.5).clip(3.0) == 0.5


def test_directions_of_a_party() -> None:
    assert directions(("a", "b", "c"), {"c": -1, "a": 1}).tolist() == [1, 0, -1]
