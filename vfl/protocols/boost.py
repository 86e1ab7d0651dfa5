"""Vertical gradient boosting on encrypted histograms.

    active (labels, secret key)                           passive (features)

    once
    TrainingRows    which rows, encryption key        -->
                                                          bins of its features, fitted on the training rows
                                                      <-- FeatureBins     bins per feature, name of the hint
    HintWanted      whether none is kept from before  -->
                                                      <-- HintBlock       preprocessed bins (lattice)
    for every tree
    g_i = p_i - y_i,  h_i = p_i (1 - p_i), as integers
    TreeBlock       [[g_i, h_i]], every row (paillier)  -->
    for the nodes whose sums are not their parent's less their sibling's, some at a time
    NodeQuery       rows i of each (paillier), or     -->
                    [[g_i, h_i]], 0 outside (lattice)
    QueryBlock      what does not fit in (lattice)    -->
                                                          [[G_fb, H_fb]] = sum of [[g_i, h_i]] over i with bin_f(i) = b
                                                      <-- NodeHistograms  [[G_fb, H_fb]] of each, sealed
    (party, f, b) = argmax gain(G, H) over all parties
    for the best splits that are this passive's
    SplitsChosen    f, b, rows i of each node         -->
                                                      <-- SplitRows       bin_f(i) <= b, for the rows asked
    w = -G / (H + lambda) for every leaf
    TreeClosed      whether it was the last, and      -->
                    whether a round boundary follows

Trees are LightGBM's, which grow leaf by leaf, the greatest gain first. Where the limits on depth and leaves let every
leaf be split that can be, the order makes no difference: then all leaves of a level are split at once, and one query
asks for the sums of up to 16 nodes. Rows of the training part carry gradients; rows of the validation part only
follow the splits, for early stopping. Scheme `paillier` sends the encrypted rows once per tree and names a node's rows
(level `disclosed`). Scheme `lattice` sends a hint once and with every query all rows again, those outside the node as
encrypted zeros, and has each split decided for all rows (level `hidden`).

A boundary follows the last tree, every so many trees as was agreed on, and at once where a passive
party's sums are false, for it is to put its name to them.

Decoys (`vfl.decoys`) are aligned rows like others to a passive party: it bins, sums and decides them. They are in no
node, so that sums and model are those of the real rows alone; bins are fitted on both.

Source: SecureBoost (Cheng et al. 2021, IEEE Intelligent Systems 36(6), arXiv:1901.08755), algorithms 1 and 2; leaf-wise
growth and the split rule of LightGBM (Ke et al. 2017).

Learns:  active  -> bins per feature, which have a bin for missing values and which are categories; G_fb and H_fb of
                    every node asked for; left or right at every split the passive owns, of the node's rows
                    (`disclosed`) or of all (`hidden`)
         passive -> which aligned rows train and which validate; whether its hint was kept from before; its own chosen
                    splits (f, b) and how many nodes were asked for; with `disclosed` also their rows, and so the
                    tree's shape
Cost:    paillier, per tree: one encryption a row; per node: one addition a row and feature, one seal and decryption
         per packed ciphertext. lattice, once: 32 KB a cell; per node: 28 bytes a row out, one addition a row, feature
         and value, 28 bytes a cell back. num_leaves histograms a tree at most; 2 messages a node or split, or a level
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, count
from typing import Annotated

import numpy as np
import numpy.typing as npt
from msgspec import Meta

from vfl.bits import Mask, pack_bits, unpack_bits
from vfl.channel import Channel, no_work
from vfl.chosen_split import ChosenSplit, decide
from vfl.crypto.scheme import BLOCK_ROWS, MAX_CELLS, MAX_NODES, CellLayout, Evaluator, KeyHolder, Sealed
from vfl.decoys import Shown
from vfl.errors import BrokenPromise
from vfl.learn.columns import Columns
from vfl.learn.ensemble import Booster, Ensemble, Leaf, Place, next_splits, numbered, place, splittable
from vfl.learn.histogram import FeatureLayout, build, first_unequal
from vfl.learn.monotone import Directions
from vfl.learn.parameters import GBDTParameters
from vfl.learn.rounds import Parts, Target
from vfl.learn.sampling import FeatureSampler
from vfl.learn.split import search
from vfl.learn.tree import SplitRecord, TreeShape
from vfl.randomness import Randomness
from vfl.wire import Message, require

Int64s = npt.NDArray[np.int64]
Reals = npt.NDArray[np.float64]
EvaluatorFactory = Callable[[str, bytes, int], Evaluator]
"""From the scheme's name, the public key bytes and the number of training rows."""
MAX_FEATURES = 1 << 16
MAX_LEAVES = 1 << 17


