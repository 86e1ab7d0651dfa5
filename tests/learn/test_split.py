"""Histograms are exact and additive; a split keeps the node's sums; ties go to the first."""

from __future__ import annotations

import numpy as np
import pytest
from derivatives import fixed_gradients
from hypothesis import given, settings
from hypothesis import strategies as st

from vfl.errors import UsageError
from vfl.learn.binning import BinMapper
from vfl.learn.fixed_point import Scale
from vfl.learn.histogram import FeatureLayout, build, group_sums
from vfl.learn.parameters import GBDTParameters
from vfl.learn.split import NodeSum, Split, best_of, best_split, leaf_output, search
from vfl.learn.tree import SplitRecord, go_left, go_left_codes

UNITS = Scale(2.0**24, 2.0**24)
SEEDS = st.integers(0, 2**32 - 1)


def node_of(seed: int, rows: int = 300) -> tuple[np.ndarray, list[BinMapper], np.ndarray, np.ndarray, np.ndarray]:
    """Random columns (two with missing values), their bins, codes, and gradients."""
    rng = np.random.default_rng(seed)
    x = np.round(rng.normal(size=(rows, 4)), rng.integers(0, 3))
    x[rng.random(rows) < 0.3, 1] = np.nan
    x[:, 3] = np.where(rng.random(rows) < 0.5, np.nan, 1.0)
    mappers = [BinMapper.fit(column, 16, 3) for column in x.T]
    codes = np.column_stack([mapper.transform(column) for mapper, column in zip(mappers, x.T, strict=True)])
    g, h = fixed_gradients(rng.normal(size=rows), rng.integers(0, 2, rows).astype(np.int8), 24)
    return x, mappers, codes, g, h


