"""Merges decided from counts: sizes, numbers and trends are kept, the optimum is the optimum."""

from __future__ import annotations

import builtins
import itertools
import math
from typing import Any

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from vfl.errors import UsageError
from vfl.learn.evidence import information_value, weights_of_evidence
from vfl.learn.feature_parameters import BinningParameters
from vfl.learn.merging import merge, summed


@st.composite
def counts(draw: st.DrawFn, least: int = 1) -> np.ndarray:
    """Goods and bads of some pre-bins, both classes there."""
    n = draw(st.integers(1, 12))
    found = np.array(draw(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 30)), min_size=n, max_size=n)))
    found[:, 0] += least
    found[0, 1] += 1
    return found.astype(np.int64)


def assert_kept(found: np.ndarray, given_: np.ndarray, values: int, parameters: BinningParameters, least: int) -> None:
    """Size, number, order and trend of the groups."""
    now = summed(given_, found)
    assert now.sum() == given_.sum()
    ordinary = found[:values]
    assert ordinary[0] == 0
    assert np.isin(np.diff(ordinary), (0, 1)).all()
    assert len(set(ordinary.tolist())) <= parameters.max_bins
    of_values = summed(given_[:values], ordinary)
    rows = of_values.sum(axis=1)
    if len(rows) > 1:
        assert rows.min() >= max(1, least, math.ceil(parameters.min_bin_share * given_.sum()))
    rates = of_values[:, 1] / rows
    rises, falls = (np.diff(rates) >= 0).all(), (np.diff(rates) <= 0).all()
    assert {"none": True, "auto": rises or falls, "ascending": rises, "descending": falls}[parameters.trend]
    assert len(now) == 1 or now.sum(axis=1).min() >= least
    assert len(now) == 1 or now.min() >= parameters.min_class_rows, "no bin says the label of everybody in it"


OPTIONS = st.fixed_dictionaries(
    {
        "max_bins": st.sampled_from([2, 3, 6]),
        "min_bin_share": st.sampled_from([0.0, 0.05, 0.3]),
        "min_class_rows": st.sampled_from([1, 3, 20]),
        "significance": st.sampled_from([0.001, 0.1, 1.0]),
        "trend": st.sampled_from(["none", "auto", "ascending", "descending"]),
    }
)


@settings(deadline=None, max_examples=300)
@given(counts(), st.integers(0, 3), st.sampled_from([0, 1, 10, 40]), st.sampled_from(["chimerge", "quantile"]), OPTIONS)
def test_groups_keep_to_the_rules(
    given_: np.ndarray, apart: int, least: int, method: str, options: dict[str, Any]
) -> None:
    parameters = BinningParameters(method=method, **options)
    values = max(1, len(given_) - apart)
    assert_kept(merge(given_, values, parameters, least), given_, values, parameters, least)


def test_special_and_missing_bins_stand_alone_or_join_the_biggest() -> None:
    given_ = np.array([[50, 5], [90, 9], [30, 20], [8, 8], [1, 1], [30, 1]])
    found = merge(given_, 3, BinningParameters(min_class_rows=1, trend="none", min_bin_share=0.0, significance=1.0), 10)
    assert found.tolist() == [0, 1, 2, 3, 1, 4]
    assert merge(given_[3:], 1, BinningParameters(), 17).tolist() == [0, 0, 0], "too few ordinary values: one bin"


def test_a_bin_of_one_class_is_joined_whatever_its_size() -> None:
    given_ = np.array([[500, 0], [400, 40], [300, 90], [0, 80], [200, 2]])
    parameters = BinningParameters(min_bin_share=0.0, trend="none")
    assert merge(given_, 4, parameters, 20).tolist() == [0, 0, 1, 1, 0]
    assert merge(given_[:, ::-1], 4, parameters, 20).tolist() == [0, 0, 1, 1, 0]
    few = np.array([[50, 2], [50, 1]])
    assert merge(few, 2, parameters, 20).tolist() == [0, 0], "bads that are too few for one bin are in one"


@pytest.mark.parametrize("method", ["chimerge", "quantile"])
def test_bins_below_the_minimum_are_joined_unseen(method: str) -> None:
    """How bads are spread among rows too few to be looked at makes no difference."""
    parameters = BinningParameters(method=method, trend="none", min_bin_share=0.0, significance=1.0, min_class_rows=1)
    one = np.array([[50, 10], [11, 1], [4, 8], [60, 30], [12, 0], [0, 12], [70, 5]])
    other = one[[0, 2, 1, 3, 5, 4, 6]]
    assert merge(one, 7, parameters, 20).tolist() == merge(other, 7, parameters, 20).tolist()


def test_chimerge_merges_what_does_not_differ() -> None:
    """Neighbours with equal rates are one; the boundary is where the chi-square test of scipy says so."""
    given_ = np.array([[90, 10], [180, 20], [60, 40], [61, 39]])
    parameters = BinningParameters(min_bin_share=0.0, trend="none")
    assert merge(given_, 4, parameters, 1).tolist() == [0, 0, 1, 1]
    pair = np.array([[80, 20], [68, 32]])
    p = scipy.stats.chi2_contingency(pair, correction=False).pvalue
    apart = BinningParameters(significance=p * 1.001, min_bin_share=0.0)
    joined = BinningParameters(significance=p * 0.999, min_bin_share=0.0)
    assert merge(pair, 2, apart, 1).tolist() == [0, 1]
    assert merge(pair, 2, joined, 1).tolist() == [0, 0]


