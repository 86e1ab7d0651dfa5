"""Rows and features are drawn as LightGBM draws them, and what goss weighs up is unbiased."""

from __future__ import annotations

import lightgbm
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vfl.learn.parameters import GBDTParameters
from vfl.learn.reference import train_reference
from vfl.learn.sampling import FeatureSampler, Generator, RowSampler

from .columns import credit_like


def test_the_generator() -> None:
    """The first numbers of the linear congruential generator with factor 214013 and term 2531011."""
    drawn = Generator(3)
    assert [drawn.uniform() * 32768 for _ in range(4)] == [48.0, 7196.0, 9294.0, 9091.0]
    assert Generator(2**31 - 1).below(7) in range(7)


@given(st.integers(1, 60), st.integers(0, 60), st.integers(0, 2**31 - 1))
def test_chosen_numbers_are_different_and_ascending(among: int, count: int, seed: int) -> None:
    chosen = Generator(seed).choose(among, count)
    assert chosen == sorted(set(chosen))
    assert set(chosen) <= set(range(among))
    assert len(chosen) == (count if count <= among else 0)


def test_bags_change_every_so_many_rounds_and_have_their_share() -> None:
    parameters = GBDTParameters(bagging_fraction=0.3, bagging_freq=2)
    sampler, nothing = RowSampler(parameters, 20_000), np.zeros((20_000, 1))
    bags = [sampler.draw(number, nothing, nothing).chosen for number in range(4)]
    assert np.array_equal(bags[0], bags[1])
    assert np.array_equal(bags[2], bags[3])
    assert not np.array_equal(bags[0], bags[2])
    assert abs(bags[0].mean() - 0.3) < 0.02


def test_without_sampling_all_rows_and_features_are_used() -> None:
    nothing = np.zeros((10, 1))
    for parameters in (GBDTParameters(), GBDTParameters(bagging_fraction=0.5), GBDTParameters(bagging_freq=1)):
        assert RowSampler(parameters, 10).draw(0, nothing, nothing).chosen.all()
    assert FeatureSampler(GBDTParameters(), [1, 5, 2]).draw().all()


def test_features_with_one_bin_are_not_drawn() -> None:
    sampler = FeatureSampler(GBDTParameters(feature_fraction=0.5), [1, 5, 2, 1, 9, 9])
    for _ in range(20):
        drawn = sampler.draw()
        assert drawn.sum() == 2
        assert not drawn[[0, 3]].any()


def test_goss_waits_until_scores_mean_something() -> None:
    sampler = RowSampler(GBDTParameters(data_sample_strategy="goss", learning_rate=0.3), 50)
    g = np.ones((50, 1))
    assert [sampler.draw(number, g, g).chosen.all() for number in range(5)] == [True, True, True, False, False]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**31 - 1), st.integers(1, 3), st.booleans())
def test_goss_keeps_the_largest_and_weighs_the_others_up(seed: int, outputs: int, tied: bool) -> None:
    rng = np.random.default_rng(seed)
    g, h = rng.normal(size=(400, outputs)), rng.random((400, outputs))
    if tied:
        g, h = np.sign(g), np.ones_like(h)
    parameters = GBDTParameters(
        data_sample_strategy="goss", learning_rate=1.0, top_rate=0.25, other_rate=0.15, bagging_seed=seed
    )
    sample = RowSampler(parameters, 400).draw(1, g, h)
    assert sample.factor is not None
    size = np.abs(g * h).sum(axis=1)
    top = sample.chosen & (sample.factor == 1.0)
    assert top.sum() == 100
    assert size[top].min() >= np.float32(size[~top].max()) * (1 - 1e-6)
    assert (sample.chosen & ~top).sum() == 60
    assert np.all(sample.factor[sample.chosen & ~top] == 300 / 60)


@pytest.mark.parametrize("tied", [False, True], ids=["different", "tied"])
def test_goss_is_unbiased(tied: bool) -> None:
    """Over many seeds the mean of the weighed sum is the sum over all rows: within 4 standard errors, per half of them.

    Without the factor it is off by more than 50 of them.
    """
    rng = np.random.default_rng(1)
    g, h = rng.normal(size=(300, 1)), rng.random((300, 1))
    if tied:
        g, h = np.ones_like(g), np.ones_like(h)
    half = np.arange(300) % 2 == 0
    found = []
    for seed in range(600):
        parameters = GBDTParameters(data_sample_strategy="goss", learning_rate=1.0, bagging_seed=seed * 1009)
        sample = RowSampler(parameters, 300).draw(1, g, h)
        assert sample.factor is not None
        weighed = np.where(sample.chosen, sample.factor, 0.0) * g[:, 0]
        found.append((weighed[half].sum(), weighed[~half].sum()))
    off = np.abs(np.mean(found, axis=0) - [g[half].sum(), g[~half].sum()])
    assert np.all(off <= 4 * np.std(found, axis=0) / np.sqrt(600))


SAMPLES = [
    {"bagging_fraction": 0.7, "bagging_freq": 1},
    {"bagging_fraction": 0.4, "bagging_freq": 3, "bagging_seed": 11},
    {"feature_fraction": 0.5},
    {"feature_fraction": 0.34, "feature_fraction_seed": 77},
    {"data_sample_strategy": "goss", "learning_rate": 0.15},
    {
        "data_sample_strategy": "goss",
        "learning_rate": 0.12,
        "top_rate": 0.4,
        "other_rate": 0.3,
        "feature_fraction": 0.8,
    },
]


@pytest.mark.parametrize("options", SAMPLES, ids=[" ".join(f"{k}={v}" for k, v in o.items()) for o in SAMPLES])
def test_lightgbm_draws_the_same(options: dict[str, object]) -> None:
    """Over several blocks of rows. Every row has another weight, so that no two tie at the threshold of goss."""
    rng = np.random.default_rng(3)
    x, _ = credit_like(5000, rng)
    y = (rng.random(5000) < 1 / (1 + np.exp(-x[:, 0] - x[:, 1] * (x[:, 0] > 0)))).astype(np.int8)
    params = GBDTParameters.from_mapping({"num_iterations": 12, "max_bin": 31, "num_leaves": 15, **options})
    weights = 0.5 + rng.random(5000)
    model = train_reference(x, y, params, weights=weights)
    data = lightgbm.Dataset(x, y, weight=weights)
    theirs = lightgbm.train(params.lightgbm_params(), data, num_boost_round=12)
    np.testing.assert_allclose(model.predict_raw(x), theirs.predict(x, raw_score=True), atol=2e-6)
