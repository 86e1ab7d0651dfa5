"""Boosted trees split between parties: the finished ensemble, and the state of one being grown.

Plain mathematics: whoever grows the trees hands them in; nothing here knows how histograms are got.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from vfl.learn.metrics import log_loss
from vfl.learn.objective import binary_labels, fixed_gradients, init_score, sigmoid
from vfl.learn.parameters import GBDTParameters
from vfl.learn.split import NodeSum, Search, Split, best_of, leaf_output
from vfl.learn.tree import Cover, SplitRecord, Tree, TreeShape

Flags = npt.NDArray[np.bool_]
Reals = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Labels = npt.NDArray[np.int8]


@dataclass(frozen=True, eq=False)
class Parts:
    """Which rows train and which validate, bool[n]; they do not overlap."""

    train: Flags
    validation: Flags

    @property
    def fit(self) -> Flags:
        """Rows of either part."""
        return self.train | self.validation


@dataclass(frozen=True, eq=False)
class Ensemble:
    """What the active party holds after training: every tree's shape, its own records, which the others hold.

    Owner 0 of a tree node is the active party, owner k the k-th passive one.
    passive_features: of each passive party, the feature number of each of its records, in their order.
    """

    init_score: float
    trees: tuple[Tree, ...]
    records: tuple[SplitRecord, ...]
    passive_features: tuple[tuple[int, ...], ...]
    validation_losses: tuple[float, ...] = ()

    @property
    def passive_records(self) -> tuple[int, ...]:
        """How many records each passive party holds."""
        return tuple(len(features) for features in self.passive_features)

    def predict_raw(self, decisions: Sequence[Flags]) -> Reals:
        """Raw scores from each party's decisions, bool[n_records, n] with the active party's first: float64[n]."""
        score = np.full(decisions[0].shape[1], self.init_score)
        for tree in self.trees:
            score += tree.predict(lambda owner, record: decisions[owner][record], len(score))
        return score


@dataclass(eq=False)
class Leaf:
    """A leaf that may still be split.

    rows: bool[n], of either part.   total: sums over its training rows.   usable: per party, features to look at.
    sums: one histogram per party, int64[cells, 2], once known.   found: each party's search in it.
    children: left and right, once split; then by record number `record` of party `owner`.
    """

    rows: Flags
    total: NodeSum
    depth: int
    usable: Sequence[Flags]
    sums: list[Integers] = field(default_factory=list)
    found: list[Search] = field(default_factory=list)
    children: tuple[Leaf, ...] = ()
    owner: int = -1
    record: int = -1

    @property
    def best(self) -> tuple[int, Split] | None:
        """The best split and the number of the party that owns it."""
        offers = [(owner, search.best) if search.best else None for owner, search in enumerate(self.found)]
        winner = best_of(offers)
        return None if winner is None else offers[winner]


def numbered(root: Leaf) -> tuple[TreeShape, list[Leaf]]:
    """The tree under `root` as if it had been grown leaf by leaf, the greatest gain first; its leaves by number."""
    shape, leaves = TreeShape(), [root]
    while (number := best_of(leaf.best if leaf.children else None for leaf in leaves)) is not None:
        parent = leaves[number]
        assert parent.best is not None
        shape.split(number, parent.owner, parent.record, parent.best[1].gain)
        leaves[number], right = parent.children
        leaves.append(right)
    return shape, leaves


class Booster:
    """Scores, gradients and trees, from round to round. All arrays are over the same n rows."""

    def __init__(self, labels: Labels, parts: Parts, parameters: GBDTParameters) -> None:
        """Raises UsageError unless the training rows have both labels."""
        self.labels, self.parts, self.parameters = labels, parts, parameters
        self.start = init_score(binary_labels(labels[parts.train]), parameters.boost_from_average)
        self.score = np.full(len(labels), self.start)
        self.trees: list[Tree] = []
        self.losses: list[float] = []
        self.g = self.h = np.zeros(len(labels), dtype=np.int64)

    def next_round(self) -> None:
        """Fix the integers g and h, int64[n], that the next tree is grown from."""
        self.g, self.h = fixed_gradients(self.score, self.labels, self.parameters.gradient_bits)

    def leaf(self, rows: Flags, depth: int, usable: Sequence[Flags]) -> Leaf:
        """The leaf of these rows, its sums by feature not yet known."""
        member = np.flatnonzero(rows & self.parts.train)
        return Leaf(rows, NodeSum(int(self.g[member].sum()), int(self.h[member].sum()), len(member)), depth, usable)

    def divide(self, parent: Leaf, goes_left: Flags) -> tuple[Leaf, Leaf]:
        """The children of a leaf, of which `goes_left` bool[n] tells for its rows."""
        usable = [looked.splittable for looked in parent.found]
        left = self.leaf(parent.rows & goes_left, parent.depth + 1, usable)
        whole, part = parent.total, left.total
        rest = NodeSum(whole.G - part.G, whole.H - part.H, whole.count - part.count)
        return left, Leaf(parent.rows & ~goes_left, rest, left.depth, usable)

    def add(self, shape: TreeShape, leaves: Sequence[Leaf]) -> bool:
        """Take in a grown tree; True when boosting should end with it. A tree of one leaf adds nothing."""
        if len(leaves) == 1:
            return True
        values = [leaf_output(leaf.total, self.parameters, self.parameters.scale) for leaf in leaves]
        self.trees.append(shape.tree(values, self._cover(shape, leaves)))
        for value, leaf in zip(values, leaves, strict=True):
            self.score[leaf.rows] += value
        return self._stops_early()

    def _cover(self, shape: TreeShape, leaves: Sequence[Leaf]) -> Cover:
        counts = np.array([leaf.total.count for leaf in leaves], dtype=np.int64)
        weights = np.array([leaf.total.H / self.parameters.scale for leaf in leaves])
        return Cover(counts, weights, np.array(shape.gains, dtype=np.float64))

    def _stops_early(self) -> bool:
        watched, patience = self.parts.validation, self.parameters.early_stopping_round
        if not watched.any():
            return False
        self.losses.append(log_loss(self.labels[watched], sigmoid(self.score[watched])))
        return bool(patience) and len(self.losses) - 1 - int(np.argmin(self.losses)) >= patience

    def result(self, records: Sequence[SplitRecord], passive_features: Sequence[Sequence[int]]) -> Ensemble:
        """The model; with early stopping, the trees up to the best round."""
        trees = self.trees
        if self.parameters.early_stopping_round and self.losses:
            trees = trees[: int(np.argmin(self.losses)) + 1]
        features = tuple(map(tuple, passive_features))
        return Ensemble(self.start, tuple(trees), tuple(records), features, tuple(self.losses))
