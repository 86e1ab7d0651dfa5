"""Calibration: Brier score, reliability, the Hosmer-Lemeshow test."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest

from vfl.errors import UsageError
from vfl.learn.calibration import brier, reliability, wilson


def outcomes(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities, and labels that keep them."""
    rng = np.random.default_rng(seed)
    pd = rng.beta(2, 6, count)
    return (rng.random(count) < pd).astype(int), pd


def test_brier_by_hand() -> None:
    assert brier([1, 0], [0.8, 0.4]) == pytest.approx((0.04 + 0.16) / 2)
    assert brier([1, 0], [1.0, 0.0]) == 0.0


def test_wilson_by_its_formula() -> None:
    low, high = wilson(3, 10, 0.95)
    z = 1.959963984540054
    middle, half = (0.3 + z**2 / 20) / (1 + z**2 / 10), z * np.sqrt(0.021 + z**2 / 400) / (1 + z**2 / 10)
    assert (low, high) == pytest.approx((middle - half, middle + half))


@pytest.mark.parametrize("confidence", [0.5, 0.95, 0.999])
def test_wilson_is_scipys_and_holds_the_share(confidence: float) -> None:
    for customers in (1, 2, 3, 7, 50, 977):
        for bads in {0, 1, customers // 3, customers - 1, customers}:
            low, high = wilson(bads, customers, confidence)
            due = binomtest(bads, customers).proportion_ci(confidence, method="wilson")
            assert (low, high) == pytest.approx((due.low, due.high), rel=1e-12, abs=1e-15)
            assert 0.0 <= low <= bads / customers <= high <= 1.0


def test_bins_hold_everybody_once_and_keep_equal_probabilities_together() -> None:
    y, pd = outcomes(1_000, 4)
    pd = np.round(pd, 2)
    bins = reliability(y, pd, 10, 0.95)
    assert bins.customers.sum() == 1_000
    assert bins.bads.sum() == y.sum()
    assert (np.diff(bins.mean_pd) > 0).all()
    assert (bins.bad_rate_low <= bins.bad_rate).all()
    assert (bins.bad_rate <= bins.bad_rate_high).all()
    assert len(reliability([0, 1, 1], [0.3, 0.3, 0.3], 10, 0.95).customers) == 1


def test_the_test_believes_what_is_true_and_not_what_is_not() -> None:
    chances = [reliability(*outcomes(1_000, seed), 10, 0.95).hosmer_lemeshow().p_value for seed in range(150)]
    assert np.mean(chances) == pytest.approx(0.5, abs=0.1)
    assert np.mean(np.array(chances) < 0.05) < 0.1
    y, pd = outcomes(2_000, 5)
    assert reliability(y, pd**2, 10, 0.95).hosmer_lemeshow().p_value < 1e-6


def test_the_statistic_by_hand() -> None:
    found = reliability([0, 1, 0, 1], [0.2, 0.2, 0.6, 0.6], 2, 0.95).hosmer_lemeshow()
    assert found.statistic == pytest.approx((1 - 0.4) ** 2 / (0.4 * 0.8) + (1 - 1.2) ** 2 / (1.2 * 0.4))
    assert found.degrees == 2
    assert found.p_value == pytest.approx(np.exp(-found.statistic / 2)), "the tail of chi-squared with two degrees"


def test_certainty_that_was_wrong_is_infinitely_wrong_and_right_is_right() -> None:
    assert reliability([0, 1, 0], [0.0, 0.0, 0.5], 2, 0.95).hosmer_lemeshow().p_value == 0.0
    assert reliability([0, 0, 1], [0.0, 0.0, 1.0], 2, 0.95).hosmer_lemeshow().statistic == 0.0


def test_scores_are_no_probabilities() -> None:
    with pytest.raises(UsageError, match=r"needs probabilities, found -2 to 0\.5"):
        brier([0, 1], [-2.0, 0.5])
