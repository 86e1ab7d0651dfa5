"""Bins equal LightGBM's, codes follow the values, and small bins can be merged."""

from __future__ import annotations

import lightgbm
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vfl.errors import UsageError
from vfl.learn.binning import LARGEST, BinMapper
from vfl.learn.parameters import GBDTParameters

from .columns import odd_columns, shapes

VALUES = st.lists(
    st.one_of(
        st.floats(-1e6, 1e6),
        st.integers(-3, 3).map(float),
        st.just(float("nan")),
    ),
    min_size=1,
    max_size=200,
)


@pytest.mark.parametrize("max_bin", [2, 3, 4, 16, 32, 255, 400])
@pytest.mark.parametrize("rows", [5, 37, 300, 3000])
def test_as_many_bins_as_lightgbm(rows: int, max_bin: int) -> None:
    rng = np.random.default_rng(rows * max_bin)
    for min_data_in_bin in (1, 3, 10):
        columns = odd_columns(rows, rng)
        params = GBDTParameters(max_bin=max_bin, min_data_in_bin=min_data_in_bin)
        table = np.column_stack(list(columns.values()))
        data = lightgbm.Dataset(table, rng.integers(0, 2, rows), params=params.lightgbm_params()).construct()
        for feature, (name, values) in enumerate(columns.items()):
            ours = BinMapper.fit(values, max_bin, min_data_in_bin).n_bins
            # LightGBM drops a feature with a single bin and reports none
            assert (ours if ours > 1 else 0) == data.feature_num_bin(feature), name


@pytest.mark.parametrize("max_bin", [3, 8, 32, 255])
def test_every_threshold_of_lightgbm_is_one_of_ours(max_bin: int) -> None:
    rng = np.random.default_rng(max_bin)
    for name, values in odd_columns(3000, rng).items():
        params = GBDTParameters(max_bin=max_bin, min_data_in_leaf=1, num_leaves=256, min_sum_hessian_in_leaf=0.0)
        mapper = BinMapper.fit(values, max_bin, params.min_data_in_bin)
        labels = rng.integers(0, 2, len(values)).astype(float)
        options = params.lightgbm_params() | {"objective": "regression"}
        booster = lightgbm.train(options, lightgbm.Dataset(values[:, None], labels), num_boost_round=3)
        theirs = {node[1] for nodes, _ in shapes(booster) for node in nodes}
        ours = {mapper.threshold(code) for code in range(len(mapper.upper))}
        assert theirs <= ours, name
        if mapper.n_bins > 20:
            assert len(theirs) > 0.5 * mapper.n_bins, name


@settings(max_examples=150, deadline=None)
@given(VALUES, st.integers(2, 300), st.integers(1, 5))
def test_codes_are_monotone_and_thresholds_separate_them(values: list[float], max_bin: int, least: int) -> None:
    column = np.array(values)
    mapper = BinMapper.fit(column, max_bin, least)
    codes = mapper.transform(column)
    assert mapper.n_bins <= max_bin
    assert codes.dtype == (np.uint8 if mapper.n_bins <= 256 else np.uint16)
    present = ~np.isnan(column)
    assert np.all(np.diff(codes[present][np.argsort(column[present])].astype(int)) >= 0)
    assert np.all(codes[~present] == mapper.missing_bin)
    for code in range(len(mapper.upper)):
        assert np.array_equal(codes[present] <= code, column[present] <= mapper.threshold(code))


@settings(max_examples=150, deadline=None)
@given(VALUES, st.integers(1, 40))
def test_merged_bins_are_unions_and_large_enough(values: list[float], least: int) -> None:
    column = np.array(values)
    mapper = BinMapper.fit(column, 32, 1)
    merged = mapper.merge_small(mapper.transform(column), least)
    codes = merged.transform(column)
    assert set(merged.upper) <= set(mapper.upper)
    assert merged.n_bins == 1 or merged.population(codes).min() >= least
    again = merged.merge_small(codes, least)
    assert np.array_equal(again.upper, merged.upper)
    assert again.has_missing == merged.has_missing


def test_a_small_missing_bin_joins_the_bin_of_zero() -> None:
    column = np.array([-1.0] * 30 + [0.0] * 30 + [1.0] * 30 + [np.nan] * 5)
    mapper = BinMapper.fit(column, 255, 3)
    assert mapper.missing_bin == 3
    merged = mapper.merge_small(mapper.transform(column), 20)
    assert merged.missing_bin is None
    assert merged.transform([np.nan, 0.0]).tolist() == [1, 1]
    assert merged.population(merged.transform(column)).tolist() == [30, 35, 30]


def test_unseen_missing_values_are_read_as_zero() -> None:
    mapper = BinMapper.fit(np.array([-2.0, -1.0, 0.0, 1.0, 2.0] * 10), 255, 3)
    assert mapper.missing_bin is None
    assert mapper.transform([np.nan]) == mapper.transform([0.0])


def test_the_last_threshold_is_finite() -> None:
    mapper = BinMapper.fit(np.arange(10.0), 255, 1)
    assert mapper.threshold(mapper.n_bins - 1) == LARGEST


@pytest.mark.parametrize("column", [[], [[1.0]], ["a"], [1.0, np.inf], [-1e301]])
def test_what_has_no_bins(column: list[object]) -> None:
    with pytest.raises(UsageError):
        BinMapper.fit(column, 255, 3)  # type: ignore[arg-type]