class TrainingRows(Message, frozen=True):
    """Which of the aligned rows train and which validate, and the key they will be encrypted under."""

    count: int
    train: bytes  # bits
    validation: bytes  # bits
    scheme: str
    key: bytes


class FeatureBins(Message, frozen=True):
    """The layout of the sender's histograms, and what the scheme needs from it once."""

    bins: Annotated[list[int], Meta(max_length=MAX_FEATURES)]
    missing: Annotated[list[bool], Meta(max_length=MAX_FEATURES)]
    zero_rest: Annotated[list[bool], Meta(max_length=MAX_FEATURES)]  # LightGBM derives bin 0 from the total
    categorical: Annotated[list[bool], Meta(max_length=MAX_FEATURES)]  # bins from 1 on are categories
    hint: Annotated[bytes, Meta(max_length=32)]  # its name; empty where the scheme has none


class HintWanted(Message, frozen=True):
    """Whether the hint is to be sent: the receiver has none of that name."""

    wanted: bool


class HintBlock(Message, frozen=True):
    """A part of what the scheme needs once from the sender's bins."""

    index: int
    hint: bytes


class TreeBlock(Message, frozen=True):
    """Encrypted (g, h) of consecutive training rows."""

    index: int
    last: bool
    rows: bytes


class NodeQuery(Message, frozen=True):
    """Sum the rows of each of these nodes by (feature, bin)."""

    node: int  # running number in the tree of the first
    count: Annotated[int, Meta(ge=1, le=MAX_NODES)]
    rows: Annotated[list[bytes], Meta(max_length=MAX_NODES)]  # bits over the training rows; none where hidden
    block: bytes = b""  # the first part of the encrypted rows; none where rows are named


class QueryBlock(Message, frozen=True):
    """A further part of the encrypted rows of a query."""

    index: int  # from 1
    rows: bytes


class NodeHistograms(Message, frozen=True):
    """The encrypted sums of each node asked for."""

    node: int  # the first
    sums: Annotated[list[Sealed], Meta(max_length=MAX_NODES)]


class SplitsChosen(Message, frozen=True):
    """Splits of the receiver, each of another leaf."""

    splits: Annotated[list[ChosenSplit], Meta(min_length=1, max_length=MAX_LEAVES)]


class SplitRows(Message, frozen=True):
    """Left or right at each split, for the rows asked."""

    left: Annotated[list[bytes], Meta(max_length=MAX_LEAVES)]  # bits


class TreeClosed(Message, frozen=True):
    """The tree is finished."""

    last: bool
    boundary: bool  # the parties countersign each other's heads before they go on


async def active(
    passives: Sequence[Channel],
    features: Sequence[int],
    mine: Columns,
    target: Target,
    parts: Parts,
    parameters: GBDTParameters,
    key: KeyHolder,
    rng: Randomness,
    *,
    shown: Shown | None = None,
    monotone: Sequence[Directions] | None = None,
    init: Ensemble | None = None,
    asked: list[list[list[Place]]] | None = None,
    every: int = 1,
) -> Ensemble:
    """Train with all passive parties, who have agreed to bring so many `features` each.

    `mine`: the active party's columns, `target`: labels and weights, both over our rows, as `parts`. `shown`: the
    agreed rows, where there are decoys among them. `monotone`: agreed directions of each party's features, own first.
    `init`: the model to go on from; `target` has its raw scores. `every`: how many trees a round boundary covers.
    `asked`: is told the nodes of each query by tree.
    """
    shown = shown or Shown.plain(parts)
    layouts = [mine.layout, *await _introduce(passives, features, shown, parameters, key)]
    booster = Booster(target, parts, parameters, monotone, init)
    grower = _Grower(passives, mine, booster, key, layouts, shown, [] if asked is None else asked)
    trees, uncovered = parameters.num_iterations * parameters.outputs, 0
    for number in range(trees):
        for passive in passives:
            passive.enter("train", number)
        shape, leaves = await grower.grow(rng.child(f"tree/{number}"))
        last = booster.add(shape, leaves) or number + 1 == trees
        uncovered += 1
        boundary = last or uncovered == every or bool(grower.suspects)
        for passive in passives:
            await passive.send(TreeClosed(last, boundary))
        if boundary:
            uncovered = 0
            for passive in passives:
                await passive.checkpoint()
        if last:
            break
    return booster.result(grower.records, grower.features[1:])


