"""Boosting between parties: the trees of the pooled columns, and no peer that can bend or break it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

import numpy as np
import pytest
from clear_scheme import NONCE, QUERY_BLOCKS, change_sums, read_sums
from hypothesis import given, settings
from hypothesis import strategies as st

from vfl.bits import pack_bits, unpack_bits
from vfl.channel import Channel
from vfl.crypto import ring
from vfl.crypto.fixed_base import big, from_bytes, inverse
from vfl.crypto.lattice import QUERY_VECTORS, VALUES
from vfl.crypto.paillier import PaillierKeyHolder
from vfl.crypto.paillier_cells import cell_sums, pack_cells
from vfl.crypto.scheme import BLOCK_ROWS, CellLayout, Sealed
from vfl.errors import BrokenPromise, Malformed, ProtocolError, Unexpected
from vfl.learn.ensemble import Parts
from vfl.learn.objective import fixed_gradients
from vfl.learn.parameters import GBDTParameters
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
from vfl.wire import Message, unpack

from .boosting import (
    Case,
    assert_same_model,
    bank,
    cases,
    cast,
    clear,
    credit,
    lattice,
    paillier,
    partner,
    pooled_mappers,
    reference,
    seed,
    share_of,
    train,
)
from .hostile import Role, Tape, assert_harmless, damage, play

SMALL = credit(24, (1, 2), aside=0.2, num_leaves=3, max_bin=4)


def many_cells() -> Case:
    """Every value of three features in a bin of its own: a hint of two blocks in the lattice scheme."""
    case = credit(250, (1, 3), num_leaves=3, max_bin=255, min_data_in_bin=1, num_iterations=1)
    return dataclasses.replace(case, values=np.random.default_rng(5).normal(size=case.values.shape))


# Real encryption with a hint, or a query, of several blocks.
MANY_CELLS = lattice(many_cells())
MANY_ROWS = lattice(credit(QUERY_VECTORS // VALUES * ring.N + 60, (1, 1), num_leaves=2, max_bin=4, num_iterations=1))
FLAVOURS = pytest.mark.parametrize("named", [True, False], ids=["named", "hidden"])


# The trees of the pooled columns


@settings(deadline=None, max_examples=300)
@given(cases(), st.booleans())
def test_trees_of_the_pooled_columns(case: Case, named: bool) -> None:
    tapes = train(case, clear(named))
    assert_same_model(case, tapes["bank"].result, share_of(tapes, case), reference(case))


@settings(deadline=None, max_examples=150)
@given(cases(watched=True), st.booleans())
def test_early_stopping_where_the_pooled_columns_stop(case: Case, named: bool) -> None:
    tapes = train(case, clear(named))
    assert_same_model(case, tapes["bank"].result, share_of(tapes, case), reference(case))


@pytest.mark.slow
@settings(deadline=None, max_examples=5000)
@given(st.one_of(cases(), cases(watched=True)), st.booleans())
def test_trees_of_the_pooled_columns_on_many_more(case: Case, named: bool) -> None:
    tapes = train(case, clear(named))
    assert_same_model(case, tapes["bank"].result, share_of(tapes, case), reference(case))


def test_everybody_has_a_part_in_the_model() -> None:
    """Guards the properties above against data in which nobody splits."""
    case = credit(300, (2, 2, 2, 2), num_leaves=8, num_iterations=3)
    tapes = train(case, clear(True))
    assert {owner for tree in tapes["bank"].result.trees for owner in tree.owner.tolist()} == {0, 1, 2, 3}
    assert_same_model(case, tapes["bank"].result, share_of(tapes, case), reference(case))


def test_equal_splits_go_to_the_party_named_first() -> None:
    values = np.repeat(np.arange(40.0)[:, None] % 8, 3, axis=1)
    labels = (values[:, 0] > 3).astype(np.int8)
    parts = Parts(np.ones(40, np.bool_), np.zeros(40, np.bool_))
    case = Case(values, (1, 1, 1), labels, parts, credit().parameters)
    tapes = train(case, clear(True))
    assert [tree.owner.tolist()[0] for tree in tapes["bank"].result.trees] == [0, 0]
    noise = np.zeros(40)
    behind = Case(np.column_stack([noise, values[:, :2]]), (1, 1, 1), labels, parts, case.parameters)
    tapes = train(behind, clear(True))
    assert [tree.owner.tolist()[0] for tree in tapes["bank"].result.trees] == [1, 1]


def test_equal_splits_of_two_leaves_go_to_the_lower_leaf() -> None:
    """Two halves that mirror each other: every g of one is the negative of one of the other."""
    side = np.repeat([0.0, 1.0], 40)
    detail = np.tile(np.repeat(np.arange(4.0), 10), 2)
    bad = [0, 0, 1, 5, 5, 9, 10, 10]  # of ten in each group
    labels = np.concatenate([np.arange(10) < count for count in bad]).astype(np.int8)
    parts = Parts(np.ones(80, np.bool_), np.zeros(80, np.bool_))
    options = dataclasses.replace(credit().parameters, num_leaves=3, num_iterations=1, boost_from_average=False)
    case = Case(np.column_stack([side, detail]), (1, 1), labels, parts, options)
    tapes = train(case, clear(True))
    (tree,) = tapes["bank"].result.trees
    assert tree.owner.tolist() == [0, 1]
    assert tree.left.tolist()[0] == 1, "the second node hangs on the left"
    assert_same_model(case, tapes["bank"].result, share_of(tapes, case), reference(case))


def test_leaves_are_split_down_to_the_fewest_rows_allowed() -> None:
    case = credit(16, (1, 2), num_leaves=8, min_data_in_leaf=3, max_bin=255, min_data_in_bin=1, num_iterations=1)
    tapes = train(case, clear(True))
    assert_same_model(case, tapes["bank"].result, share_of(tapes, case), reference(case))


@pytest.mark.parametrize("number", [0, 4, 5, 7])
def test_rows_of_the_first_bin_are_estimated_as_in_the_pooled_columns(number: int) -> None:
    """Small leaves and missing values in integer columns, where `zero_rest` decides whether a split is allowed."""
    rng = np.random.default_rng(number)
    values = rng.integers(0, 6, (300, 6)).astype(float)
    values[rng.random(values.shape) < 0.15] = np.nan
    values[:, 3:] *= values[:, 3:] > 3
    risk = 1 / (1 + np.exp(1.0 - np.nansum(values[:, :2], axis=1) / 3))
    labels = (rng.random(300) < risk).astype(np.int8)
    parts = Parts(np.ones(300, np.bool_), np.zeros(300, np.bool_))
    parameters = GBDTParameters(num_iterations=4, learning_rate=0.3, min_data_in_leaf=20)
    case = Case(values, (2, 4), labels, parts, parameters)
    tapes = train(case, clear(True))
    assert_same_model(case, tapes["bank"].result, share_of(tapes, case), reference(case))


def test_bins_joined_for_privacy() -> None:
    case = dataclasses.replace(credit(200, (2, 2, 1), max_bin=64), least=20)
    sizes = [
        mapper.population(mapper.transform(c)) for mapper, c in zip(pooled_mappers(case), case.values.T, strict=True)
    ]
    assert all(size.min() >= 20 for size in sizes)
    tapes = train(case, clear(True))
    assert_same_model(case, tapes["bank"].result, share_of(tapes, case), reference(case))


@FLAVOURS
def test_a_split_that_leaves_one_child_without_training_rows_is_grown_all_the_same(named: bool) -> None:
    """With `min_sum_hessian_in_leaf` 0, rounding can make such a split the best one, as it can in LightGBM."""
    case = credit(
        80, (1, 2), num_iterations=6, num_leaves=10, min_data_in_leaf=1, min_sum_hessian_in_leaf=0.0,
        learning_rate=2.0, gradient_bits=8,
    )  # fmt: skip
    tapes = train(case, clear(named))
    if named:
        some = [any(rows) for query in heard(tapes["telecom"], NodeQuery) for rows in query.rows]
    else:
        blocks = [np.frombuffer(block.rows[NONCE:], "<i8").any() for block in heard(tapes["telecom"], QueryBlock)]
        some = np.reshape(blocks, (-1, QUERY_BLOCKS)).any(axis=1).tolist()
    assert any(some)
    assert not all(some)
    assert_same_model(case, tapes["bank"].result, share_of(tapes, case), reference(case))


@pytest.mark.parametrize("owned", [(1, 2), (2, 1, 1)])
def test_encryption_changes_nothing(owned: tuple[int, ...]) -> None:
    case = credit(40, owned, aside=0.25, num_iterations=3, early_stopping_round=2)
    tapes = train(case, paillier(512))
    assert_same_model(case, tapes["bank"].result, share_of(tapes, case), reference(case))


@settings(deadline=None, max_examples=40)
@given(st.one_of(cases(), cases(watched=True)))
def test_encryption_that_hides_rows_changes_nothing(drawn: Case) -> None:
    case, scheme = lattice(drawn)
    tapes, plain = train(case, scheme), train(case, clear(False))
    assert_same_model(case, tapes["bank"].result, share_of(tapes, case), reference(case))
    assert share_of(tapes, case) == share_of(plain, case)


@pytest.mark.slow
@settings(deadline=None, max_examples=1000)
@given(st.one_of(cases(), cases(watched=True)))
def test_encryption_that_hides_rows_changes_nothing_on_many_more(drawn: Case) -> None:
    case, scheme = lattice(drawn)
    tapes = train(case, scheme)
    assert_same_model(case, tapes["bank"].result, share_of(tapes, case), reference(case))


@pytest.mark.parametrize("which", ["cells", "rows"])
def test_encryption_that_hides_rows_changes_nothing_over_several_blocks(which: str) -> None:
    case, scheme = MANY_CELLS if which == "cells" else MANY_ROWS
    tapes = train(case, scheme)
    hints, queries = len(heard(tapes["bank"], HintBlock)), len(heard(tapes["telecom"], NodeQuery))
    blocks = len(heard(tapes["telecom"], QueryBlock))
    assert (hints, blocks) == ((2, queries) if which == "cells" else (1, 2 * queries))
    assert_same_model(case, tapes["bank"].result, share_of(tapes, case), reference(case))


def test_encryption_with_a_full_key_changes_nothing() -> None:
    case = credit(40, (1, 2), num_iterations=2)
    tapes, plain = train(case, paillier(2048)), train(case, clear(True))
    assert_same_model(case, tapes["bank"].result, share_of(tapes, case), reference(case))
    assert share_of(tapes, case) == share_of(plain, case)


def test_cost_is_as_written() -> None:
    case = credit(BLOCK_ROWS + 60, (1, 2), num_leaves=6)
    named = train(case, clear(True))["telecom"]
    told = [said.slot.split("/")[2] for _, said in named.messages()]
    trees = told.count("TreeClosed")
    assert trees == 2
    assert told.count("TreeBlock") == 2 * trees
    assert told.count("NodeQuery") == 5 * trees
    asked = [unpack_bits(rows, BLOCK_ROWS + 60).sum() for query in heard(named, NodeQuery) for rows in query.rows]
    assert all(rows <= (BLOCK_ROWS + 60) / 2 for rows in asked if rows != BLOCK_ROWS + 60), (
        "the smaller child is summed"
    )
    assert min(asked) > 0
    hidden = [said.slot.split("/")[2] for _, said in train(case, clear(False))["telecom"].messages()]
    assert [kind for kind in hidden if kind != "QueryBlock"] == [kind for kind in told if kind != "TreeBlock"]
    asked_at = [place for place, kind in enumerate(hidden) if kind == "NodeQuery"]
    assert all(hidden[at + 1 : at + 1 + QUERY_BLOCKS] == ["QueryBlock"] * QUERY_BLOCKS for at in asked_at)
    assert hidden.count("QueryBlock") == QUERY_BLOCKS * len(asked_at)


@FLAVOURS
def test_a_level_is_asked_for_at_once_where_no_leaf_can_crowd_out_another(named: bool) -> None:
    """The trees are those of the pooled columns either way; a tree of a limited depth takes a few messages only."""
    options = {"max_depth": 4, "min_data_in_leaf": 1, "num_iterations": 3}
    whole, tight = (credit(400, (2, 2), num_leaves=leaves, **options) for leaves in (16, 15))
    for case, together in ((whole, True), (tight, False)):
        tapes = train(case, clear(named))
        assert_same_model(case, tapes["bank"].result, share_of(tapes, case), reference(case))
        counts = [query.count for query in heard(tapes["telecom"], NodeQuery)]
        splits = [len(message.splits) for message in heard(tapes["telecom"], SplitsChosen)]
        trees = len(tapes["bank"].result.trees)
        assert (max(counts), len(counts)) == ((4, 4 * trees) if together else (1, sum(counts)))
        assert (max(splits) > 1) == together


def test_a_query_is_encrypted_once_for_all_partners() -> None:
    case = credit(60, (1, 2, 1))
    tapes = train(case, clear(False))
    asked = [heard(tapes[name], QueryBlock) for name in case.partners]
    assert asked[0] == asked[1]
    assert len({block.rows for block in asked[0]}) == len(asked[0])


def test_the_cost_of_a_hidden_query_is_as_written() -> None:
    """28 bytes a row, whoever is in the node, and 28 bytes a cell back; 32 KB a cell once."""
    case, scheme = lattice(credit(5000, (1, 2), num_leaves=6))
    tapes = train(case, scheme)
    (bins,) = heard(tapes["bank"], FeatureBins)
    assert sum(len(block.hint) for block in heard(tapes["bank"], HintBlock)) == 32768 * sum(bins.bins)
    assert {len(one) for answer in heard(tapes["bank"], NodeHistograms) for one in answer.sums} == {28 * sum(bins.bins)}
    assert {len(block.rows) for block in heard(tapes["telecom"], QueryBlock)} == {28 * (5000 + ring.N)}
    assert not any(query.rows for query in heard(tapes["telecom"], NodeQuery))
    assert not heard(tapes["telecom"], TreeBlock)


# Ciphertexts


def test_no_ciphertext_is_bare_repeated_or_of_another_width() -> None:
    case = credit(50, (1, 2, 1), num_iterations=3)
    tapes = train(case, paillier(512))
    n = PaillierKeyHolder(case.lanes, b"run", seed(9), bits=512, small_keys_for_tests=True).key.public.n
    # The rows of a tree are the same for all partners: they count once.
    blobs = [m.rows for m in heard(tapes["telecom"], TreeBlock)]
    blobs += [one for m in heard(tapes["bank"], NodeHistograms) for one in m.sums]
    found = [int.from_bytes(blob[i : i + 128], "big") for blob in blobs for i in range(0, len(blob), 128)]
    assert len(found) > 3 * 50 + 10
    assert sum(len(blob) for blob in blobs) == 128 * len(found)
    assert len(set(found)) == len(found)
    assert all(0 < c < n * n and c % n != 1 for c in found)


def test_no_answer_is_the_product_that_its_reader_can_compute() -> None:
    case = credit(50, (1, 2), num_iterations=3)
    tapes = train(case, paillier(512))
    public = PaillierKeyHolder(case.lanes, b"run", seed(9), bits=512, small_keys_for_tests=True).key.public
    columns = tapes["telecom"].result[0]
    layout = CellLayout(columns.layout.n_bins)
    rows: list[int] = []
    queries: list[list[int]] = []
    for _, said in tapes["telecom"].messages():
        if "/TreeBlock/" in said.slot:
            block = unpack(TreeBlock, said.body).rows
            rows = [from_bytes(block[i : i + 128]) for i in range(0, len(block), 128)]
        elif "/NodeQuery/" in said.slot:
            [named] = unpack(NodeQuery, said.body).rows
            member = unpack_bits(named, 50)
            bare = pack_cells(cell_sums(rows, columns.codes, layout, member, big(public.n_squared)), public, case.lanes)
            queries.append(bare)
    answers = [one for m in heard(tapes["bank"], NodeHistograms) for one in m.sums]
    assert len(answers) == len(queries) > 3
    randomisers = []
    for answer, bare in zip(answers, queries, strict=True):
        sealed = [from_bytes(answer[i : i + 128]) for i in range(0, len(answer), 128)]
        pairs = zip(sealed, bare, strict=True)
        randomisers += [int(one * inverse(other, big(public.n_squared)) % public.n_squared) for one, other in pairs]
    assert len(set(randomisers)) == len(randomisers) > len(answers)
    assert 1 not in randomisers


def heard(tape: Tape, kind: type[Any]) -> list[Any]:
    """Every message of a kind that a party was told."""
    return [unpack(kind, said.body) for _, said in tape.messages() if f"/{kind.__name__}/" in said.slot]


# A partner that lies


class Bent:
    """A channel whose messages are changed on their way out; `log` has every message that left, by who sent it."""

    def __init__(self, channel: Channel, me: str, change: Callable[[Message], Message], log: list[tuple[str, str]]):
        self.channel, self.me, self.change, self.log = channel, me, change, log
        self.peer = channel.peer

    def enter(self, phase: str, round: int = 0) -> None:
        self.channel.enter(phase, round)

    async def send(self, message: Message) -> None:
        changed = self.change(message)
        self.log.append((self.me, "a lie" if changed != message else type(message).__name__))
        await self.channel.send(changed)

    async def recv(self, *kinds: type[Any]) -> Any:
        return await self.channel.recv(*kinds)

    async def checkpoint(self) -> None:
        await self.channel.checkpoint()

    def meanwhile(self, work: Callable[[], bool]) -> None:
        self.channel.meanwhile(work)


def bent(role: Role, me: str, change: Callable[[Message], Message], log: list[tuple[str, str]]) -> Role:
    return lambda peers: role({name: Bent(channel, me, change, log) for name, channel in peers.items()})


def caught_lying(case: Case, change: Callable[[Message], Message], *, named: bool) -> tuple[ProtocolError, list[str]]:
    """The error that the bank ends in when the telecom changes its messages, and what the bank said after the lie."""
    log: list[tuple[str, str]] = []
    scheme = clear(named)
    liar = bent(partner(case, 1, scheme), "telecom", change, log)
    honest = bent(bank(case, scheme), "bank", lambda message: message, log)
    with pytest.raises(ProtocolError) as caught:
        train(case, scheme, bank=honest, telecom=liar)
    last = max(place for place, (_, what) in enumerate(log) if what == "a lie")
    return caught.value, [what for who, what in log[last:] if who == "bank"]


def of_sums(change: Callable[[np.ndarray], np.ndarray], from_node: int = 0) -> Callable[[Message], Message]:
    """A lie about the sums of every node from one on."""

    def lie(message: Message) -> Message:
        if not isinstance(message, NodeHistograms) or message.node < from_node:
            return message
        return NodeHistograms(message.node, [change_sums(one, change(read_sums(one))) for one in message.sums])

    return lie


def replayed() -> Callable[[Message], Message]:
    """The first histogram of all, again and again."""
    first: list[Sealed] = []

    def lie(message: Message) -> Message:
        if not isinstance(message, NodeHistograms):
            return message
        first.extend(message.sums)
        return NodeHistograms(message.node, [first[0]] * len(message.sums))

    return lie


def added(cells: np.ndarray, *changes: tuple[int, int, int]) -> np.ndarray:
    """Cells with something added: (cell, column, amount)."""
    for cell, which, amount in changes:
        cells[cell, which] += amount
    return cells


def drawn(cells: np.ndarray) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 1000, cells.shape)


CLOSURE = "the bins of feature 0 sum to the node's total"
RANGE = "each bin's H is in 0 to that of the parent"
# The first feature of the telecom has no fewer than two cells in this case.
LIES: dict[str, tuple[Callable[[Message], Message], str]] = {
    "shuffled": (of_sums(lambda cells: np.roll(cells, 1, axis=0)), "sum to the node's total"),
    "doubled": (of_sums(lambda cells: 2 * cells), CLOSURE),
    "halved": (of_sums(lambda cells: cells // 2), CLOSURE),
    "negated": (of_sums(lambda cells: cells * [-1, 1]), CLOSURE),
    "zero": (of_sums(np.zeros_like), CLOSURE),
    "drawn": (of_sums(drawn), CLOSURE),
    "replayed": (replayed(), CLOSURE),
    "one G off by one": (of_sums(lambda cells: added(cells, (0, 0, 1))), CLOSURE),
    "one H off by one": (of_sums(lambda cells: added(cells, (0, 1, 1))), CLOSURE),
    "last feature only": (of_sums(lambda cells: added(cells, (-1, 0, 1))), "the bins of feature 1 sum to"),
    "child only": (of_sums(lambda cells: added(cells, (0, 0, 1)), 1), CLOSURE),
    "H below zero": (of_sums(lambda cells: added(cells, (0, 1, 1 - cells[0, 1] - 2), (1, 1, cells[0, 1] + 1))), RANGE),
    "beyond the bounds": (of_sums(lambda cells: cells + 2**62), "no rows within the bounds"),
}


LATER = ("replayed", "child only")  # true of the first node


@FLAVOURS
@pytest.mark.parametrize("name", LIES)
def test_false_sums_are_caught_before_they_are_used(name: str, named: bool) -> None:
    case = credit(60, (1, 2, 1), num_leaves=6, boost_from_average=False)
    lie, sentence = LIES[name]
    error, then = caught_lying(case, lie if name != "replayed" else replayed(), named=named)
    assert isinstance(error, BrokenPromise)
    assert error.peer == "telecom"
    first = f"train/0/NodeHistograms/telecom>bank/{1 if named else 3}"  # bins and hint came before
    assert (error.step == first) == (name not in LATER)
    assert "/NodeHistograms/telecom>bank/" in error.step
    assert sentence in str(error)
    assert then == []


def test_a_child_that_outweighs_its_parent_is_caught() -> None:
    """Its sibling's sums, the difference, would belong to no rows at all."""
    case = credit(60, (1, 2), num_leaves=6)

    def moved(cells: np.ndarray) -> np.ndarray:
        first = pooled_mappers(case)[1].n_bins
        weight = cells[:first, 1].sum()
        cells[:first, 1] = 0
        cells[0, 1] = weight
        return cells

    error, then = caught_lying(case, of_sums(moved, from_node=1), named=True)
    assert RANGE in str(error)
    assert error.peer == "telecom"
    assert then == []


