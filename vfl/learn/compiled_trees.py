"""A finished ensemble evaluated fast: `Ensemble.raw_scores` and `predict`, bit for bit, from stacked decisions.

Few rows: every row stands in a place of every tree, and all go down one level at a time.
Many rows: a place of a tree is a bit for each row, whether it comes there: a split takes two operations on packed bits,
and the binary digits of a row's leaf are the places that have it, or-ed.
Either way what the trees add is summed in their order, so a row's score does not depend on the rows beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from vfl.learn.ensemble import Ensemble
from vfl.learn.objective import predictions
from vfl.learn.tree import Tree

Flags = npt.NDArray[np.bool_]
Reals = npt.NDArray[np.float64]
Places = npt.NDArray[np.intp]
Bits = npt.NDArray[np.uint8]
Numbers = npt.NDArray[Any]  # uint8 where they fit, else uint32

_FEW = 48  # rows up to which going down level by level is the faster way
_ROWS = 1 << 12  # rows at a time: their bits at all places of some thousand nodes stay in the processor's caches
_ALL, _NONE = 0, 1  # places that have all rows, and none


@dataclass(frozen=True, eq=False)
class CompiledTrees:
    """An ensemble ready for any number of rows.

    n_bits: decisions of a row, those of all parties' records stacked, the active party's first.
    """

    objective: str
    starts: Reals
    n_bits: int
    _walk: _Walk
    _masks: _Masks

    @classmethod
    def of(cls, model: Ensemble) -> CompiledTrees:
        """From a finished model."""
        bits = split_bits(model)
        n_bits = len(model.records) + sum(model.passive_records)
        starts = np.array(model.starts, np.float64)
        return cls(model.objective, starts, n_bits, _Walk.of(model.trees, bits), _Masks.of(model.trees, bits))

    def predict(self, decisions: Flags) -> Reals:
        """What `Ensemble.predict` says: float64[n], or of several classes float64[n, outputs]."""
        return predictions(self.objective, self.raw_scores(decisions))

    def raw_scores(self, decisions: Flags) -> Reals:
        """Raw scores float64[n, outputs] of decisions bool[n_bits, n]. Raises ValueError for another array."""
        require_decisions(decisions, self.n_bits)
        rows, outputs = decisions.shape[1], len(self.starts)
        if rows <= _FEW:
            added = self._walk.values(decisions)
            scores = np.empty((rows, outputs))
            for output, start in enumerate(self.starts):
                terms = np.vstack([np.full((1, rows), start), added[output::outputs]])
                scores[:, output] = np.add.accumulate(terms)[-1]  # in order, where a sum would go by halves
            return scores
        by_output = np.repeat(self.starts[:, None], rows, axis=1)
        for first in range(0, rows, _ROWS):
            some = slice(first, first + _ROWS)
            self._masks.add(decisions[:, some], by_output[:, some])
        return np.ascontiguousarray(by_output.T)


def split_bits(model: Ensemble) -> list[Places]:
    """Of each tree, the row of the stacked decisions that each node goes by."""
    starts = np.cumsum([0, len(model.records), *model.passive_records])
    return [(starts[tree.owner] + tree.record).astype(np.intp) for tree in model.trees]


def require_decisions(decisions: Flags, n_bits: int) -> None:
    """Raises ValueError unless these are decisions bool[n_bits, n]."""
    if decisions.dtype != np.bool_ or decisions.ndim != 2 or len(decisions) != n_bits:
        raise ValueError(f"decisions are {decisions.dtype}{list(decisions.shape)}, not bool[{n_bits}, n]")


# ---- few rows --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Walk:
    """Places of all trees in one numbering; place p has rows 2p (right) and 2p + 1 (left) in `after`.

    roots: 2 * place, intp[trees].   bit: by 2 * place, the decision.   after: by row, 2 * the next place; a leaf's is
    its own.   value: by 2 * place, of leaves.   depth: of the deepest tree.
    """

    roots: Places
    bit: Places
    after: Places
    value: Reals
    depth: int

    @classmethod
    def of(cls, trees: Sequence[Tree], bits: Sequence[Places]) -> _Walk:
        sizes = [len(tree.left) + tree.n_leaves for tree in trees]
        firsts, places = np.cumsum([0, *sizes])[:-1].astype(np.intp), sum(sizes)
        bit, value = np.zeros((places, 2), np.intp), np.zeros((places, 2))
        after = np.repeat(np.arange(places, dtype=np.intp)[:, None], 2, axis=1)
        for first, tree, its_bits in zip(firsts, trees, bits, strict=True):
            nodes, leaves = slice(first, first + len(tree.left)), slice(first + len(tree.left), None)
            for side, child in ((1, tree.left), (0, tree.right)):
                after[nodes, side] = first + np.where(child < 0, len(tree.left) + ~child, child)
            bit[nodes, 0] = its_bits
            value[leaves, 0][: tree.n_leaves] = tree.leaf_value
        depth = max((len(_levels(tree)) for tree in trees), default=0)
        return cls(2 * firsts, bit.ravel(), 2 * after.ravel(), value.ravel(), depth)

    def values(self, decisions: Flags) -> Reals:
        """What each tree adds to each row: float64[trees, n] of decisions bool[n_bits, n]."""
        rows = decisions.shape[1]
        flat, row = np.ascontiguousarray(decisions).ravel(), np.arange(rows)
        place = np.repeat(self.roots[:, None], rows, axis=1)
        for _ in range(self.depth):
            place = self.after.take(place + flat.take(self.bit.take(place) * rows + row))
        return self.value.take(place)


def _levels(tree: Tree) -> list[list[int]]:
    """The nodes at each distance from the root."""
    levels, now = [], [0] if len(tree.left) else []
    while now:
        levels.append(now)
        now = [int(child) for node in now for child in (tree.left[node], tree.right[node]) if child >= 0]
    return levels


# ---- many rows -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Masks:
    """All trees' places as packed bits, level by level.

    levels: (parents, bits) of each: the places of the nodes there, and the decisions they go by; the left children's
    places follow after all places so far, then the right ones'.   n_places: in all.
    digits: intp[terms, planes, trees]: the places or-ed into each binary digit of a leaf's number, filled up with none.
    values: of each tree's leaves.
    """

    levels: tuple[tuple[Places, Places], ...]
    n_places: int
    digits: Places
    values: tuple[Reals, ...]

    @classmethod
    def of(cls, trees: Sequence[Tree], bits: Sequence[Places]) -> _Masks:
        depths = [_levels(tree) for tree in trees]
        place = [{0: _ALL, ~0: _ALL} for _ in trees]  # of nodes, and of leaves as ~leaf
        levels, n_places = [], 2
        for depth in range(max(map(len, depths), default=0)):
            here = [(t, node) for t, its in enumerate(depths) if depth < len(its) for node in its[depth]]
            parents = [place[t][node] for t, node in here]
            for children in ("left", "right"):
                for t, node in here:
                    place[t][int(getattr(trees[t], children)[node])] = n_places
                    n_places += 1
            levels.append((np.array(parents, np.intp), np.array([bits[t][node] for t, node in here], np.intp)))
        return cls(tuple(levels), n_places, _digits(trees, place), tuple(tree.leaf_value for tree in trees))

    def add(self, decisions: Flags, by_output: Reals) -> None:
        """Add what the trees say to `by_output`, float64[outputs, n], of decisions bool[n_bits, n]."""
        outputs = len(by_output)
        for number, (values, leaf) in enumerate(zip(self.values, self._leaves(decisions), strict=True)):
            by_output[number % outputs] += values.take(leaf)

    def _leaves(self, decisions: Flags) -> Numbers:
        """The leaf of each row in each tree: [trees, n]."""
        rows = decisions.shape[1]
        packed = np.packbits(decisions, axis=1)
        masks = np.empty((self.n_places, packed.shape[1]), np.uint8)
        masks[_ALL], masks[_NONE] = 0xFF, 0
        end = 2
        for parents, bits in self.levels:
            here, count = masks.take(parents, axis=0), len(parents)
            left, right = masks[end : end + count], masks[end + count : end + 2 * count]
            np.bitwise_and(here, packed.take(bits, axis=0), out=left)
            np.bitwise_xor(here, left, out=right)
            end += 2 * count
        return _numbers(self.digits, masks, rows)


def _digits(trees: Sequence[Tree], place: Sequence[dict[int, int]]) -> Places:
    """For `_Masks.digits`; `place`: of each tree, where its leaves are, by ~leaf."""
    planes = (max((tree.n_leaves for tree in trees), default=1) - 1).bit_length()
    terms = [
        [
            [its[~leaf] for leaf in range(tree.n_leaves) if leaf >> plane & 1]
            for tree, its in zip(trees, place, strict=True)
        ]
        for plane in range(planes)
    ]
    most = max((len(its) for plane in terms for its in plane), default=0)
    filled = [[its + [_NONE] * (most - len(its)) for its in plane] for plane in terms]
    return np.moveaxis(np.array(filled, np.intp).reshape(planes, len(trees), most), 2, 0).copy()


def _numbers(digits: Places, masks: Bits, rows: int) -> Numbers:
    """Leaf numbers from the bits at all places."""
    _, planes, trees = digits.shape
    packed = np.zeros((planes, trees, masks.shape[1]), np.uint8)
    for places in digits:
        packed |= masks.take(places, axis=0)
    leaf: Numbers = np.zeros((trees, rows), np.uint8 if planes <= 8 else np.uint32)
    for plane, its in enumerate(packed):
        leaf |= np.unpackbits(its, axis=1, count=rows).astype(leaf.dtype) << plane
    return leaf
