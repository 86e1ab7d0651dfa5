"""The text of a merged model: LightGBM loads it, predicts the same bits, and says the same of its trees."""

from __future__ import annotations

import re

import lightgbm
import numpy as np
import pytest
from effort import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from vfl.learn.explain import node_sums
from vfl.learn.lightgbm_text import feature_names, lightgbm_text
from vfl.learn.tree import Cover, SplitRecord, TreeShape

from .ensembles import Whole, whole_model, wholes


def same_bits(a: np.ndarray, b: np.ndarray) -> bool:
    return np.asarray(a).tobytes() == np.asarray(b).tobytes()


@examples(50, thorough=150)
@given(wholes(), st.randoms())
def test_lightgbm_predicts_the_same_bits(whole: Whole, chance) -> None:
    booster = whole.booster()
    assert same_bits(booster.predict(whole.pooled, raw_score=True), whole.model.predict_raw(whole.decisions()))
    # Rows that no training saw: thresholds themselves, their neighbours, missing values, extremes.
    known = [record.threshold for its in whole.records for record in its] or [0.0]
    odd = [f(t) for t in known for f in (float, lambda t: np.nextafter(t, np.inf), lambda t: np.nextafter(t, -np.inf))]
    odd = [x for x in odd if x == 0 or abs(x) > 1e-35] + [np.nan, np.inf, -np.inf, 1e300, 0.0, -0.0]
    rows = [np.array([[chance.choice(odd) for _ in range(width)] for _ in range(50)]) for width in whole.widths]
    due = whole.model.predict_raw(whole.decisions(rows))
    assert same_bits(booster.predict(np.column_stack(rows), raw_score=True), due)


@settings(deadline=None, max_examples=40)
@given(wholes())
def test_lightgbm_reads_all_of_it(whole: Whole) -> None:
    read = whole.booster().dump_model()
    assert read["feature_names"] == [name for its in whole.names for name in its]
    assert len(read["tree_info"]) == max(1, len(whole.model.trees))
    assert whole.booster().num_feature() == sum(whole.widths)
    for tree, info in zip(whole.model.trees, read["tree_info"], strict=False):
        nodes = [info["tree_structure"]]
        counts, leaf_counts = {}, {}
        while nodes:
            node = nodes.pop()
            if "leaf_index" in node:
                leaf_counts[node["leaf_index"]] = node["leaf_count"]
            else:
                counts[node["split_index"]] = node["internal_count"]
                nodes += [node["left_child"], node["right_child"]]
        assert [leaf_counts[leaf] for leaf in range(tree.n_leaves)] == tree.cover.count.tolist()
        assert [counts[node] for node in range(len(tree.left))] == node_sums(tree, tree.cover.count).tolist()


TEXT = """\
tree
version=v4
num_class=1
num_tree_per_iteration=1
label_index=0
max_feature_idx=2
objective=binary sigmoid:1
feature_names=bank.income bank.age telecom.calls
feature_infos=none none [0.1:0.1]
tree_sizes=267

Tree=0
num_leaves=2
num_cat=0
split_feature=2
split_gain=2.5
threshold=0.1
decision_type=10
left_child=-1
right_child=-2
leaf_value=-0.75 -1.75
leaf_weight=6.0 2.0
leaf_count=30 10
internal_value=-1.0
internal_weight=8.0
internal_count=40
is_linear=0
shrinkage=1.0


end of trees

feature_importances:
telecom.calls=1

pandas_categorical:null
"""


def test_a_model_of_one_split_as_text() -> None:
    shape = TreeShape()
    shape.split(0, 1, 0, 2.5)
    tree = shape.tree([0.25, -0.75], Cover(np.array([30, 10]), np.array([6.0, 2.0]), np.array(shape.gains)))
    records = [[], [SplitRecord(0, 0.1, 3, True)]]
    names = [["bank.income", "bank.age"], ["telecom.calls"]]
    text = lightgbm_text(whole_model(-1.0, [tree], records), records, names, learning_rate=0.1)
    assert text == TEXT
    booster = lightgbm.Booster(model_str=text)
    rows = [[0, 0, 0.1], [0, 0, 0.2], [0, 0, np.nan]]
    assert booster.predict(rows, raw_score=True).tolist() == [-0.75, -1.75, -0.75]


def test_a_model_without_trees_is_its_start_value() -> None:
    text = lightgbm_text(whole_model(-0.7, [], [[]]), [[]], [["a", "b"]], learning_rate=0.1)
    booster = lightgbm.Booster(model_str=text)
    assert booster.predict(np.zeros((3, 2)), raw_score=True).tolist() == [-0.7] * 3


def test_the_size_of_each_tree_is_told() -> None:
    """LightGBM reads trees in parallel by it."""
    shape = TreeShape()
    shape.split(0, 0, 0)
    records = [[SplitRecord(0, float(1) / 3, 0, False)]]
    cover = Cover(np.ones(2, np.int64), np.ones(2), np.zeros(1))
    model = whole_model(0.0, [shape.tree([k + 0.1, -1.0], cover) for k in range(12)], records)
    text = lightgbm_text(model, records, [["贷款.额度"]], learning_rate=0.1)
    sizes = list(map(int, re.search(r"tree_sizes=(.*)", text)[1].split()))
    data = text.encode()
    start = data.index(b"Tree=0\n")
    for number, size in enumerate(sizes):
        assert data[start : start + size].startswith(f"Tree={number}\n".encode())
        start += size
    assert data[start:].startswith(b"end of trees\n")
    assert lightgbm.Booster(model_str=text).feature_name() == ["贷款.额度"]


@pytest.mark.parametrize(
    ("names", "due"),
    [
        (["bank.income", "telecom.calls"], ["bank.income", "telecom.calls"]),
        (["b.a b", 'b.[x]:"{y}",z', "b.t\tn\n"], ["b.a_b", "b._x____y___z", "b.t_n_"]),
        (["b.a b", "b.a_b", "b.a\tb", "b.a_b_2"], ["b.a_b", "b.a_b_2", "b.a_b_3", "b.a_b_2_2"]),
        (["b.客户 年龄"], ["b.客户_年龄"]),
    ],
)
def test_names_are_made_fit_for_lightgbm_and_stay_different(names: list[str], due: list[str]) -> None:
    assert feature_names(names) == due
    assert len(set(due)) == len(due)
