"""Boosting: an active party that asks for more than was agreed."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

import numpy as np
import pytest
from clear_scheme import QUERY_BLOCKS

from vfl.bits import pack_bits
from vfl.channel import Channel
from vfl.crypto.scheme import BLOCK_ROWS, CellLayout
from vfl.errors import BrokenPromise, Unexpected
from vfl.protocols.boost import (
    ChosenSplit,
    FeatureBins,
    HintBlock,
    HintWanted,
    NodeHistograms,
    NodeQuery,
    QueryBlock,
    SplitRows,
    SplitsChosen,
    TrainingRows,
    TreeBlock,
    TreeClosed,
)
from vfl.wire import Message

from .boosting import (
    MANY_ROWS,
    Case,
    bank,
    clear,
    credit,
    partner,
    seed,
    train,
)
from .hostile import Role
from .test_boost_hostile import Bent, bent

# An active party that asks for more than was agreed


async def opened(peers: Mapping[str, Channel], case: Case, *, named: bool) -> Channel:
    """Honest up to the first tree's rows."""
    channel = peers["telecom"]
    key = clear(named).holder(case.lanes)
    channel.enter("bins")
    parts = case.parts
    await channel.send(
        TrainingRows(len(parts.train), pack_bits(parts.train), pack_bits(parts.validation), key.name, key.public())
    )
    told = await channel.recv(FeatureBins)
    blocks = key.expect_hint("telecom", CellLayout(tuple(told.bins)))
    await channel.send(HintWanted(blocks > 0))
    for _ in range(blocks):
        key.accept_hint("telecom", (await channel.recv(HintBlock)).hint)
    await channel.checkpoint()
    channel.enter("train", 0)
    rows = int(parts.train.sum())
    for index, block in enumerate(key.open_tree(np.ones(rows, np.int64), np.ones(rows, np.int64), seed(3))):
        await channel.send(TreeBlock(index, True, block))
    return channel


Script = Callable[[Channel, Case], Coroutine[Any, Any, None]]


def rogue(case: Case, script: Script, *, named: bool = True) -> Role:
    """Honest at first, then it goes its own way."""

    async def role(peers: Mapping[str, Channel]) -> None:
        channel = await opened(peers, case, named=named)
        await script(channel, case)
        await channel.recv(TreeClosed)

    return role


def root(case: Case) -> bytes:
    return pack_bits(case.parts.train[case.parts.train])


def split(case: Case, feature: int = 0, bin_: int = 0, rows: bytes | None = None, subset: Any = ()) -> SplitsChosen:
    named = pack_bits(case.parts.fit) if rows is None else rows
    return SplitsChosen([ChosenSplit(feature, bin_, False, list(subset), named)])


async def too_many_nodes(channel: Channel, case: Case) -> None:
    for node in range(case.parameters.num_leaves):
        await channel.send(NodeQuery(node, 1, [root(case)]))
        await channel.recv(NodeHistograms)


async def too_many_splits(channel: Channel, case: Case) -> None:
    for _ in range(case.parameters.num_leaves):
        await channel.send(split(case))
        await channel.recv(SplitRows)


async def the_same_node_again(channel: Channel, case: Case) -> None:
    for _ in range(2):
        await channel.send(NodeQuery(0, 1, [root(case)]))
        await channel.recv(NodeHistograms)


def say(*messages: Callable[[Case], Message]) -> Script:
    async def script(channel: Channel, case: Case) -> None:
        for message in messages:
            await channel.send(message(case))

    return script


def last_but_one(case: Case) -> bytes:
    rows = np.zeros(len(case.parts.train), np.bool_)
    rows[np.flatnonzero(~case.parts.fit)[0]] = True
    return pack_bits(rows)


