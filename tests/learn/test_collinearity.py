"""Correlations of numpy, variance inflation of statsmodels, and lower bounds where places are unknown."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.outliers_influence import variance_inflation_factor

from vfl.learn.collinearity import correlations, inflation, known_inflation

RNG = np.random.default_rng(2)
DATA = RNG.normal(size=(500, 5))
DATA[:, 3] += DATA[:, 0] + DATA[:, 1]
DATA[:, 4] -= 2 * DATA[:, 2]
DATA += 100.0


def test_correlations_are_those_of_numpy() -> None:
    np.testing.assert_allclose(correlations(DATA), np.corrcoef(DATA.T), atol=1e-12)


def test_constant_columns_correlate_with_nothing() -> None:
    found = correlations(np.column_stack([DATA, np.full(500, 0.1)]))
    assert found[5].tolist() == [0.0] * 5 + [1.0]
    assert correlations(np.zeros((4, 0))).shape == (0, 0)


def test_inflation_is_that_of_statsmodels() -> None:
    design = np.column_stack([np.ones(len(DATA)), DATA])
    due = [variance_inflation_factor(design, place) for place in range(1, 6)]
    np.testing.assert_allclose(inflation(correlations(DATA)), due, rtol=1e-9)


def test_a_dependent_pair_is_infinite_and_leaves_the_others_alone() -> None:
    copied = np.column_stack([DATA[:, :3], DATA[:, 0], DATA[:, 0]])
    found = inflation(correlations(copied))
    assert np.isinf(found[[0, 3, 4]]).all()
    np.testing.assert_allclose(found[1:3], inflation(correlations(DATA[:, :3]))[1:], rtol=0.05)


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.booleans())
def test_what_is_known_gives_a_lower_bound(number: int, kept: bool) -> None:
    rng = np.random.default_rng(number)
    full = correlations(rng.normal(size=(50, 6)) @ rng.normal(size=(6, 6)))
    owners = np.array([0, 0, 1, 1, 2, 2])
    known = full.copy()
    known[2:4, 4:] = known[4:, 2:4] = np.nan
    if kept:
        known[2, 3] = known[3, 2] = np.nan
    found = known_inflation(known, owners)
    assert (found <= inflation(full) * (1 + 1e-9)).all()
    assert found[0] >= inflation(full[np.ix_([0, 1], [0, 1])])[0] - 1e-9
    np.testing.assert_allclose(known_inflation(full, owners), inflation(full))
    joint = inflation(full[np.ix_([0, 1, 4, 5], [0, 1, 4, 5])])
    np.testing.assert_allclose(found[4:], joint[2:])
    if kept:
        alone = inflation(full[np.ix_([0, 1, 2], [0, 1, 2])])[2]
        assert found[2] == pytest.approx(alone)