def training_rows(shown: Shown, key: KeyHolder) -> TrainingRows:
    """What the active party says first."""
    return TrainingRows(len(shown.train), pack_bits(shown.train), pack_bits(shown.validation), key.name, key.public())


async def _introduce(
    passives: Sequence[Channel], features: Sequence[int], shown: Shown, parameters: GBDTParameters, key: KeyHolder
) -> list[FeatureLayout]:
    """Name the rows and the key; learn the layout of everybody's histograms."""
    rows = training_rows(shown, key)
    for passive in passives:
        passive.enter("bins")
        await passive.send(rows)
    layouts = []
    for passive, agreed in zip(passives, features, strict=True):
        told = await passive.recv(FeatureBins)
        sizes = {len(told.bins), len(told.missing), len(told.zero_rest), len(told.categorical)}
        require(sizes == {agreed}, f"one entry for each of the {agreed} features agreed on")
        pairs, most = zip(told.bins, told.missing, strict=True), parameters.max_bin
        require(all(1 + missing <= bins <= most for bins, missing in pairs), f"a feature has 1 to {most} bins")
        apart = zip(told.categorical, told.missing, told.zero_rest, strict=True)
        require(not any(named and (a or b) for named, a, b in apart), "categories have no bin of missing values apart")
        require(sum(told.bins) <= MAX_CELLS, f"all features together have at most {MAX_CELLS} bins")
        blocks = key.expect_hint(passive.peer, CellLayout(tuple(told.bins)), told.hint)
        await passive.send(HintWanted(blocks > 0))
        for index in range(blocks):
            block = await passive.recv(HintBlock)
            require(block.index == index, f"block {index} of the hint")
            key.accept_hint(passive.peer, block.hint)
        flags = (tuple(one) for one in (told.missing, told.zero_rest, told.categorical))
        layouts.append(FeatureLayout(tuple(told.bins), *flags))
    for passive in passives:
        await passive.checkpoint()
    return layouts


