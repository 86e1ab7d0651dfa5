"""The plain trainer: all columns in one place, nothing encrypted. It is the oracle of the federated one.

Leaf-wise growth as in LightGBM: always the leaf with the greatest gain (ties: lowest feature, then lowest leaf), the
smaller child's histogram summed and its sibling's got by subtraction. Early stopping watches the validation log-loss;
the model keeps the trees up to the best round.

Source: LightGBM 4.x, src/treelearner/serial_tree_learner.cpp (`Train`, `BeforeFindBestSplit`), src/boosting/gbdt.cpp.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from vfl.errors import UsageError
from vfl.learn.binning import BinMapper
from vfl.learn.categories import CategoryMapper
from vfl.learn.histogram import FeatureLayout, Mapper, build
from vfl.learn.monotone import FREE, Bounds, Directions
from vfl.learn.objective import checked_labels, checked_weights, predictions, validation_rows
from vfl.learn.parameters import GBDTParameters
from vfl.learn.rounds import Gradients, Parts, Rounds, Target
from vfl.learn.sampling import FeatureSampler
from vfl.learn.split import NodeSum, Search, best_of, child_bounds, leaf_output, search
from vfl.learn.tree import SplitRecord, Tree, TreeShape, go_left, go_left_codes

Reals = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class ReferenceModel:
    """Trees over pooled columns: every node is owned by party 0, and `records` is that party's share.

    starts: raw score before the first tree, one of each output; tree t adds to output t % outputs.
    """

    parameters: GBDTParameters
    starts: tuple[float, ...]
    trees: tuple[Tree, ...]
    records: tuple[SplitRecord, ...]
    mappers: tuple[Mapper, ...]
    validation_losses: tuple[float, ...] = ()

    @property
    def init_score(self) -> float:
        """The start of a model with one output."""
        (start,) = self.starts
        return start

    def predict_raw(self, columns: Reals) -> Reals:
        """Raw scores of rows float64[n, n_features]: float64[n], or float64[n, outputs] where there are several."""
        scores = self._scores(columns)
        return scores[:, 0] if len(self.starts) == 1 else scores

    def predict(self, columns: Reals) -> Reals:
        """Probabilities of label 1, or of each class, or of a regression the values, for rows as `predict_raw`."""
        return predictions(self.parameters.objective, self._scores(columns))

    def _scores(self, columns: Reals) -> Reals:
        scores = np.tile(self.starts, (len(columns), 1))
        for number, tree in enumerate(self.trees):
            output = number % len(self.starts)
            scores[:, output] += tree.predict(_DecideByValue(columns, self.records), len(columns))
        return scores


@dataclass(frozen=True)
class _DecideByValue:
    """Answers a tree's questions from real values."""

    columns: Reals
    records: Sequence[SplitRecord]

    def __call__(self, owner: int, record: int) -> npt.NDArray[np.bool_]:
        asked = self.records[record]
        return go_left(self.columns[:, asked.feature], asked)


@dataclass
class _Leaf:
    """A leaf that may still be split: its rows (numbers), totals, histogram, depth and best split."""

    rows: Integers
    total: NodeSum
    histogram: Integers
    depth: int
    found: Search
    bounds: Bounds
    l2: float


class _Grower:
    """Grows single trees from codes and integer gradients, and collects their split records."""

    def __init__(
        self,
        codes: npt.NDArray[np.unsignedinteger],
        mappers: Sequence[Mapper],
        params: GBDTParameters,
        monotone: Directions | None,
    ):
        self.codes, self.monotone = codes, monotone
        self.mappers = mappers
        self.layout = FeatureLayout.of(mappers)
        self.params = params
        self.records: list[SplitRecord] = []

    def grow(self, now: Gradients, usable: npt.NDArray[np.bool_]) -> Tree:
        """A tree of these features, bool[n_features]; of one leaf of value 0 when no split of the root is any good."""
        shape, g, h = TreeShape(), now.g, now.h
        self.scale = now.scale
        leaves = [self._root(g, h, np.flatnonzero(now.sample), usable)]
        while len(leaves) < self.params.num_leaves:
            number = best_of((0, leaf.found.best) if leaf.found.best else None for leaf in leaves)
            if number is None:
                break
            left, right = self._divide(leaves[number], g, h)
            shape.split(number, owner=0, record=len(self.records) - 1)
            leaves[number] = left
            leaves.append(right)
        if len(leaves) == 1:
            return shape.tree([0.0])
        return shape.tree([leaf_output(leaf.total, self.params, self.scale, leaf.bounds, leaf.l2) for leaf in leaves])

    def _root(self, g: Integers, h: Integers, rows: Integers, usable: npt.NDArray[np.bool_]) -> _Leaf:
        total = NodeSum(int(g[rows].sum()), int(h[rows].sum()), len(rows))
        return self._leaf(rows, total, build(self.codes, self.layout, g, h, rows), 0, usable, FREE, 0.0)

    def _divide(self, leaf: _Leaf, g: Integers, h: Integers) -> tuple[_Leaf, _Leaf]:
        """The two children of a leaf split by its best split, whose record is kept."""
        split = leaf.found.best
        assert split is not None
        mapper = self.mappers[split.feature]
        self.records.append(SplitRecord.of(split, mapper))
        goes_left = go_left_codes(self.codes[leaf.rows, split.feature], self.records[-1], mapper.missing_bin)
        rows = leaf.rows[goes_left], leaf.rows[~goes_left]
        smaller = 0 if len(rows[0]) < len(rows[1]) else 1
        summed = build(self.codes, self.layout, g, h, rows[smaller])
        rest = leaf.histogram - summed
        histograms = (summed, rest) if smaller == 0 else (rest, summed)
        totals = (replace(split.left, count=len(rows[0])), replace(split.right, count=len(rows[1])))
        within = leaf.bounds, leaf.bounds
        if self.monotone is not None:
            direction = int(self.monotone[split.feature])
            within = child_bounds(leaf.bounds, direction, totals, self.params, self.scale, split.l2)
        left, right = (
            self._leaf(its, total, histogram, leaf.depth + 1, leaf.found.splittable, bounds, split.l2)
            for its, total, histogram, bounds in zip(rows, totals, histograms, within, strict=True)
        )
        return left, right

    def _leaf(
        self,
        rows: Integers,
        total: NodeSum,
        histogram: Integers,
        depth: int,
        usable: npt.NDArray[np.bool_],
        bounds: Bounds,
        l2: float,
    ) -> _Leaf:
        """A leaf with its best split, unless it is as deep as allowed."""
        found = Search(None, usable)
        if not 0 < self.params.max_depth <= depth:
            found = search(
                histogram, self.layout, total, self.params, self.scale,
                usable=usable, monotone=self.monotone, bounds=bounds,
            )  # fmt: skip
        return _Leaf(rows, total, histogram, depth, found, bounds, l2)


