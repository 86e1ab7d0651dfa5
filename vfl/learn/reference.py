"""The plain trainer: all columns in one place, nothing encrypted. It is the oracle of the federated one.

Leaf-wise growth as in LightGBM: always the leaf with the greatest gain (ties: lowest feature, then lowest leaf), the
smaller child's histogram summed and its sibling's got by subtraction. Early stopping watches the validation log-loss;
the model keeps the trees up to the best round.

Source: LightGBM 4.x, src/treelearner/serial_tree_learner.cpp (`Train`, `BeforeFindBestSplit`), src/boosting/gbdt.cpp.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from vfl.errors import UsageError
from vfl.learn.binning import BinMapper
from vfl.learn.histogram import FeatureLayout, build
from vfl.learn.metrics import log_loss
from vfl.learn.objective import binary_labels, fixed_gradients, init_score, sigmoid, validation_rows
from vfl.learn.parameters import GBDTParameters
from vfl.learn.split import NodeSum, Search, best_of, leaf_output, search
from vfl.learn.tree import SplitRecord, Tree, TreeShape, go_left, go_left_codes

Reals = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class ReferenceModel:
    """Trees over pooled columns: every node is owned by party 0, and `records` is that party's share."""

    init_score: float
    trees: tuple[Tree, ...]
    records: tuple[SplitRecord, ...]
    mappers: tuple[BinMapper, ...]
    validation_losses: tuple[float, ...] = ()

    def predict_raw(self, columns: Reals) -> Reals:
        """Raw scores (log-odds) of rows float64[n, n_features]: float64[n]."""
        score = np.full(len(columns), self.init_score)
        for tree in self.trees:
            score += tree.predict(_DecideByValue(columns, self.records), len(columns))
        return score

    def predict(self, columns: Reals) -> Reals:
        """Probabilities of label 1 for rows float64[n, n_features]: float64[n]."""
        return sigmoid(self.predict_raw(columns))


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


class _Grower:
    """Grows single trees from codes and integer gradients, and collects their split records."""

    def __init__(self, codes: npt.NDArray[np.unsignedinteger], mappers: Sequence[BinMapper], params: GBDTParameters):
        self.codes = codes
        self.mappers = mappers
        self.layout = FeatureLayout.of(mappers)
        self.params = params
        self.records: list[SplitRecord] = []

    def grow(self, g: Integers, h: Integers) -> tuple[Tree, npt.NDArray[np.int32]] | None:
        """A tree and the leaf of every row, int32[n]; None when no split of the root improves the loss."""
        shape = TreeShape()
        leaves = [self._root(g, h)]
        while len(leaves) < self.params.num_leaves:
            number = best_of((0, leaf.found.best) if leaf.found.best else None for leaf in leaves)
            if number is None:
                break
            left, right = self._divide(leaves[number], g, h)
            shape.split(number, owner=0, record=len(self.records) - 1)
            leaves[number] = left
            leaves.append(right)
        if len(leaves) == 1:
            return None
        leaf_of_row = np.empty(len(g), dtype=np.int32)
        for number, leaf in enumerate(leaves):
            leaf_of_row[leaf.rows] = number
        return shape.tree([leaf_output(leaf.total, self.params, self.params.scale) for leaf in leaves]), leaf_of_row

    def _root(self, g: Integers, h: Integers) -> _Leaf:
        rows = np.arange(len(g))
        usable = np.ones(len(self.mappers), dtype=np.bool_)
        total = NodeSum(int(g.sum()), int(h.sum()), len(g))
        return self._leaf(rows, total, build(self.codes, self.layout, g, h), 0, usable)

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
        left, right = (
            self._leaf(*parts, leaf.depth + 1, leaf.found.splittable)
            for parts in zip(rows, totals, histograms, strict=True)
        )
        return left, right

    def _leaf(
        self, rows: Integers, total: NodeSum, histogram: Integers, depth: int, usable: npt.NDArray[np.bool_]
    ) -> _Leaf:
        """A leaf with its best split, unless it is as deep as allowed."""
        found = Search(None, usable)
        if not 0 < self.params.max_depth <= depth:
            found = search(histogram, self.layout, total, self.params, self.params.scale, usable=usable)
        return _Leaf(rows, total, histogram, depth, found)


def train_reference(
    columns: npt.ArrayLike,
    y: npt.ArrayLike,
    params: GBDTParameters,
    valid: tuple[npt.ArrayLike, npt.ArrayLike] | None = None,
    mappers: Sequence[BinMapper] | None = None,
) -> ReferenceModel:
    """Train on pooled columns.

    columns: float[n, n_features], NaN = missing.   y: labels of 0 and 1, [n].
    valid: columns and labels to watch; when absent, `params.validation_fraction` of the rows is kept aside
    (`validation_rows`).   mappers: bins to use instead of fitting them on the training rows, one per feature.

    Raises UsageError for labels that are not 0 and 1 or of one class, shapes that do not fit, and early stopping
    without validation rows.
    """
    table, labels = _table(columns), binary_labels(y)
    if len(table) != len(labels):
        raise UsageError(f"{len(table)} rows of columns, but {len(labels)} labels")
    if valid is None and params.validation_fraction:
        aside = validation_rows(len(labels), params.validation_fraction, params.seed)
        valid = (table[aside], labels[aside])
        table, labels = table[~aside], binary_labels(labels[~aside])
    if valid is None and params.early_stopping_round:
        raise UsageError("early stopping needs validation rows", remedy="Give them, or set 'validation_fraction'.")
    if mappers is None:
        mappers = [BinMapper.fit(column, params.max_bin, params.min_data_in_bin) for column in table.T]
    codes = np.empty(table.shape, dtype=np.uint16, order="F")
    for feature, mapper in enumerate(mappers):
        codes[:, feature] = mapper.transform(table[:, feature])
    return _boost(_Grower(codes, mappers, params), labels, valid)


def _boost(
    grower: _Grower, labels: npt.NDArray[np.int8], valid: tuple[npt.ArrayLike, npt.ArrayLike] | None
) -> ReferenceModel:
    """Tree after tree, until the rounds are over, nothing can be split, or the validation loss stops improving."""
    params = grower.params
    start = init_score(labels, params.boost_from_average)
    score = np.full(len(labels), start)
    watched = (_table(valid[0]), binary_labels(valid[1])) if valid else None
    watched_score = np.full(len(watched[1]) if watched else 0, start)
    trees: list[Tree] = []
    losses: list[float] = []
    best = 0
    for _ in range(params.num_iterations):
        grown = grower.grow(*fixed_gradients(score, labels, params.gradient_bits))
        if grown is None:
            break
        tree, leaf_of_row = grown
        trees.append(tree)
        score += tree.leaf_value[leaf_of_row]
        if watched:
            watched_score += tree.predict(_DecideByValue(watched[0], grower.records), len(watched_score))
            losses.append(log_loss(watched[1], sigmoid(watched_score)))
            best = int(np.argmin(losses))
            if params.early_stopping_round and len(losses) - 1 - best >= params.early_stopping_round:
                break
    if params.early_stopping_round:
        trees = trees[: best + 1]
    return ReferenceModel(start, tuple(trees), tuple(grower.records), tuple(grower.mappers), tuple(losses))


def _table(columns: npt.ArrayLike) -> Reals:
    """Columns as float64[n, n_features]."""
    table = np.asarray(columns, dtype=np.float64)
    if table.ndim != 2:
        raise UsageError(f"columns must have two dimensions, rows and features, not {table.ndim}")
    return table