DEMANDS: dict[str, tuple[Script, str]] = {
    "too many nodes": (too_many_nodes, "a tree has fewer histograms than leaves"),
    "too many splits": (too_many_splits, "a tree has fewer splits than leaves"),
    "a node again": (the_same_node_again, "the sums of node 1 are asked for next"),
    "a node out of order": (say(lambda c: NodeQuery(1, 1, [root(c)])), "the sums of node 0 are asked for next"),
    "a node before the first": (say(lambda c: NodeQuery(-1, 1, [root(c)])), "the sums of node 0 are asked for next"),
    "rows of the whole table": (say(lambda c: NodeQuery(0, 1, [bytes(9)])), "bits take"),
    "rows beyond the last": (say(lambda c: NodeQuery(0, 1, [b"\xff" * len(root(c))])), "padding bits are zero"),
    "a query with a block": (say(lambda c: NodeQuery(0, 1, [root(c)], b"?")), "a query brings its first block"),
    "a block of a query": (say(lambda c: NodeQuery(0, 1, [root(c)]), lambda c: QueryBlock(1, b"?")), "QueryBlock"),
    "a block before its query": (say(lambda c: QueryBlock(0, b"?")), "QueryBlock"),
    "an unknown feature": (say(lambda c: split(c, feature=2)), "the split names one of our features"),
    "a feature below zero": (say(lambda c: split(c, feature=-1)), "the split names one of our features"),
    "an unknown bin": (say(lambda c: split(c, bin_=8)), "the split names one of the feature's bins"),
    "a bin below zero": (say(lambda c: split(c, bin_=-1)), "the split names one of the feature's bins"),
    "the missing bin": (
        say(lambda c: split(c, feature=1, bin_=c.columns(1).layout.n_bins[1] - 1)),
        "the split names one of the feature's bins",
    ),
    "categories of a number": (say(lambda c: split(c, subset=[1])), "a split names categories where there are some"),
    "rows that were held out": (say(lambda c: split(c, rows=last_but_one(c))), "only rows that train or validate"),
    "rows cut short": (say(lambda c: split(c, rows=b"")), "bits take"),
    "another block": (say(lambda c: TreeBlock(1, True, b"")), "TreeBlock"),
    "a tree without end": (say(lambda c: TreeClosed(False, True)), "tree 1 is the last"),
    "no boundary at the end": (say(lambda c: TreeClosed(True, False)), "a round boundary comes every 1 trees and"),
}


@pytest.mark.parametrize("name", DEMANDS)
def test_what_was_not_agreed_on_is_refused(name: str) -> None:
    case = credit(60, (1, 2), aside=0.2, idle=0.2, num_leaves=4, num_iterations=1)
    assert case.columns(1).layout.missing == (False, True)
    script, sentence = DEMANDS[name]
    with pytest.raises((BrokenPromise, Unexpected)) as caught:
        train(case, clear(True), bank=rogue(case, script))
    assert caught.value.peer == "bank"
    assert caught.value.step.startswith("train/0/")
    assert sentence in str(caught.value)


def test_a_boundary_that_is_put_off_is_refused() -> None:
    case = dataclasses.replace(credit(60, (1, 2), num_leaves=4, num_iterations=3), every=2)
    log: list[tuple[str, str]] = []

    def put_off(message: Message) -> Message:
        return TreeClosed(False, False) if isinstance(message, TreeClosed) else message

    with pytest.raises(BrokenPromise, match="a round boundary comes every 2 trees") as caught:
        train(case, clear(True), bank=bent(bank(case, clear(True)), "bank", put_off, log))
    assert caught.value.peer == "bank"
    assert caught.value.step.startswith("train/1/TreeClosed/")


CATEGORIES: dict[str, tuple[list[int], str]] = {
    "none": ([], "a split names categories where there are some"),
    "the bin of all others": ([0, 1], "the split names categories of the feature"),
    "one that there is not": ([1, 99], "the split names categories of the feature"),
    "one below zero": ([-1, 1], "the split names categories of the feature"),
    "one twice": ([1, 1], "categories are named once, in their order"),
    "out of order": ([2, 1], "categories are named once, in their order"),
}


@pytest.mark.parametrize("name", CATEGORIES)
def test_categories_that_cannot_be_chosen(name: str) -> None:
    subset, sentence = CATEGORIES[name]
    plain = credit(60, (1, 2), aside=0.2, idle=0.2, num_leaves=4, num_iterations=1)
    values = plain.values.copy()
    values[:, 1] = np.arange(60) % 4
    case = dataclasses.replace(plain, values=values, categorical=(1,))
    assert case.columns(1).layout.categorical == (True, False)
    with pytest.raises(BrokenPromise) as caught:
        train(case, clear(True), bank=rogue(case, say(lambda c: split(c, subset=subset))))
    assert sentence in str(caught.value)


