"""Categorical features: LightGBM's bins and splits, and what is no category."""

from __future__ import annotations

from typing import Any

import lightgbm
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vfl.errors import UsageError
from vfl.learn.categories import CategoryMapper
from vfl.learn.parameters import GBDTParameters
from vfl.learn.reference import train_reference
from vfl.learn.tree import SplitRecord, go_left, go_left_codes

CATEGORICAL = (1, 3, 4)


def customers(rows: int, seed: int = 1, missing: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Two numeric columns, categories of 3, 25 and 60 kinds with effects of their own, and labels."""
    rng = np.random.default_rng(seed)
    x = np.round(rng.normal(size=(rows, 5)) * 2) / 2
    x[:, 1] = rng.integers(0, 3, rows)
    x[:, 3] = np.minimum(rng.geometric(0.12, rows) - 1, 24)
    x[:, 4] = rng.integers(0, 60, rows) * 7
    effect = rng.normal(size=600)
    risk = x[:, 0] + 1.5 * effect[x[:, 3].astype(int)] + effect[100 + x[:, 4].astype(int)] - (x[:, 1] == 1)
    y = (rng.random(rows) < 1 / (1 + np.exp(-risk))).astype(np.int8)
    for column in CATEGORICAL:
        x[rng.random(rows) < missing, column] = np.nan
    return x, y


def lightgbm_mapper(values: np.ndarray, max_bin: int, min_data_in_bin: int) -> list[int]:
    """The categories that LightGBM gives a bin, in their order, from the text of a model."""
    params = {
        "max_bin": max_bin, "min_data_in_bin": min_data_in_bin, "verbosity": -1, "feature_pre_filter": False,
        "min_data_in_leaf": 1, "num_leaves": 2, "num_threads": 1,
    }  # fmt: skip
    y = np.arange(len(values)) % 2
    data = lightgbm.Dataset(values[:, None], y, categorical_feature=[0], params=params)
    text = lightgbm.train(params, data, num_boost_round=1).model_to_string()
    [info] = [line for line in text.splitlines() if line.startswith("feature_infos=")]
    named = info.removeprefix("feature_infos=")
    return [] if named == "none" else [int(one) for one in named.split(":") if int(one) >= 0]


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**32 - 1), st.integers(1, 30), st.sampled_from([0.0, 0.2]), st.sampled_from([1, 3, 10]))
def test_lightgbm_bins(seed: int, kinds: int, missing: float, least: int) -> None:
    rng = np.random.default_rng(seed)
    values = np.floor(rng.exponential(kinds / 3, 200))
    values[rng.random(200) < missing] = np.nan
    mine = CategoryMapper.fit(values, 255, least)
    assert sorted(mine.categories) == sorted(lightgbm_mapper(values, 255, least))


OPTIONS: list[dict[str, Any]] = [
    {}, {"min_data_per_group": 20, "cat_smooth": 2.0, "cat_l2": 1.0}, {"max_cat_threshold": 3},
    {"max_cat_to_onehot": 30}, {"lambda_l1": 1.0, "lambda_l2": 2.0, "min_data_per_group": 10},
    {"objective": "regression"},
]  # fmt: skip


@pytest.mark.parametrize("missing", [0.0, 0.1], ids=["full", "missing"])
@pytest.mark.parametrize("options", OPTIONS, ids=["defaults", "fine", "few", "one", "penalties", "regression"])
def test_lightgbm_trees(options: dict[str, Any], missing: float) -> None:
    x, y = customers(4000, missing=missing)
    params = GBDTParameters.from_mapping({"num_iterations": 8, "max_bin": 63, "num_leaves": 15, **options})
    model = train_reference(x, y, params, categorical=CATEGORICAL)
    data = lightgbm.Dataset(x, y, categorical_feature=list(CATEGORICAL))
    theirs = lightgbm.train(params.lightgbm_params(), data, num_boost_round=8)
    assert any(record.categories for record in model.records)
    np.testing.assert_allclose(model.predict_raw(x), theirs.predict(x, raw_score=True), atol=2e-6)
    unseen = x.copy()
    unseen[:, CATEGORICAL] = 9999.0
    np.testing.assert_allclose(model.predict_raw(unseen), theirs.predict(unseen, raw_score=True), atol=2e-6)


def test_with_monotone_numeric_features() -> None:
    x, y = customers(3000)
    params = GBDTParameters(num_iterations=8, max_bin=63, num_leaves=15)
    ways = np.array([-1, 0, 1, 0, 0], np.int8)
    model = train_reference(x, y, params, monotone=ways, categorical=CATEGORICAL)
    wanted = params.lightgbm_params() | {"monotone_constraints": ways.tolist(), "monotone_constraints_method": "basic"}
    theirs = lightgbm.train(wanted, lightgbm.Dataset(x, y, categorical_feature=list(CATEGORICAL)), num_boost_round=8)
    np.testing.assert_allclose(model.predict_raw(x), theirs.predict(x, raw_score=True), atol=2e-6)


def test_max_bin_holds() -> None:
    values = np.repeat(np.arange(100.0), 10)
    mapper = CategoryMapper.fit(values, 16, 3)
    assert mapper.n_bins == 16
    assert mapper.population(mapper.transform(values))[0] == 850


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**32 - 1), st.integers(1, 60))
def test_no_bin_is_small_but_an_empty_one(seed: int, least: int) -> None:
    rng = np.random.default_rng(seed)
    values = np.floor(rng.exponential(rng.integers(1, 9), 300))
    values[rng.random(300) < rng.choice([0.0, 0.01, 0.3])] = np.nan
    mapper = CategoryMapper.fit(values, 255, 1, least)
    population = mapper.population(mapper.transform(values))
    assert (population[1:] >= least).all()
    assert population[0] == 0 or population[0] >= least or mapper.n_bins == 1
    assert population.sum() == 300


@given(st.lists(st.one_of(st.integers(0, 12), st.just(None)), min_size=1, max_size=60), st.integers(0, 2**12 - 1))
def test_values_and_codes_decide_alike(values: list[int | None], chosen: int) -> None:
    column = np.array([np.nan if value is None else value for value in values], dtype=float)
    mapper = CategoryMapper.fit(column, 255, 1)
    bins = tuple(code for code in range(1, mapper.n_bins) if chosen >> code & 1)
    record = SplitRecord(0, 0.0, 0, False, tuple(mapper.categories[code - 1] for code in bins), bins)
    if bins:
        assert np.array_equal(go_left(column, record), go_left_codes(mapper.transform(column), record, None))
    assert not go_left(np.array([np.nan, 99.0, -1.0, 0.5]), record).any() or not bins


@pytest.mark.parametrize("wrong", [-1.0, 0.5, 2.0**31, np.inf])
def test_what_is_no_category(wrong: float) -> None:
    with pytest.raises(UsageError, match="in row 2 is no category") as caught:
        CategoryMapper.fit(np.array([1.0, wrong]), 10, 1)
    assert "whole numbers from 0" in caught.value.remedy


def test_nothing_but_missing_values() -> None:
    mapper = CategoryMapper.fit(np.full(5, np.nan), 10, 1)
    assert mapper.n_bins == 1
    assert mapper.transform([np.nan, 3.0]).tolist() == [0, 0]
