"""Attributions are the Shapley values of their definition, and LightGBM's `pred_contrib` on the merged model."""

from __future__ import annotations

from fractions import Fraction
from itertools import permutations
from math import factorial
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vfl.errors import UsageError
from vfl.learn import explain
from vfl.learn.explain import importance, node_sums, shapley, split_columns
from vfl.learn.tree import Cover, SplitRecord, Tree, TreeShape

from .ensembles import Whole, random_tree, whole_model, wholes


def lightgbm_contributions(whole: Whole) -> np.ndarray:
    return np.asarray(whole.booster().predict(whole.pooled, pred_contrib=True))


@settings(deadline=None, max_examples=120)
@given(wholes())
def test_attributions_are_lightgbms(whole: Whole) -> None:
    found = shapley(whole.model, whole.decisions(), whole.widths)
    due = lightgbm_contributions(whole)
    assert np.abs(found.values - due[:, :-1]).max(initial=0.0) < 1e-9
    assert np.abs(found.base - due[:, -1]).max(initial=0.0) < 1e-9


@settings(deadline=None, max_examples=60)
@given(wholes())
def test_what_is_attributed_adds_up_to_the_score(whole: Whole) -> None:
    found = shapley(whole.model, whole.decisions(), whole.widths)
    score = whole.model.predict_raw(whole.decisions())
    np.testing.assert_allclose(found.base + found.values.sum(axis=1), score, rtol=0, atol=1e-12)


def expectation(tree: Tree, node: int, known: set[int], columns: list[np.ndarray], row: list[np.ndarray]) -> float:
    """The value of a node if only the features `known` are: the definition, as Lundberg et al. write it down."""
    if node < 0:
        return float(tree.leaf_value[~node])
    owner, record = int(tree.owner[node]), int(tree.record[node])
    children = [int(tree.left[node]), int(tree.right[node])]
    if int(columns[owner][record]) in known:
        return expectation(tree, children[0 if row[owner][record] else 1], known, columns, row)
    counts = node_sums(tree, tree.cover.count)
    rows = [tree.cover.count[~child] if child < 0 else counts[child] for child in children]
    parts = [expectation(tree, child, known, columns, row) for child in children]
    return float(np.dot(rows, parts) / counts[node])


