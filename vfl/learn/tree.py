"""Trees for prediction, split between parties: the shape and leaf values here, the split records at their owners.

A tree is grown by splitting leaves: the left child keeps the leaf's number, the right one gets the next. Internal nodes
are numbered in the order of splitting, so a parent comes before its children. A child that is a leaf is stored as ~leaf
(LightGBM's encoding).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from vfl.learn.binning import Codes
from vfl.learn.categories import CategoryMapper
from vfl.learn.histogram import Mapper
from vfl.learn.split import Split

Flags = npt.NDArray[np.bool_]
Decide = Callable[[int, int], Flags]


@dataclass(frozen=True)
class SplitRecord:
    """One split in its owner's share: values of column `feature` <= `threshold` go left, NaN left if `default_left`.

    bin: the code the threshold stands for at training.
    categories: of a categorical column, those that go left, ascending, in place of all that; everything else goes
    right.   bins: their codes at training.
    """

    feature: int
    threshold: float
    bin: int
    default_left: bool
    categories: tuple[int, ...] = ()
    bins: tuple[int, ...] = ()

    @classmethod
    def of(cls, split: Split, mapper: Mapper) -> SplitRecord:
        """The record of a split of a feature binned by `mapper`.

        Where training saw no missing value, NaN goes where 0.0 goes, as in LightGBM; `default_left` says so.
        """
        if isinstance(mapper, CategoryMapper):
            pairs = sorted((mapper.categories[code - 1], code) for code in split.subset)
            return cls(split.feature, 0.0, 0, False, tuple(c for c, _ in pairs), tuple(code for _, code in pairs))
        threshold = mapper.threshold(split.bin)
        default_left = split.default_left if mapper.has_missing else threshold >= 0.0
        return cls(split.feature, threshold, split.bin, default_left)


def go_left(values: npt.NDArray[np.float64], record: SplitRecord) -> Flags:
    """Which rows go left by the real values of the record's column: float64[n] -> bool[n]."""
    if record.categories:
        return np.isin(values, record.categories)
    return np.where(np.isnan(values), record.default_left, values <= record.threshold)


def go_left_codes(codes: Codes, record: SplitRecord, missing_bin: int | None) -> Flags:
    """Which rows go left by the codes of the record's column: uint8 or uint16 [n] -> bool[n]; equals `go_left`."""
    if record.bins:
        return np.isin(codes, record.bins)
    left: Flags = codes <= record.bin
    if missing_bin is not None and record.default_left:
        left = left | (codes == missing_bin)
    return left


@dataclass(frozen=True, eq=False)
class Cover:
    """What a tree was grown from.

    count: training rows in each leaf, int64[n_leaves].   weight: their sum of h, float64[n_leaves].
    gain: of each split, float64[n_nodes].
    """

    count: npt.NDArray[np.int64]
    weight: npt.NDArray[np.float64]
    gain: npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Tree:
    """A tree's shape and values.

    left, right: child of each internal node, int32[n_nodes], ~leaf for a leaf.
    owner: party whose split it is, int16[n_nodes].   record: the split's number in that owner's share, int32[n_nodes].
    leaf_value: what a leaf adds to the raw score, float64[n_leaves].   A tree without nodes is its single leaf.
    cover: what it was grown from, where that is kept.
    """

    left: npt.NDArray[np.int32]
    right: npt.NDArray[np.int32]
    owner: npt.NDArray[np.int16]
    record: npt.NDArray[np.int32]
    leaf_value: npt.NDArray[np.float64]
    cover: Cover | None = None

    @property
    def n_leaves(self) -> int:
        """Number of leaves."""
        return len(self.leaf_value)

    def route(self, decide: Decide, n_rows: int) -> npt.NDArray[np.int32]:
        """Leaf of every row, int32[n_rows].

        `decide(owner, record)` is asked once per node, parents first, and answers bool[n_rows]: which rows go left.
        """
        leaf = np.zeros(n_rows, dtype=np.int32)
        waiting = {0: np.arange(n_rows)}
        for node in range(len(self.left)):
            rows = waiting.pop(node)
            goes_left = decide(int(self.owner[node]), int(self.record[node]))[rows]
            for child, its_rows in ((self.left[node], rows[goes_left]), (self.right[node], rows[~goes_left])):
                if child < 0:
                    leaf[its_rows] = ~child
                else:
                    waiting[int(child)] = its_rows
        return leaf

    def predict(self, decide: Decide, n_rows: int) -> npt.NDArray[np.float64]:
        """What the tree adds to the raw score of every row, float64[n_rows]."""
        return self.leaf_value[self.route(decide, n_rows)]


@dataclass
class TreeShape:
    """A tree being grown: starts as the single leaf 0. `gains`: of the splits so far."""

    _left: list[int] = field(default_factory=list)
    _right: list[int] = field(default_factory=list)
    _owner: list[int] = field(default_factory=list)
    _record: list[int] = field(default_factory=list)
    _holder: list[tuple[list[int], int] | None] = field(default_factory=lambda: [None])
    gains: list[float] = field(default_factory=list)

    @property
    def n_leaves(self) -> int:
        """Number of leaves so far."""
        return len(self._holder)

    def split(self, leaf: int, owner: int, record: int, gain: float = 0.0) -> int:
        """Split `leaf` by a record of `owner`: the left child keeps the number, the right child's is returned."""
        node, right = len(self._left), self.n_leaves
        holder = self._holder[leaf]
        if holder is not None:
            children, place = holder
            children[place] = node
        self._left.append(~leaf)
        self._right.append(~right)
        self._owner.append(owner)
        self._record.append(record)
        self.gains.append(gain)
        self._holder[leaf] = (self._left, node)
        self._holder.append((self._right, node))
        return right

    def tree(self, leaf_values: Sequence[float], cover: Cover | None = None) -> Tree:
        """The finished tree with its leaf values, in leaf order."""
        if len(leaf_values) != self.n_leaves:
            raise ValueError(f"{self.n_leaves} leaves, but {len(leaf_values)} values")
        return Tree(
            np.array(self._left, dtype=np.int32),
            np.array(self._right, dtype=np.int32),
            np.array(self._owner, dtype=np.int16),
            np.array(self._record, dtype=np.int32),
            np.array(leaf_values, dtype=np.float64),
            cover,
        )