class _Grower:
    """Grows trees with the passive parties: whose sums, whose split, whose record. Owner 0 is the active party."""

    def __init__(
        self,
        passives: Sequence[Channel],
        mine: Columns,
        booster: Booster,
        key: KeyHolder,
        layouts: Sequence[FeatureLayout],
        shown: Shown,
        asked: list[list[list[Place]]],
    ) -> None:
        self.asked = asked
        self.passives, self.mine, self.booster, self.key, self.layouts = passives, mine, booster, key, layouts
        self.parameters, self.parts, self.shown = booster.parameters, booster.parts, shown
        # The training rows alone, in their order: what our own histograms are built from.
        self.codes = mine.codes[self.parts.train].copy(order="F")
        self.g = self.h = np.zeros(0, dtype=np.int64)
        self._drawn = FeatureSampler(self.parameters, [bins for layout in layouts for bins in layout.n_bins])
        self.records: list[SplitRecord] = []
        self.features: list[list[int]] = [[] for _ in layouts]  # of each party's split records so far
        if booster.init is not None:
            self.records = list(booster.init.records)
            self.features = [[one.feature for one in self.records], *map(list, booster.init.passive_features)]
        self._asked = 0  # nodes of the tree whose sums were asked for
        self.suspects: set[int] = set()  # owners whose sums are false: they split nothing until the run ends

    async def grow(self, rng: Randomness) -> tuple[TreeShape, list[Leaf]]:
        """One tree: split the leaf with the greatest gain until none is left or the tree has `num_leaves`."""
        await self._open_tree(rng)
        self._asked = 0
        self.asked.append([])
        starts = np.cumsum([len(layout.n_bins) for layout in self.layouts])[:-1]
        root = self.booster.leaf(self.parts.fit, 0, np.split(self._drawn.draw(), starts))
        [root.sums] = await self._histograms([(root, None)], rng)
        self._search(root)
        leaves = [root]
        while chosen := next_splits(leaves, self.parameters):
            await self._divide(chosen)
            for leaf in chosen:
                leaves[leaves.index(leaf)], right = leaf.children
                leaves.append(right)
            if len(leaves) < self.parameters.num_leaves:
                await self._sum_children([leaf for leaf in chosen if splittable(leaf, self.parameters)], rng)
        return numbered(root)

    async def _open_tree(self, rng: Randomness) -> None:
        """Encrypt the tree's gradients for everybody."""
        self.booster.next_tree()
        now = self.booster.now
        self.g, self.h = now.g[self.parts.train], now.h[self.parts.train]
        g, h = (self.shown.spread(values)[self.shown.train] for values in (now.g, now.h))
        blocks = self.key.open_tree(g, h, rng.child("rows"))
        for passive in self.passives:
            for index, block in enumerate(blocks):
                await passive.send(TreeBlock(index, index + 1 == len(blocks), block))

    async def _sum_children(self, parents: Sequence[Leaf], rng: Randomness) -> None:
        """Have each smaller child summed; its sibling's histogram is the parent's less that."""
        for start in range(0, len(parents), MAX_NODES):
            some = parents[start : start + MAX_NODES]
            smaller = [min(reversed(parent.children), key=lambda leaf: leaf.total.count) for parent in some]
            sums = await self._histograms(list(zip(smaller, some, strict=True)), rng)
            for parent, small, found in zip(some, smaller, sums, strict=True):
                left, right = parent.children
                small.sums = found
                large = left if small is right else right
                large.sums = [whole - part for whole, part in zip(parent.sums, found, strict=True)]
                self._search(left)
                self._search(right)

    def _search(self, leaf: Leaf) -> None:
        """Each party's best split of `leaf`."""
        agreed = self.booster.monotone
        leaf.found = [
            search(
                sums,
                self.layouts[owner],
                leaf.total,
                self.parameters,
                self.booster.now.scale,
                usable=leaf.usable[owner] & (owner not in self.suspects),
                monotone=None if agreed is None else agreed[owner],
                bounds=leaf.bounds,
            )
            for owner, sums in enumerate(leaf.sums)
        ]

    async def _histograms(self, nodes: Sequence[tuple[Leaf, Leaf | None]], rng: Randomness) -> list[list[Int64s]]:
        """Sums by (feature, bin) of every party, own first, of each leaf, given with its parent.

        All parties are asked before any is awaited.
        """
        first, train = self._asked, self.parts.train
        self._asked += len(nodes)
        self.asked[-1].append([place(*node) for node in nodes])
        members = [self.booster.members(leaf) for leaf, _ in nodes]
        # No node has decoys: they count as zeros.
        asked = np.stack([self.shown.spread(rows)[self.shown.train] for rows in members])
        named = [pack_bits(rows) for rows in asked] if self.key.discloses_membership else []
        # One query for all: each block is encrypted once and sent to everybody.
        blocks = self.key.query(asked, rng.child(f"query/{first}"))
        opening = NodeQuery(first, len(nodes), named, next(blocks, b""))
        for message in chain([opening], map(QueryBlock, count(1), blocks)):
            for passive in self.passives:
                await passive.send(message)
        sums = [[build(self.codes, self.mine.layout, self.g, self.h, np.flatnonzero(rows[train]))] for rows in members]
        for passive, layout in zip(self.passives, self.layouts[1:], strict=True):
            answer = await passive.recv(NodeHistograms)
            require(answer.node == first, f"the histograms are of node {first} and those that follow")
            require(len(answer.sums) == len(nodes), f"the histograms are of {len(nodes)} nodes")
            try:
                found = self._opened(passive, answer.sums, layout, nodes, len(sums[0]))
            except BrokenPromise as error:
                passive.suspect(error)
                self.suspects.add(len(sums[0]))
                found = np.zeros((len(nodes), sum(layout.n_bins), 2), np.int64)
            for known, cells in zip(sums, found, strict=True):
                known.append(cells)
        return sums

    def _opened(
        self,
        passive: Channel,
        sums: Sequence[Sealed],
        layout: FeatureLayout,
        nodes: Sequence[tuple[Leaf, Leaf | None]],
        owner: int,
    ) -> Int64s:
        """The cell sums of party number `owner`, int64[nodes, cells, 2]. Raises BrokenPromise for impossible ones."""
        found = self.key.decrypt(passive.peer, sums, CellLayout(layout.n_bins))
        for (leaf, parent), cells in zip(nodes, found, strict=True):
            # The cheapest lie about a histogram is seen here.
            odd = first_unequal(cells, layout, leaf.total.G, leaf.total.H)
            require(odd is None, f"the bins of feature {odd} sum to the node's total")
            # The sibling's sums are a difference: they must be sums of rows too, whose h are never negative.
            most = cells[:, 1] if parent is None else parent.sums[owner][:, 1]
            slack = 2 * self.key.lanes.h_noise * (leaf.depth + 2)  # two draws in every sum up to here
            within = (cells[:, 1] >= -slack) & (cells[:, 1] <= most + slack)
            require(within.all(), "each bin's H is in 0 to that of the parent")
        return found

    async def _divide(self, leaves: Sequence[Leaf]) -> None:
        """Split each leaf by its best split: the owner says who goes left and keeps a record of it."""
        for leaf in leaves:
            assert leaf.best is not None
            leaf.owner, split = leaf.best
            leaf.record = len(self.features[leaf.owner])
            self.features[leaf.owner].append(split.feature)
            if leaf.owner == 0:
                self.records.append(self.mine.record(split))
                self._part(leaf, self.mine.left_codes(self.records[-1]))
        asked = [[leaf for leaf in leaves if leaf.owner == owner] for owner in range(1, len(self.layouts))]
        for passive, its in zip(self.passives, asked, strict=True):
            if its:
                await passive.send(SplitsChosen([self._order(leaf) for leaf in its]))
        for passive, its in zip(self.passives, asked, strict=True):
            if its:
                answer = await passive.recv(SplitRows)
                require(len(answer.left) == len(its), f"the rows of {len(its)} splits")
                for leaf, bits in zip(its, answer.left, strict=True):
                    shown = self._shown_rows(leaf)
                    self._part(leaf, self.shown.own(shown, unpack_bits(bits, int(shown.sum()))))

    def _order(self, leaf: Leaf) -> ChosenSplit:
        assert leaf.best is not None
        _, split = leaf.best
        named = pack_bits(self._shown_rows(leaf)) if self.key.discloses_membership else b""
        return ChosenSplit(split.feature, split.bin, split.default_left, sorted(split.subset), named)

    def _shown_rows(self, leaf: Leaf) -> Mask:
        """The agreed rows that a passive party is to decide."""
        return self.shown.spread(leaf.rows) if self.key.discloses_membership else self.shown.fit

    def _part(self, parent: Leaf, goes_left: Mask) -> None:
        """Give `parent` its children. What the owner said must fit what its histogram said."""
        assert parent.best is not None
        _, split = parent.best
        left, right = self.booster.divide(parent, goes_left)
        # Noise of neighbouring bins cancels: two draws are left at either end, and two of the missing bin. Categories
        # that go left need not be neighbours: then there are two of each.
        lanes, draws = self.key.lanes, max(4, 2 * len(split.subset)) * left.depth
        apart = abs(left.total.G - split.left.G), abs(left.total.H - split.left.H)
        near = apart[0] <= draws * lanes.g_noise and apart[1] <= draws * lanes.h_noise
        require(near, "the rows sent left have the sums of the bins on the left")
        parent.children = (left, right)


