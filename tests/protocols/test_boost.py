"""Boosting between parties: the trees of the pooled columns, and no peer that can bend or break it."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from clear_scheme import NONCE, QUERY_BLOCKS
from effort import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from vfl.bits import unpack_bits
from vfl.crypto import ring
from vfl.crypto.fixed_base import big, from_bytes, inverse
from vfl.crypto.paillier import PaillierKeyHolder
from vfl.crypto.paillier_cells import cell_sums, pack_cells
from vfl.crypto.scheme import BLOCK_ROWS, CellLayout
from vfl.learn.parameters import GBDTParameters
from vfl.learn.rounds import Parts
from vfl.protocols.boost import (
    FeatureBins,
    HintBlock,
    NodeHistograms,
    NodeQuery,
    QueryBlock,
    SplitsChosen,
    TreeBlock,
)
from vfl.wire import unpack

from .boosting import (
    MANY_CELLS,
    MANY_ROWS,
    Case,
    assert_same_model,
    cases,
    clear,
    credit,
    lattice,
    paillier,
    pooled_mappers,
    reference,
    seed,
    share_of,
    train,
)
from .hostile import Tape

FLAVOURS = pytest.mark.parametrize("named", [True, False], ids=["named", "hidden"])


# The trees of the pooled columns


@examples(50, thorough=300)
@given(cases(), st.booleans())
def test_trees_of_the_pooled_columns(case: Case, named: bool) -> None:
    tapes = train(case, clear(named))
    assert_same_model(case, tapes["bank"].result, share_of(tapes, case), reference(case))


@examples(50, thorough=150)
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
def test_no_split_leaves_a_child_without_training_rows(named: bool) -> None:
    """With `min_sum_hessian_in_leaf` 0, rounding alone would make such a split the best one of several nodes here."""
    case = credit(
        80, (1, 2), num_iterations=6, num_leaves=10, min_data_in_leaf=1, min_sum_hessian_in_leaf=0.0,
        learning_rate=2.0, gradient_bits=8,
    )  # fmt: skip
    tapes = train(case, clear(named))
    if named:
        some = [any(rows) for query in heard(tapes["telecom"], NodeQuery) for rows in query.rows]
    else:
        blocks = [np.frombuffer(block[NONCE:], "<i8").any() for block in query_blocks(tapes["telecom"])]
        some = np.reshape(blocks, (-1, QUERY_BLOCKS)).any(axis=1).tolist()
    assert some
    assert all(some)
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
    blocks = len(query_blocks(tapes["telecom"]))
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
    assert all(hidden[at + 1 : at + QUERY_BLOCKS] == ["QueryBlock"] * (QUERY_BLOCKS - 1) for at in asked_at)
    assert hidden.count("QueryBlock") == (QUERY_BLOCKS - 1) * len(asked_at)


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
    asked = [query_blocks(tapes[name]) for name in case.partners]
    assert asked[0] == asked[1]
    assert len(set(asked[0])) == len(asked[0]) > 0


def test_the_cost_of_a_hidden_query_is_as_written() -> None:
    """28 bytes a row, whoever is in the node, and 28 bytes a cell back; 32 KB a cell once."""
    case, scheme = lattice(credit(5000, (1, 2), num_leaves=6))
    tapes = train(case, scheme)
    (bins,) = heard(tapes["bank"], FeatureBins)
    assert sum(len(block.hint) for block in heard(tapes["bank"], HintBlock)) == 32768 * sum(bins.bins)
    assert {len(one) for answer in heard(tapes["bank"], NodeHistograms) for one in answer.sums} == {28 * sum(bins.bins)}
    assert {len(block) for block in query_blocks(tapes["telecom"])} == {28 * (5000 + ring.N)}
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


def query_blocks(tape: Tape) -> list[bytes]:
    """The encrypted rows of all queries that a party was told, block by block."""
    told = [said for _, said in tape.messages() if said.slot.split("/")[2] in ("NodeQuery", "QueryBlock")]
    first = [unpack(NodeQuery, said.body).block if "/NodeQuery/" in said.slot else None for said in told]
    pairs = zip(first, told, strict=True)
    return [unpack(QueryBlock, said.body).rows if block is None else block for block, said in pairs]


def heard(tape: Tape, kind: type[Any]) -> list[Any]:
    """Every message of a kind that a party was told."""
    return [unpack(kind, said.body) for _, said in tape.messages() if f"/{kind.__name__}/" in said.slot]
