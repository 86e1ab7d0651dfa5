"""A live desk with a notary, and an attacker who has the wire and no key: forged, replayed and moved frames.

The attacker knows every frame of this run and of another one of the same parties, and may sign with keys of its own.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import msgspec

from ledger.envelope import Envelope as Statement
from ledger.envelope import sign_envelope
from ledger.keys import Identity
from ledger.store import MemoryStore
from vfl.channel import digest_of, lockstep
from vfl.clock import FixedClock
from vfl.desk import Desk, Envelope, Frame, Head, LiveChannel, MemoryTranscript, Opened, memory_links
from vfl.errors import ProtocolError
from vfl.notary import LedgerNotary, PeerKeys
from vfl.protocols.freeze import ModelShare
from vfl.protocols.handshake import Hello
from vfl.wire import Message, pack

BANK, TELECOM, MALLORY = (Identity(name, bytes([n]) * 32) for n, name in enumerate(("bank", "telecom", "mallory"), 1))
KEYS = {one.name: PeerKeys(one.identity.verifying, one.witness.verifying) for one in (BANK, TELECOM)}
ROUNDS = 3


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
    messages = [found for found in map(decoded, frames) if isinstance(found, Envelope)]
    elsewhere = [found for found in map(decoded, other.frames(me)) if isinstance(found, Envelope)]
    mine = [found for found in map(decoded, meeting.frames(party.peer)) if isinstance(found, Envelope)]
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
        "a head": lambda: Head(next(f.note for f in map(decoded, frames) if isinstance(f, Head))),
        "an opening": lambda: Opened(chance.randrange(9), party.notary.credential()),
    }
    while True:
        for name, make in ways.items():
            frame = msgspec.msgpack.encode(make())
            yield name, frame
            yield f"{name}, cut", frame[: chance.randrange(len(frame))]


def decoded(frame: bytes) -> Frame:
    found: Frame = msgspec.msgpack.decode(frame, type=Frame)
    return found


def _signature(who: Identity, run: str, slot: str, receiver: str, body: bytes) -> bytes:
    sender = "telecom" if receiver == "bank" else "bank"
    statement = Statement(run, slot, sender, receiver, "Hello", digest_of(body).hex(), len(body))
    return bytes.fromhex(sign_envelope(who.entry_key(run), statement).sig)
