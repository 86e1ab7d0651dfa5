"""Pre-bins: no bin below the minimum, a code for every value, equal values together, bounds that are readable."""

from __future__ import annotations

import numpy as np
import pytest
from effort import examples
from hypothesis import given
from hypothesis import strategies as st

from vfl.errors import UsageError
from vfl.learn.prebins import PreBins, join_small

COLUMNS = st.lists(
    st.one_of(
        st.sampled_from([np.nan, -1.0, 999.0, 0.0, -0.0]), st.integers(-4, 4).map(float), st.floats(-1e300, 1e300)
    ),
    min_size=1,
    max_size=80,
)


@examples(150, thorough=400)
@given(COLUMNS, st.sampled_from([2, 3, 5, 24, 256]), st.integers(0, 12), st.booleans())
def test_every_bin_has_the_minimum_and_every_value_a_code(
    values: list[float], most: int, least: int, coded: bool
) -> None:
    special = (-1.0, 999.0)[: most - 2] if coded else ()
    column = np.array(values)
    bins = PreBins.fit(column, most, least, special)
    codes = bins.codes(column)
    rows = np.bincount(codes, minlength=bins.n_bins)
    assert bins.n_bins <= most
    assert codes.max() < bins.n_bins
    assert bins.n_bins == 1 or rows.min() >= max(1, least)
    unseen = bins.codes(np.array([np.nan, 1e308, -1e308, np.inf, 0.123, -1.0, 999.0]))
    assert unseen.max() < bins.n_bins
    ordinary = ~np.isnan(column) & ~np.isin(column, special)
    order = np.argsort(column[ordinary], kind="stable")
    assert (np.diff(codes[ordinary][order].astype(int)) >= 0).all(), "codes rise with values"
    assert all(len(set(codes[column == value])) == 1 for value in column[~np.isnan(column)])


def test_bins_are_equally_filled_and_end_at_values_that_occur() -> None:
    bins = PreBins.fit(np.arange(1.0, 101.0), 4, 1)
    assert bins.upper.tolist() == [25.0, 50.0, 75.0, np.inf]
    assert bins.codes([25.0, 25.5, 75.0, 1e9]).tolist() == [0, 1, 2, 3]


def test_special_and_missing_values_have_bins_where_there_are_enough() -> None:
    column = np.concatenate([np.arange(40.0), np.full(10, -1.0), np.full(3, 999.0), np.full(10, np.nan)])
    bins = PreBins.fit(column, 8, 5, (-1.0, 999.0))
    assert bins.values == 6, "one bin kept for -1, one for missing values"
    assert (bins.special_codes[0], bins.missing_code, bins.n_bins) == (6, 7, 8)
    assert bins.has_missing
    rows = np.bincount(bins.codes(np.arange(40.0)), minlength=8)
    assert bins.special_codes[1] == rows[:6].argmax(), "rare ones join the bin with the most rows"
    assert not PreBins.fit(column[:-6], 8, 5).has_missing


def test_too_few_ordinary_values_leave_one_bin() -> None:
    column = np.array([1.0, 2.0] + [np.nan] * 50 + [-1.0] * 50)
    bins = PreBins.fit(column, 8, 5, (-1.0,))
    assert bins.n_bins == 1
    assert not bins.codes(column).any()


def test_wide_codes() -> None:
    column = np.arange(300.0)
    assert PreBins.fit(column, 300, 1).codes(column).dtype == np.uint16
    assert PreBins.fit(column, 256, 1).codes(column).dtype == np.uint8


def test_names_say_what_is_in_a_bin() -> None:
    column = np.concatenate([np.arange(1.0, 41.0), np.full(10, -1.0), np.full(3, 999.0), np.full(10, np.nan)])
    bins = PreBins.fit(column, 6, 5, (-1.0, 999.0))
    assert bins.names(np.array([0, 0, 1, 1, 2, 3])) == ["(-inf, 20] or 999", "(20, inf)", "-1", "missing"]
    assert bins.names(np.zeros(6, np.int64)) == ["(-inf, inf) or -1 or 999 or missing"]


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        (["a"], "a column is not numeric"),
        ([[1.0]], "a column has one dimension, not 2"),
        ([], "a column without rows has no bins"),
        ([np.inf], "a column holds an infinite value"),
        ([-1e301], "a column holds an infinite value"),
    ],
)
def test_bad_columns_are_refused(values: list[object], sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        PreBins.fit(np.array(values), 8, 1)


@pytest.mark.parametrize(
    ("special", "sentence"),
    [
        ((np.nan,), "special values are nan"),
        ((1.0, 1.0), "special values are 1, 1"),
        ((1.0, 2.0, 3.0), "3 special values leave no bin for ordinary ones"),
    ],
)
def test_bad_special_values_are_refused(special: tuple[float, ...], sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        PreBins.fit(np.arange(9.0), 4, 1, special)


@given(st.lists(st.integers(0, 9), min_size=1, max_size=30), st.integers(1, 12))
def test_groups_of_neighbours_have_rows_enough(rows: list[int], least: int) -> None:
    groups = join_small(np.array(rows), least)
    assert groups[0] == 0
    assert np.isin(np.diff(groups), (0, 1)).all()
    joined = np.bincount(groups, weights=rows)
    assert len(joined) == 1 or joined.min() >= least
