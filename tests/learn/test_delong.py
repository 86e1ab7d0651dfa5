"""DeLong's covariance against its definition by pairs, and against how AUCs vary."""

from __future__ import annotations

import numpy as np
import pytest

from vfl.errors import UsageError
from vfl.learn.delong import delong
from vfl.learn.metrics import auc


def by_definition(y: np.ndarray, scores: list[np.ndarray]) -> np.ndarray:
    """Structural components from the matrix of all pairs, equations 4 to 6 of the paper."""
    rows, columns = [], []
    for score in scores:
        bad, good = score[y == 1][:, None], score[y == 0][None, :]
        wins = (bad > good) + 0.5 * (bad == good)
        rows.append(wins.mean(axis=1))
        columns.append(wins.mean(axis=0))
    return np.cov(rows) / (y == 1).sum() + np.cov(columns) / (y == 0).sum()


def test_the_covariance_is_that_of_all_pairs_with_ties() -> None:
    rng = np.random.default_rng(1)
    y = rng.integers(0, 2, 60)
    scores = [np.rint(3 * (y + rng.normal(size=60))) for _ in range(3)]
    found = delong(y, scores)
    assert found.auc == pytest.approx([auc(y, score) for score in scores])
    assert found.covariance == pytest.approx(by_definition(y, scores))


def test_chance_is_found_to_be_chance_and_a_better_model_better() -> None:
    rng, found = np.random.default_rng(2), []
    for _ in range(200):
        y = np.arange(200) % 2
        found.append(delong(y, [y + rng.normal(size=200), y + rng.normal(size=200)]).p_value(0, 1))
    assert 0.01 < np.mean(np.array(found) < 0.05) < 0.1
    assert np.mean(found) == pytest.approx(0.5, abs=0.08)
    y = np.arange(400) % 2
    assert delong(y, [y + 0.3 * rng.normal(size=400), rng.normal(size=400)]).p_value(0, 1) < 1e-6


def test_a_model_does_not_differ_from_itself() -> None:
    y, score = [0, 1, 0, 1, 1], [0.1, 0.4, 0.4, 0.3, 0.9]
    found = delong(y, [score, score])
    assert found.p_value(0, 1) == found.p_value(0, 0) == 1.0
    certain = delong([0, 0, 1, 1], [[1, 2, 3, 4], [4, 3, 2, 1]])
    assert certain.p_value(0, 1) == 0.0


def test_one_customer_of_a_class_is_too_few() -> None:
    with pytest.raises(UsageError, match="1 bad and 3 good customers"):
        delong([0, 0, 0, 1], [[1, 2, 3, 4]])
