"""A hostile peer for any role: the frames of an honest run, played to the role again with damage done to them.

    tapes = record({"bank": lambda peers: active(peers["telecom"], ...), "telecom": lambda peers: ...},
                   pairs=[("bank", "telecom")])
    fate = play(tapes["bank"], role)                      the honest run again
    fate = play(tapes["bank"].replace(place, body), role) one message replaced
    assert_harmless(tapes["bank"], role)                  silence after each frame, wrong order, lies of the right type
    @given(damage(tapes["bank"]))                         random bytes, flipped bytes, cuts

A role is a function of its channels by peer, so that it can be started again. Roles are deterministic; thus the
recorded frames still answer what the role says, up to the damage.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from hypothesis import strategies as st

from vfl.channel import Channel, lockstep
from vfl.desk import Desk, Envelope, Frame, MemoryLink, MemoryTranscript, NoNotary, memory_links
from vfl.errors import AgreementError, BrokenPromise, ProtocolError, VflError
from vfl.wire import Message, pack, unpack

Role = Callable[[Mapping[str, Channel]], Coroutine[int, None, Any]]
Change = Callable[[Any], Message]
Place = tuple[str, int]  # peer and frame number


class RecordingLink:
    """Keeps every frame it hands out."""

    full = False

    def __init__(self, link: MemoryLink) -> None:
        self.link = link
        self.frames: list[bytes] = []

    def push(self, frame: bytes) -> None:
        self.link.push(frame)

    def pull(self) -> bytes | None:
        frame = self.link.pull()
        if frame is not None:
            self.frames.append(frame)
        return frame


@dataclass(frozen=True)
class Tape:
    """All that one party heard in an honest run."""

    me: str
    frames: Mapping[str, tuple[bytes, ...]]  # by peer
    transcript: MemoryTranscript
    result: Any

    def messages(self) -> list[tuple[Place, Envelope]]:
        """Where the messages are, and what they were."""
        found = []
        for peer, frames in self.frames.items():
            for number, frame in enumerate(frames):
                said: Frame = msgspec.msgpack.decode(frame, type=Frame)
                if isinstance(said, Envelope):
                    found.append(((peer, number), said))
        return found

    def place(self, kind: str, nth: int = 0) -> Place:
        """Where the nth message of a kind is, by class name."""
        return [place for place, said in self.messages() if said.slot.split("/")[2] == kind][nth]

    def at(self, place: Place) -> Envelope:
        """The message at a place."""
        return dict(self.messages())[place]

    def replace(self, place: Place, body: bytes) -> Tape:
        """Another body in the same envelope."""
        said = self.at(place)
        return self.reframe(place, msgspec.msgpack.encode(Envelope(said.slot, said.signature, body)))

    def reframe(self, place: Place, *frames: bytes) -> Tape:
        """Other frames, or none, in place of one."""
        peer, number = place
        kept = self.frames[peer]
        cut = (*kept[:number], *frames, *kept[number + 1 :])
        return Tape(self.me, {**self.frames, peer: cut}, self.transcript, self.result)

    def silent_after(self, place: Place) -> Tape:
        """The peer says nothing more from this frame on."""
        peer, number = place
        return Tape(self.me, {**self.frames, peer: self.frames[peer][:number]}, self.transcript, self.result)


def record(cast: Mapping[str, Role], pairs: Sequence[tuple[str, str]]) -> dict[str, Tape]:
    """Run everybody honestly; what each one heard, by name."""
    desks = {name: Desk(name, MemoryTranscript(), NoNotary()) for name in cast}
    links: dict[str, dict[str, RecordingLink]] = {name: {} for name in cast}
    for a, b in pairs:
        links[a][b], links[b][a] = (RecordingLink(end) for end in memory_links())
    channels = {me: {p: desks[me].channel(p, link) for p, link in links[me].items()} for me in cast}
    results = lockstep({name: desks[name].run(role(channels[name])) for name, role in cast.items()})
    return {
        name: Tape(
            name,
            {peer: tuple(link.frames) for peer, link in links[name].items()},
            _memory(desks[name]),
            results[name],
        )
        for name in cast
    }


def _memory(desk: Desk) -> MemoryTranscript:
    assert isinstance(desk.transcript, MemoryTranscript)
    return desk.transcript


def play(tape: Tape, role: Role) -> Any:
    """Let a role hear a tape: its result, or the ProtocolError or AgreementError it ended in. Others go up."""
    desk = Desk(tape.me, MemoryTranscript(), NoNotary())
    channels: dict[str, Channel] = {p: desk.channel(p, MemoryLink(list(f), [])) for p, f in tape.frames.items()}
    try:
        return lockstep({tape.me: desk.run(role(channels))})[tape.me]
    except (ProtocolError, AgreementError) as error:
        fate = error
    # Nobody has been heard when a link fails to open or a driver sees that all wait.
    unheard = "silence" in str(fate) or "Opened" in str(fate)
    assert unheard or isinstance(fate, AgreementError) or fate.peer in tape.frames, f"nobody is named: {fate}"
    return fate


def changed(**fields: Any) -> Change:
    """A message with these fields instead of its own."""
    return lambda said: msgspec.structs.replace(said, **fields)


def fate_of(tape: Tape, kind: type[Message], change: Change, role: Role) -> Any:
    """How a role ends that hears the first message of a kind changed."""
    place = tape.place(kind.__name__)
    return play(tape.replace(place, pack(change(unpack(kind, tape.at(place).body)))), role)


def assert_refused(tape: Tape, kind: type[Message], change: Change, role: Role, sentence: str) -> None:
    """The peer that says so broke its promise, and the error says how."""
    fate = fate_of(tape, kind, change, role)
    assert isinstance(fate, BrokenPromise), fate
    assert fate.peer == tape.place(kind.__name__)[0]
    assert sentence in str(fate)


def lies(tape: Tape, kinds: Mapping[str, type[Message]] | None = None) -> Iterator[tuple[Place, Message]]:
    """Well-formed messages with one field changed to something else of its type."""
    classes = kinds or message_classes()
    for place, said in tape.messages():
        message = msgspec.msgpack.decode(said.body, type=classes[said.slot.split("/")[2]])
        for name in message.__struct_fields__:
            for value in _others(getattr(message, name)):
                yield place, msgspec.structs.replace(message, **{name: value})


def message_classes(base: type[Message] = Message) -> dict[str, type[Message]]:
    """Every message class that has been imported, by name."""
    found = {base.__name__: base}
    for kind in base.__subclasses__():
        found |= message_classes(kind)
    return found


def _others(value: Any) -> list[Any]:
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int):
        return [other for other in (0, -1, value - 1, value + 1, 2**31, 2**63 - 1, 2**64 - 1) if other != value]
    if isinstance(value, float):
        return [0.0, -value, float("nan"), float("inf"), 1e308]
    if isinstance(value, bytes):
        n = len(value)
        turned = [value[1:], value[:-1], b"", value * 2, bytes(n), b"\xff" * n, value[::-1], value + b"\0"]
        return [other for other in turned if other != value]
    if isinstance(value, str):
        return [other for other in ("", value + "x", "\0", "x" * 10_000) if other != value]
    if isinstance(value, list | tuple):
        kind = type(value)
        turned_lists = [kind(), value[1:], value[:-1], value * 2, value[::-1]]
        inner = [kind([*value[:-1], other]) for other in _others(value[-1])] if value else []
        return [other for other in turned_lists + inner if other != value]
    if isinstance(value, dict):
        return [{}] if value else []
    return []


def assert_harmless(tape: Tape, role: Role) -> None:
    """Silence from every frame on, a frame left out, two swapped, each lie: no foreign error ever comes out."""
    for peer, frames in tape.frames.items():
        for number in range(len(frames)):
            fate = play(tape.silent_after((peer, number)), role)
            assert isinstance(fate, VflError), f"a result although {peer} fell silent at frame {number}"
            play(tape.reframe((peer, number)), role)
            if number + 1 < len(frames):
                swapped = tape.reframe((peer, number), frames[number + 1], frames[number])
                play(swapped.reframe((peer, number + 2)), role)
    for place, message in lies(tape):
        try:
            body = pack(message)
        except (OverflowError, msgspec.EncodeError):
            continue
        play(tape.replace(place, body), role)


@st.composite
def damage(draw: st.DrawFn, tape: Tape) -> Tape:
    """A tape with one message replaced by random bytes, with bytes changed, cut short or lengthened."""
    place, said = draw(st.sampled_from(tape.messages()))
    body = said.body
    way = draw(st.sampled_from(["random", "flip", "cut", "more", "frame"]))
    if way == "random":
        return tape.replace(place, draw(st.binary(max_size=200)))
    if way == "frame":
        return tape.reframe(place, draw(st.binary(max_size=200)))
    if way == "cut":
        return tape.replace(place, body[: draw(st.integers(0, max(0, len(body) - 1)))])
    if way == "more":
        return tape.replace(place, body + draw(st.binary(min_size=1, max_size=40)))
    changed = bytearray(body)
    for _ in range(draw(st.integers(1, 4))):
        changed[draw(st.integers(0, len(body) - 1))] ^= draw(st.integers(1, 255))
    return tape.replace(place, bytes(changed))
