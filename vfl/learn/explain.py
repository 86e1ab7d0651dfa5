"""What each feature adds to a score: exact Shapley values of boosted trees, from decisions alone.

A set S of features is known, the others are averaged out along the paths: at a split on a feature that is not in S
both ways are gone, in the shares of the training rows that went there (LightGBM's `pred_contrib`). A leaf of value v
then adds to S

    v * prod of o_i over i in S * prod of z_i over i not in S

where i runs over the features on the leaf's path, o_i is 1 if the row goes along the path at every split on i, else 0,
and z_i is the product of the shares there. The Shapley value of a product is an integral along the diagonal of its
multilinear extension,

    phi_j = v * (o_j - z_j) * integral over t in [0, 1] of prod of (o_i t + z_i (1 - t)) over i not j

and Gauss-Legendre quadrature is exact for such a polynomial. All terms are positive, so nothing cancels.

Needed of a split are its decision for each row, its feature's number, and how many training rows went either way: no
value and no threshold. The active party has all three for every party's splits once it has scored a row.

Source: the game, Lundberg et al. 2020, Nature Machine Intelligence 2, 56-67, algorithms 1 and 2 (path-dependent
TreeSHAP), with LightGBM 4.x, src/io/tree.cpp (`TreeSHAP`) as oracle; the integral, Owen 1972, Management Science 18(5),
section 4.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from vfl.errors import UsageError
from vfl.learn.ensemble import Ensemble
from vfl.learn.tree import Cover, Tree

Flags = npt.NDArray[np.bool_]
Reals = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Number = TypeVar("Number", np.int64, np.float64)

_ROWS = 1 << 15  # rows at a time: what is kept of them stays in the processor's caches
_TABLE = 12  # features on a path up to which all 2**_TABLE patterns of decisions are worked out beforehand


@dataclass(frozen=True, eq=False)
class Attribution:
    """What a raw score is made of: `base`, the average raw score in training, and what each feature adds.

    values: float64[n, n_columns], the parties' features side by side, the active party's first. A row's sum and the
    base are the row's raw score.
    """

    base: float
    values: Reals


@dataclass(frozen=True, eq=False)
class Importance:
    """What each column does in a model.

    splits: how often it is split, int64[n_columns].   gain: of these splits together, float64[n_columns].
    shap: mean |Shapley value| over the rows that were explained, float64[n_columns].
    """

    splits: Integers
    gain: Reals
    shap: Reals


def shapley(model: Ensemble, decisions: Sequence[Flags], widths: Sequence[int], output: int = 0) -> Attribution:
    """Attributions of the raw score of n rows; of several classes, the score of class `output`.

    decisions: of each party, bool[n_records, n], the active one's first (as `Ensemble.predict_raw` takes them).
    widths: number of features of each party.   Raises UsageError if the trees keep no counts of training rows.
    """
    columns = split_columns(model, widths)
    trees = model.trees[output :: model.outputs]
    covers = [cover_of(tree) for tree in trees]
    values = np.zeros((decisions[0].shape[1], sum(widths)))
    for start in range(0, len(values), _ROWS):
        some = slice(start, start + _ROWS)
        sums = np.zeros((sum(widths), len(values[some])))  # rows last: contiguous, as the decisions are
        for tree, cover in zip(trees, covers, strict=True):
            _add_tree(sums, tree, cover, columns, [answers[:, some] for answers in decisions])
        values[some] = sums.T
    return Attribution(average_score(model, output), values)


def average_score(model: Ensemble, output: int = 0) -> float:
    """The average raw score of the training rows. Raises UsageError if the trees keep no counts of them."""
    trees = [(tree.leaf_value, cover_of(tree).count) for tree in model.trees[output :: model.outputs]]
    return model.starts[output] + sum(float(values @ count) / int(count.sum()) for values, count in trees)


def importance(model: Ensemble, attribution: Attribution, widths: Sequence[int]) -> Importance:
    """What each column does in the model, and in the rows of `attribution`."""
    columns = split_columns(model, widths)
    splits, gain = np.zeros(sum(widths), np.int64), np.zeros(sum(widths))
    for tree in model.trees:
        for owner, record, its_gain in zip(tree.owner, tree.record, cover_of(tree).gain, strict=True):
            splits[columns[owner][record]] += 1
            gain[columns[owner][record]] += its_gain
    return Importance(splits, gain, np.abs(attribution.values).mean(axis=0))


def split_columns(model: Ensemble, widths: Sequence[int]) -> list[Integers]:
    """The column of each party's records among all parties' features side by side: int64[n_records] a party."""
    own = tuple(record.feature for record in model.records)
    starts = np.concatenate([[0], np.cumsum(widths)])
    return [
        int(start) + np.array(features, dtype=np.int64)
        for start, features in zip(starts, (own, *model.passive_features), strict=False)
    ]


def node_sums(tree: Tree, of_leaves: npt.NDArray[Number]) -> npt.NDArray[Number]:
    """Sums over the leaves below each internal node: [n_leaves] -> [n_nodes]."""
    sums = np.zeros(len(tree.left), of_leaves.dtype)
    for node in reversed(range(len(sums))):  # children come after their parents
        for child in (int(tree.left[node]), int(tree.right[node])):
            sums[node] += of_leaves[~child] if child < 0 else sums[child]
    return sums


def cover_of(tree: Tree) -> Cover:
    """What the tree was grown from. Raises UsageError if that is not kept."""
    if tree.cover is None:
        raise UsageError("the trees keep no counts of training rows", remedy="Train the model again.")
    return tree.cover


# ---- one tree --------------------------------------------------------------------------------------------------------


Columns = Sequence[int] | Mapping[int, int]
"""A column by node."""


@dataclass(frozen=True)
class Step:
    """From a node to one of its children: the node, which child, and the share of its training rows that went there."""

    node: int
    left: bool
    share: float


@dataclass(frozen=True)
class Path:
    """The steps to a leaf, and its value."""

    value: float
    steps: tuple[Step, ...]

    def shares(self, columns: Columns) -> Reals:
        """The product of the shares at each column's splits, in the order in which the columns come first."""
        products: dict[int, float] = {}
        for step in self.steps:
            column = columns[step.node]
            products[column] = products.get(column, 1.0) * step.share
        return np.array(list(products.values()))