@pytest.mark.parametrize("seed", range(6))
def test_attributions_are_averages_over_all_orders_of_the_features(seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = [np.round(rng.normal(size=(30, width)), 1) for width in (2, 2)]
    records: list = [[], []]
    tree = random_tree(values, records, 9, rng)
    whole = Whole(values, records, whole_model(0.0, [tree], records))
    columns, decisions = split_columns(whole.model, whole.widths), whole.decisions()
    found = shapley(whole.model, decisions, whole.widths)
    for at in range(5):
        row = [answers[:, at] for answers in decisions]
        due = np.zeros(4)
        for order in permutations(range(4)):
            known: set[int] = set()
            before = expectation(tree, 0, known, columns, row)
            for feature in order:
                known.add(feature)
                after = expectation(tree, 0, known, columns, row)
                due[feature] += (after - before) / factorial(4)
                before = after
        np.testing.assert_allclose(found.values[at], due, rtol=0, atol=1e-12)


@settings(deadline=None, max_examples=40)
@given(wholes(), st.integers(1, 7), st.integers(1, 3))
def test_rows_and_patterns_may_be_worked_out_in_any_parts(whole: Whole, rows: int, table: int) -> None:
    due = shapley(whole.model, whole.decisions(), whole.widths)
    with mock.patch.object(explain, "_ROWS", rows), mock.patch.object(explain, "_TABLE", table):
        found = shapley(whole.model, whole.decisions(), whole.widths)
    np.testing.assert_allclose(found.values, due.values, rtol=0, atol=1e-13)


def chain(features: int, rng: np.random.Generator) -> Whole:
    """One tree whose longest path has so many features, of two owners in turn."""
    values = [rng.normal(size=(200, features // 2)) for _ in range(2)]
    records: list[list[SplitRecord]] = [[], []]
    shape = TreeShape()
    for step in range(features):
        owner, feature = step % 2, step // 2
        records[owner].append(SplitRecord(feature, -1.0, 0, True))  # most rows go on along the chain
        shape.split(step, owner, len(records[owner]) - 1)
    counts = np.array([*range(1, features + 1), 1000])
    tree = shape.tree(rng.normal(size=features + 1), Cover(counts, counts * 0.2, np.array(shape.gains)))
    return Whole(values, records, whole_model(0.3, [tree], records))


@pytest.mark.parametrize("features", [12, 14, 20])
def test_long_paths_are_lightgbms(features: int) -> None:
    whole = chain(features, np.random.default_rng(3))
    found = shapley(whole.model, whole.decisions(), whole.widths)
    assert np.abs(found.values).max() > 0.01
    np.testing.assert_allclose(found.values, lightgbm_contributions(whole)[:, :-1], rtol=0, atol=1e-9)


def in_fractions(whole: Whole, row: int) -> np.ndarray:
    """The attributions of one row by a chain, in exact arithmetic: the sum over all sets by their size."""
    (tree,) = whole.model.trees
    columns, decisions = split_columns(whole.model, whole.widths), whole.decisions()
    total, below = [Fraction(0)] * sum(whole.widths), node_sums(tree, tree.cover.count)
    for leaf in range(tree.n_leaves):
        steps = range(min(leaf + 1, tree.n_leaves - 1))  # left at node `leaf`, right at all before
        game = {}
        for node in steps:
            owner, record = int(tree.owner[node]), int(tree.record[node])
            went_left = node == leaf
            count = Fraction(int(tree.cover.count[node]), int(below[node]))
            share = count if went_left else 1 - count
            game[int(columns[owner][record])] = (int(decisions[owner][record, row]) == went_left, share)
        for column, (goes, share) in game.items():
            sizes = [Fraction(1)]  # sum over sets of so many of the other features
            for other, (known, unknown) in game.items():
                if other != column:
                    sizes = [a * unknown + b * known for a, b in zip([*sizes, 0], [0, *sizes], strict=True)]
            d = len(game)
            mean = sum(
                part * Fraction(factorial(k) * factorial(d - 1 - k), factorial(d)) for k, part in enumerate(sizes)
            )
            total[column] += Fraction(float(tree.leaf_value[leaf])) * (goes - share) * mean
    return np.array(list(map(float, total)))


def test_paths_of_any_length_are_exact() -> None:
    whole = chain(36, np.random.default_rng(3))
    found = shapley(whole.model, whole.decisions(), whole.widths)
    np.testing.assert_allclose(found.values[7], in_fractions(whole, 7), rtol=0, atol=1e-13)
    score = whole.model.predict_raw(whole.decisions())
    np.testing.assert_allclose(found.base + found.values.sum(axis=1), score, rtol=0, atol=1e-12)


def test_a_leaf_that_no_row_trained_is_never_expected() -> None:
    """LightGBM divides by zero here."""
    shape = TreeShape()
    shape.split(0, 0, 0)
    shape.split(1, 0, 1)
    tree = shape.tree([1.0, 20.0, 300.0], Cover(np.array([4, 0, 0]), np.zeros(3), np.zeros(2)))
    records = [[SplitRecord(0, 0.0, 0, True), SplitRecord(1, 0.0, 0, True)]]
    whole = Whole([np.array([[-1.0, 5.0], [1.0, 5.0]])], records, whole_model(0.0, [tree], records))
    found = shapley(whole.model, whole.decisions(), whole.widths)
    assert found.base == 1.0
    np.testing.assert_allclose(found.values.sum(axis=1), [0.0, 299.0])


def test_a_model_without_trees_attributes_nothing() -> None:
    whole = Whole([np.zeros((3, 2)), np.zeros((3, 1))], [[], []], whole_model(-0.5, [], [[], []]))
    found = shapley(whole.model, whole.decisions(), whole.widths)
    assert found.base == -0.5
    assert found.values.tolist() == [[0.0] * 3] * 3


def test_trees_without_counts_are_refused() -> None:
    shape = TreeShape()
    shape.split(0, 0, 0)
    records = [[SplitRecord(0, 0.0, 0, True)]]
    model = whole_model(0.0, [shape.tree([1.0, 2.0])], records)
    with pytest.raises(UsageError, match="no counts"):
        shapley(model, [np.ones((1, 3), np.bool_)], [1])


def test_decisions_alone_explain() -> None:
    """Two models that differ in every threshold, and rows that differ in every value, but in no decision."""
    rng = np.random.default_rng(5)
    values, records = [rng.normal(size=(40, 2)), rng.normal(size=(40, 3))], [[], []]
    whole = Whole(values, records, whole_model(0.1, [random_tree(values, records, 8, rng)], records))
    moved = [[SplitRecord(r.feature, 2 * r.threshold + 7, 1, r.default_left) for r in its] for its in records]
    other = Whole([2 * columns + 7 for columns in values], moved, whole_model(0.1, list(whole.model.trees), moved))
    a, b = (shapley(one.model, one.decisions(), one.widths) for one in (whole, other))
    assert a.values.tobytes() == b.values.tobytes()


# ---- importance ------------------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=60)
@given(wholes())
def test_importance_is_lightgbms(whole: Whole) -> None:
    attribution = shapley(whole.model, whole.decisions(), whole.widths)
    found, booster = importance(whole.model, attribution, whole.widths), whole.booster()
    assert found.splits.tolist() == booster.feature_importance("split").tolist()
    np.testing.assert_allclose(found.gain, booster.feature_importance("gain"), rtol=1e-5)
    np.testing.assert_array_equal(found.shap, np.abs(attribution.values).mean(axis=0))