def test_the_partner_that_lied_is_named_not_the_last_one_heard() -> None:
    case = credit(60, (1, 2, 1, 1), num_leaves=6)
    for party, name in enumerate(case.partners, 1):
        liar = bent(partner(case, party, clear(True)), name, LIES["one G off by one"][0], [])
        with pytest.raises(BrokenPromise, match=rf"^{name} at train/0/NodeHistograms/{name}>bank/1: not so"):
            train(case, clear(True), **{name: liar})


def test_sums_of_another_node_are_refused() -> None:
    def lie(message: Message) -> Message:
        return NodeHistograms(message.node + 1, message.sums) if isinstance(message, NodeHistograms) else message

    error, then = caught_lying(credit(), lie, named=True)
    assert "the histograms are of node 0" in str(error)
    assert then == []


@FLAVOURS
def test_sums_moved_between_bins_are_caught_by_the_split_they_win(named: bool) -> None:
    case = credit(60, (1, 2), num_leaves=6)

    def tempting(cells: np.ndarray) -> np.ndarray:
        return added(cells, (0, 0, 10 * case.parameters.scale), (1, 0, -10 * case.parameters.scale))

    error, then = caught_lying(case, of_sums(tempting), named=named)
    assert isinstance(error, BrokenPromise)
    assert "the rows sent left have the sums of the bins on the left" in str(error)
    assert "/SplitRows/telecom>bank/" in error.step
    assert then == ["SplitsChosen"]


