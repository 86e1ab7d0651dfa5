"""All a role knows of the world: a `Channel` to one peer, and `lockstep`, which drives roles by hand.

A role is an `async def` that awaits nothing but its channels, so it needs no event loop: whoever holds the coroutine
calls `.send(None)` again whenever bytes may have arrived (`lockstep` here, sockets in `vfl.transport`).

    role  <->  Channel  <->  Desk (transcript, notary)  <->  Link (bytes to one peer)

`vfl.desk` has the live channel, `vfl.replay` the one that re-executes a recorded run.
"""

from __future__ import annotations

import hashlib
import types
from collections.abc import Callable, Coroutine, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import msgspec

from vfl.errors import ProtocolError, Unexpected
from vfl.wire import M, Message

R = TypeVar("R")
Idle = Callable[[], bool]
"""Does a little work ahead, for less than a second, and says whether some is left."""


def no_work() -> bool:
    """The idle work of a party that has none."""
    return False


class Channel(Protocol):
    """Typed messages to and from one peer, in order."""

    @property
    def peer(self) -> str:
        """The peer's name in the agreement."""
        ...

    def enter(self, phase: str, round: int = 0) -> None:
        """Name the place in the protocol that the next messages belong to; both ends must agree on it."""
        ...

    async def send(self, message: Message) -> None: ...

    async def recv(self, *kinds: type[M]) -> M:
        """The next message, which must be one of `kinds`. Raises ProtocolError for anything else."""
        ...

    async def checkpoint(self) -> None:
        """A round boundary: both ends sign their ledger heads and countersign each other's before going on."""
        ...

    def suspect(self, error: ProtocolError) -> None:
        """The peer's latest message is false as `error` says: it ends the run as soon as it is the peer's word.

        Where every message is signed that is at once: `error` is raised. Else it is raised at the next round boundary,
        when the peer's account covers the message; until then the role goes on without it, and shows nothing.
        """
        ...

    def meanwhile(self, work: Idle) -> None:
        """What may be done from now on whenever this party waits; `no_work` ends it.

        Whether and how often it is done depends on the driver and on the network, so no byte may depend on it.
        """
        ...


@dataclass(frozen=True)
class Step:
    """One position in a run. At most one digest is ever signed for it."""

    phase: str
    round: int
    kind: str
    sender: str
    receiver: str
    number: int  # position in the whole run among the messages of this direction between these two parties

    @classmethod
    def read(cls, slot: str) -> Step:
        """The position that `slot` names. Raises ValueError for other text."""
        phase, round, kind, ends, number = slot.split("/")
        sender, _, receiver = ends.partition(">")
        return cls(phase, int(round), kind, sender, receiver, int(number))

    @property
    def slot(self) -> str:
        """For example `train/3/NodeQuery/bank>telecom/41`."""
        return f"{self.phase}/{self.round}/{self.kind}/{self.sender}>{self.receiver}/{self.number}"


class Notary(Protocol):
    """Puts messages on record. Sees steps, sizes and digests; keeps no contents."""

    def credential(self) -> bytes:
        """What a peer needs to check our signatures: sent once, when a link opens."""
        ...

    def introduce(self, peer: str, credential: bytes) -> None:
        """Check the credential of `peer` against the identity we expect. Raises ProtocolError if it is false."""
        ...

    def sending(self, step: Step, digest: bytes, size: int) -> bytes:
        """Record a message about to leave; returns the signature that goes with it, if each message has one."""
        ...

    def received(self, step: Step, digest: bytes, size: int, signature: bytes) -> None:
        """Check the peer's signature and record its message. Raises ProtocolError if the signature is false."""
        ...

    def heard(self, peer: str) -> Sequence[str]:
        """Slots of the challenges of `peer` that we have heard; said when a link opens."""
        ...

    def was_heard(self, peer: str, slots: Sequence[str]) -> None:
        """`peer` has heard these challenges of ours. Raises ProtocolError for others."""
        ...

    def head(self, peer: str) -> bytes:
        """Our newest signed checkpoint, with what `peer` needs to check it.

        That is a proof from the last one it saw, our account of the messages between us, and what others cosigned.
        """
        ...

    def countersign(self, heads: Mapping[str, bytes]) -> Mapping[str, bytes]:
        """Check heads by peer and cosign them. Raises ProtocolError where one contradicts what we know."""
        ...

    def answer(self, peer: str, head: bytes) -> tuple[bytes, bytes]:
        """The same for one head, together with our own head for that peer: (head, cosignature)."""
        ...

    def countersigned(self, peer: str, cosignature: bytes) -> None:
        """Check and keep the cosignature of `peer` under the head that it was shown."""
        ...


class Link(Protocol):
    """Moves frames to and from one peer and knows no message."""

    def push(self, frame: bytes) -> None: ...

    @property
    def full(self) -> bool:
        """Whether so much waits to leave that whoever has more to say should wait."""
        ...

    def pull(self) -> bytes | None:
        """The next frame that has arrived, or None."""
        ...


class Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One line of a transcript. `body` is kept for received messages only."""

    sent: bool
    peer: str
    slot: str
    digest: bytes
    body: bytes = b""
    signature: bytes = b""
    size: int = 0  # of a sent message


class Transcript(Protocol):
    """A party's ordered record of one run."""

    def append(self, record: Record) -> None: ...

    def records(self) -> Iterable[Record]:
        """What was recorded before this process started (empty for a new run)."""
        ...


def digest_of(body: bytes) -> bytes:
    """SHA-256 of a packed message: what envelopes, ledgers and transcripts name it by."""
    return hashlib.sha256(body).digest()


def same_again(record: Record, step: Step, digest: bytes, me: str) -> None:
    """Demand that a message about to be said is the recorded one. Raises ProtocolError naming `me` and the step."""
    if record.slot != step.slot:
        raise ProtocolError(f"did not say this: the record has {record.slot}", peer=me, step=step.slot)
    if record.digest != digest:
        raise ProtocolError(
            "did not say this: the bytes computed from data, seed and received messages differ from the record",
            peer=me,
            step=step.slot,
            remedy="the data, the seed, the parameters or the transcript changed since the run",
        )


@types.coroutine
def wait(moves: int) -> Generator[int, None, None]:
    """Hand control back; `moves` tells the driver whether anything happened since the last time."""
    yield moves


Clocked = Callable[[str, Callable[[], None]], None]


def lockstep(roles: Mapping[str, Coroutine[int, None, R]], around: Clocked | None = None) -> dict[str, R]:
    """Drive `roles` in turn until all have ended; deterministic, no event loop. Results by name.

    `around(name, resume)` may wrap each resumption, to time it. A role that raises ends the run: the others are
    closed and the error goes up. When nobody moves any more, Unexpected names who waits.
    """
    done: dict[str, R] = {}
    moves = dict.fromkeys(roles, -1)

    def resume(name: str) -> bool:
        before = moves[name]
        try:
            moves[name] = roles[name].send(None)
        except StopIteration as stop:
            done[name] = stop.value
        return name in done or moves[name] != before

    def timed(name: str) -> bool:
        moved: list[bool] = []
        (around or _plainly)(name, lambda: moved.append(resume(name)))
        return moved[0]

    try:
        while waiting := [name for name in roles if name not in done]:
            moved = [timed(name) for name in waiting]
            if not any(moved):
                raise Unexpected(f"silence: {', '.join(waiting)} wait for messages that nobody will send")
    finally:
        for role in roles.values():
            role.close()
    return {name: done[name] for name in roles}


def _plainly(name: str, resume: Callable[[], None]) -> None:
    resume()