def paths_of(tree: Tree, cover: Cover) -> Iterator[Path]:
    """The paths to all leaves, neighbours one after the other."""
    counts = node_sums(tree, cover.count)
    waiting: list[tuple[int, tuple[Step, ...]]] = [(0, ())] if len(tree.left) else [(~0, ())]
    while waiting:
        place, steps = waiting.pop()
        if place < 0:
            yield Path(float(tree.leaf_value[~place]), steps)
            continue
        for child, left in ((int(tree.left[place]), True), (int(tree.right[place]), False)):
            rows = int(cover.count[~child] if child < 0 else counts[child])
            share = rows / int(counts[place]) if counts[place] else 0.0
            waiting.append((child, (*steps, Step(place, left, share))))


def _add_tree(sums: Reals, tree: Tree, cover: Cover, columns: Sequence[Integers], decisions: Sequence[Flags]) -> None:
    """Add what a tree's leaves attribute to `sums`, float64[n_columns, n]."""
    splits = list(zip(tree.owner.tolist(), tree.record.tolist(), strict=True))
    goes_left = {node: decisions[owner][record] for node, (owner, record) in enumerate(splits)}
    add_leaves(sums, paths_of(tree, cover), node_columns(tree, columns), goes_left)


def node_columns(tree: Tree, columns: Sequence[Integers]) -> list[int]:
    """The column that each node splits; `columns`: of each party's records, as `split_columns` returns them."""
    return [int(columns[owner][record]) for owner, record in zip(tree.owner, tree.record, strict=True)]


def add_leaves(sums: Reals, paths: Iterable[Path], columns: Columns, goes_left: Mapping[int, Flags]) -> None:
    """Add what some leaves of a tree attribute to `sums`, float64[columns, n].

    columns: of each node, the row of `sums`.   goes_left: of each node on the paths, bool[n].
    """
    goes_right = {node: ~left for node, left in goes_left.items()}
    for path in paths:
        follows: dict[int, Flags] = {}
        for step in path.steps:
            column, goes = columns[step.node], (goes_left if step.left else goes_right)[step.node]
            follows[column] = follows[column] & goes if column in follows else goes
        if follows:
            _add_leaf(sums, path.value, follows, path.shares(columns))


def _add_leaf(sums: Reals, value: float, follows: dict[int, Flags], shares: Reals) -> None:
    """Add what one leaf attributes to the features on its path; `follows`: by column, which rows go along, bool[n]."""
    if len(shares) > _TABLE:
        for column, part in zip(
            follows, product_shapley(np.stack(list(follows.values())), shares[:, None]), strict=True
        ):
            sums[column] += value * part
        return
    # Rows that decide alike get the same: worked out once for each of the 2**d patterns, then looked up.
    table = value * product_shapley(patterns(len(shares)), shares[:, None])
    pattern = np.zeros(sums.shape[1], np.uint16)
    for place, goes in enumerate(follows.values()):
        pattern |= goes.astype(np.uint16) << np.uint16(place)
    for column, parts in zip(follows, table, strict=True):
        sums[column] += parts.take(pattern)


def product_shapley(follows: Flags, shares: Reals) -> Reals:
    """Shapley values of the product game of a leaf of value 1: follows bool[d, n], shares float64[d, n] or [d, 1] ->
    float64[d, n].

    The product over all features but one is got from running products from either end: there is no division.
    """
    known = follows.astype(np.float64)
    total = np.zeros(follows.shape)
    for at, weight in zip(*_quadrature(len(follows)), strict=True):
        factors = known * at + shares * (1.0 - at)
        others = np.ones(follows.shape)
        np.cumprod(factors[:-1], axis=0, out=others[1:])
        others[:-1] *= np.cumprod(factors[:0:-1], axis=0)[::-1]
        total += weight * others
    return (known - shares) * total


@cache
def _quadrature(features: int) -> tuple[Reals, Reals]:
    """Points and weights on [0, 1] that integrate polynomials of degree features - 1 exactly."""
    points, weights = np.polynomial.legendre.leggauss((features + 1) // 2)
    return (points + 1.0) / 2.0, weights / 2.0


@cache
def patterns(features: int) -> Flags:
    """Every combination of decisions, bool[features, 2**features]: feature k is bit k of the position."""
    return (np.arange(1 << features) >> np.arange(features)[:, None] & 1).astype(np.bool_)
