"""Stability: the index by hand, in ten bins of a score, of features by their bins, month by month."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vfl.errors import UsageError
from vfl.learn.feature_parameters import BinningParameters
from vfl.learn.stability import Stability, band, by_period, feature_stability, psi, score_stability
from vfl.learn.woe import WoeFeature

RNG = np.random.default_rng(5)
N = 3000
AGE = RNG.normal(40, 10, N).round()
LABELS = (RNG.random(N) < 1 / (1 + np.exp(0.1 * (AGE - 40) + 1))).astype(np.int8)
FEATURE = WoeFeature.fit("age", AGE, LABELS, BinningParameters(), 20)


def test_the_index_by_hand() -> None:
    due = (0.3 - 0.5) * math.log(0.3 / 0.5) + (0.7 - 0.5) * math.log(0.7 / 0.5)
    assert psi(np.array([50, 50]), np.array([30, 70])) == pytest.approx(due)


def test_half_a_row_where_a_sample_has_none() -> None:
    due = (0.5 / 100.5 - 0.1) * math.log(0.5 / 100.5 / 0.1) + (100 / 100.5 - 0.9) * math.log(100 / 100.5 / 0.9)
    assert psi(np.array([10, 90]), np.array([0, 100])) == pytest.approx(due)


ROWS = st.lists(st.integers(0, 50), min_size=3, max_size=3).filter(any)


@given(ROWS, ROWS, st.integers(1, 9))
def test_symmetric_never_negative_and_zero_for_the_same(base: list[int], other: list[int], times: int) -> None:
    one, two = np.array(base), np.array(other)
    assert psi(one, two) == pytest.approx(psi(two, one))
    assert psi(one, two) >= 0.0
    assert psi(one + 1, (one + 1) * times) == pytest.approx(0.0)
    assert np.isfinite(psi(one, two))


def test_bands() -> None:
    assert [band(index) for index in (0.0, 0.099, 0.1, 0.25, 0.251)] == [
        "stable", "stable", "shifted", "shifted", "unstable",
    ]  # fmt: skip
    assert Stability("x", np.array([50, 50]), np.array([10, 90])).band == "unstable"


def test_scores_in_ten_bins_of_the_base() -> None:
    base = RNG.normal(size=5000)
    found = score_stability(base, RNG.normal(size=2000))
    assert len(found.base) == 10
    assert found.base.min() == found.base.max() == 500
    assert found.psi < 0.02
    assert score_stability(base, base + 1.0).psi > 0.5
    assert len(score_stability(np.zeros(9), np.ones(3)).base) == 2, "ties stay together"
    assert score_stability(np.zeros(9), np.zeros(3)).psi == 0.0


def test_features_by_their_bins() -> None:
    same, older = AGE[:, None], AGE[:, None] + 8.0
    assert feature_stability([FEATURE], same, same)[0].psi == 0.0
    found = feature_stability([FEATURE], same, older)[0]
    assert (found.name, found.band) == ("age", "unstable")
    assert found.base.sum() == N


def test_month_by_month() -> None:
    months = np.repeat(["2025-03", "2025-01", "2025-02"], N // 3)
    values = AGE[:, None].copy()
    values[months == "2025-03"] += 8.0
    found = by_period([FEATURE], values, months == "2025-01", months.tolist())
    assert list(found) == ["2025-02", "2025-03"]
    assert [found[month][0].band for month in found] == ["stable", "unstable"]
    half = (months == "2025-01") & (np.arange(N) % 2 == 0)
    assert by_period([FEATURE], values, half, months.tolist())["2025-01"][0].other.sum() == N // 6


def test_bad_input_is_refused() -> None:
    with pytest.raises(UsageError, match="a sample has no rows"):
        psi(np.array([0, 0]), np.array([1, 0]))
    with pytest.raises(UsageError, match="there is no 'score' in the base sample"):
        score_stability([], [1.0])
    with pytest.raises(UsageError, match="1 values of 'score' are not a number"):
        score_stability([1.0], [np.nan])
    with pytest.raises(UsageError, match="3000 rows, but periods of shape"):
        by_period([FEATURE], AGE[:, None], AGE > 0, ["2025-01"])