@settings(max_examples=60, deadline=None)
@given(SEEDS)
def test_histograms_add_up(seed: int) -> None:
    _, mappers, codes, g, h = node_of(seed)
    layout = FeatureLayout.of(mappers)
    rows = np.random.default_rng(seed).random(len(g)) < 0.4
    whole, part, rest = (build(codes, layout, g, h, chosen) for chosen in (None, rows, ~rows))
    assert np.array_equal(part + rest, whole)
    assert np.array_equal(part, build(codes, layout, g, h, np.flatnonzero(rows)))
    for feature in range(4):
        assert whole[layout.cells_of(feature)].sum(axis=0).tolist() == [g.sum(), h.sum()]


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 62), SEEDS)
def test_group_sums_are_exact_for_large_integers(bits: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = rng.integers(-(2**bits), 2**bits, 50) // 64
    groups = rng.integers(0, 3, 50)
    exact = [sum(int(v) for v in values[groups == group]) for group in range(3)]
    assert group_sums(groups, values, 3).tolist() == exact


def brute_force(
    codes: np.ndarray, layout: FeatureLayout, g: np.ndarray, h: np.ndarray, l2: float, least: float = 0.0
) -> float:
    """The greatest gain over every feature, bin and direction, from the rows themselves.

    least: sum of h in a child at least.
    """

    def gain(rows: np.ndarray) -> float:
        weight = h[rows].sum()
        return float(g[rows].sum() ** 2 / (weight + l2)) if rows.any() and weight >= least else -np.inf

    best = -np.inf
    for feature, bins in enumerate(layout.n_bins):
        gone = codes[:, feature] == bins - 1 if layout.missing[feature] else np.zeros(len(g), bool)
        for code in range(bins - 1):
            for default_left in (True, False):
                left = np.where(gone, default_left, codes[:, feature] <= code)
                best = max(best, gain(left) + gain(~left))
    return best - gain(np.ones(len(g), bool))


@settings(max_examples=80, deadline=None)
@given(SEEDS, st.sampled_from([0.0, 1.0, 10.0]))
def test_the_best_split_beats_all_and_keeps_the_sums(seed: int, l2: float) -> None:
    x, mappers, codes, g, h = node_of(seed)
    layout, scale = FeatureLayout.of(mappers), UNITS
    params = GBDTParameters(min_data_in_leaf=1, min_sum_hessian_in_leaf=0.01, lambda_l2=l2)
    node = NodeSum(int(g.sum()), int(h.sum()), len(g))
    split = best_split(build(codes, layout, g, h), layout, node, params, scale)
    assert split is not None
    # Rows of a child are estimated from h: one of less than a row's h may count as empty, one of two never does.
    real = g / scale.g, h / scale.h
    sure, most = (brute_force(codes, layout, *real, l2, least) for least in (2 * node.H / scale.h / node.count, 0.0))
    assert sure * (1 - 1e-9) <= split.gain <= most * (1 + 1e-9)
    assert (split.left.G + split.right.G, split.left.H + split.right.H) == (node.G, node.H)
    assert split.left.count + split.right.count == node.count

    mapper = mappers[split.feature]
    record = SplitRecord.of(split, mapper)
    left = go_left_codes(codes[:, split.feature], record, mapper.missing_bin)
    assert (int(g[left].sum()), int(h[left].sum())) == (split.left.G, split.left.H)
    assert np.array_equal(left, go_left(x[:, split.feature], record))


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.floats(-100, 100) | st.just(float("nan")), min_size=2, max_size=80), st.integers(0, 300), st.booleans()
)
def test_routing_by_code_is_routing_by_value(values: list[float], place: int, default_left: bool) -> None:
    trained, asked = np.array(values[: len(values) // 2]), np.array([*values, 0.0, np.nan, 1e9])
    mapper = BinMapper.fit(trained, 16, 1)
    bin_ = place % len(mapper.upper)
    split = Split(1.0, 0, bin_, default_left, NodeSum(0, 0, 0), NodeSum(0, 0, 0))
    record = SplitRecord.of(split, mapper)
    by_code = go_left_codes(mapper.transform(asked), record, mapper.missing_bin)
    assert np.array_equal(by_code, go_left(asked, record))


def test_equal_features_go_to_the_first() -> None:
    _, mappers, codes, g, h = node_of(1)
    twice, node = FeatureLayout.of(mappers * 2), NodeSum(int(g.sum()), int(h.sum()), len(g))
    params = GBDTParameters()
    once = best_split(build(codes, FeatureLayout.of(mappers), g, h), FeatureLayout.of(mappers), node, params, UNITS)
    both = best_split(build(np.hstack([codes, codes]), twice, g, h), twice, node, params, UNITS)
    assert once == both
    assert once is not None
    assert best_of([None, (1, once), (0, once)]) == 2
    assert best_of([(0, once), (0, once)]) == 0
    assert best_of([None]) is None


@settings(max_examples=40, deadline=None)
@given(SEEDS)
def test_parties_together_find_the_pooled_split(seed: int) -> None:
    _, mappers, codes, g, h = node_of(seed)
    node, params = NodeSum(int(g.sum()), int(h.sum()), len(g)), GBDTParameters()

    def found(features: slice) -> Split | None:
        layout = FeatureLayout.of(mappers[features])
        return best_split(build(codes[:, features], layout, g, h), layout, node, params, UNITS)

    pooled, parts = found(slice(None)), [found(slice(0, 1)), found(slice(1, 3)), found(slice(3, 4))]
    winner = best_of([(party, split) if split else None for party, split in enumerate(parts)])
    if pooled is None:
        assert winner is None
        return
    assert winner is not None
    part = parts[winner]
    assert part is not None
    assert (part.gain, (0, 1, 3)[winner] + part.feature, part.bin) == (pooled.gain, pooled.feature, pooled.bin)


def test_features_that_had_no_split_are_left_alone() -> None:
    _, mappers, codes, g, h = node_of(2)
    layout, node = FeatureLayout.of(mappers), NodeSum(int(g.sum()), int(h.sum()), len(g))
    histogram = build(codes, layout, g, h)
    first = search(histogram, layout, node, GBDTParameters(), UNITS).best
    assert first is not None
    usable = np.arange(4) != first.feature
    again = search(histogram, layout, node, GBDTParameters(), UNITS, usable=usable)
    assert again.best is None or again.best.feature != first.feature
    assert not again.splittable[first.feature]
    strict = GBDTParameters(min_gain_to_split=1e9)
    assert not search(histogram, layout, node, strict, UNITS).splittable.any()


def test_rounding_sends_nobody_to_a_leaf_of_its_own() -> None:
    # Estimates of rows in bins add up to two of three, so a bin for missing values that is empty seems to have one.
    layout, params = FeatureLayout((4,), (True,)), GBDTParameters(min_data_in_leaf=1, min_sum_hessian_in_leaf=0.0)
    for each in range(1, 200):
        h = np.array([4, 13, 13, 0]) * 3
        cells = np.column_stack([h * each, h]) << 20
        node = NodeSum(int(cells[:, 0].sum()), int(cells[:, 1].sum()), 3)
        split = best_split(cells, layout, node, params, UNITS)
        assert split is None or min(split.left.H, split.right.H) > 0


def test_no_features_no_split() -> None:
    assert (
        best_split(np.zeros((0, 2), np.int64), FeatureLayout((), ()), NodeSum(0, 1, 1), GBDTParameters(), UNITS) is None
    )


def test_leaf_output() -> None:
    node, scale = NodeSum(G=-3 * 2**24, H=2**25, count=8), UNITS
    assert leaf_output(node, GBDTParameters(learning_rate=0.5), scale) == pytest.approx(0.75)
    assert leaf_output(node, GBDTParameters(learning_rate=1.0, lambda_l1=1, lambda_l2=2), scale) == pytest.approx(0.5)
    assert leaf_output(node, GBDTParameters(lambda_l1=5.0), scale) == 0.0


def test_bad_layouts_and_codes() -> None:
    with pytest.raises(UsageError, match="2 features, but 1 flags"):
        FeatureLayout((3, 4), (False,))
    with pytest.raises(UsageError, match="feature 0 has 1 bin"):
        FeatureLayout((1,), (True,))
    with pytest.raises(UsageError, match="feature 0 has a code 7, but 3 bins"):
        build(np.array([[7]], np.uint8), FeatureLayout((3,), (False,)), np.ones(1, np.int64), np.ones(1, np.int64))
