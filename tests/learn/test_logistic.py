"""Logistic regression in one place, against statsmodels and scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from vfl.errors import UsageError
from vfl.learn.logistic import Logistic, Problem, covariance, minimise

FREE = {"l1": 0.0, "l2": 0.0, "positive": False}


def credit(n: int = 400, d: int = 4, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    columns = rng.normal(size=(n, d)) @ (np.eye(d) + 0.3 * rng.normal(size=(d, d)))
    risk = columns @ rng.normal(size=d) + rng.logistic(size=n) - 1.0
    return columns, (risk > 0).astype(np.int8)


@pytest.mark.parametrize("seed", range(3))
def test_maximum_likelihood_and_wald_tests_of_statsmodels(seed: int) -> None:
    columns, labels = credit(seed=seed)
    due = sm.Logit(labels, sm.add_constant(columns)).fit(disp=False, tol=1e-12)
    model = Logistic.fit(columns, labels, **FREE)
    np.testing.assert_allclose([model.intercept, *model.coefficients], due.params, atol=1e-7)
    found = model.inference(columns)
    np.testing.assert_allclose(found.errors, due.bse, rtol=1e-6)
    np.testing.assert_allclose(found.z, due.tvalues, rtol=1e-5)
    np.testing.assert_allclose(found.p_values, due.pvalues, rtol=1e-4, atol=1e-300)


@pytest.mark.parametrize("l2", [0.1, 1.0, 30.0])
def test_l2_of_scikit_learn(l2: float) -> None:
    columns, labels = credit()
    due = LogisticRegression(C=1.0 / l2, tol=1e-10, max_iter=1000).fit(columns, labels)
    model = Logistic.fit(columns, labels, **FREE | {"l2": l2})
    np.testing.assert_allclose(model.coefficients, due.coef_[0], atol=1e-6)
    assert model.intercept == pytest.approx(due.intercept_[0], abs=1e-6)


def assert_optimal(
    columns: np.ndarray, labels: np.ndarray, model: Logistic, l1: float, l2: float, positive: bool
) -> None:
    """The Karush-Kuhn-Tucker conditions."""
    p = 1 / (1 + np.exp(-model.predictor(columns)))
    slope = columns.T @ (p - labels) + l2 * model.coefficients
    assert (p - labels).sum() == pytest.approx(0, abs=1e-5)
    for one, g in zip(model.coefficients, slope, strict=True):
        if one:
            assert g + l1 * np.sign(one) == pytest.approx(0, abs=1e-4)
            assert one > 0 or not positive
        else:
            assert g >= -l1 - 1e-4
            assert positive or g <= l1 + 1e-4


@settings(deadline=None, max_examples=40)
@given(
    st.integers(0, 10**6), st.sampled_from([0.0, 3.0, 40.0]), st.sampled_from([0.0, 0.5, 5.0]), st.booleans(),
    st.integers(1, 6),
)  # fmt: skip
def test_any_penalty_and_sign(seed: int, l1: float, l2: float, positive: bool, d: int) -> None:
    columns, labels = credit(200, d, seed)
    try:
        model = Logistic.fit(columns, labels, l1=l1, l2=l2, positive=positive)
    except UsageError:
        assert not l1
        assert not l2
        return
    assert_optimal(columns, labels, model, l1, l2, positive)


def test_l1_makes_zeros_that_have_no_error() -> None:
    columns, labels = credit(400, 6)
    model = Logistic.fit(columns, labels, **FREE | {"l1": 60.0})
    zero = model.coefficients == 0
    assert zero.any()
    assert not zero.all()
    assert np.isnan(model.inference(columns).errors[1:]).tolist() == zero.tolist()


def test_classes_told_apart_are_refused() -> None:
    columns = np.arange(20.0)[:, None]
    with pytest.raises(UsageError, match="tell good and bad training customers apart"):
        Logistic.fit(columns, (columns[:, 0] > 9).astype(np.int8), **FREE)
    assert Logistic.fit(columns, (columns[:, 0] > 9).astype(np.int8), **FREE | {"l2": 1.0}).coefficients[0] > 0


def test_columns_that_repeat_each_other_have_no_errors() -> None:
    columns, labels = credit(100, 1)
    twice = np.column_stack([columns, columns])
    model = Logistic.fit(twice, labels, **FREE)
    with pytest.raises(UsageError, match="repeat each other"):
        model.inference(twice)
    with pytest.raises(UsageError, match="repeat each other"):
        covariance(np.zeros((2, 2)))


def test_a_direction_without_curvature_stays_where_it_was() -> None:
    columns, labels = credit(100, 2)
    design = np.column_stack([np.ones(100), columns, np.zeros(100)])
    found = minimise(Problem.plain(design, labels), np.array([0.0, 0.0, 0.0, 3.0]))
    assert found[3] == 3.0
    np.testing.assert_allclose(found[1:3], Logistic.fit(columns, labels, **FREE).coefficients, atol=1e-7)