@FLAVOURS
@settings(deadline=None, max_examples=40)
@given(data=st.data())
def test_a_false_split_is_caught_whenever_its_sums_are_false(named: bool, data: st.DataObject) -> None:
    # All |g| and all h are equal here, so that many lies have the true G and another H.
    case = credit(60, (1, 2), num_leaves=3, num_iterations=1, boost_from_average=False)
    g, h = fixed_gradients(np.zeros(60), case.labels, case.parameters.gradient_bits)
    flipped = np.zeros(60, np.bool_)
    flipped[data.draw(st.lists(st.integers(0, 59), min_size=1, max_size=60, unique=True))] = True
    seen: list[bool] = []

    def lie(message: Message) -> Message:
        if not isinstance(message, SplitRows) or seen:
            return message
        left = unpack_bits(message.left[0], 60)
        other = left ^ flipped
        seen.append(bool((g[left].sum(), h[left].sum()) != (g[other].sum(), h[other].sum())))
        return SplitRows([pack_bits(other)])

    liar = bent(partner(case, 1, clear(named)), "telecom", lie, [])
    try:
        train(case, clear(named), telecom=liar)
        caught = ""
    except BrokenPromise as error:
        caught = str(error)
    assert len(seen) == 1
    assert seen[0] == ("the rows sent left have the sums of the bins on the left" in caught)


