"""A party's side of one run: live channels that record, notarise and move messages, and resume where a run stopped.

The `Desk` writes every message to the party's transcript, has the `Notary` turn it into a ledger entry and a
signature before it leaves (or before it is acted upon), and knows where the run stands. A transcript holds received
messages whole and sent messages by digest: sent ones are said again from data and seed.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

import msgspec

from vfl.channel import Idle, Link, Notary, Record, Step, Transcript, digest_of, no_work, same_again, wait
from vfl.errors import Malformed, ProtocolError, Unexpected
from vfl.wire import MAX_MESSAGE, Blinds, M, Message, pack, unblinded, unpack

R = TypeVar("R")
MAX_FRAME = MAX_MESSAGE + 4096  # bytes: a message and its envelope


class Opened(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag=True, omit_defaults=True):
    """First frame of a link: how many messages of yours I hold already (0 unless a run is resumed), and who I am."""

    received: Annotated[int, msgspec.Meta(ge=0)]
    credential: bytes
    challenges: Annotated[
        list[str], msgspec.Meta(max_length=64)
    ] = []  # slots of yours that I heard while we were apart


class Envelope(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag=True):
    """A message with its place and its sender's signature."""

    slot: str
    signature: bytes
    body: bytes


class Head(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag=True):
    """A ledger head at a round boundary."""

    note: bytes


class Cosignature(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag=True):
    """The countersignature of the head just received."""

    line: bytes


Frame = Opened | Envelope | Head | Cosignature
F = TypeVar("F", Opened, Envelope, Head, Cosignature)


@dataclass
class Traffic:
    """Bytes of messages in one phase, in each direction."""

    sent: int = 0
    received: int = 0


class Desk:
    """A party's side of one run: its channels, transcript, notary, and where it stands."""

    def __init__(
        self, me: str, transcript: Transcript, notary: Notary, *, leads: bool = True, at_once: bool = True
    ) -> None:
        """`leads`: shows its heads first at a round boundary, as the active party does, rather than in answer.

        `at_once`: whether a false message ends the run when it is found, because it is signed by itself.
        """
        self.me = me
        self.leads, self.at_once = leads, at_once
        self.suspicions: list[ProtocolError] = []  # what ends the run when this round is countersigned
        self.phase = "start"
        self.round = 0
        self.moves = 0  # frames taken in so far
        self.traffic: dict[str, Traffic] = {}
        self.last_heard: tuple[str, str] = ("", "")  # peer, slot: who is meant when a `require` fails
        self.on_enter: Callable[[str, int], None] = lambda phase, round: None
        self.blind: Blinds = unblinded  # what messages are blinded with; set it before any is sent
        self.ahead: Idle = no_work  # see `Channel.meanwhile`
        self.transcript = transcript
        self.notary = notary
        self.keeps: frozenset[str] = frozenset()  # kinds of own messages that evidence against a peer needs
        self.kept: dict[str, Message] = {}  # those of the latest round of each phase, by slot
        self.due: list[LiveChannel] = []  # peers that were shown our head and are to countersign it
        self._past: dict[str, list[Record]] = {}
        for record in transcript.records():
            self._past.setdefault(record.peer, []).append(record)

    def channel(self, peer: str, link: Link) -> LiveChannel:
        """A channel to `peer` over `link`; on a resumed run it first goes through what is on record."""
        return LiveChannel(self, peer, link, self._past.get(peer, []))

    def enter(self, phase: str, round: int) -> None:
        """Take note of the place the run has reached."""
        if (phase, round) != (self.phase, self.round):
            self.phase, self.round = phase, round
            self.on_enter(phase, round)

    def count(self, phase: str) -> Traffic:
        """The traffic of `phase` so far."""
        return self.traffic.setdefault(phase, Traffic())

    def keep(self, step: Step, message: Message) -> None:
        """Hold on to an own message, and let those of earlier rounds of its phase go."""
        past, now = f"{step.phase}/", f"{step.phase}/{step.round}/"
        for slot in [slot for slot in self.kept if slot.startswith(past) and not slot.startswith(now)]:
            del self.kept[slot]
        self.kept[step.slot] = message

    def idle(self) -> bool:
        """Do a little of what the roles have for the time that they wait. Whether some is left."""
        return self.ahead()

    async def settle(self) -> None:
        """End the round with all peers that were shown our head: theirs are countersigned at once, and ours by them.

        Nothing is said before it is done; to wait for it only then lets several peers share one write to the ledger.
        """
        due, self.due = self.due, []
        if due:
            heads = {channel.peer: await channel.their_head() for channel in due}
            lines = self.notary.countersign(heads)
            for channel in due:
                channel.show_cosignature(lines[channel.peer])
            for channel in due:
                await channel.take_cosignature()
            if self.suspicions:
                raise self.suspicions[0]

    def run(self, role: Coroutine[int, None, R]) -> Coroutine[int, None, R]:
        """`role` to its last countersignature.

        A ProtocolError in it that names no peer becomes the fault of whoever was heard last.
        """
        return _Blaming(role, self)


