"""Score bands and the stability index."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vfl.errors import UsageError
from vfl.learn.bands import bands
from vfl.learn.stability import band

SCORES = st.lists(st.integers(0, 9), min_size=1, max_size=60)


@given(SCORES, st.lists(st.tuples(st.integers(0, 1), st.integers(-2, 12)), min_size=2, max_size=60), st.integers(2, 10))
def test_every_customer_is_in_the_band_of_the_score(
    trained: list[int], rows: list[tuple[int, int]], groups: int
) -> None:
    if len({label for label, _ in rows}) < 2:
        return
    y, score = (np.array(column) for column in zip(*rows, strict=True))
    found = bands(trained, y, score, groups)
    assert len(found.low) <= groups
    assert (found.trained > 0).all(), "a band without training customers would tell nothing of change"
    for number, (low, high) in enumerate(zip(found.low, found.high, strict=True)):
        inside = (score > low) & (score <= high)
        assert found.customers[number] == inside.sum()
        assert found.bads[number] == y[inside].sum()
        assert found.trained[number] == ((np.array(trained) > low) & (np.array(trained) <= high)).sum()
        if inside.any():
            assert found.bad_rate[number] == pytest.approx(y[inside].mean())
            assert found.mean_score[number] == pytest.approx(score[inside].mean())
            assert found.cumulative_bad_rate[number] == pytest.approx(y[score <= high].mean())
    assert found.customers.sum() == len(y)


def test_the_index_by_hand() -> None:
    found = bands([1, 2, 3, 4], [0, 1, 1, 1], [1, 3, 4, 4], 2)
    assert (found.trained.tolist(), found.customers.tolist()) == ([2, 2], [1, 3])
    assert found.psi == pytest.approx((0.25 - 0.5) * np.log(0.25 / 0.5) + (0.75 - 0.5) * np.log(0.75 / 0.5))


def test_the_same_scores_are_stable_and_others_are_not() -> None:
    rng = np.random.default_rng(3)
    base, y = rng.normal(size=5_000), np.arange(2_000) % 2
    words = [band(bands(base, y, rng.normal(mean, 1, 2_000), 10).psi) for mean in (0.0, 0.4, 1.5)]
    assert words == ["stable", "shifted", "unstable"]


def test_a_band_that_nobody_is_in_any_more_does_not_make_it_infinite() -> None:
    found = bands(np.arange(100), [0, 1], [99, 98], 10)
    assert 0 < found.psi < 20
    assert np.isnan(found.bad_rate[0])


@pytest.mark.parametrize("trained", [[], [np.nan], [[1.0]]])
def test_bands_need_training_scores(trained: list[float]) -> None:
    with pytest.raises(UsageError, match="training scores"):
        bands(trained, [0, 1], [0.1, 0.2], 10)
