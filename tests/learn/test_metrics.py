"""Metrics against their definitions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vfl.errors import UsageError
from vfl.learn.metrics import auc, gini, ks, log_loss

ROWS = st.lists(st.tuples(st.integers(0, 1), st.integers(-3, 3)), min_size=2, max_size=40).filter(
    lambda rows: len({row[0] for row in rows}) == 2
)


@given(ROWS)
def test_auc_counts_pairs(rows: list[tuple[int, int]]) -> None:
    y, score = zip(*rows, strict=True)
    bads, goods = ([s for label, s in rows if label == kind] for kind in (1, 0))
    wins = sum((bad > good) + 0.5 * (bad == good) for bad in bads for good in goods)
    assert auc(y, score) == pytest.approx(wins / (len(bads) * len(goods)))
    assert gini(y, score) == pytest.approx(2 * auc(y, score) - 1)


@given(ROWS)
def test_ks_is_the_largest_gap(rows: list[tuple[int, int]]) -> None:
    y, score = zip(*rows, strict=True)
    bads, goods = (np.array([s for label, s in rows if label == kind]) for kind in (1, 0))
    assert ks(y, score) == pytest.approx(max(abs((bads <= cut).mean() - (goods <= cut).mean()) for cut in range(-3, 4)))


def test_log_loss() -> None:
    assert log_loss([1, 0], [0.5, 0.5]) == pytest.approx(np.log(2))
    assert log_loss([1, 0], [0.9, 0.2]) == pytest.approx(-(np.log(0.9) + np.log(0.8)) / 2)
    assert log_loss([1, 0], [0.0, 0.0]) == pytest.approx(-np.log(1e-15) / 2)


@pytest.mark.parametrize("metric", [auc, ks, gini, log_loss])
def test_what_cannot_be_measured(metric: object) -> None:
    assert callable(metric)
    with pytest.raises(UsageError, match="all 2 labels are 1"):
        metric([1, 1], [0.1, 0.2])
    with pytest.raises(UsageError, match="2 labels, but scores of shape"):
        metric([0, 1], [0.1])
    with pytest.raises(UsageError, match="1 scores are not a number"):
        metric([0, 1], [0.1, np.nan])


def test_log_loss_wants_probabilities() -> None:
    with pytest.raises(UsageError, match="needs probabilities"):
        log_loss([0, 1], [-2.0, 0.5])
