"""The proof of alignment with decoys among the rows: what it finds, what it shows, and no peer that can bend it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from effort import examples
from hypothesis import given

from vfl.channel import Channel, lockstep
from vfl.crypto.group import POINT, Mask, domain, hash_to_curve, split
from vfl.decoys import DECOY
from vfl.errors import AgreementError, BrokenPromise, UsageError, VflError
from vfl.protocols import confirm_rows, intersect
from vfl.protocols.confirm_rows import Probes, Replies
from vfl.protocols.intersect import Positions, PsiTerms
from vfl.replay import ReplayChannel
from vfl.secret import Secret
from vfl.wire import Message, pack, unpack

from . import test_intersect
from .arrows import recorded, written
from .hostile import Role, Tape, assert_harmless, damage, play, record
from .test_intersect import BAD, X, Y, bank, partner, seed

TERMS = dataclasses.replace(test_intersect.TERMS, decoys=0.5)
CUSTOMERS: list[str | None] = ["a", None, "b", "c", None, "d"]
ROWS = ["a", "x", "b", "c", "y", "d"]


def run(active: Role, **passives: Role) -> dict[str, Tape]:
    return record({"bank": active, **passives}, [("bank", name) for name in passives])


@pytest.fixture(scope="module", params=["x25519", "kkrt"])
def tapes(request: pytest.FixtureRequest) -> dict[str, Tape]:
    terms = dataclasses.replace(TERMS, protocol=request.param)
    return run(bank(terms=terms), telecom=partner(terms=terms))


@pytest.fixture
def terms(request: pytest.FixtureRequest) -> PsiTerms:
    return dataclasses.replace(TERMS, protocol=request.node.callspec.params["tapes"])


# What comes out


def test_the_agreed_rows_are_the_common_customers_and_others(tapes: dict[str, Tape]) -> None:
    rows, _, agreed = tapes["bank"].result
    assert {X[row] for row in rows} == set(X) & set(Y)
    theirs = [Y[row] for row in tapes["telecom"].result[0]]
    assert len(theirs) == len(set(theirs)) == len(agreed) == 12
    for own, other in zip(agreed.tolist(), theirs, strict=True):
        assert (other not in X) if own == DECOY else (X[own] == other)
    assert sorted(agreed[agreed != DECOY]) == sorted(rows)


def test_decoys_are_decoys_for_every_partner_and_fewer_where_one_has_no_more() -> None:
    small = [*X[4:9], "other-1", "other-2"]
    many = dataclasses.replace(TERMS, decoys=4.0)
    tapes = run(bank(terms=many), telecom=partner(terms=many), retailer=partner(small, many, 5))
    rows, _, agreed = tapes["bank"].result
    common = {X[row] for row in rows}
    assert common == set(X[4:9])
    assert (agreed == DECOY).sum() == 2
    for name, ids in (("telecom", Y), ("retailer", small)):
        theirs = [ids[row] for row in tapes[name].result[0]]
        assert [token for token in theirs if token in common] == [X[own] for own in agreed if own != DECOY]


def test_too_few_customers_are_too_few_with_decoys_as_well() -> None:
    few = dataclasses.replace(TERMS, min_intersection=9)
    with pytest.raises(AgreementError, match=r"8 customers in common, and at least 9|fewer than the agreed 9"):
        run(bank(terms=few), telecom=partner(terms=few))


def test_the_size_cap_covers_decoys() -> None:
    tight = dataclasses.replace(TERMS, max_set_size=17)
    with pytest.raises(AgreementError, match="12 ids of the active party and decoys are 18; at most 17"):
        run(bank(terms=tight), telecom=partner(terms=tight))


@pytest.mark.parametrize("decoys", [-0.1, 4.1, float("nan")])
def test_decoys_out_of_range_are_refused(decoys: float) -> None:
    with pytest.raises(UsageError, match="decoys is 0 to 4"):
        dataclasses.replace(TERMS, decoys=decoys)


# Script and record


def test_the_docstring_is_the_protocol(tapes: dict[str, Tape]) -> None:
    said = recorded(tapes["bank"].transcript.all, "telecom")
    assert written(confirm_rows) == said[-2:]
    assert said[-4:-2] == [(">", "Agreed"), (">", "Positions")]


def test_cost_is_as_written(monkeypatch: pytest.MonkeyPatch) -> None:
    masked: list[int] = []
    apply = Mask.apply

    def counting(mask: Mask, points: bytes) -> bytes:
        masked.append(len(points) // POINT)
        return apply(mask, points)

    monkeypatch.setattr(Mask, "apply", counting)
    tapes = alone(CUSTOMERS, ROWS)
    assert sum(masked) == 4 * len(ROWS)
    received = sum(len(r.body) for tape in tapes.values() for r in tape.transcript.all)
    assert 0 <= received - 96 * len(ROWS) < 100


def alone(customers: Sequence[str | None], rows: Sequence[str], run_of_rows: str = "run-1") -> dict[str, Tape]:
    return run(
        lambda peers: confirm_rows.active(peers["telecom"], customers, "run-1", seed(1)),
        telecom=lambda peers: confirm_rows.passive(peers["bank"], rows, run_of_rows, seed(2)),
    )


@pytest.mark.parametrize("block", [64, pytest.param(confirm_rows.BLOCK, marks=pytest.mark.slow)])
def test_rows_in_several_blocks(monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    monkeypatch.setattr(confirm_rows, "BLOCK", block)
    ids = [f"id-{i}" for i in range(block + 104)]
    customers = [None if i % 3 == 0 else token for i, token in enumerate(ids)]
    alone(customers, ids)
    with pytest.raises(BrokenPromise, match="same customer"):
        alone(customers, [*ids[:-1], "other"])


def test_both_roles_say_the_same_bytes_again(tapes: dict[str, Tape], terms: PsiTerms) -> None:
    for name, role in (("bank", bank(terms=terms)), ("telecom", partner(terms=terms))):
        tape = tapes[name]
        channels = {peer: ReplayChannel(name, peer, tape.transcript.all) for peer in tape.frames}
        again = lockstep({name: role(channels)})[name]
        assert again[0].tolist() == tape.result[0].tolist()
        assert all(channel.left == 0 for channel in channels.values())


def test_without_decoys_nothing_is_said_that_was_not_said_before(tapes: dict[str, Tape]) -> None:
    plain = run(bank(), telecom=partner())
    kinds = {record.slot.split("/")[2] for record in plain["bank"].transcript.all}
    assert not kinds & {"Probes", "Replies"}
    assert kinds >= {"Share", "Answer", "Proof"}


# What it finds


@pytest.mark.parametrize(
    "rows",
    [
        [*ROWS[-1:], *ROWS[:-1]],
        [*ROWS[1:], *ROWS[:1]],
        ["a", "x", "c", "b", "y", "d"],
        ["a", "b", "x", "c", "y", "d"],
        ["a", "x", "b", "c", "y", "e"],
    ],
    ids=["one later", "one earlier", "two swapped", "swapped with a decoy", "another"],
)
def test_rows_that_are_not_aligned_are_found(rows: list[str]) -> None:
    with pytest.raises(BrokenPromise, match=r"telecom at .*Replies.*row k is the same customer"):
        alone(CUSTOMERS, rows)


def test_an_active_party_that_misaligns_the_positions_finds_out(tapes: dict[str, Tape], terms: PsiTerms) -> None:
    tape = tapes["telecom"]
    place = tape.place("Positions")
    said = unpack(Positions, tape.at(place).body)
    positions = np.frombuffer(said.items, "<u4")

    async def telecom(peers: Any) -> Any:
        return await intersect.passive(Shifted(peers["bank"], np.roll(positions, 1).tobytes()), Y, terms, seed(2))

    with pytest.raises(BrokenPromise, match="row k is the same customer"):
        run(bank(terms=terms), telecom=telecom)


class Shifted:
    """A channel on which other positions arrive than were sent."""

    def __init__(self, channel: Channel, items: bytes) -> None:
        self._channel, self._items = channel, items

    def __getattr__(self, name: str) -> Any:
        return getattr(self._channel, name)

    async def recv(self, *kinds: Any) -> Any:
        said = await self._channel.recv(*kinds)
        return Positions(said.index, said.count, said.last, self._items) if isinstance(said, Positions) else said


def test_another_run_is_another_proof() -> None:
    with pytest.raises(BrokenPromise, match="same customer"):
        alone(CUSTOMERS, ROWS, "run-2")


def test_what_is_known_of_one_row_does_not_pass_another(tapes: dict[str, Tape]) -> None:
    """H and probe of a row that the passive party knows, in place of a row that it does not know."""

    async def liar(peers: Any) -> None:
        said = await peers["bank"].recv(Probes)
        mask = Mask(Secret(bytes([9]) * 32))
        items = [k.to_bytes(8, "big") + b"\1" + token.encode() for k, token in enumerate(ROWS)]
        own, probes = split(hash_to_curve(items, domain("align-rows", "run-1"))), split(said.points)
        other = Mask(Secret(bytes([8]) * 32))
        masked = [mask.apply(b"".join(points)) for points in (probes[:5], own[:5])]
        last = [other.apply(points[0]) for points in (probes, own)]
        await peers["bank"].send(Replies(0, masked[0] + last[0], masked[1] + last[1]))

    with pytest.raises(BrokenPromise, match="same customer"):
        run(lambda peers: confirm_rows.active(peers["telecom"], CUSTOMERS, "run-1", seed(1)), telecom=liar)


def test_an_honest_active_party_cannot_look_at_decoys_afterwards() -> None:
    """What it holds of a decoy fits any id that the passive party may have there."""
    one, two = (alone(CUSTOMERS, rows)["bank"].transcript.all for rows in (ROWS, ["a", "z", *ROWS[2:]]))
    probes = [unpack(Replies, tape[-1].body).probes for tape in (one, two)]
    assert probes[0] == probes[1]  # of its own ids and random points alone
    own = [split(unpack(Replies, tape[-1].body).own) for tape in (one, two)]
    assert [a == b for a, b in zip(*own, strict=True)] == [True, False, True, True, True, True]
    points = hash_to_curve([k.to_bytes(8, "big") + b"\1z" for k in range(6)], domain("align-rows", "run-1"))
    assert not set(split(points)) & set(own[1])


# A partner that breaks the rules


@pytest.mark.parametrize("tapes", ["x25519"], indirect=True)
@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("victim", ["bank", "telecom"])
def test_a_bad_point_is_refused_wherever_it_stands(
    tapes: dict[str, Tape], terms: PsiTerms, victim: str, name: str
) -> None:
    tape, role = tapes[victim], bank(terms=terms) if victim == "bank" else partner(terms=terms)
    kind: type[Message] = Replies if victim == "bank" else Probes
    said: Any = unpack(kind, tape.at(tape.place(kind.__name__)).body)
    for field in ("probes", "own") if victim == "bank" else ("points",):
        for index in (0, 7, 11):
            points = split(getattr(said, field))
            points[index] = BAD[name]
            lie = type(said)(**{f: getattr(said, f) for f in said.__struct_fields__} | {field: b"".join(points)})
            fate = play(tape.replace(tape.place(kind.__name__), pack(lie)), role)
            assert isinstance(fate, BrokenPromise)
            assert f"point {index} " in str(fate)


def test_a_false_answer_at_a_decoy_goes_unseen_and_at_a_customer_ends_the_run(
    tapes: dict[str, Tape], terms: PsiTerms
) -> None:
    """The one bit that a passive party can ask for."""
    tape = tapes["bank"]
    place = tape.place("Replies")
    said = unpack(Replies, tape.at(place).body)
    other = Mask(Secret(bytes([3]) * 32)).apply(hash_to_curve([b"other"], b"t"))
    for row, own in enumerate(tape.result[2].tolist()):
        points = split(said.own)
        points[row] = other
        fate = play(tape.replace(place, pack(Replies(0, said.probes, b"".join(points)))), bank(terms=terms))
        assert isinstance(fate, BrokenPromise) == (own != DECOY)


@pytest.mark.parametrize("tapes", ["x25519"], indirect=True)
@pytest.mark.parametrize("victim", ["bank", "telecom"])
def test_silence_disorder_and_typed_lies_end_in_known_errors(
    tapes: dict[str, Tape], terms: PsiTerms, victim: str
) -> None:
    assert_harmless(tapes[victim], bank(terms=terms) if victim == "bank" else partner(terms=terms))


@pytest.mark.parametrize("tapes", ["x25519"], indirect=True)
@pytest.mark.parametrize("victim", ["bank", "telecom"])
def test_damaged_frames_end_in_known_errors(tapes: dict[str, Tape], terms: PsiTerms, victim: str) -> None:
    tape, role = tapes[victim], bank(terms=terms) if victim == "bank" else partner(terms=terms)

    @examples(60, thorough=200)
    @given(damage(tape))
    def attack(damaged: Tape) -> None:
        fate = play(damaged, role)
        assert isinstance(fate, VflError) or len(fate[0]) == len(tape.result[0])

    attack()