def test_a_false_split_with_the_true_sum_of_g_is_caught_by_that_of_h() -> None:
    case = credit(60, (1, 2), num_leaves=3, num_iterations=1, boost_from_average=False)

    def lie(message: Message) -> Message:
        if not isinstance(message, SplitRows):
            return message
        left = unpack_bits(message.left[0], 60)
        one_of_each = [np.flatnonzero(~left & (case.labels == label))[0] for label in (0, 1)]
        left[one_of_each] = True
        return SplitRows([pack_bits(left)])

    error, then = caught_lying(case, lie, named=True)
    assert "the rows sent left have the sums of the bins on the left" in str(error)
    assert then == []


def test_the_opposite_of_every_answer_is_caught() -> None:
    def lie(message: Message) -> Message:
        if not isinstance(message, SplitRows):
            return message
        return SplitRows([pack_bits(~unpack_bits(bits, 60)) for bits in message.left])

    error, then = caught_lying(credit(60, (1, 2), num_leaves=3), lie, named=False)
    assert "the rows sent left" in str(error)
    assert then == []


BINS: dict[str, tuple[dict[str, Any], str]] = {
    "another feature": ({"bins": [4, 4, 4], "missing": [False] * 3, "zero_rest": [False] * 3}, "the 2 features agreed"),
    "a feature less": ({"bins": [4], "missing": [False], "zero_rest": [False]}, "the 2 features agreed"),
    "no feature": ({"bins": [], "missing": [], "zero_rest": []}, "the 2 features agreed"),
    "flags cut short": ({"missing": [False]}, "the 2 features agreed"),
    "no bins": ({"bins": [4, 0]}, "a feature has 1 to 8 bins"),
    "fewer than none": ({"bins": [4, -1]}, "a feature has 1 to 8 bins"),
    "missing bin alone": ({"bins": [1, 1], "missing": [True, False]}, "a feature has 1 to 8 bins"),
    "more than agreed": ({"bins": [4, 9]}, "a feature has 1 to 8 bins"),
    "far more": ({"bins": [4, 2**40]}, "a feature has 1 to 8 bins"),
}