def train_reference(
    columns: npt.ArrayLike,
    y: npt.ArrayLike,
    params: GBDTParameters,
    valid: tuple[npt.ArrayLike, npt.ArrayLike] | None = None,
    mappers: Sequence[Mapper] | None = None,
    weights: npt.ArrayLike | None = None,
    monotone: Directions | None = None,
    categorical: Collection[int] = (),
) -> ReferenceModel:
    """Train on pooled columns.

    columns: float[n, n_features], NaN = missing.   y: labels as the objective takes them, [n].
    valid: columns and labels to watch; when absent, `params.validation_fraction` of the rows is kept aside
    (`validation_rows`).   mappers: bins to use instead of fitting them on the training rows, one per feature.
    weights: what each row counts; of the rows in `valid` after the others.   monotone: directions of the columns.
    categorical: columns whose values are categories.

    Raises UsageError for labels that the objective cannot learn from, shapes that do not fit, and early stopping
    without validation rows.
    """
    table, labels = _table(columns), checked_labels(params, y)
    if len(table) != len(labels):
        raise UsageError(f"{len(table)} rows of columns, but {len(labels)} labels")
    aside = validation_rows(len(labels), 0.0 if valid else params.validation_fraction, params.seed)
    if valid:
        watched = _table(valid[0])
        aside = np.concatenate([aside, np.ones(len(watched), np.bool_)])
        table, labels = np.vstack([table, watched]), np.concatenate([labels, checked_labels(params, valid[1])])
    elif params.early_stopping_round and not params.validation_fraction:
        raise UsageError("early stopping needs validation rows", remedy="Give them, or set 'validation_fraction'.")
    if mappers is None:
        sizes = params.max_bin, params.min_data_in_bin
        mappers = [
            CategoryMapper.fit(column, *sizes) if number in categorical else BinMapper.fit(column, *sizes)
            for number, column in enumerate(table[~aside].T)
        ]
    codes = np.empty(table.shape, dtype=np.uint16, order="F")
    for feature, mapper in enumerate(mappers):
        codes[:, feature] = mapper.transform(table[:, feature])
    checked = None if weights is None else checked_weights(weights, len(labels))
    rounds = Rounds(Target(labels, checked), Parts(~aside, aside), params)
    return _boost(_Grower(codes, mappers, params, monotone), rounds, table)


def _boost(grower: _Grower, rounds: Rounds, table: Reals) -> ReferenceModel:
    """Round after round, until they are over, nothing can be split, or the validation loss stops improving."""
    params, trees = grower.params, list[Tree]()
    features = FeatureSampler(params, [mapper.n_bins for mapper in grower.mappers])
    for _ in range(params.num_iterations):
        rounds.open()
        grown = [grower.grow(rounds.gradients(output), features.draw()) for output in range(params.outputs)]
        if all(tree.n_leaves == 1 for tree in grown):
            break
        trees += grown
        for output, tree in enumerate(grown):
            rounds.scores[:, output] += tree.predict(_DecideByValue(table, grower.records), len(table))
        if rounds.close():
            break
    kept = tuple(trees[: rounds.best * params.outputs])
    records, mappers = tuple(grower.records), tuple(grower.mappers)
    return ReferenceModel(params, tuple(rounds.starts.tolist()), kept, records, mappers, tuple(rounds.losses))


def _table(columns: npt.ArrayLike) -> Reals:
    """Columns as float64[n, n_features]."""
    table = np.asarray(columns, dtype=np.float64)
    if table.ndim != 2:
        raise UsageError(f"columns must have two dimensions, rows and features, not {table.ndim}")
    return table
