"""A hostile partner of the fast engine: every lie is named or ends without a result, whichever side tells it."""

from __future__ import annotations

import numpy as np
import pytest
from effort import examples
from hypothesis import given

from vfl.crypto.cuckoo import bins_for
from vfl.errors import BrokenPromise, VflError
from vfl.protocols import intersect
from vfl.protocols.kkrt import Choices, Columns, Hits, Masks, Offer
from vfl.wire import Message, pack, unpack

from .hostile import Role, Tape, assert_harmless, damage, play, record
from .test_kkrt import TERMS, X, Y, bank, run, seed, telecom


@pytest.fixture(scope="module")
def tapes() -> dict[str, Tape]:
    return run()


def changed(tape: Tape, message: Message) -> Tape:
    return tape.replace(tape.place(type(message).__name__), pack(message))


def masks_of(tape: Tape) -> np.ndarray:
    said = unpack(Masks, tape.at(tape.place("Masks")).body)
    return np.frombuffer(said.items, np.uint8).reshape(3, said.count, -1).copy()


def test_one_id_at_two_places_of_the_stream_is_refused(tapes: dict[str, Tape]) -> None:
    tape = tapes["bank"]
    masks = masks_of(tape)
    hit, miss = tape.result.positions[0], next(i for i in range(15) if i not in tape.result.positions)
    masks[:, miss] = masks[:, hit]
    fate = play(changed(tape, Masks(0, 15, True, masks.tobytes())), bank())
    assert isinstance(fate, BrokenPromise)
    assert "no id comes twice in a stream" in str(fate)


def test_two_ids_at_one_place_of_the_stream_are_refused() -> None:
    """The masks of two common ids, met under different hash functions, at the place of one of them."""
    ids = [f"id-{i}" for i in range(300)]
    tape, role, fates = run(ids, ids)["bank"], bank(ids, 300), []
    one = tape.result.positions[0]
    for other in tape.result.positions[1:8]:
        masks = masks_of(tape)
        for z in range(3):
            masks[z, [one, other]] = masks[z, [other, one]]
            fates.append(play(changed(tape, Masks(0, 300, True, masks.tobytes())), role))
    assert any("a place in the stream has one id" in str(fate) for fate in fates)
    assert all(isinstance(fate, BrokenPromise | Hits) for fate in fates)


BINS = bins_for(len(X))
U = bytes(56 * BINS)
BANK_LIES = {
    "attempt beyond": (Columns(8, 0, BINS, True, U), "8 salts are tried"),
    "attempt below": (Columns(-1, 0, BINS, True, U), "8 salts are tried"),
    "span number": (Columns(0, 1, BINS, True, U), "span 0 is due"),
    "more bins": (Columns(0, 0, BINS + 64, True, U), f"has {BINS} of {BINS} bins"),
    "not the last": (Columns(0, 0, BINS, False, U), f"ends with bin {BINS}"),
    "fewer bytes": (Columns(0, 0, BINS, True, U[:-1]), "56 bytes a bin"),
    "a point off the curve": (Offer(b"\1" * 64, bytes(32)), "the offer is on the curve"),
}
TELECOM_LIES = {
    "block number": (Masks(1, 15, True, bytes(15 * 24)), "block 0 is due"),
    "more ids": (Masks(0, 16, True, bytes(16 * 24)), "has 15 of 15 ids"),
    "not the last": (Masks(0, 15, False, bytes(15 * 24)), "ends with id 15"),
    "narrow masks": (Masks(0, 15, True, bytes(15 * 21)), "3 masks of 8 bytes"),
    "fewer answers": (Choices(bytes(64 * 447), bytes(32)), "448 answers are 28672 bytes"),
    "points off the curve": (Choices(b"\1" * 64 * 448, bytes(32)), "answer 0 is on the curve"),
}


@pytest.mark.parametrize("name", BANK_LIES)
def test_a_lying_active_party_is_named(tapes: dict[str, Tape], name: str) -> None:
    lie, sentence = BANK_LIES[name]
    fate = play(changed(tapes["telecom"], lie), telecom())
    assert isinstance(fate, BrokenPromise)
    assert fate.peer == "bank"
    assert sentence in str(fate)


@pytest.mark.parametrize("name", TELECOM_LIES)
def test_a_lying_passive_party_is_named(tapes: dict[str, Tape], name: str) -> None:
    lie, sentence = TELECOM_LIES[name]
    fate = play(changed(tapes["bank"], lie), bank())
    assert isinstance(fate, BrokenPromise)
    assert fate.peer == "telecom"
    assert sentence in str(fate)


def test_columns_of_two_salts_are_refused() -> None:
    own = [f"id-{i}" for i in range(52_000)]
    tape = run(own, ["a"])["telecom"]
    place = tape.place("Columns", 1)
    said = unpack(Columns, tape.at(place).body)
    lie = Columns(1, said.index, said.count, said.last, said.columns)
    fate = play(tape.replace(place, pack(lie)), telecom(["a"], 52_000))
    assert isinstance(fate, BrokenPromise)
    assert "all columns are for one salt" in str(fate)


def test_altered_columns_give_no_row_that_both_confirm() -> None:
    """A matrix that is not of codewords loses matches; the rows that remain are right."""
    roles: dict[str, Role] = {
        "bank": lambda peers: intersect.active(peers, X, TERMS, seed(1)),
        "telecom": lambda peers: intersect.passive(peers["bank"], Y, TERMS, seed(2)),
    }
    tape = record(roles, [("bank", "telecom")])["telecom"]
    said = unpack(Columns, tape.at(tape.place("Columns")).body)
    lie = Columns(0, 0, said.count, True, bytes(len(said.columns)))
    assert isinstance(play(changed(tape, lie), roles["telecom"]), VflError | tuple)


@pytest.mark.parametrize("victim", ["bank", "telecom"])
def test_silence_disorder_and_typed_lies_end_in_known_errors(tapes: dict[str, Tape], victim: str) -> None:
    assert_harmless(tapes[victim], bank() if victim == "bank" else telecom())


@pytest.mark.parametrize("victim", ["bank", "telecom"])
def test_damaged_frames_end_in_known_errors(tapes: dict[str, Tape], victim: str) -> None:
    role = bank() if victim == "bank" else telecom()

    @examples(15, thorough=40)
    @given(damage(tapes[victim]))
    def attack(damaged: Tape) -> None:
        assert isinstance(play(damaged, role), VflError | Hits | np.ndarray)

    attack()