HIDDEN: dict[str, tuple[Script, str]] = {
    "rows named": (say(lambda c: NodeQuery(0, 1, [root(c)])), "a hidden node names no rows"),
    "rows of a split named": (say(split), "a hidden node names no rows"),
    "no block": (say(lambda c: NodeQuery(0, 1, [])), "a query brings its first block"),
    "a short block": (say(lambda c: NodeQuery(0, 1, [], b"?")), "the rows has 1 bytes"),
    "a block before its query": (say(lambda c: QueryBlock(0, b"")), "QueryBlock"),
    "too many splits": (too_many_splits, "a hidden node names no rows"),
    "rows in blocks": (say(lambda c: TreeBlock(0, True, b"")), "TreeBlock"),
}


@pytest.mark.parametrize("name", HIDDEN)
def test_what_a_scheme_hides_may_not_be_shown(name: str) -> None:
    case = credit(60, (1, 2), aside=0.2, idle=0.2, num_leaves=4, num_iterations=1)
    script, sentence = HIDDEN[name]
    with pytest.raises((BrokenPromise, Unexpected), match=sentence):
        train(case, clear(False), bank=rogue(case, script, named=False))


def blocks_changed(change: Callable[[TreeBlock], TreeBlock]) -> Callable[[Message], Message]:
    return lambda message: change(message) if isinstance(message, TreeBlock) else message


BLOCKS = {
    "too short": (blocks_changed(lambda b: TreeBlock(b.index, b.last, b.rows[:-1])), "the blocks of a tree"),
    "too long": (blocks_changed(lambda b: TreeBlock(b.index, b.last, b.rows + bytes(16))), "the blocks of a tree"),
    "one too few": (blocks_changed(lambda b: TreeBlock(b.index, True, b.rows)), "the blocks of a tree"),
    "without end": (blocks_changed(lambda b: TreeBlock(b.index, False, b.rows)), "NodeQuery"),
    "not in order": (blocks_changed(lambda b: TreeBlock(1 - b.index, b.last, b.rows)), "come in blocks of 4096"),
    "below zero": (blocks_changed(lambda b: TreeBlock(b.index - 1, b.last, b.rows)), "come in blocks of 4096"),
    "the first again": (blocks_changed(lambda b: TreeBlock(0, b.last, b.rows)), "come in blocks of 4096"),
    "out of bounds": (
        blocks_changed(lambda b: TreeBlock(b.index, b.last, b"\xff" * len(b.rows))),
        "outside the bounds",
    ),
}


@pytest.mark.parametrize("name", BLOCKS)
def test_blocks_that_do_not_hold_the_rows_are_refused(name: str) -> None:
    case = credit(BLOCK_ROWS + 60, (1, 2), num_leaves=2, num_iterations=1)
    change, sentence = BLOCKS[name]
    with pytest.raises((BrokenPromise, Unexpected), match=sentence) as caught:
        train(case, clear(True), bank=bent(bank(case, clear(True)), "bank", change, []))
    assert caught.value.peer == "bank"


def test_a_third_block_is_refused() -> None:
    case = credit(60, (1, 2))

    async def script(peers: Mapping[str, Channel]) -> None:
        channel = peers["telecom"]
        change = blocks_changed(lambda b: TreeBlock(b.index, False, b.rows))
        bent_ = Bent(channel, "bank", change, [])
        channel = await opened({"telecom": bent_}, case, named=True)
        await channel.send(TreeBlock(1, True, b""))
        await channel.recv(NodeHistograms)

    with pytest.raises(BrokenPromise, match="60 rows come in blocks of 4096"):
        train(case, clear(True), bank=script)


def query_changed(change: Callable[[QueryBlock], QueryBlock]) -> Callable[[Message], Message]:
    """The same done to every block of a query, the first of which comes with the query itself."""

    def changed(message: Message) -> Message:
        if isinstance(message, NodeQuery):
            block = change(QueryBlock(0, message.block)).rows
            return NodeQuery(message.node, message.count, message.rows, block)
        return change(message) if isinstance(message, QueryBlock) else message

    return changed


