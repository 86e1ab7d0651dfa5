"""What leaves of an ensemble attribute to columns: from tables of all patterns of their decisions, or worked out.

Both kinds have entries, a leaf or a bundle of leaves with a column each. `terms` gives them for a few rows at once;
`add` adds them up for many rows, one after the other in the same order and with the same rounding.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vfl.learn.explain import Path, add_leaves, patterns, product_shapley

Flags = npt.NDArray[np.bool_]
Reals = npt.NDArray[np.float64]
Places = npt.NDArray[np.intp]


@dataclass(frozen=True)
class Leaves:
    """Leaves of one tree. bits: the decision of each node on their paths.   columns: the column of each."""

    paths: tuple[Path, ...]
    bits: Mapping[int, int]
    columns: Mapping[int, int]

    @classmethod
    def of(cls, paths: Sequence[Path], bits: Mapping[int, int], columns: Mapping[int, int]) -> Leaves:
        """`bits`, `columns`: also of other nodes of the tree."""
        nodes = dict.fromkeys(step.node for path in paths for step in path.steps)
        return cls(tuple(paths), {node: bits[node] for node in nodes}, {node: columns[node] for node in nodes})

    @property
    def own_bits(self) -> list[int]:
        """Different decisions."""
        return list(dict.fromkeys(self.bits.values()))

    @property
    def own_columns(self) -> list[int]:
        """Different columns."""
        return list(dict.fromkeys(self.columns.values()))


# ---- leaves with tables ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Tables:
    """What every bundle attributes to every column on its paths, an entry each, by pattern of the bundle's decisions.

    bits: of all bundles, one after the other; decision k of a bundle is bit k of its pattern.   first, weight: where in
    `bits` a bundle begins, and 2**k.   bundle, column: of each entry.   start: where it begins in `cells`, where it has
    a number for each pattern.
    """

    bits: Places
    first: Places
    weight: Places
    bundle: Places
    column: Places
    start: Places
    cells: Reals

    @classmethod
    def of(cls, bundles: Sequence[Leaves]) -> Tables:
        tables = [_table(one) for one in bundles]
        entries = [(number, column) for number, one in enumerate(bundles) for column in one.own_columns]
        widths = np.array([len(one.own_bits) for one in bundles], np.intp)
        lengths = [1 << int(widths[bundle]) for bundle, _ in entries]
        return cls(
            np.array([bit for one in bundles for bit in one.own_bits], np.intp),
            np.cumsum(widths) - widths,
            np.array([1 << k for width in widths for k in range(width)], np.intp),
            np.array([bundle for bundle, _ in entries], np.intp),
            np.array([column for _, column in entries], np.intp),
            np.cumsum([0, *lengths])[:-1].astype(np.intp),
            np.concatenate([*(table.ravel() for table in tables), np.empty(0)]),
        )

    def terms(self, decisions: Flags) -> Reals:
        """Of a few rows: float64[entries, n]."""
        if not len(self.first):
            return np.empty((0, decisions.shape[1]))
        pattern = np.add.reduceat(decisions.take(self.bits, axis=0) * self.weight[:, None], self.first, axis=0)
        return self.cells.take(pattern.take(self.bundle, axis=0) + self.start[:, None])

    def add(self, sums: Reals, decisions: Flags) -> None:
        """Of many rows: add to `sums`, float64[n_columns, n]."""
        found, numbers = np.empty(sums.shape[1]), decisions.view(np.uint8)
        bits, now = [its.tolist() for its in np.split(self.bits, self.first[1:])], -1
        for bundle, column, start in zip(self.bundle.tolist(), self.column.tolist(), self.start.tolist(), strict=True):
            if bundle != now:
                now, pattern = bundle, _pattern([numbers[bit] for bit in bits[bundle]])
            table = self.cells[start : start + (1 << len(bits[bundle]))]
            sums[column] += table.take(pattern, out=found, mode="clip")


def _table(bundle: Leaves) -> Reals:
    """What a bundle attributes to its columns for every pattern of its decisions: float64[columns, 2**decisions]."""
    bits, columns = bundle.own_bits, bundle.own_columns
    every = patterns(len(bits))
    sums = np.zeros((len(columns), every.shape[1]))
    rows = {node: columns.index(column) for node, column in bundle.columns.items()}
    add_leaves(sums, bundle.paths, rows, {node: every[bits.index(bit)] for node, bit in bundle.bits.items()})
    return sums


def _pattern(decisions: Sequence[npt.NDArray[np.uint8]]) -> Places:
    """The patterns of rows: uint8[n] of each decision -> intp[n]."""
    pattern = decisions[0].astype(np.uint16)
    for k, decision in enumerate(decisions[1:], 1):
        pattern |= decision.astype(np.uint16) << np.uint16(k)
    return pattern.astype(np.intp)


# ---- leaves without --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class LongPaths:
    """Leaves with long paths, an entry for each leaf and column on its path.

    leaves: by tree.   column, share, value: of each entry, the value being its leaf's.   bits, left: of all steps,
    entry by entry, the decision and whether it must be yes.   first: where each entry begins among them.
    alike: entries of leaves with equally many columns, intp[columns, leaves].
    """

    leaves: tuple[Leaves, ...]
    column: Places
    share: Reals
    value: Reals
    bits: Places
    left: Flags
    first: Places
    alike: tuple[Places, ...]

    @classmethod
    def of(cls, long: Sequence[Leaves]) -> LongPaths:
        entries: list[tuple[int, float, float]] = []
        steps: list[list[tuple[int, bool]]] = []
        alike: dict[int, list[list[int]]] = {}
        for one in long:
            for path in one.paths:
                own: dict[int, list[tuple[int, bool]]] = {}
                for step in path.steps:
                    own.setdefault(one.columns[step.node], []).append((one.bits[step.node], step.left))
                alike.setdefault(len(own), []).append([len(entries) + k for k in range(len(own))])
                entries += [
                    (column, share, path.value) for column, share in zip(own, path.shares(one.columns), strict=True)
                ]
                steps += own.values()
        lengths = np.array([len(its) for its in steps], np.intp)
        return cls(
            tuple(long),
            np.array([column for column, _, _ in entries], np.intp),
            np.array([share for _, share, _ in entries], np.float64),
            np.array([value for _, _, value in entries], np.float64),
            np.array([bit for its in steps for bit, _ in its], np.intp),
            np.array([left for its in steps for _, left in its], np.bool_),
            np.cumsum(lengths) - lengths,
            tuple(np.array(its, np.intp).T for its in alike.values()),
        )

    def terms(self, decisions: Flags) -> Reals:
        """Of a few rows: float64[entries, n]."""
        rows = decisions.shape[1]
        terms = np.empty((len(self.column), rows))
        if not len(terms):
            return terms
        goes = decisions.take(self.bits, axis=0) == self.left[:, None]
        follows = np.logical_and.reduceat(goes, self.first, axis=0)
        for entries in self.alike:
            known = follows.take(entries, axis=0).reshape(len(entries), entries.shape[1] * rows)
            parts = product_shapley(known, np.repeat(self.share.take(entries), rows, axis=1))
            terms[entries] = self.value.take(entries)[:, :, None] * parts.reshape(*entries.shape, rows)
        return terms

    def add(self, sums: Reals, decisions: Flags) -> None:
        """Of many rows: add to `sums`, float64[n_columns, n]."""
        for one in self.leaves:
            add_leaves(sums, one.paths, one.columns, {node: decisions[bit] for node, bit in one.bits.items()})