@pytest.mark.parametrize("name", BINS)
def test_bins_that_were_not_agreed_on_are_refused(name: str) -> None:
    changes, sentence = BINS[name]

    def lie(message: Message) -> Message:
        if not isinstance(message, FeatureBins):
            return message
        fields = {name: getattr(message, name) for name in message.__struct_fields__}
        return FeatureBins(**(fields | changes))

    error, then = caught_lying(credit(60, (1, 2)), lie, named=True)
    assert isinstance(error, BrokenPromise)
    assert error.peer == "telecom"
    assert sentence in str(error)
    assert then == []


@FLAVOURS
def test_a_hint_that_no_layout_has_is_refused(named: bool) -> None:
    """More blocks than are due stand where the checkpoint is due."""

    class Talkative(Bent):
        async def send(self, message: Message) -> None:
            await super().send(message)
            if isinstance(message, HintBlock if not named else FeatureBins) and (named or message.index == 1):
                await super().send(HintBlock(0 if named else 2, b"?"))

    case, scheme = credit(60, (1, 2)), clear(named)

    def liar(peers: Mapping[str, Channel]) -> Coroutine[int, None, Any]:
        return partner(case, 1, scheme)({"bank": Talkative(peers["bank"], "telecom", lambda message: message, [])})

    with pytest.raises(Unexpected) as caught:
        train(case, scheme, telecom=liar)
    assert (caught.value.peer, caught.value.step) == ("telecom", "bins/0/checkpoint")


