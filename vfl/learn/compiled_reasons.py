"""What each feature adds to a score, looked up: `vfl.learn.explain.shapley` for a service that explains every answer.

Leaves that are neighbours in a tree share most of the decisions on their paths. A bundle is a run of them with at most
`_MOST_BITS` decisions between them, or a leaf alone with up to `_ALONE` more; a tree of 8 leaves is one bundle. What a
bundle attributes depends on nothing but these decisions, so it is worked out beforehand for all patterns of them, by
the code that explains runs. A leaf with still more is worked out when it is asked for. Tables take at most
`_MOST_BYTES` bytes: where they would take more, bundles have fewer decisions.

Few rows and many rows add the same numbers in the same order: a row's attributions do not depend on the rows beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vfl.learn.compiled_leaves import Leaves, LongPaths, Tables
from vfl.learn.compiled_trees import require_decisions, split_bits
from vfl.learn.ensemble import Ensemble
from vfl.learn.explain import Path, average_score, cover_of, node_columns, paths_of, split_columns

Flags = npt.NDArray[np.bool_]
Reals = npt.NDArray[np.float64]
Places = npt.NDArray[np.intp]

_MOST_BITS = 10
_ALONE = 2
_MOST_BYTES = 64 << 20
_FEW = 128  # rows up to which all tables are looked up at once
_CELLS = 1 << 20  # numbers then looked up at a time
_ROWS = 1 << 14  # of more rows, so many at a time: their sums stay in the processor's caches


@dataclass(frozen=True, eq=False)
class CompiledReasons:
    """Attributions of a model, or of one class of several, ready for any number of rows.

    base: the average raw score in training, as in `Attribution`.   n_bits: as in `CompiledTrees`.
    """

    base: float
    n_bits: int
    n_columns: int
    _tables: Tables
    _long: LongPaths

    @classmethod
    def of(cls, model: Ensemble, widths: Sequence[int], output: int = 0) -> CompiledReasons:
        """`widths`: number of features of each party.   output: of several classes, which one's score.

        Raises UsageError if the trees keep no counts of training rows.
        """
        columns, every = split_columns(model, widths), slice(output, None, model.outputs)
        trees = [
            Leaves.of(
                [path for path in paths_of(tree, cover_of(tree)) if path.steps],
                dict(enumerate(bits.tolist())),
                dict(enumerate(node_columns(tree, columns))),
            )
            for tree, bits in zip(model.trees[every], split_bits(model)[every], strict=True)
        ]
        for most_bits in range(_MOST_BITS, -_ALONE - 1, -1):
            bundles, long = _bundled(trees, most_bits)
            if sum(8 * len(one.own_columns) << len(one.own_bits) for one in bundles) <= _MOST_BYTES:
                break
        n_bits = len(model.records) + sum(model.passive_records)
        return cls(average_score(model, output), n_bits, sum(widths), Tables.of(bundles), LongPaths.of(long))

    def attributions(self, decisions: Flags) -> Reals:
        """What each column adds to each row's raw score: decisions bool[n_bits, n] -> float64[n, n_columns].

        Raises ValueError for another array.
        """
        require_decisions(decisions, self.n_bits)
        rows, parts = decisions.shape[1], (self._tables, self._long)
        column = np.concatenate([part.column for part in parts])
        few = rows <= _FEW
        step = max(1, _CELLS // max(1, len(column))) if few else _ROWS
        values = np.empty((rows, self.n_columns))
        for first in range(0, rows, step):
            its = decisions[:, first : first + step]
            if few:
                cells = column[:, None] + np.arange(its.shape[1]) * self.n_columns
                terms = np.concatenate([part.terms(its) for part in parts])
                values[first : first + step] = _sums(cells, terms, (its.shape[1], self.n_columns))
                continue
            sums = np.zeros((self.n_columns, its.shape[1]))
            for part in parts:
                part.add(sums, its)
            values[first : first + step] = sums.T
        return values


def _bundled(trees: Sequence[Leaves], most_bits: int) -> tuple[list[Leaves], list[Leaves]]:
    """Runs of leaves with at most so many decisions between them, and the leaves that have too many for a table."""
    bundles, long = [], []
    for tree in trees:
        bits, columns, run, alone = tree.bits, tree.columns, list[Path](), list[Path]()
        known: set[int] = set()
        for path in tree.paths:
            its = {bits[step.node] for step in path.steps}
            if len(its) > most_bits + _ALONE:
                alone.append(path)
                continue
            if run and len(known | its) > most_bits:
                bundles.append(Leaves.of(run, bits, columns))
                run, known = [], set()
            run.append(path)
            known |= its
        if run:
            bundles.append(Leaves.of(run, bits, columns))
        if alone:
            long.append(Leaves.of(alone, bits, columns))
    return bundles, long


def top_reasons(contributions: npt.NDArray[np.float64 | np.int64], groups: Places, most: int) -> npt.NDArray[np.int64]:
    """The largest adverse groups of columns of each row, those that sum to more than 0; as `vfl.reasons.reasons` says.

    contributions: [n, n_columns].   groups: the group of each column, 0, 1, ... in the order of their first columns.
    Returns int64[n, most] of group numbers, the largest first, of equal ones the lower number; -1 where there is none.
    """
    rows, count = len(contributions), int(groups.max(initial=-1)) + 1
    sums = _sums(np.arange(rows)[:, None] * count + groups, contributions, (rows, count))
    order = np.argsort(-sums, axis=1, kind="stable")[:, :most]
    found = np.full((rows, most), -1, np.int64)
    found[:, : order.shape[1]] = np.where(np.take_along_axis(sums, order, axis=1) > 0, order, -1)
    return found


def _sums(cells: Places, terms: npt.NDArray[np.float64 | np.int64], shape: tuple[int, int]) -> Reals:
    """Terms added up by cell, one after the other: float64[shape]."""
    found = np.bincount(cells.ravel(), terms.ravel(), shape[0] * shape[1])
    return np.asarray(found, dtype=np.float64).reshape(shape)