async def passive(
    active: Channel,
    names: Sequence[str],
    values: Reals,
    parameters: GBDTParameters,
    min_bin_population: int,
    evaluators: EvaluatorFactory,
    rng: Randomness,
    *,
    hints: Randomness | None = None,
    categorical: Collection[str] = (),
    init: Sequence[SplitRecord] = (),
    every: int = 1,
) -> tuple[Columns, list[SplitRecord]]:
    """Sum, seal and split until the active party closes the last tree. `values`: float64[n, n_features], aligned rows.

    `hints`: what hints are drawn from, where they are to be those of an earlier training. `categorical`: names of the
    features whose values are categories. `init`: own records of the model to go on from. `every`:
    how many trees a round boundary covers at most.
    Returns the binned columns and the own split records, in the order the model numbers them.
    """
    active.enter("bins")
    told = await active.recv(TrainingRows)
    bound = bind(
        told, names, values, parameters, min_bin_population, evaluators, hints or rng.child("hint"), categorical
    )
    parts, evaluator, mine = bound.parts, bound.evaluator, bound.columns
    await active.send(bound.bins)
    wanted = (await active.recv(HintWanted)).wanted
    for index, block in enumerate(bound.hint if wanted else ()):
        await active.send(HintBlock(index, block))
    active.meanwhile(evaluator.idle)
    await active.checkpoint()
    records = list(init)
    trees, uncovered = parameters.num_iterations * parameters.outputs, 0
    for number in range(trees):
        active.enter("train", number)
        closed = await _serve_tree(active, mine, parts, parameters, evaluator, records, rng.child(f"tree/{number}"))
        uncovered += 1
        require(closed.last or number + 1 < trees, f"tree {trees} is the last")
        due = closed.last or uncovered == every
        require(closed.boundary or not due, f"a round boundary comes every {every} trees and after the last")
        if closed.boundary:
            uncovered = 0
            await active.checkpoint()
        if closed.last:
            break
    active.meanwhile(no_work)
    return mine, records


