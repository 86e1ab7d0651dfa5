"""A live desk with a notary under an attacker who has the wire, and no key: nothing forged, replayed or moved gets in.

The desk stays up through all of it: after every attack it stands where it stood, and at the end it takes in the honest
message. The attacker knows every frame of this run and of another one of the same parties, and may sign with keys of
its own.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from ledger.checkpoint import Checkpoint, cosign, sign_checkpoint
from ledger.envelope import Envelope as Statement
from ledger.envelope import sign_envelope
from ledger.keys import Identity
from ledger.store import MemoryStore
from vfl.channel import digest_of, lockstep
from vfl.clock import FixedClock
from vfl.desk import Cosignature, Desk, Envelope, Frame, Head, LiveChannel, MemoryTranscript, Opened, memory_links
from vfl.errors import BrokenPromise, ProtocolError
from vfl.notary import LedgerNotary, PeerKeys
from vfl.protocols.freeze import ModelShare
from vfl.protocols.handshake import Hello
from vfl.wire import Message, pack

BANK, TELECOM, MALLORY = (Identity(name, bytes([n]) * 32) for n, name in enumerate(("bank", "telecom", "mallory"), 1))
KEYS = {one.name: PeerKeys(one.identity.verifying, one.witness.verifying) for one in (BANK, TELECOM)}
ROUNDS = 3
EACH = 5_000  # at each of both desks


class Wire:
    """One end of a link, with all that ever went over it."""

    full = False

    def __init__(self, link: Any) -> None:
        self._link = link
        self.heard: list[bytes] = []

    def push(self, frame: bytes) -> None:
        self._link.push(frame)

    def pull(self) -> bytes | None:
        frame: bytes | None = self._link.pull()
        if frame is not None:
            self.heard.append(frame)
        return frame


@dataclass
class Party:
    """A desk with its notary and its channel to the other."""

    me: str
    peer: str
    notary: LedgerNotary
    desk: Desk
    wire: Wire
    channel: LiveChannel
    inbox: list[bytes]

    def standing(self) -> tuple[object, ...]:
        """What no attack may move."""
        transcript = self.desk.transcript
        assert isinstance(transcript, MemoryTranscript)
        cosigned = self.notary._witness.size(f"{self.peer}/{self.notary.log.run}")
        return len(transcript.all), len(self.notary.log), self.notary.log.root(), cosigned, self.channel._received


@dataclass
class Meeting:
    """Bank and telecom in one run, with rounds of messages behind them."""

    run: str
    signed: bool
    parties: dict[str, Party] = field(default_factory=dict)

    def __post_init__(self) -> None:
        links = dict(zip(("bank", "telecom"), memory_links(), strict=True))
        for who, peer in ((BANK, TELECOM), (TELECOM, BANK)):
            clock = FixedClock(datetime(2026, 1, 1, tzinfo=UTC))
            notary = LedgerNotary(
                MemoryStore(), who, self.run, "ab" * 32, {peer.name: KEYS[peer.name]}, clock, sign_messages=self.signed
            )
            desk = Desk(who.name, MemoryTranscript(), notary, leads=who is BANK, at_once=self.signed)
            wire = Wire(links[who.name])
            channel = desk.channel(peer.name, wire)
            inbox = links[who.name]._inbox
            self.parties[who.name] = Party(who.name, peer.name, notary, desk, wire, channel, inbox)
        lockstep({name: party.desk.run(rounds(party)) for name, party in self.parties.items()})

    def frames(self, me: str) -> list[bytes]:
        """All that a party has heard."""
        return self.parties[me].wire.heard


def said(me: str, number: int) -> Message:
    return ModelShare(bytes([number]) * 32) if number % 2 else Hello("run", me.encode() * 40, 1, str(number))


async def rounds(party: Party) -> None:
    for number in range(ROUNDS):
        party.channel.enter("train", number)
        for turn in range(2):
            await party.channel.send(said(party.me, 2 * number + turn))
            await party.channel.recv(Hello, ModelShare)
        await party.channel.checkpoint()


def driven(waiting: Coroutine[Any, None, Any]) -> bool:
    """Whether something was taken in; False where it was refused."""
    try:
        waiting.send(None)
    except StopIteration:
        return True
    except ProtocolError:
        return False
    finally:
        waiting.close()
    raise AssertionError("the desk waits for more: the frame vanished")


def forged(meeting: Meeting, other: Meeting, me: str, chance: random.Random) -> Iterator[tuple[str, bytes]]:
    """Frames for a desk at which the next message of round 3 is due: how each was made, and its bytes."""
    party, frames = meeting.parties[me], meeting.frames(me)
    messages = [found for found in map(_decoded, frames) if isinstance(found, Envelope)]
    elsewhere = [found for found in map(_decoded, other.frames(me)) if isinstance(found, Envelope)]
    mine = [found for found in map(_decoded, meeting.frames(party.peer)) if isinstance(found, Envelope)]
    body, number = pack(said(party.peer, 2 * ROUNDS)), party.channel._received
    slot = f"train/{ROUNDS}/Hello/{party.peer}>{me}/{number}"
    ways: dict[str, Callable[[], Frame]] = {
        "replayed": lambda: chance.choice(messages),
        "of another run": lambda: chance.choice(elsewhere),
        "said back": lambda: chance.choice(mine),
        "moved here": lambda: msgspec.structs.replace(chance.choice(messages), slot=slot),
        "moved here from another run": lambda: msgspec.structs.replace(chance.choice(elsewhere), slot=slot),
        "signed by nobody": lambda: Envelope(slot, chance.randbytes(chance.choice([0, 32, 63, 64, 65])), body),
        "signed by another": lambda: Envelope(slot, _signature(MALLORY, meeting.run, slot, me, body), body),
        "signed with the identity of another run": lambda: Envelope(
            slot, _signature(TELECOM if me == "bank" else BANK, other.run, slot, me, body), body
        ),
        "an old signature": lambda: Envelope(slot, chance.choice(messages).signature, body),
        "ahead of its turn": lambda: Envelope(slot.replace(f"/{number}", f"/{number + 1}"), chance.randbytes(64), body),
        "a head": lambda: Head(next(f.note for f in map(_decoded, frames) if isinstance(f, Head))),
        "an opening": lambda: Opened(chance.randrange(9), party.notary.credential()),
    }
    while True:
        for name, make in ways.items():
            frame = msgspec.msgpack.encode(make())
            yield name, frame
            yield f"{name}, cut", frame[: chance.randrange(len(frame))]


def _decoded(frame: bytes) -> Frame:
    found: Frame = msgspec.msgpack.decode(frame, type=Frame)
    return found


def _signature(who: Identity, run: str, slot: str, receiver: str, body: bytes) -> bytes:
    sender = "telecom" if receiver == "bank" else "bank"
    statement = Statement(run, slot, sender, receiver, "Hello", digest_of(body).hex(), len(body))
    return bytes.fromhex(sign_envelope(who.entry_key(run), statement).sig)


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
    own = [json.loads(found.note) for found in map(_decoded, meeting.frames(me)) if isinstance(found, Head)]
    elsewhere = [json.loads(found.note) for found in map(_decoded, other.frames(me)) if isinstance(found, Head)]
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
    old = [f.line for f in map(_decoded, meeting.frames("bank")) if isinstance(f, Cosignature)]
    elsewhere = [f.line for f in map(_decoded, other.frames("bank")) if isinstance(f, Cosignature)]
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