HINTS: dict[str, tuple[Callable[[HintBlock], HintBlock], str]] = {
    "not in order": (lambda b: HintBlock(1 - b.index, b.hint), "block 0 of the hint"),
    "below zero": (lambda b: HintBlock(b.index - 1, b.hint), "block 0 of the hint"),
    "the first again": (lambda b: HintBlock(0, b.hint), "block 1 of the hint"),
    "too short": (lambda b: HintBlock(b.index, b.hint[:-1]), "a hint"),
    "too long": (lambda b: HintBlock(b.index, b.hint + b"?"), "a hint"),
    "empty": (lambda b: HintBlock(b.index, b""), "a hint"),
    "last too short": (lambda b: HintBlock(b.index, b.hint[: len(b.hint) - b.index]), "a hint"),
}


@pytest.mark.parametrize("real", [False, True], ids=["clear", "lattice"])
@pytest.mark.parametrize("name", HINTS)
def test_hints_that_do_not_fit_the_bins_are_refused(name: str, real: bool) -> None:
    case, scheme = MANY_CELLS if real else (credit(60, (1, 2)), clear(False))
    change, sentence = HINTS[name]
    log: list[tuple[str, str]] = []
    liar = bent(partner(case, 1, scheme), "telecom", lambda m: change(m) if isinstance(m, HintBlock) else m, log)
    honest = bent(bank(case, scheme), "bank", lambda message: message, log)
    with pytest.raises(BrokenPromise, match=sentence) as caught:
        train(case, scheme, telecom=liar, bank=honest)
    assert caught.value.peer == "telecom"
    assert [what for who, what in log if who == "bank"] == ["TrainingRows", "HintWanted"]