QUERIES: dict[str, tuple[Callable[[QueryBlock], QueryBlock], str]] = {
    "not in order": (lambda b: QueryBlock(b.index + 1, b.rows), "block 1 of the query"),
    "below zero": (lambda b: QueryBlock(b.index - 2, b.rows), "block 1 of the query"),
    "the first again": (lambda b: QueryBlock(0, b.rows), "block 1 of the query"),
    "too short": (lambda b: QueryBlock(b.index, b.rows[:-1]), "were due|are due"),
    "too long": (lambda b: QueryBlock(b.index, b.rows + b"?"), "were due|are due"),
    "a row less": (lambda b: QueryBlock(b.index, b.rows[:-28]), "were due|are due"),
    "a row more": (lambda b: QueryBlock(b.index, b.rows + bytes(28)), "were due|are due"),
    "empty": (lambda b: QueryBlock(b.index, b""), "were due|are due|brings its first block"),
    "last too short": (lambda b: QueryBlock(b.index, b.rows[: len(b.rows) - 28 * b.index]), "were due|are due"),
    # 108 bits in 14 bytes leave 4 bits that must be zero.
    "no canonical elements": (
        lambda b: QueryBlock(b.index, b"\xff" * len(b.rows)),
        "outside the bounds|encrypted rows are due",
    ),
    "one element not canonical": (
        lambda b: QueryBlock(b.index, b.rows[:-1] + b"\xff"),
        "outside the bounds|encrypted rows are due",
    ),
}


@pytest.mark.parametrize("real", [False, True], ids=["clear", "lattice"])
@pytest.mark.parametrize("name", QUERIES)
def test_queries_that_do_not_hold_the_rows_are_refused(name: str, real: bool) -> None:
    case, scheme = MANY_ROWS if real else (credit(60, (1, 2)), clear(False))
    change, sentence = QUERIES[name]
    log: list[tuple[str, str]] = []
    liar = bent(bank(case, scheme), "bank", query_changed(change), log)
    honest = bent(partner(case, 1, scheme), "telecom", lambda message: message, log)
    with pytest.raises(BrokenPromise, match=sentence) as caught:
        train(case, scheme, bank=liar, telecom=honest)
    assert caught.value.peer == "bank"
    assert caught.value.step.startswith(("train/0/QueryBlock/bank>telecom/", "train/0/NodeQuery/bank>telecom/"))
    assert "NodeHistograms" not in [what for _, what in log], "nothing of a refused query is answered"


def test_a_query_of_more_blocks_than_the_rows_take_is_refused() -> None:
    class Talkative(Bent):
        async def send(self, message: Message) -> None:
            await super().send(message)
            if isinstance(message, QueryBlock) and message.index == QUERY_BLOCKS - 1:
                await super().send(QueryBlock(QUERY_BLOCKS, b"?"))

    case, scheme = credit(60, (1, 2)), clear(False)

    def liar(peers: Mapping[str, Channel]) -> Coroutine[int, None, Any]:
        return bank(case, scheme)({"telecom": Talkative(peers["telecom"], "bank", lambda message: message, [])})

    with pytest.raises(Unexpected, match="QueryBlock") as caught:
        train(case, scheme, bank=liar)
    assert caught.value.peer == "bank"


ROWS: dict[str, tuple[dict[str, Any], str]] = {
    "another table": ({"count": 61}, "the rows are the 60 aligned rows"),
    "no training": ({"train": bytes(8)}, "some rows train"),
    "both at once": ({"validation": None}, "no row both trains and validates"),
    "cut short": ({"train": b"\xff"}, "60 bits take 8 bytes"),
    "padding": ({"train": b"\xff" * 8}, "padding bits are zero"),
    "another scheme": ({"scheme": "rot13"}, "another scheme was agreed on"),
    "no key": ({"key": b""}, "no key"),
}


@pytest.mark.parametrize("name", ROWS)
def test_rows_and_keys_that_cannot_be_are_refused(name: str) -> None:
    changes, sentence = ROWS[name]
    case = credit(60, (1, 2), aside=0.2)

    def lie(message: Message) -> Message:
        if not isinstance(message, TrainingRows):
            return message
        fields = {field: getattr(message, field) for field in message.__struct_fields__} | changes
        return TrainingRows(**{key: message.train if value is None else value for key, value in fields.items()})

    with pytest.raises(BrokenPromise, match=sentence) as caught:
        train(case, clear(True), bank=bent(bank(case, clear(True)), "bank", lie, []))
    assert (caught.value.peer, caught.value.step) == ("bank", "bins/0/TrainingRows/bank>telecom/0")
