"""Bootstrap figures against the metrics of each resample, and intervals against DeLong's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vfl.errors import UsageError
from vfl.learn import resampling
from vfl.learn.delong import delong
from vfl.learn.metrics import auc, gini, ks
from vfl.learn.resampling import interval, resample
from vfl.randomness import Randomness

RNG = Randomness(bytes(32))
ROWS = st.lists(st.tuples(st.integers(0, 1), st.integers(-3, 3), st.integers(0, 9)), min_size=2, max_size=40).filter(
    lambda rows: len({row[0] for row in rows}) == 2
)


@given(ROWS)
def test_every_resample_is_measured_as_the_customers_drawn(rows: list[tuple[int, int, int]]) -> None:
    y, *scores = (np.array(column) for column in zip(*rows, strict=True))
    found = resample(y, scores, 5, RNG.child("one"))
    counts = resampling._draw(y.astype(np.int8), 5, RNG.child("one"))
    for number, drawn in enumerate(counts):
        assert drawn[y == 1].sum() == y.sum()
        assert drawn.sum() == len(y)
        for model, score in enumerate(scores):
            again = np.repeat(y, drawn), np.repeat(score, drawn)
            assert found.auc[model, number] == pytest.approx(auc(*again))
            assert found.ks[model, number] == pytest.approx(ks(*again))
            assert found.gini[model, number] == pytest.approx(gini(*again))


def test_resamples_do_not_depend_on_how_many_are_held_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    y, score = customers(200)
    whole = [resample(y, [score], 40, RNG.child("same")).auc for _ in range(2)]
    assert whole[0].tolist() == whole[1].tolist()
    monkeypatch.setattr(resampling, "_CELLS", 1_000)
    parts = resample(y, [score], 40, RNG.child("same")).auc
    assert parts.shape == whole[0].shape
    assert len(np.unique(parts)) > 20
    assert abs(parts.mean() - whole[0].mean()) < 0.02


def test_intervals_are_those_of_delong_where_customers_are_many() -> None:
    y, score = customers(4_000)
    low, high = interval(resample(y, [score], 1_000, RNG.child("wide")).auc[0], 0.95)
    found = delong(y, [score])
    spread = 1.96 * np.sqrt(found.covariance[0, 0])
    assert low == pytest.approx(auc(y, score) - spread, abs=0.002)
    assert high == pytest.approx(auc(y, score) + spread, abs=0.002)


def test_an_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    inside = 0
    for seed in range(100):
        y, score = customers(300, seed)
        low, high = interval(resample(y, [score], 200, RNG.child(f"{seed}")).auc[0], 0.9)
        inside += low < 0.76025 < high  # of two normals one standard deviation apart
    assert 82 <= inside <= 97


def test_each_customer_is_drawn_about_as_often() -> None:
    counts = resampling._draw(np.array([0] * 7 + [1] * 3, np.int8), 20_000, RNG.child("fair"))
    assert counts.mean(axis=0) == pytest.approx(np.ones(10), abs=0.03)


def test_two_equal_models_do_not_differ_in_any_resample() -> None:
    y, score = customers(100)
    found = resample(y, [score, 2 * score + 1], 50, RNG.child("twins"))
    assert (found.auc[0] == found.auc[1]).all()
    assert (found.ks[0] == found.ks[1]).all()


def test_what_cannot_be_measured() -> None:
    with pytest.raises(UsageError, match="all 3 labels are 1"):
        resample([1, 1, 1], [[1.0, 2.0, 3.0]], 50, RNG)
    with pytest.raises(UsageError, match="2 labels, but scores of shape"):
        resample([0, 1], [[1.0]], 50, RNG)


def customers(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    y = np.arange(count) % 3 == 0
    return y.astype(int), y + rng.normal(size=count)
