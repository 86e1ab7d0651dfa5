"""A whole model as LightGBM's text: what `lightgbm.Booster(model_str=...)` loads and predicts alike to the last bit.

The start value is in the first tree's leaves, as LightGBM has it: a score is then the same sum in the same order.
Numbers are written so that they are read back exactly. NaN goes where the record says, which is LightGBM's missing type
NaN. What decides nothing is as near as the model knows it: an inner node's value is that of the leaves below, averaged
by their sums of h, and the range of a feature is that of its thresholds, since the values stay with their owners.

Source: LightGBM 4.x, src/boosting/gbdt_model_text.cpp (`SaveModelToString`, version v4) and src/io/tree.cpp
(`Tree::ToString`, `Tree::PredictContrib`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from vfl.learn.ensemble import Ensemble
from vfl.learn.explain import cover_of, node_sums, split_columns
from vfl.learn.tree import Cover, SplitRecord, Tree

OBJECTIVES = {"binary": "binary sigmoid:1", "regression": "regression", "multiclass": "multiclass num_class:{outputs}"}
"""Our objectives in LightGBM's words."""
_CATEGORICAL, _DEFAULT_LEFT, _MISSING_IS_NAN = 1, 2, 2 << 2  # bits of decision_type
_NOT_IN_NAMES = re.compile(r'[\s"\[\]{},:]')  # LightGBM separates names by spaces and refuses what JSON uses
_Split = tuple[int, SplitRecord]  # the pooled column, and the owner's record


def lightgbm_text(
    model: Ensemble,
    records: Sequence[Sequence[SplitRecord]],
    names: Sequence[Sequence[str]],
    *,
    learning_rate: float,
) -> str:
    """The text of a model of which all is known.

    records: of every party, the active one's first.   names: of every party's features; side by side they are the
    columns that `lightgbm.Booster.predict` takes.   Raises UsageError if the trees keep no counts of training rows.
    """
    columns = split_columns(model, [len(of_party) for of_party in names])
    split = [list(zip(map(int, its), found, strict=True)) for its, found in zip(columns, records, strict=True)]
    listed = feature_names([name for of_party in names for name in of_party])
    outputs = model.outputs
    trees = model.trees or (_constant(),) * outputs
    used = [[split[owner][record] for owner, record in zip(tree.owner, tree.record, strict=True)] for tree in trees]
    blocks = [
        _tree(
            number,
            tree,
            its,
            model.starts[number] if number < outputs else 0.0,
            learning_rate if number >= outputs else 1.0,
        )
        for number, (tree, its) in enumerate(zip(trees, used, strict=True))
    ]
    everywhere = [one for its in used for one in its]
    head = {
        "version": "v4",
        "num_class": str(outputs),
        "num_tree_per_iteration": str(outputs),
        "label_index": "0",
        "max_feature_idx": str(len(listed) - 1),
        "objective": OBJECTIVES[model.objective].format(outputs=outputs),
        "feature_names": " ".join(listed),
        "feature_infos": " ".join(_range(column, everywhere) for column in range(len(listed))),
        "tree_sizes": " ".join(str(len(block.encode())) for block in blocks),
    }
    counts = {name: sum(column == at for at, _ in everywhere) for column, name in enumerate(listed)}
    tail = {name: str(count) for name, count in sorted(counts.items(), key=lambda pair: -pair[1]) if count}
    return (
        f"tree\n{_lines(head)}\n{''.join(blocks)}end of trees\n"
        f"\nfeature_importances:\n{_lines(tail)}\npandas_categorical:null\n"
    )


def feature_names(names: Sequence[str]) -> list[str]:
    """The names as LightGBM allows them: other characters become underscores, equal names get a number."""
    found: list[str] = []
    for name in names:
        plain = _NOT_IN_NAMES.sub("_", name)
        other, number = plain, 1
        while other in found:
            number += 1
            other = f"{plain}_{number}"
        found.append(other)
    return found


def _lines(values: Mapping[str, str]) -> str:
    return "".join(f"{key}={value}\n" for key, value in values.items())


def _tree(number: int, tree: Tree, splits: Sequence[_Split], bias: float, shrinkage: float) -> str:
    """One tree's block; `bias` is added to all its values."""
    cover = cover_of(tree)
    weight = node_sums(tree, cover.weight)
    inner = node_sums(tree, tree.leaf_value * cover.weight) / np.where(weight > 0, weight, 1.0)
    sets = [record.categories for _, record in splits if record.categories]
    place = iter(range(len(sets)))
    body = {
        "num_leaves": [tree.n_leaves],
        "num_cat": [len(sets)],
        "split_feature": [column for column, _ in splits],
        "split_gain": cover.gain.tolist(),
        "threshold": [next(place) if record.categories else record.threshold for _, record in splits],
        "decision_type": [_decision_type(record) for _, record in splits],
        "left_child": tree.left.tolist(),
        "right_child": tree.right.tolist(),
        "leaf_value": (bias + tree.leaf_value).tolist(),
        "leaf_weight": cover.weight.tolist(),
        "leaf_count": cover.count.tolist(),
        "internal_value": (bias + inner).tolist(),
        "internal_weight": weight.tolist(),
        "internal_count": node_sums(tree, cover.count).tolist(),
        **_bitsets(sets),
        "is_linear": [0],
        "shrinkage": [shrinkage],
    }
    # repr of a float is the shortest text that is read back as the same number.
    return f"Tree={number}\n{_lines({key: ' '.join(map(repr, values)) for key, values in body.items()})}\n\n"


def _decision_type(record: SplitRecord) -> int:
    return _MISSING_IS_NAN + (_CATEGORICAL if record.categories else _DEFAULT_LEFT * record.default_left)


def _bitsets(sets: Sequence[Sequence[int]]) -> dict[str, list[int]]:
    """Sets of categories as bits of words of 32: where each begins, and all of them one after the other."""
    if not sets:
        return {}
    words = [[0] * (max(categories) // 32 + 1) for categories in sets]
    for bits, categories in zip(words, sets, strict=True):
        for category in categories:
            bits[category // 32] |= 1 << category % 32
    ends = np.cumsum([0, *map(len, words)]).tolist()
    return {"cat_boundaries": ends, "cat_threshold": [word for bits in words for word in bits]}


def _range(column: int, splits: Iterable[_Split]) -> str:
    """The lowest and the highest threshold of a column; of a categorical one the categories."""
    its = [record for at, record in splits if at == column]
    if categories := sorted({one for record in its for one in record.categories}):
        return ":".join(map(str, categories))
    found = [record.threshold for record in its]
    return f"[{min(found)!r}:{max(found)!r}]" if found else "none"


def _constant() -> Tree:
    """A tree that adds nothing, for a model without any: LightGBM has no other place for the start value."""
    nothing = np.zeros(0, np.int32)
    cover = Cover(np.zeros(1, np.int64), np.zeros(1), np.zeros(0))
    return Tree(nothing, nothing, nothing.astype(np.int16), nothing, np.zeros(1), cover)
