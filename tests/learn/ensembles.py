"""Ensembles of random trees over random columns of several owners, and all there is to know of them."""

from __future__ import annotations

from dataclasses import dataclass

import lightgbm
import numpy as np
from hypothesis import strategies as st

from vfl.learn.ensemble import Ensemble
from vfl.learn.lightgbm_text import lightgbm_text
from vfl.learn.tree import Cover, SplitRecord, Tree, TreeShape, go_left

from .columns import odd_columns


@dataclass(frozen=True, eq=False)
class Whole:
    """Every owner's columns float64[n, width] and records, and the model over them."""

    values: list[np.ndarray]
    records: list[list[SplitRecord]]
    model: Ensemble

    @property
    def widths(self) -> list[int]:
        return [columns.shape[1] for columns in self.values]

    @property
    def names(self) -> list[list[str]]:
        return [[f"{owner}.f{i}" for i in range(width)] for owner, width in enumerate(self.widths)]

    @property
    def pooled(self) -> np.ndarray:
        return np.column_stack(self.values)

    def decisions(self, values: list[np.ndarray] | None = None) -> list[np.ndarray]:
        """What every owner says of each row at each of its records."""
        return [
            np.array([go_left(columns[:, r.feature], r) for r in records]).reshape(len(records), len(columns))
            for columns, records in zip(values or self.values, self.records, strict=True)
        ]

    def text(self) -> str:
        return lightgbm_text(self.model, self.records, self.names, learning_rate=0.1)

    def booster(self) -> lightgbm.Booster:
        return lightgbm.Booster(model_str=self.text())


def random_tree(values: list[np.ndarray], records: list[list[SplitRecord]], leaves: int, rng) -> Tree:
    """A tree whose splits are drawn; a leaf of one row is not split. Adds its records to those of the owners."""
    n = len(values[0])
    shape, rows = TreeShape(), [np.ones(n, np.bool_)]
    for _ in range(10 * leaves):
        leaf = int(rng.integers(len(rows)))
        owner = int(rng.integers(len(values)))
        feature = int(rng.integers(values[owner].shape[1]))
        known = values[owner][rows[leaf], feature]
        known = known[~np.isnan(known)]
        threshold = float(rng.choice(known)) if len(known) else 0.0
        record = SplitRecord(feature, threshold, 0, bool(rng.integers(2)))
        left = go_left(values[owner][:, feature], record) & rows[leaf]
        right = rows[leaf] & ~left
        if left.any() and right.any() and len(rows) < leaves:
            records[owner].append(record)
            shape.split(leaf, owner, len(records[owner]) - 1, float(rng.exponential()))
            rows[leaf] = left
            rows.append(right)
    counts = np.array([np.count_nonzero(its) for its in rows], dtype=np.int64)
    return shape.tree(rng.normal(size=len(rows)), Cover(counts, counts * rng.random(len(rows)), np.array(shape.gains)))


@st.composite
def wholes(draw: st.DrawFn, *, most_leaves: int = 12) -> Whole:
    """One to four owners with columns of all kinds, missing values among them."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n = draw(st.integers(2, 60))
    kinds = odd_columns(n, rng)
    del kinds["tiny"]  # LightGBM reads |x| <= 1e-35 as zero when it predicts
    owned = draw(st.lists(st.integers(1, 4), min_size=1, max_size=4))
    names = rng.choice(sorted(kinds), sum(owned))
    columns = np.column_stack([kinds[name] for name in names])
    values = np.split(columns, np.cumsum(owned)[:-1], axis=1)
    records: list[list[SplitRecord]] = [[] for _ in owned]
    leaves = draw(st.integers(2, most_leaves))
    trees = [random_tree(values, records, leaves, rng) for _ in range(draw(st.integers(0, 4)))]
    return Whole(values, records, whole_model(float(rng.normal()), trees, records))


def whole_model(start: float, trees: list[Tree], records: list[list[SplitRecord]]) -> Ensemble:
    features = tuple(tuple(record.feature for record in its) for its in records[1:])
    return Ensemble((start,), tuple(tree for tree in trees if tree.n_leaves > 1), tuple(records[0]), features)