def test_quantile_bins_are_about_equally_filled() -> None:
    given_ = np.tile([[45, 5]], (12, 1))
    found = merge(given_, 12, BinningParameters(method="quantile", max_bins=4, trend="none"), 1)
    assert np.bincount(found).tolist() == [3, 3, 3, 3]


def test_the_trend_that_keeps_more_information_is_taken() -> None:
    falling = np.array([[50, 50], [60, 40], [55, 45], [90, 10]])
    parameters = BinningParameters(min_bin_share=0.0, significance=1.0)
    assert merge(falling, 4, parameters, 1).tolist() == [0, 1, 1, 2]
    assert merge(falling, 4, BinningParameters(trend="ascending"), 1).tolist() == [0, 0, 0, 0]


def best_by_hand(given_: np.ndarray, parameters: BinningParameters, least: int) -> float:
    """The greatest information value of all groupings that keep to the rules."""
    best, n = 0.0, len(given_)
    for cuts in itertools.product([0, 1], repeat=n - 1):
        groups = np.concatenate([[0], np.cumsum(cuts)])
        now = summed(given_, groups)
        rates = now[:, 1] / now.sum(axis=1)
        rises, falls = (np.diff(rates) > 0).all(), (np.diff(rates) < 0).all()
        right = {"none": True, "auto": rises or falls, "ascending": rises, "descending": falls}[parameters.trend]
        if right and len(now) <= parameters.max_bins and now.sum(axis=1).min() >= least:
            best = max(best, information_value(now))
    return best


@pytest.mark.parametrize("trend", ["none", "auto", "ascending", "descending"])
def test_optimal_is_the_optimum(trend: str) -> None:
    pytest.importorskip("optbinning")
    rng = np.random.default_rng(7)
    for _ in range(4):
        rows = rng.integers(50, 90, 8)
        bads = rng.binomial(rows, np.clip(0.15 + 0.05 * np.arange(8) + 0.1 * rng.normal(size=8), 0.05, 0.9))
        given_ = np.column_stack([rows - bads, bads])
        parameters = BinningParameters(method="optimal", trend=trend, max_bins=4, min_bin_share=0.2)
        found = merge(given_, 8, parameters, 50)
        assert_kept(found, given_, 8, parameters, 50)
        due = best_by_hand(given_, parameters, math.ceil(0.2 * given_.sum()))
        assert information_value(summed(given_, found)) == pytest.approx(due, abs=2e-5)
    assert merge(np.array([[90, 10]]), 1, BinningParameters(method="optimal"), 1).tolist() == [0]


def test_optimal_with_empty_cells_and_the_same_again() -> None:
    pytest.importorskip("optbinning")
    given_ = np.array([[40, 0], [30, 5], [0, 12], [25, 0], [20, 20], [10, 30]])
    parameters = BinningParameters(method="optimal")
    assert merge(given_, 6, BinningParameters(method="optimal", min_class_rows=1), 5).max() > 1
    first = merge(given_, 6, parameters, 5)
    assert_kept(first, given_, 6, parameters, 5)
    assert first.tolist() == merge(given_, 6, parameters, 5).tolist()


def test_optimal_bins_have_goods_and_bads() -> None:
    pytest.importorskip("optbinning")
    given_ = np.array([[400, 2], [400, 40], [300, 90], [3, 80]])
    for one in (given_, given_[:, ::-1].copy()):
        parameters = BinningParameters(method="optimal", min_bin_share=0.0)
        assert summed(one, merge(one, 4, parameters, 20)).min() >= 5


def test_without_the_library_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def absent(name: str, *rest: Any, **more: Any) -> Any:
        if name == "optbinning":
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(UsageError, match="optbinning is not installed") as refused:
        merge(np.array([[50, 5], [50, 9]]), 2, BinningParameters(method="optimal"), 1)
    assert "tallystick[binning]" in refused.value.remedy


# Weight of evidence


def test_weights_are_those_of_the_textbook_with_bad_positive() -> None:
    given_ = np.array([[100, 50], [300, 25], [600, 25]])
    woe = weights_of_evidence(given_)
    np.testing.assert_allclose(woe, [math.log(0.5 / 0.1), math.log(0.25 / 0.3), math.log(0.25 / 0.6)])
    assert information_value(given_) == pytest.approx(0.4 * woe[0] - 0.05 * woe[1] - 0.35 * woe[2])
    # ln(bads / goods) of a bin is that of all plus the WOE: what a logistic regression starts from.
    np.testing.assert_allclose(np.log(given_[:, 1] / given_[:, 0]), math.log(100 / 1000) + woe)


def test_empty_cells_have_finite_weights_and_others_are_untouched() -> None:
    given_ = np.array([[100, 0], [0, 10], [50, 40]])
    woe = weights_of_evidence(given_)
    np.testing.assert_allclose(
        woe, [math.log(0.5 / 50 / (100.5 / 150)), math.log(10.5 / 50 / (0.5 / 150)), math.log(0.8 / (50 / 150))]
    )


def test_rounding_is_to_the_units_asked_for() -> None:
    woe = weights_of_evidence(np.array([[100, 50], [300, 25]]), 8)
    assert (woe * 256 == np.rint(woe * 256)).all()
    assert abs(woe - weights_of_evidence(np.array([[100, 50], [300, 25]]))).max() <= 1 / 512


def test_one_class_has_no_weights() -> None:
    with pytest.raises(UsageError, match="5 goods and 0 bads"):
        weights_of_evidence(np.array([[5, 0]]))
