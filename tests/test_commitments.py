"""Columns and seeds that a party commits to, and what an opened block shows."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.errors import BadProof
from ledger.merkle import leaf_hash
from vfl.commitments import (
    BLOCK,
    commit_arrays,
    commit_column,
    commit_columns,
    commit_seeds,
    open_block,
    open_column,
    open_seed,
)
from vfl.randomness import Randomness

RNG = Randomness(bytes(32))


@given(st.integers(1, 3 * BLOCK + 5), st.sampled_from(["<f8", ">f8", "<i8", "|i1", "|b1"]), st.data())
def test_every_block_opens_and_no_other_value_does(rows: int, dtype: str, data: st.DataObject) -> None:
    values = (np.arange(rows) % 2).astype(dtype)
    committed = commit_column("labels", values, RNG)
    block = data.draw(st.integers(0, (rows - 1) // BLOCK))
    shown = open_block(values, RNG, block)
    shown.verify(committed)
    assert shown.content == values[block * BLOCK : (block + 1) * BLOCK].astype(values.dtype.newbyteorder("<")).tobytes()
    place = data.draw(st.integers(0, len(shown.content) - 1))
    content = shown.content[:place] + bytes([shown.content[place] ^ 1]) + shown.content[place + 1 :]
    for wrong in (
        dataclasses.replace(shown, content=content),
        dataclasses.replace(shown, salt=bytes(32)),
        dataclasses.replace(shown, block=block + 1),
        dataclasses.replace(shown, path=[*shown.path, bytes(32)]),
    ):
        with pytest.raises(BadProof):
            wrong.verify(committed)


def test_a_block_shows_nothing_of_another_one() -> None:
    """Columns of one value only: equal blocks have different leaves, within a column and between columns."""
    values = np.zeros((4 * BLOCK, 3))
    names = ("a", "b", "c")
    assert len({one.digest for one in commit_columns(names, values, RNG)}) == 3
    salts = [RNG.child(f"column/{name}") for name in names]
    shown = [open_block(values[:, 0], salt, block) for salt, block in itertools.product(salts, range(4))]
    assert len({leaf_hash(one.salt + one.content) for one in shown}) == len(shown)
    assert all(leaf_hash(one.content) not in [node for other in shown for node in other.path] for one in shown)


def test_the_same_seed_commits_the_same_and_another_does_not() -> None:
    values = np.arange(10.0)
    assert commit_column("x", values, RNG) == commit_column("x", values, Randomness(bytes(32)))
    assert commit_column("x", values, RNG) != commit_column("x", values, Randomness(b"\1" * 32))
    assert [one.kind for one in commit_arrays({"labels": values, "holdout": values > 3}, RNG)] == ["labels", "holdout"]


def test_seeds_are_named_without_being_told() -> None:
    rounds = [RNG.child(f"tree/{number}") for number in range(9)]
    committed = commit_seeds("seeds/rounds", rounds)
    assert committed == commit_seeds("seeds/rounds", rounds)
    assert committed != commit_seeds("seeds/rounds", rounds[::-1])
    names = {one.commitment() for one in rounds}
    assert len(names) == 9
    assert not names & {one.bytes(32) for one in rounds}
    assert not names & {one.child("commitment").bytes(32) for one in rounds}


def test_nothing_at_all_can_be_committed_to() -> None:
    nothing = np.zeros(0)
    committed = commit_column("x", nothing, RNG)
    assert committed.count == 0
    assert len(open_block(nothing, RNG, 0).content) == 0


@given(st.integers(0, 2 * BLOCK + 5), st.data())
def test_a_whole_column_opens_and_no_other_does(rows: int, data: st.DataObject) -> None:
    values = np.arange(rows, dtype=np.float64)
    committed, shown = commit_column("x", values, RNG), open_column(values, RNG)
    shown.verify(committed, 8)
    cut = data.draw(st.integers(1, 8))
    wrong = [
        dataclasses.replace(shown, content=shown.content + bytes(cut)),
        dataclasses.replace(shown, salts=[*shown.salts, bytes(32)]),
        dataclasses.replace(shown, salts=shown.salts[1:]),
        dataclasses.replace(shown, salts=[bytes(32), *shown.salts[1:]]),
    ]
    if rows:
        # The same bytes of a leaf, cut otherwise.
        salts = [shown.salts[0] + shown.content[:8], *shown.salts[1:]]
        wrong.append(dataclasses.replace(shown, salts=salts, content=shown.content[8:]))
        place = data.draw(st.integers(0, len(shown.content) - 1))
        changed = shown.content[:place] + bytes([shown.content[place] ^ 1]) + shown.content[place + 1 :]
        wrong += [dataclasses.replace(shown, content=one) for one in (changed, shown.content[:-cut])]
    for one in wrong:
        with pytest.raises(BadProof):
            one.verify(committed, 8)


def test_one_seed_opens_without_the_others() -> None:
    rounds = [RNG.child(f"tree/{number}") for number in range(9)]
    committed = commit_seeds("seeds/rounds", rounds)
    for number in range(9):
        shown = open_seed(rounds, number)
        assert shown.verify(committed).bytes(32) == RNG.child(f"tree/{number}").bytes(32)
        told = b"".join([shown.seed, *shown.path])
        assert all(one.expose_seed() not in told for place, one in enumerate(rounds) if place != number)
        for wrong in (
            dataclasses.replace(shown, number=(number + 1) % 9),
            dataclasses.replace(shown, seed=bytes(32)),
            dataclasses.replace(shown, seed=shown.seed[:-1]),
            dataclasses.replace(shown, path=shown.path[:-1]),
        ):
            with pytest.raises(BadProof):
                wrong.verify(committed)
