"""Derivatives are right and become bounded integers; validation rows are fixed by the seed."""

from __future__ import annotations

import numpy as np
import pytest
from derivatives import fixed_gradients, init_score
from hypothesis import given
from hypothesis import strategies as st

from vfl.errors import UsageError
from vfl.learn.fixed_point import to_fixed
from vfl.learn.objective import (
    binary_labels,
    gradients,
    sigmoid,
    validation_rows,
)


def test_derivatives_are_those_of_the_loss() -> None:
    score, step = np.linspace(-4, 4, 17), 1e-5
    for label in (0, 1):
        y = np.full(17, label, dtype=np.int8)

        def loss(at: np.ndarray, label: int = label) -> np.ndarray:
            return np.logaddexp(0, at) - label * at

        g, h = gradients(score, y)
        np.testing.assert_allclose(g, (loss(score + step) - loss(score - step)) / (2 * step), atol=1e-8)
        np.testing.assert_allclose(
            h, (gradients(score + step, y)[0] - gradients(score - step, y)[0]) / (2 * step), atol=1e-8
        )


@given(
    st.lists(st.tuples(st.floats(allow_nan=False, allow_infinity=False), st.integers(0, 1)), min_size=1),
    st.integers(8, 32),
)
def test_integers_stay_in_bounds(rows: list[tuple[float, int]], bits: int) -> None:
    score, labels = np.array([row[0] for row in rows]), np.array([row[1] for row in rows], dtype=np.int8)
    g, h = fixed_gradients(score, labels, bits)
    assert g.dtype == h.dtype == np.int64
    assert np.abs(g).max() <= 2**bits
    assert h.min() >= 0
    assert h.max() <= 2 ** (bits - 2)
    assert np.all((sigmoid(score) >= 0) & (sigmoid(score) <= 1))


def test_rounding_is_half_to_even() -> None:
    assert to_fixed(np.array([0.5, 1.5, -0.5, -1.5, 2.4]) / 256, 256.0).tolist() == [0, 2, 0, -2, 2]


def test_start_from_the_log_odds() -> None:
    y = np.array([1, 0, 0, 0], dtype=np.int8)
    assert init_score(y) == pytest.approx(np.log(1 / 3))
    assert init_score(y, boost_from_average=False) == 0.0


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ([0, 0], "all 2 labels are 0"),
        ([0, 2], "labels must be 0 or 1, found 0, 2"),
        ([], "at least one row"),
        ([0.0, float("nan")], "labels must be 0 or 1"),
        ([[0, 1]], "one column"),
        (["good", "bad"], "found bad, good"),
    ],
)
def test_bad_labels(labels: list[object], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        binary_labels(labels)  # type: ignore[arg-type]


def test_booleans_are_labels() -> None:
    assert binary_labels([True, False]).tolist() == [1, 0]


def test_validation_rows_are_fixed_by_the_seed() -> None:
    assert np.flatnonzero(validation_rows(20, 0.2, seed=7)).tolist() == [0, 2, 3, 4]
    assert validation_rows(1000, 0.3, 1).sum() == 300
    assert not np.array_equal(validation_rows(1000, 0.3, 1), validation_rows(1000, 0.3, 2))
    assert not validation_rows(10, 0.0, 0).any()
