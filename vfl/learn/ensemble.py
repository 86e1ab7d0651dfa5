"""Boosted trees split between parties: the finished ensemble, and the state of one being grown.

Plain mathematics: whoever grows the trees hands them in; nothing here knows how histograms are got.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from vfl.learn.monotone import FREE, Bounds, Directions
from vfl.learn.objective import predictions
from vfl.learn.parameters import GBDTParameters
from vfl.learn.rounds import Gradients, Parts, Rounds, Target
from vfl.learn.split import NodeSum, Search, Split, best_of, child_bounds, leaf_output
from vfl.learn.tree import Cover, SplitRecord, Tree, TreeShape

Flags = npt.NDArray[np.bool_]
Reals = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Ensemble:
    """What the active party holds after training: every tree's shape, its own records, which the others hold.

    Owner 0 of a tree node is the active party, owner k the k-th passive one.
    starts: raw score of every row before the first tree, one of each output; tree t adds to output t % outputs.
    passive_features: of each passive party, the feature number of each of its records, in their order.
    """

    starts: tuple[float, ...]
    trees: tuple[Tree, ...]
    records: tuple[SplitRecord, ...]
    passive_features: tuple[tuple[int, ...], ...]
    validation_losses: tuple[float, ...] = ()
    objective: str = "binary"

    @property
    def outputs(self) -> int:
        """Raw scores of a row: 1, or one a class."""
        return len(self.starts)

    @property
    def init_score(self) -> float:
        """The start of a model with one output."""
        (start,) = self.starts
        return start

    @property
    def passive_records(self) -> tuple[int, ...]:
        """How many records each passive party holds."""
        return tuple(len(features) for features in self.passive_features)

    def predict_raw(self, decisions: Sequence[Flags]) -> Reals:
        """Raw scores from each party's decisions, bool[n_records, n] with the active party's first.

        float64[n], or where there are several outputs float64[n, outputs].
        """
        scores = self.raw_scores(decisions)
        return scores[:, 0] if self.outputs == 1 else scores

    def predict(self, decisions: Sequence[Flags]) -> Reals:
        """Probabilities of label 1, float64[n], or of each class, float64[n, outputs]; of a regression the values."""
        return predictions(self.objective, self.raw_scores(decisions))

    def raw_scores(self, decisions: Sequence[Flags]) -> Reals:
        """The same as `predict_raw`, always float64[n, outputs]."""
        scores = np.tile(self.starts, (decisions[0].shape[1], 1))
        for number, tree in enumerate(self.trees):
            scores[:, number % self.outputs] += tree.predict(
                lambda owner, record: decisions[owner][record], len(scores)
            )
        return scores


@dataclass(eq=False)
class Leaf:
    """A leaf that may still be split.

    rows: bool[n], of either part.   total: sums over its training rows.   usable: per party, features to look at.
    sums: one histogram per party, int64[cells, 2], once known.   found: each party's search in it.
    children: left and right, once split; then by record number `record` of party `owner`.   bounds: of its value.
    l2: of the split that it comes from.
    """

    rows: Flags
    total: NodeSum
    depth: int
    usable: Sequence[Flags]
    bounds: Bounds = FREE
    l2: float = 0.0
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


Place = tuple[int, int, int]
"""A node by the split that made it: its owner, its number among the owner's records, 1 on the right. ROOT: of none."""
ROOT: Place = (0, -1, 0)


def place(leaf: Leaf, parent: Leaf | None) -> Place:
    """Where `leaf` stands in its tree."""
    return ROOT if parent is None else (parent.owner, parent.record, int(parent.children[1] is leaf))


def next_splits(leaves: Sequence[Leaf], parameters: GBDTParameters) -> list[Leaf]:
    """Leaves to split now: all that can be if none can crowd another out, else the one with the greatest gain."""
    if len(leaves) >= parameters.num_leaves:
        return []
    open_leaves = [leaf for leaf in leaves if leaf.best is not None]
    limit = parameters.max_depth
    if limit > 0:
        most = len(leaves) + sum(2 ** (limit - leaf.depth) - 1 for leaf in open_leaves)
        if most <= parameters.num_leaves:
            return open_leaves
    best = best_of(leaf.best for leaf in open_leaves)
    return [] if best is None else [open_leaves[best]]