def test_more_cells_than_were_agreed_on_are_refused() -> None:
    """The flood of the answers is computed for so many."""
    case, scheme = lattice(credit(60, (1, 1), num_leaves=2, max_bin=4))
    # The bank takes more bins, so that the scheme is the one to refuse them.
    lax = dataclasses.replace(case, parameters=dataclasses.replace(case.parameters, max_bin=8))

    def lie(message: Message) -> Message:
        return FeatureBins([5], [False], [False], message.hint) if isinstance(message, FeatureBins) else message

    with pytest.raises(BrokenPromise, match="5 cells, more than the 4 agreed") as caught:
        train(case, scheme, bank=bank(lax, scheme), telecom=bent(partner(case, 1, scheme), "telecom", lie, []))
    assert caught.value.peer == "telecom"


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


def split(case: Case, feature: int = 0, bin_: int = 0, rows: bytes | None = None) -> SplitsChosen:
    named = pack_bits(case.parts.fit) if rows is None else rows
    return SplitsChosen([ChosenSplit(feature, bin_, False, named)])


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
    "a block of a query": (say(lambda c: NodeQuery(0, 1, [root(c)]), lambda c: QueryBlock(0, b"?")), "QueryBlock"),
    "a block before its query": (say(lambda c: QueryBlock(0, b"?")), "QueryBlock"),
    "an unknown feature": (say(lambda c: split(c, feature=2)), "the split names one of our features"),
    "a feature below zero": (say(lambda c: split(c, feature=-1)), "the split names one of our features"),
    "an unknown bin": (say(lambda c: split(c, bin_=8)), "the split names one of the feature's bins"),
    "a bin below zero": (say(lambda c: split(c, bin_=-1)), "the split names one of the feature's bins"),
    "the missing bin": (
        say(lambda c: split(c, feature=1, bin_=c.columns(1).layout.n_bins[1] - 1)),
        "the split names one of the feature's bins",
    ),
    "rows that were held out": (say(lambda c: split(c, rows=last_but_one(c))), "only rows that train or validate"),
    "rows cut short": (say(lambda c: split(c, rows=b"")), "bits take"),
    "another block": (say(lambda c: TreeBlock(1, True, b"")), "TreeBlock"),
    "a tree without end": (say(lambda c: TreeClosed(False)), "tree 1 is the last"),
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