class _Blaming(Coroutine[int, None, R]):
    """A coroutine around another that can be closed before it was ever started."""

    def __init__(self, role: Coroutine[int, None, R], desk: Desk) -> None:
        self._role, self._desk = role, desk
        self._whole: Coroutine[int, None, R] = self._settled()

    async def _settled(self) -> R:
        result = await self._role
        await self._desk.settle()
        return result

    def send(self, value: None) -> int:
        try:
            return self._whole.send(value)
        except ProtocolError as error:
            peer, step = self._desk.last_heard
            if not error.step and error.peer in ("", peer):
                error.peer, error.step = peer, step
            raise

    def throw(self, *reason: Any) -> int:
        return self._whole.throw(*reason)

    def close(self) -> None:
        self._whole.close()
        self._role.close()

    def __await__(self) -> Generator[int, None, R]:
        return self._whole.__await__()


class LiveChannel:
    """A channel that packs, records, notarises and moves messages. On a resumed run, the past comes first."""

    def __init__(self, desk: Desk, peer: str, link: Link, past: list[Record]) -> None:
        self.peer = peer
        self._desk = desk
        self._link = link
        self._transcript = desk.transcript
        self._notary = desk.notary
        self._phase, self._round = "start", 0
        self._boundary = ""  # the latest round boundary
        self._sent = self._received = 0
        self._past_sent = [record for record in past if record.sent]
        self._past_received = [record for record in past if not record.sent]
        self._peer_has: int | None = None  # how many of our messages the peer holds; None until it said so
        heard = list(self._notary.heard(peer))
        self._push(Opened(len(self._past_received), self._notary.credential(), heard))

    def enter(self, phase: str, round: int = 0) -> None:
        self._phase, self._round = phase, round
        self._desk.enter(phase, round)

    async def send(self, message: Message) -> None:
        await self._desk.settle()
        held = await self._held_by_peer()
        while self._link.full:
            await wait(self._desk.moves)
        step = Step(self._phase, self._round, type(message).__name__, self._desk.me, self.peer, self._sent)
        body = pack(message, self._desk.blind(step.slot))
        digest = digest_of(body)
        if self._sent < len(self._past_sent):
            same_again(self._past_sent[self._sent], step, digest, self._desk.me)
        else:
            self._transcript.append(Record(True, self.peer, step.slot, digest, size=len(body)))
        if step.kind in self._desk.keeps:
            self._desk.keep(step, message)
        signature = self._notary.sending(step, digest, len(body))
        if self._sent >= held:
            self._push(Envelope(step.slot, signature, body))
        self._sent += 1
        self._desk.count(self._phase).sent += len(body)

    async def recv(self, *kinds: type[M]) -> M:
        await self._desk.settle()
        await self._held_by_peer()
        due = {self._step(kind): kind for kind in kinds}
        self._desk.last_heard = (self.peer, " or ".join(step.slot for step in due))
        past = self._received < len(self._past_received)
        envelope = _from_record(self._past_received[self._received]) if past else await self._frame(Envelope)
        step = next((step for step in due if step.slot == envelope.slot), None)
        if step is None:
            raise Unexpected(f"a message for {envelope.slot[:120]!r} where {self._desk.last_heard[1]} is due")
        self._desk.last_heard = (self.peer, step.slot)
        message = unpack(due[step], envelope.body)
        digest = digest_of(envelope.body)
        self._notary.received(step, digest, len(envelope.body), envelope.signature)
        if not past:
            self._transcript.append(Record(False, self.peer, step.slot, digest, envelope.body, envelope.signature))
        self._received += 1
        self._desk.count(self._phase).received += len(envelope.body)
        return message

    def _step(self, kind: type[Message]) -> Step:
        return Step(self._phase, self._round, kind.__name__, self.peer, self._desk.me, self._received)

    async def checkpoint(self) -> None:
        await self._held_by_peer()
        if self in self._desk.due:
            await self._desk.settle()
        self._boundary = f"{self._phase}/{self._round}/checkpoint"
        if self._desk.leads:
            self._push(Head(self._notary.head(self.peer)))
            self._desk.due.append(self)
            return
        head, line = self._notary.answer(self.peer, await self.their_head())
        self._push(Head(head))
        self.show_cosignature(line)
        await self.take_cosignature()

    async def their_head(self) -> bytes:
        """The head that the peer shows at a round boundary."""
        self._desk.last_heard = (self.peer, self._boundary)
        return (await self._frame(Head)).note

    def show_cosignature(self, line: bytes) -> None:
        """Tell the peer that its head was countersigned."""
        self._push(Cosignature(line))

    async def take_cosignature(self) -> None:
        """Wait for the peer's countersignature of our head, and keep it."""
        self._desk.last_heard = (self.peer, self._boundary)
        self._notary.countersigned(self.peer, (await self._frame(Cosignature)).line)

    def _push(self, frame: Frame) -> None:
        self._link.push(msgspec.msgpack.encode(frame))

    def suspect(self, error: ProtocolError) -> None:
        error.peer, error.step = self._desk.last_heard
        if self._desk.at_once:
            raise error
        self._desk.suspicions.append(error)

    def meanwhile(self, work: Idle) -> None:
        self._desk.ahead = work

    async def _held_by_peer(self) -> int:
        if self._peer_has is None:
            self._desk.last_heard = (self.peer, "opening")
            opened = await self._frame(Opened)
            self._notary.introduce(self.peer, opened.credential)
            self._notary.was_heard(self.peer, opened.challenges)
            self._peer_has = opened.received
        return self._peer_has

    async def _frame(self, kind: type[F]) -> F:
        while (frame := self._link.pull()) is None:
            await wait(self._desk.moves)
        self._desk.moves += 1
        return _decode(frame, kind)