def splittable(parent: Leaf, parameters: GBDTParameters) -> bool:
    """Whether either child can be split again; if not, nobody needs to know their sums."""
    left, right = parent.children
    deep = 0 < parameters.max_depth <= left.depth
    return not deep and max(left.total.count, right.total.count) >= 2 * parameters.min_data_in_leaf


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
    """Trees from round to round. All arrays are over the same n rows.

    For every tree: `next_tree`, leaves, `add`; a round has one tree for each output. A tree of one leaf adds nothing;
    boosting ends with a round of such trees alone.
    """

    def __init__(
        self,
        target: Target,
        parts: Parts,
        parameters: GBDTParameters,
        monotone: Sequence[Directions] | None = None,
        init: Ensemble | None = None,
    ) -> None:
        """`monotone`: directions of each party's features, the active one's first; None: all are free.

        `init`: the model to go on from, whose raw scores `target` has.

        Raises UsageError for training labels that the objective cannot learn from.
        """
        self.parts, self.parameters, self.monotone = parts, parameters, monotone
        self.rounds = Rounds(target, parts, parameters)
        self.init = init
        self.trees: list[Tree] = []
        self.now: Gradients
        self._output, self._grown = 0, 0

    def next_tree(self) -> None:
        """Fix the integers that the next tree is grown from."""
        if self._output == 0:
            self.rounds.open()
        self.now = self.rounds.gradients(self._output)

    def members(self, leaf: Leaf) -> Flags:
        """The rows that the sums of a leaf are over, bool[n]."""
        return leaf.rows & self.now.sample

    def leaf(self, rows: Flags, depth: int, usable: Sequence[Flags]) -> Leaf:
        """The leaf of these rows, free, its sums by feature not yet known."""
        member, now = np.flatnonzero(rows & self.now.sample), self.now
        return Leaf(rows, NodeSum(int(now.g[member].sum()), int(now.h[member].sum()), len(member)), depth, usable)

    def divide(self, parent: Leaf, goes_left: Flags) -> tuple[Leaf, Leaf]:
        """The children of a leaf, of which `goes_left` bool[n] tells for its rows."""
        usable = [looked.splittable for looked in parent.found]
        left = self.leaf(parent.rows & goes_left, parent.depth + 1, usable)
        whole, part = parent.total, left.total
        rest = NodeSum(whole.G - part.G, whole.H - part.H, whole.count - part.count)
        right = Leaf(parent.rows & ~goes_left, rest, left.depth, usable)
        assert parent.best is not None
        owner, split = parent.best
        left.l2 = right.l2 = split.l2
        if self.monotone is not None:
            direction, totals = int(self.monotone[owner][split.feature]), (left.total, right.total)
            terms = self.parameters, self.now.scale, split.l2
            left.bounds, right.bounds = child_bounds(parent.bounds, direction, totals, *terms)
        return left, right

    def add(self, shape: TreeShape, leaves: Sequence[Leaf]) -> bool:
        """Take in a grown tree; True when boosting ends with it."""
        values = [0.0]
        if len(leaves) > 1:
            values = [leaf_output(leaf.total, self.parameters, self.now.scale, leaf.bounds, leaf.l2) for leaf in leaves]
            self._grown += 1
        self.trees.append(shape.tree(values, self._cover(shape, leaves)))
        for value, leaf in zip(values, leaves, strict=True):
            self.rounds.scores[leaf.rows, self._output] += value
        self._output = (self._output + 1) % self.parameters.outputs
        return self._output == 0 and self._close_round()

    def _close_round(self) -> bool:
        grown, self._grown = self._grown, 0
        if not grown:
            del self.trees[-self.parameters.outputs :]
            return True
        return self.rounds.close()

    def _cover(self, shape: TreeShape, leaves: Sequence[Leaf]) -> Cover:
        counts = np.array([leaf.total.count for leaf in leaves], dtype=np.int64)
        weights = np.array([leaf.total.H / self.now.scale.h for leaf in leaves])
        return Cover(counts, weights, np.array(shape.gains, dtype=np.float64))

    def result(self, records: Sequence[SplitRecord], passive_features: Sequence[Sequence[int]]) -> Ensemble:
        """The model, after those trees it goes on from; with early stopping, the trees up to the best round."""
        trees = tuple(self.trees[: self.rounds.best * self.parameters.outputs])
        features = tuple(map(tuple, passive_features))
        starts = tuple(self.rounds.starts.tolist())
        if self.init is not None:
            starts, trees = self.init.starts, self.init.trees + trees
        losses = tuple(self.rounds.losses)
        return Ensemble(starts, trees, tuple(records), features, losses, self.parameters.objective)