@dataclass(frozen=True, eq=False)
class Bound:
    """A passive party's bins, ready to be summed. `hint`: its blocks, each computed when asked for."""

    parts: Parts
    columns: Columns
    evaluator: Evaluator
    hint: Iterator[bytes]
    bins: FeatureBins


def bind(
    told: TrainingRows,
    names: Sequence[str],
    values: Reals,
    parameters: GBDTParameters,
    min_bin_population: int,
    evaluators: EvaluatorFactory,
    hints: Randomness,
    categorical: Collection[str] = (),
) -> Bound:
    """Bin the columns by the training rows told, and bind them to the key told. Arguments as of `passive`."""
    parts = _checked_parts(told, len(values))
    evaluator = evaluators(told.scheme, told.key, int(parts.train.sum()))
    columns = Columns.fit(names, values, parts.train, parameters, min_bin_population, categorical)
    layout = columns.layout
    hint = evaluator.hint(columns.codes[parts.train], CellLayout(layout.n_bins), hints)
    missing, zero_rest, named = map(list, (layout.missing, layout.modal_first, layout.categorical))
    bins = FeatureBins(list(layout.n_bins), missing, zero_rest, named, evaluator.hint_name)
    return Bound(parts, columns, evaluator, hint, bins)


def _checked_parts(told: TrainingRows, count: int) -> Parts:
    require(told.count == count, f"the rows are the {count} aligned rows")
    parts = Parts(unpack_bits(told.train, count), unpack_bits(told.validation, count))
    require(parts.train.any(), "some rows train")
    require(not (parts.train & parts.validation).any(), "no row both trains and validates")
    return parts


async def _serve_tree(
    active: Channel,
    mine: Columns,
    parts: Parts,
    parameters: GBDTParameters,
    evaluator: Evaluator,
    records: list[SplitRecord],
    rng: Randomness,
) -> TreeClosed:
    """One tree from the passive party's side, and how it ended."""
    await hear_tree(active, evaluator, int(parts.train.sum()))
    asked = chosen = 0
    named = evaluator.discloses_membership
    while True:
        order = await active.recv(NodeQuery, SplitsChosen, TreeClosed)
        match order:
            case NodeQuery():
                require(order.node == asked, f"the sums of node {asked} are asked for next")
                asked += order.count
                require(asked < parameters.num_leaves, "a tree has fewer histograms than leaves")
                await active.send(await answer_query(active, order, int(parts.train.sum()), evaluator, rng))
            case SplitsChosen():
                chosen += len(order.splits)
                require(chosen < parameters.num_leaves, "a tree has fewer splits than leaves")
                left = [decide(split, mine, parts, named, records) for split in order.splits]
                await active.send(SplitRows([pack_bits(rows) for rows in left]))
            case TreeClosed():
                return order
            case _:
                raise BrokenPromise(f"{type(order).__name__} has no place here")


async def answer_query(
    active: Channel, order: NodeQuery, rows: int, evaluator: Evaluator, rng: Randomness
) -> NodeHistograms:
    """The sealed sums of the nodes asked for, over `rows` training rows. `rng`: of the tree."""
    members = None
    if evaluator.discloses_membership:
        require(len(order.rows) == order.count, f"the rows of {order.count} nodes")
        members = np.stack([unpack_bits(bits, rows) for bits in order.rows])
    else:
        require(not order.rows, "a hidden node names no rows")
    blocks = evaluator.open_query(members, order.count)
    require(bool(order.block) == (blocks > 0), "a query brings its first block, if it has any")
    if blocks:
        evaluator.absorb(order.block)
    for index in range(1, blocks):
        block = await active.recv(QueryBlock)
        require(block.index == index, f"block {index} of the query")
        evaluator.absorb(block.rows)
    return NodeHistograms(order.node, evaluator.answer(rng.child(f"seal/{order.node}")))


async def hear_tree(active: Channel, evaluator: Evaluator, rows: int) -> None:
    """Take the encrypted rows of a tree; a scheme that hides membership sends them with each query instead."""
    blocks: list[bytes] = []
    last = not evaluator.discloses_membership
    while not last:
        block = await active.recv(TreeBlock)
        require(block.index == len(blocks) <= (rows - 1) // BLOCK_ROWS, f"{rows} rows come in blocks of {BLOCK_ROWS}")
        blocks.append(block.rows)
        last = block.last
    evaluator.open_tree(blocks)