def _from_record(record: Record) -> Envelope:
    return Envelope(record.slot, record.signature, record.body)


def _decode(frame: bytes, kind: type[F]) -> F:
    if len(frame) > MAX_FRAME:
        raise Malformed(f"a frame of {len(frame)} bytes is larger than the limit of {MAX_FRAME}")
    try:
        found: Frame = msgspec.msgpack.decode(frame, type=Frame)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise Malformed(f"no well-formed frame: {error}") from None
    if not isinstance(found, kind):
        raise Unexpected(f"a frame {type(found).__name__} where {kind.__name__} is due")
    return found


class MemoryTranscript:
    """A transcript in memory, for tests."""

    def __init__(self, past: Iterable[Record] = ()) -> None:
        self._past = list(past)
        self.all = list(self._past)

    def append(self, record: Record) -> None:
        self.all.append(record)

    def records(self) -> Iterable[Record]:
        return self._past


class NoNotary:
    """Keeps no record: for tests of protocols alone."""

    def credential(self) -> bytes:
        return b""

    def introduce(self, peer: str, credential: bytes) -> None: ...

    def sending(self, step: Step, digest: bytes, size: int) -> bytes:
        return b""

    def received(self, step: Step, digest: bytes, size: int, signature: bytes) -> None: ...

    def heard(self, peer: str) -> list[str]:
        return []

    def was_heard(self, peer: str, slots: Sequence[str]) -> None: ...

    def head(self, peer: str) -> bytes:
        return b""

    def countersign(self, heads: Mapping[str, bytes]) -> Mapping[str, bytes]:
        return dict.fromkeys(heads, b"")

    def answer(self, peer: str, head: bytes) -> tuple[bytes, bytes]:
        return b"", b""

    def countersigned(self, peer: str, cosignature: bytes) -> None: ...


class MemoryLink:
    """One end of an in-process pair; see `memory_links`."""

    full = False

    def __init__(self, inbox: list[bytes], outbox: list[bytes]) -> None:
        self._inbox = inbox
        self._outbox = outbox

    def push(self, frame: bytes) -> None:
        self._outbox.append(frame)

    def pull(self) -> bytes | None:
        return self._inbox.pop(0) if self._inbox else None


def memory_links() -> tuple[MemoryLink, MemoryLink]:
    """Two ends of a link inside one process."""
    there: list[bytes] = []
    back: list[bytes] = []
    return MemoryLink(back, there), MemoryLink(there, back)
