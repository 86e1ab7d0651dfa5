"""A live desk with a notary under an attacker who has the wire, and no key: nothing forged, replayed or moved gets in.

The desk stays up through all of it: after every attack it stands where it stood, and at the end it takes in the honest
message. The attacker knows every frame of this run and of another one of the same parties, and may sign with keys of
its own.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from forging_kit import BANK, MALLORY, ROUNDS, TELECOM, Meeting, decoded, driven, forged, said

from ledger.checkpoint import Checkpoint, cosign, sign_checkpoint
from ledger.keys import Identity
from vfl.desk import Cosignature, Envelope, Head
from vfl.errors import BrokenPromise
from vfl.protocols.handshake import Hello
from vfl.wire import pack

EACH = 5_000  # at each of both desks


@pytest.mark.parametrize("me", ["bank", "telecom"])
def test_no_forged_message_gets_in(me: str) -> None:
    meeting, other = Meeting("run-1", True), Meeting("run-2", True)
    party, accepted = meeting.parties[me], []
    party.channel.enter("train", ROUNDS)
    start, attacks = party.standing(), forged(meeting, other, me, random.Random(EACH))
    for number in range(EACH):
        way, frame = next(attacks)
        party.inbox.append(frame)
        if driven(party.channel.recv(Hello)):
            accepted.append(way)
        if number % 100 == 0:
            assert party.standing() == start, way
    assert accepted == []
    assert party.standing() == start
    peer = meeting.parties[party.peer]
    peer.channel.enter("train", ROUNDS)
    assert driven(peer.channel.send(said(peer.me, 2 * ROUNDS)))
    assert driven(party.channel.recv(Hello)), "the honest message still gets in"
    assert party.standing() != start


def forged_heads(meeting: Meeting, other: Meeting, me: str, chance: random.Random) -> Iterator[tuple[str, bytes]]:
    """Heads for a desk at a round boundary."""
    party = meeting.parties[me]
    peer = meeting.parties[party.peer]
    own = [json.loads(found.note) for found in map(decoded, meeting.frames(me)) if isinstance(found, Head)]
    elsewhere = [json.loads(found.note) for found in map(decoded, other.frames(me)) if isinstance(found, Head)]
    newest, size = own[-1], len(peer.notary.log)

    def note(who: Identity, size: int) -> str:
        return str(sign_checkpoint(Checkpoint(peer.notary.log.origin, size, chance.randbytes(32)), who.identity))

    ways: dict[str, Callable[[], dict[str, Any]]] = {
        "replayed": lambda: chance.choice(own[:-1]),
        "of another run": lambda: chance.choice(elsewhere),
        "signed by another": lambda: newest | {"note": note(MALLORY, size + 1)},
        "without its account": lambda: {k: v for k, v in newest.items() if k != "account"} | {"gossip": {}},
        "another proof": lambda: newest | {"account": newest["account"] | {"proof": [chance.randbytes(32).hex()]}},
        "an old account": lambda: newest | {"account": chance.choice(own[:-1])["account"]},
        "an account of another run": lambda: newest | {"account": chance.choice(elsewhere)["account"]},
    }
    while True:
        for name, make in ways.items():
            yield name, json.dumps(make()).encode()


@pytest.mark.parametrize("count", [150, pytest.param(10_000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("signed", [True, False], ids=["signed", "unsigned"])
def test_no_forged_head_is_countersigned(signed: bool, count: int) -> None:
    meeting, other = Meeting("run-1", signed), Meeting("run-2", signed)
    for me in ("bank", "telecom"):
        party, attacks = meeting.parties[me], forged_heads(meeting, other, me, random.Random(count))
        start, accepted = party.standing(), []
        for _ in range(count // 2):
            way, head = next(attacks)
            try:
                party.notary.countersign({party.peer: head})
            except BrokenPromise as error:
                accepted += [] if error.peer == party.peer else [f"{way}, blamed on {error.peer}"]
            else:
                accepted.append(way)
        assert accepted == []
        assert party.standing() == start
        peer = meeting.parties[party.peer]
        assert party.notary.countersign({party.peer: peer.notary.head(me)}), "the honest head is countersigned"


@pytest.mark.parametrize("count", [150, pytest.param(10_000, marks=pytest.mark.slow)])
def test_no_forged_cosignature_is_kept(count: int) -> None:
    meeting, other = Meeting("run-1", True), Meeting("run-2", True)
    party, chance = meeting.parties["bank"], random.Random(count)
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    size = len(party.notary.log)
    head = Checkpoint(party.notary.log.origin, size, party.notary.log.root())
    old = [f.line for f in map(decoded, meeting.frames("bank")) if isinstance(f, Cosignature)]
    elsewhere = [f.line for f in map(decoded, other.frames("bank")) if isinstance(f, Cosignature)]
    party.notary.head("telecom")
    before = party.notary.log.checkpoints()
    ways: list[Callable[[], bytes]] = [
        lambda: chance.choice(old[:-1]),
        lambda: chance.choice(elsewhere),
        lambda: str(cosign(head, MALLORY.witness, moment)).encode(),
        lambda: str(cosign(head, BANK.witness, moment)).encode(),
        lambda: str(cosign(head, MALLORY.witness, moment)).replace("mallory", "telecom").encode(),
        lambda: chance.choice(old)[: chance.randrange(60)],
        lambda: str(cosign(Checkpoint(head.origin, size + 1, head.root), TELECOM.witness, moment)).encode(),
    ]
    for number in range(count):
        with pytest.raises(BrokenPromise):
            party.notary.countersigned("telecom", ways[number % len(ways)]())
    assert party.notary.log.checkpoints() == before
    party.notary.countersigned("telecom", str(cosign(head, TELECOM.witness, moment)).encode())


def test_where_messages_are_not_signed_a_forged_one_ends_the_round() -> None:
    """It gets in, and no account covers it: nothing after it is countersigned, and no result is shown."""
    chance = random.Random(1)
    for number in range(40):
        meeting = Meeting("run-1", False)
        party, peer = meeting.parties["telecom"], meeting.parties["bank"]
        party.channel.enter("train", ROUNDS)
        slot = f"train/{ROUNDS}/Hello/bank>telecom/{party.channel._received}"
        body = pack(Hello("run", chance.randbytes(20), 1, str(number)))
        party.inbox.append(msgspec.msgpack.encode(Envelope(slot, b"", body)))
        assert driven(party.channel.recv(Hello))
        size = party.standing()[3]
        with pytest.raises(BrokenPromise, match="tells our messages otherwise"):
            party.notary.answer("bank", peer.notary.head("telecom"))
        assert party.standing()[3] == size
