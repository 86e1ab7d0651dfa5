"""Features as weights of evidence: what a table says, what an owner without labels holds, and whole matrices."""

from __future__ import annotations

import numpy as np
import pytest

from vfl.errors import UsageError
from vfl.learn.evidence import strength
from vfl.learn.feature_parameters import BinningParameters
from vfl.learn.woe import BinTable, WoeFeature, fit_features, woe_matrix

RNG = np.random.default_rng(11)
N = 4000
INCOME = np.where(RNG.random(N) < 0.1, np.nan, np.round(RNG.normal(30, 8, N)))
DELAY = np.where(RNG.random(N) < 0.2, -1.0, RNG.poisson(2.0, N))
RISK = -0.08 * np.nan_to_num(INCOME, nan=20.0) + 0.4 * DELAY
LABELS = (RNG.random(N) < 1 / (1 + np.exp(-RISK))).astype(np.int8)
PARAMETERS = BinningParameters()


def delay() -> WoeFeature:
    return WoeFeature.fit("delay", DELAY, LABELS, PARAMETERS, 20, (-1.0,))


def test_the_table_counts_every_row_once() -> None:
    feature = delay()
    rows = feature.table()
    assert rows[0].bin.startswith("(-inf, ")
    assert rows[-1].bin == "-1"
    for number, row in enumerate(rows):
        inside = feature.codes(DELAY) == number
        assert (row.rows, row.bads) == (inside.sum(), LABELS[inside].sum())
        assert row.goods == row.rows - row.bads
        assert row.bad_rate == pytest.approx(LABELS[inside].mean())
        assert feature.transform(DELAY)[inside].tolist() == [row.woe] * inside.sum()
    assert sum(row.iv for row in rows) == pytest.approx(feature.iv)


def test_bad_rates_follow_the_trend() -> None:
    rates = [row.bad_rate for row in delay().table()[:-1]]
    assert rates == sorted(rates)
    assert len(rates) >= 3


def test_missing_values_have_a_bin_where_training_saw_enough() -> None:
    seen = WoeFeature.fit("income", INCOME, LABELS, PARAMETERS, 20)
    assert seen.table()[-1].bin == "missing"
    unseen = delay()
    assert unseen.transform([np.nan])[0] == unseen.woe[unseen.groups[unseen.prebins.missing_code]]
    assert unseen.prebins.missing_code < unseen.prebins.values


def test_an_owner_without_labels_has_bounds_and_weights_only() -> None:
    full = delay()
    owner = full.without_counts()
    assert owner.iv is None
    assert owner.transform(DELAY).tolist() == full.transform(DELAY).tolist()
    assert [(row.bin, row.woe) for row in owner.table()] == [(row.bin, row.woe) for row in full.table()]
    assert {(row.rows, row.goods, row.bads, row.bad_rate, row.iv) for row in owner.table()} == {(None,) * 5}
    kept = WoeFeature("delay", full.prebins, full.groups, None)
    assert [row.woe for row in kept.table()] == [None] * kept.n_bins
    with pytest.raises(UsageError, match="weights of evidence of 'delay' were not told") as refused:
        kept.transform(DELAY)
    assert "share_woe" in refused.value.remedy


def test_a_table_without_bounds_numbers_its_bins() -> None:
    table = delay().counted
    assert isinstance(table, BinTable)
    assert [row.bin for row in table.table()][-2:] == [f"ordinary {table.ordinary}", f"set apart {table.ordinary + 1}"]
    assert table.rows == N


def test_matrices_are_of_all_rows_and_fitted_on_training_rows_only() -> None:
    values, train = np.column_stack([INCOME, DELAY]), RNG.random(N) < 0.5
    found = fit_features(["income", "delay"], values, LABELS, train, PARAMETERS, 20, special={"delay": [-1.0]})
    alone = WoeFeature.fit("delay", DELAY[train], LABELS[train], PARAMETERS, 20, (-1.0,))
    assert found[1].woe.tolist() == alone.woe.tolist()
    matrix = woe_matrix(found, values)
    assert matrix.shape == (N, 2)
    assert matrix.dtype == np.float64
    assert matrix[:, 1].tolist() == alone.transform(DELAY).tolist()
    assert woe_matrix([], values[:, :0]).shape == (N, 0)


def test_bad_input_is_named() -> None:
    with pytest.raises(UsageError, match="feature 'delay': a column holds an infinite value"):
        WoeFeature.fit("delay", np.where(DELAY > 3, np.inf, DELAY), LABELS, PARAMETERS, 20)
    with pytest.raises(UsageError, match="labels must be 0 or 1"):
        WoeFeature.fit("delay", DELAY, LABELS + 1, PARAMETERS, 20)
    with pytest.raises(UsageError, match="'age', which is no feature"):
        fit_features(["delay"], DELAY[:, None], LABELS, LABELS >= 0, PARAMETERS, 20, special={"age": [1.0]})


def test_a_trend_that_is_wished_for_a_feature_is_kept() -> None:
    values, train = np.column_stack([INCOME, DELAY]), LABELS >= 0
    found = fit_features(["income", "delay"], values, LABELS, train, PARAMETERS, 20, trends={"delay": "descending"})
    free = fit_features(["income", "delay"], values, LABELS, train, PARAMETERS, 20)
    rates = [row.bad_rate for row in found[1].table()[: found[1].counted.ordinary]]
    assert rates == sorted(rates, reverse=True)
    assert found[1].iv < free[1].iv
    assert found[0].woe.tolist() == free[0].woe.tolist()
    with pytest.raises(UsageError, match="the trend of 'delay' is 'up'") as refused:
        fit_features(["income", "delay"], values, LABELS, train, PARAMETERS, 20, trends={"delay": "up"})
    assert "ascending" in refused.value.remedy
    with pytest.raises(UsageError, match="a trend is given for 'age', which is no feature"):
        fit_features(["delay"], DELAY[:, None], LABELS, train, PARAMETERS, 20, trends={"age": "auto"})


def test_an_information_value_in_a_word() -> None:
    words = [strength(iv) for iv in (0.0, 0.02, 0.1, 0.3, 0.5)]
    assert words == ["useless", "weak", "medium", "strong", "suspicious"]