HIDDEN: dict[str, tuple[Script, str]] = {
    "rows named": (say(lambda c: NodeQuery(0, 1, [root(c)])), "a hidden node names no rows"),
    "rows of a split named": (say(split), "a hidden node names no rows"),
    "no block": (say(lambda c: NodeQuery(0, 1, []), split), "SplitsChosen"),
    "an empty block": (say(lambda c: NodeQuery(0, 1, []), lambda c: QueryBlock(0, b"")), "the rows has 0 bytes"),
    "the second block first": (
        say(lambda c: NodeQuery(0, 1, []), lambda c: QueryBlock(1, b"")),
        "block 0 of the query",
    ),
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


QUERIES: dict[str, tuple[Callable[[QueryBlock], QueryBlock], str]] = {
    "not in order": (lambda b: QueryBlock(1 - b.index, b.rows), "block 0 of the query"),
    "below zero": (lambda b: QueryBlock(b.index - 1, b.rows), "block 0 of the query"),
    "the first again": (lambda b: QueryBlock(0, b.rows), "block 1 of the query"),
    "too short": (lambda b: QueryBlock(b.index, b.rows[:-1]), "were due|are due"),
    "too long": (lambda b: QueryBlock(b.index, b.rows + b"?"), "were due|are due"),
    "a row less": (lambda b: QueryBlock(b.index, b.rows[:-28]), "were due|are due"),
    "a row more": (lambda b: QueryBlock(b.index, b.rows + bytes(28)), "were due|are due"),
    "empty": (lambda b: QueryBlock(b.index, b""), "were due|are due"),
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
    liar = bent(bank(case, scheme), "bank", lambda m: change(m) if isinstance(m, QueryBlock) else m, log)
    honest = bent(partner(case, 1, scheme), "telecom", lambda message: message, log)
    with pytest.raises(BrokenPromise, match=sentence) as caught:
        train(case, scheme, bank=liar, telecom=honest)
    assert caught.value.peer == "bank"
    assert caught.value.step.startswith("train/0/QueryBlock/bank>telecom/")
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


# Any peer at all


@pytest.fixture(scope="module", params=[True, False], ids=["named", "hidden"])
def tapes(request: pytest.FixtureRequest) -> dict[str, Any]:
    return {"named": request.param, **train(SMALL, clear(request.param))}


@pytest.mark.parametrize("victim", ["bank", "telecom"])
def test_an_honest_tape_still_plays(tapes: dict[str, Any], victim: str) -> None:
    fate = play(tapes[victim], cast(SMALL, clear(tapes["named"]))[victim])
    assert not isinstance(fate, Exception)


@pytest.mark.parametrize("victim", ["bank", "telecom"])
def test_silence_disorder_and_typed_lies_end_in_known_errors(tapes: dict[str, Any], victim: str) -> None:
    assert_harmless(tapes[victim], cast(SMALL, clear(tapes["named"]))[victim])


@pytest.mark.parametrize("victim", ["bank", "telecom"])
def test_damaged_frames_end_in_known_errors(tapes: dict[str, Any], victim: str) -> None:
    role = cast(SMALL, clear(tapes["named"]))[victim]

    @settings(deadline=None, max_examples=250)
    @given(damage(tapes[victim]))
    def attack(damaged: Tape) -> None:
        play(damaged, role)

    attack()


@pytest.mark.parametrize("victim", ["bank", "telecom"])
@pytest.mark.parametrize("hidden", [False, True], ids=["paillier", "lattice"])
def test_damaged_ciphertexts_end_in_known_errors(victim: str, hidden: bool) -> None:
    plain = credit(12, (1, 1), num_leaves=2, num_iterations=1, max_bin=3)
    case, scheme = lattice(plain) if hidden else (plain, paillier(512))
    tape, role = train(case, scheme)[victim], cast(case, scheme)[victim]

    @settings(deadline=None, max_examples=60)
    @given(damage(tape))
    def attack(damaged: Tape) -> None:
        play(damaged, role)

    attack()


def test_one_hostile_partner_of_two_ends_in_known_errors() -> None:
    case = credit(24, (1, 1, 1), num_leaves=3, num_iterations=1, max_bin=3)
    assert_harmless(train(case, clear(True))["bank"], bank(case, clear(True)))


def test_no_message_at_all_is_malformed() -> None:
    tape = train(SMALL, clear(True))["bank"]
    fate = play(tape.replace(tape.place("FeatureBins"), b""), bank(SMALL, clear(True)))
    assert isinstance(fate, Malformed)
    assert fate.peer == "telecom"
