"""The rows of the nodes of a frozen model's trees, from own columns and from what partners said of their splits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vfl.bits import Mask, unpack_bits
from vfl.decoys import Shown
from vfl.errors import UsageError
from vfl.learn.ensemble import ROOT, Ensemble, Place
from vfl.learn.tree import go_left
from vfl.protocols.boost import SplitRows
from vfl.protocols.score import Decisions
from vfl.wire import require, unpack

Reals = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class OpenedSplits:
    """What decides the splits of a model. All arrays are over the active party's rows.

    fit: rows that train or validate.   shown: where partners have them.   columns: own features by name, of `names`.
    decided: of each partner, its `SplitRows` in order.   earlier: of each partner, its `Decisions` of the trees gone on
    from; none where there are no such trees.   named: whether a split was decided for the rows of its node only.
    """

    fit: Mask
    shown: Shown
    columns: Mapping[str, Reals]
    names: Sequence[str]
    decided: Sequence[Sequence[bytes]]
    earlier: Sequence[bytes]
    named: bool


class FrozenTrees:
    """A model's trees, walked one after the other."""

    def __init__(self, model: Ensemble, splits: OpenedSplits) -> None:
        """Raises BrokenPromise for messages that are none."""
        self._model, self._splits = model, splits
        self._before = [self._whole(unpack(Decisions, body)) for body in splits.earlier]
        self._said = [[bits for body in bodies for bits in unpack(SplitRows, body).left] for bodies in splits.decided]
        self._walked: dict[int, dict[Place, Mask]] = {}

    def start(self, trees: int) -> Reals:
        """Raw scores of the first `trees` trees, float64[rows, outputs]: 0 of rows that neither train nor validate."""
        model, fit = self._model, self._splits.fit
        scores = np.tile(model.starts, (len(fit), 1))
        for number in range(trees):
            self.add(number, scores[:, number % model.outputs])
        scores[~fit] = 0.0
        return scores

    def add(self, number: int, scores: Reals) -> None:
        """Add what tree `number` of the model says to the scores of its rows, float64[rows], in place."""
        tree, nodes = self._model.trees[number], self._nodes(number)
        if not len(tree.left):
            scores[self._splits.fit] += tree.leaf_value[0]
        for node, (left, right) in enumerate(zip(tree.left.tolist(), tree.right.tolist(), strict=True)):
            for side, child in enumerate((left, right)):
                if child < 0:
                    rows = nodes[int(tree.owner[node]), int(tree.record[node]), side]
                    scores[rows] += tree.leaf_value[~child]

    def rows(self, number: int, node: Place) -> Mask:
        """The rows of a node of tree `number`, bool[rows]. Raises UsageError where it has none of that name."""
        found = self._nodes(number).get(node)
        if found is None:
            raise UsageError(f"tree {number} of the frozen model has no node {node}")
        return found

    def _nodes(self, number: int) -> dict[Place, Mask]:
        if number not in self._walked:
            self._walked = {number: self._walk(number)}  # trees come in order: one is enough
        return self._walked[number]

    def _walk(self, number: int) -> dict[Place, Mask]:
        tree = self._model.trees[number]
        found, waiting = {ROOT: self._splits.fit}, {0: self._splits.fit}
        for node in range(len(tree.left)):
            rows, owner, record = waiting.pop(node), int(tree.owner[node]), int(tree.record[node])
            if (owner, record, 0) in found:
                raise UsageError(f"tree {number} of the frozen model uses a split twice")
            left = self._left(owner, record, rows)
            for side, (child, its) in enumerate(((tree.left[node], rows & left), (tree.right[node], rows & ~left))):
                found[owner, record, side] = waiting[int(child)] = its
        return found

    def _left(self, owner: int, record: int, rows: Mask) -> Mask:
        splits = self._splits
        if owner == 0:
            one = self._model.records[record]
            return go_left(splits.columns[splits.names[one.feature]], one)
        before = self._before[owner - 1] if self._before else np.zeros((0, len(rows)), np.bool_)
        if record < len(before):
            decided: Mask = before[record]
            return decided
        asked = splits.shown.spread(rows) if splits.named else splits.shown.fit
        said = self._said[owner - 1]
        require(record - len(before) < len(said), "every split up to the drawn trees was decided")
        return splits.shown.own(asked, unpack_bits(said[record - len(before)], int(asked.sum())))

    def _whole(self, said: Decisions) -> Mask:
        fit = self._splits.shown.fit
        return self._splits.shown.own(fit, unpack_bits(said.left, said.records, int(fit.sum())))
