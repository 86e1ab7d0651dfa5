"""Roles driven by hand, desks that record, channels to the past, and runs that go on where they were stopped."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec
import pytest
from effort import examples
from hypothesis import given
from hypothesis import strategies as st
from memory_run import ACTIVE, Dying, Told, World, clear_schemes, play

from vfl.channel import Channel, Record, Step, digest_of, lockstep, same_again, wait
from vfl.desk import (
    MAX_FRAME,
    Cosignature,
    Desk,
    Envelope,
    Head,
    MemoryLink,
    MemoryTranscript,
    NoNotary,
    Opened,
    memory_links,
)
from vfl.errors import BrokenPromise, Malformed, ProtocolError, Unexpected, VflError
from vfl.replay import ReplayChannel
from vfl.wire import Message, pack, require


class Poll(Message, frozen=True):
    number: int


class Tell(Message, frozen=True):
    number: int


async def asker(channel: Channel, times: int = 3) -> list[int]:
    answers = []
    channel.enter("talk")
    for number in range(times):
        channel.enter("talk", number)
        await channel.send(Poll(number))
        answers.append((await channel.recv(Tell)).number)
        await channel.checkpoint()
    return answers


async def teller(channel: Channel, times: int = 3, factor: int = 10) -> None:
    for number in range(times):
        channel.enter("talk", number)
        asked = await channel.recv(Poll)
        require(asked.number == number, "questions come in order")
        await channel.send(Tell(factor * asked.number))
        await channel.checkpoint()


def pair(
    past: dict[str, list[Record]] | None = None, notary: type[NoNotary] = NoNotary
) -> tuple[dict[str, Desk], dict[str, Channel]]:
    """Two desks with a link between them."""
    transcripts = {name: MemoryTranscript((past or {}).get(name, [])) for name in ("a", "b")}
    desks = {name: Desk(name, transcript, notary()) for name, transcript in transcripts.items()}
    ends = memory_links()
    return desks, {"a": desks["a"].channel("b", ends[0]), "b": desks["b"].channel("a", ends[1])}


def talk(past: dict[str, list[Record]] | None = None, factor: int = 10) -> tuple[dict[str, Any], dict[str, Any]]:
    """Results of both, and their transcripts."""
    desks, channels = pair(past)
    a, b = desks["a"].run(asker(channels["a"])), desks["b"].run(teller(channels["b"], factor=factor))
    results = lockstep({"a": a, "b": b})
    return results, {name: desk.transcript.all for name, desk in desks.items()}  # type: ignore[attr-defined]


# Lockstep


def test_results_come_by_name() -> None:
    assert talk()[0] == {"a": [0, 10, 20], "b": None}


def test_roles_take_turns_in_the_order_given() -> None:
    turns: list[str] = []

    def around(name: str, resume: Callable[[], None]) -> None:
        turns.append(name)
        resume()

    def once() -> list[str]:
        turns.clear()
        channels = pair()[1]
        lockstep({"a": asker(channels["a"]), "b": teller(channels["b"])}, around)
        return [*turns]

    first = once()
    assert first == once()
    assert first[:4] == ["a", "b", "a", "b"]


def test_when_all_wait_the_silence_is_named() -> None:
    _, channels = pair()

    async def waits(channel: Channel) -> None:
        await channel.recv(Poll)

    with pytest.raises(Unexpected, match="silence: a, b wait for messages that nobody will send"):
        lockstep({"a": waits(channels["a"]), "b": waits(channels["b"])})


def test_only_those_who_wait_are_named() -> None:
    desks, channels = pair()

    async def hasty(channel: Channel) -> None:
        channel.enter("talk")
        await channel.send(Poll(0))
        await channel.recv(Tell)

    with pytest.raises(Unexpected, match="silence: b wait for"):
        lockstep({"a": desks["a"].run(hasty(channels["a"])), "b": desks["b"].run(teller(channels["b"]))})


def test_roles_that_never_started_are_closed_cleanly() -> None:
    """A coroutine that is dropped unstarted warns, and warnings are errors here."""
    desks, channels = pair()
    ended: list[str] = []

    async def fails(channel: Channel) -> None:
        raise BrokenPromise("no")

    async def started(channel: Channel) -> None:
        try:
            await channel.recv(Poll)
        finally:
            ended.append("started")

    roles = {
        "a": started(channels["a"]),
        "b": desks["b"].run(fails(channels["b"])),
        "c": desks["a"].run(asker(channels["a"])),
        "d": teller(channels["b"]),
    }
    with pytest.raises(BrokenPromise):
        lockstep(roles)
    del roles
    gc.collect()
    assert ended == ["started"]


def test_a_role_that_waits_without_a_channel_is_silent() -> None:
    async def waits() -> None:
        while True:
            await wait(5)

    with pytest.raises(Unexpected, match="silence: x"):
        lockstep({"x": waits()})


# Desks


def test_a_transcript_has_received_messages_whole_and_sent_ones_by_digest() -> None:
    records = talk()[1]
    sent, heard = records["a"][0], records["b"][0]
    body = pack(Poll(0))
    assert (sent.sent, sent.peer, sent.slot, sent.body) == (True, "b", "talk/0/Poll/a>b/0", b"")
    assert (heard.sent, heard.peer, heard.slot, heard.body) == (False, "a", "talk/0/Poll/a>b/0", body)
    assert sent.digest == heard.digest == digest_of(body)
    assert [record.slot for record in records["a"]] == [record.slot for record in records["b"]]


def test_slots_count_messages_of_each_direction_over_the_whole_run() -> None:
    slots = [record.slot for record in talk()[1]["a"]]
    assert slots == [f"talk/{n}/{kind}/{n}" for n in range(3) for kind in ("Poll/a>b", "Tell/b>a")]
    assert len(set(slots)) == len(slots)


def test_traffic_is_counted_by_phase_and_places_are_told() -> None:
    desks, channels = pair()
    places: list[tuple[str, int]] = []
    desks["a"].on_enter = lambda phase, round: places.append((phase, round))
    lockstep({"a": asker(channels["a"]), "b": teller(channels["b"])})
    sizes = [sum(len(pack(Poll(n))) for n in range(3)), sum(len(pack(Tell(10 * n))) for n in range(3))]
    counted = [desks[name].count("talk") for name in ("a", "b")]
    assert [(c.sent, c.received) for c in counted] == [(sizes[0], sizes[1]), (sizes[1], sizes[0])]
    assert places == [("talk", 0), ("talk", 1), ("talk", 2)]


def test_a_broken_promise_names_who_was_heard_last() -> None:
    desks, channels = pair()

    async def liar(channel: Channel) -> None:
        channel.enter("talk")
        await channel.send(Poll(7))

    with pytest.raises(BrokenPromise, match=r"^a at talk/0/Poll/a>b/0: not so: questions come in order$"):
        lockstep({"a": desks["a"].run(liar(channels["a"])), "b": desks["b"].run(teller(channels["b"]))})


class Forger(NoNotary):
    """Signs by counting, and believes only the right count."""

    def __init__(self) -> None:
        self.log: list[tuple[str, str]] = []

    def credential(self) -> bytes:
        return b"card"

    def introduce(self, peer: str, credential: bytes) -> None:
        require(credential == b"card", "a card is shown")

    def sending(self, step: Step, digest: bytes, size: int) -> bytes:
        self.log.append(("sending", step.slot))
        return step.slot.encode() + digest

    def received(self, step: Step, digest: bytes, size: int, signature: bytes) -> None:
        require(signature == step.slot.encode() + digest, "the signature is right")
        self.log.append(("received", step.slot))

    def head(self, peer: str) -> bytes:
        return b"head for " + peer.encode()

    def countersign(self, heads: Mapping[str, bytes]) -> dict[str, bytes]:
        return {peer: b"seen " + head for peer, head in heads.items()}

    def answer(self, peer: str, head: bytes) -> tuple[bytes, bytes]:
        return self.head(peer), self.countersign({peer: head})[peer]

    def countersigned(self, peer: str, cosignature: bytes) -> None:
        require(cosignature == b"seen head for " + peer.encode(), "our own head is countersigned")


def test_the_notary_sees_every_message_once_and_every_checkpoint() -> None:
    desks, channels = pair(notary=Forger)
    lockstep({"a": asker(channels["a"]), "b": teller(channels["b"])})
    for name, desk in desks.items():
        assert isinstance(desk.notary, Forger)
        slots = [record.slot for record in desk.transcript.all]  # type: ignore[attr-defined]
        assert [slot for _, slot in desk.notary.log] == slots
        assert {way for way, slot in desk.notary.log if f"/{name}>" not in slot.replace("Poll", "")} == {"received"}


def test_a_message_that_the_notary_refuses_is_not_taken_in() -> None:
    desk = Desk("b", MemoryTranscript(), Forger())
    body = pack(Poll(0))
    frames = [Opened(0, b"card"), Envelope("talk/0/Poll/a>b/0", b"forged", body)]
    channel = desk.channel("a", MemoryLink([msgspec.msgpack.encode(frame) for frame in frames], []))
    with pytest.raises(BrokenPromise, match="the signature is right"):
        lockstep({"b": desk.run(teller(channel))})
    assert desk.transcript.all == []  # type: ignore[attr-defined]


BODY = pack(Poll(0))
SLOT = "talk/0/Poll/a>b/0"
FRAMES: dict[str, tuple[list[Any], type[ProtocolError], str]] = {
    "no opening": ([Envelope(SLOT, b"", BODY)], Unexpected, "a frame Envelope where Opened is due"),
    "two openings": ([Opened(0, b""), Opened(0, b"")], Unexpected, "a frame Opened where Envelope is due"),
    "a count below zero": ([Opened(-1, b"")], Malformed, "no well-formed frame"),
    "a head": ([Opened(0, b""), Head(b"")], Unexpected, "a frame Head where Envelope is due"),
    "a cosignature": ([Opened(0, b""), Cosignature(b"")], Unexpected, "a frame Cosignature where Envelope is due"),
    "no frame": ([Opened(0, b""), b""], Malformed, "no well-formed frame"),
    "no text": ([Opened(0, b""), b"\x81\xa4type\xa1\xff"], Malformed, "no well-formed frame"),
    "an endless one": ([Opened(0, b""), bytes(MAX_FRAME + 1)], Malformed, "larger than the limit"),
    "a deep one": ([Opened(0, b""), b"\x91" * 100_000], Malformed, "no well-formed frame"),
    "another kind": (
        [Opened(0, b""), Envelope("talk/0/Tell/a>b/0", b"", BODY)],
        Unexpected,
        "where talk/0/Poll/a>b/0",
    ),
    "another phase": (
        [Opened(0, b""), Envelope("walk/0/Poll/a>b/0", b"", BODY)],
        Unexpected,
        "where talk/0/Poll/a>b/0",
    ),
    "another round": (
        [Opened(0, b""), Envelope("talk/1/Poll/a>b/0", b"", BODY)],
        Unexpected,
        "where talk/0/Poll/a>b/0",
    ),
    "another sender": (
        [Opened(0, b""), Envelope("talk/0/Poll/c>b/0", b"", BODY)],
        Unexpected,
        "where talk/0/Poll/a>b/0",
    ),
    "another number": (
        [Opened(0, b""), Envelope("talk/0/Poll/a>b/1", b"", BODY)],
        Unexpected,
        "where talk/0/Poll/a>b/0",
    ),
    "another body": ([Opened(0, b""), Envelope(SLOT, b"", pack(Tell(0)))], Malformed, "no well-formed Poll"),
    "the same twice": ([Opened(0, b""), *[Envelope(SLOT, b"", BODY)] * 2], Unexpected, "Envelope where Head is due"),
}


@pytest.mark.parametrize("name", FRAMES)
def test_frames_that_are_not_due_are_refused_naming_peer_and_place(name: str) -> None:
    frames, error, sentence = FRAMES[name]
    desk = Desk("b", MemoryTranscript(), NoNotary())
    packed = [frame if isinstance(frame, bytes) else msgspec.msgpack.encode(frame) for frame in frames]
    channel = desk.channel("a", MemoryLink(packed, []))
    with pytest.raises(error, match=sentence) as caught:
        lockstep({"b": desk.run(teller(channel))})
    assert caught.value.peer == "a"
    assert caught.value.step


def test_one_of_several_kinds_may_be_due() -> None:
    desks, channels = pair()
    heard: list[str] = []

    async def says(channel: Channel) -> None:
        await channel.send(Tell(1))
        await channel.send(Poll(2))

    async def hears(channel: Channel) -> None:
        for _ in range(2):
            heard.append(type(await channel.recv(Poll, Tell)).__name__)

    lockstep({"a": desks["a"].run(says(channels["a"])), "b": desks["b"].run(hears(channels["b"]))})
    assert heard == ["Tell", "Poll"]


# Replay


def past(name: str, records: dict[str, list[Record]]) -> ReplayChannel:
    return ReplayChannel(name, {"a": "b", "b": "a"}[name], records[name])


def test_a_role_says_the_recorded_bytes_again() -> None:
    records = talk()[1]
    channel = past("a", records)
    assert lockstep({"a": asker(channel)}) == {"a": [0, 10, 20]}
    assert (channel.said, channel.heard, channel.left) == (3, 3, 0)


def test_a_role_that_says_something_else_is_named_with_the_step() -> None:
    records = talk()[1]
    with pytest.raises(ProtocolError, match=r"^b at talk/1/Tell/b>a/1: did not say this: the bytes") as caught:
        lockstep({"b": teller(past("b", records), factor=11)})
    assert caught.value.remedy


def test_what_is_left_or_missing_shows() -> None:
    records = talk()[1]
    short = past("a", records)
    lockstep({"a": asker(short, times=2)})
    assert short.left == 2
    with pytest.raises(ProtocolError, match=r"^a at talk/3/Poll/a>b/3: says more than is on record"):
        lockstep({"a": asker(past("a", records), times=4)})
    with pytest.raises(ProtocolError, match=r"^a at talk/2/Tell/b>a/2: expects more than is on record"):
        lockstep({"a": asker(past("a", {"a": records["a"][:-1]}))})


def test_a_recorded_message_for_another_place_shows() -> None:
    records = talk()[1]["a"]
    swapped = [records[0], records[3], records[2], records[1]]
    with pytest.raises(ProtocolError, match=r"^a at talk/0/Tell/b>a/0: the record has talk/1/Tell/b>a/1 next"):
        lockstep({"a": asker(past("a", {"a": swapped}))})
    with pytest.raises(ProtocolError, match=r"^a at talk/0/Poll/a>b/0: did not say this: the record has talk/1/Poll"):
        lockstep({"a": asker(past("a", {"a": [records[2], *records[1:2], records[0]]}))})


def test_the_comparison_is_of_place_and_digest() -> None:
    step = Step("talk", 0, "Poll", "a", "b", 0)
    same_again(Record(True, "b", step.slot, b"digest"), step, b"digest", "a")
    for record in (Record(True, "b", step.slot, b"other"), Record(True, "b", step.slot + "1", b"digest")):
        with pytest.raises(ProtocolError):
            same_again(record, step, b"digest", "a")


# Going on where a run was stopped


@pytest.mark.parametrize("a_has", range(7))
@pytest.mark.parametrize("b_has", range(7))
def test_two_parties_go_on_from_any_point_either_has_reached(a_has: int, b_has: int) -> None:
    results, records = talk()
    assert talk({"a": records["a"][:a_has], "b": records["b"][:b_has]}) == (results, records)


def test_a_party_that_comes_back_with_other_data_is_refused() -> None:
    records = talk()[1]
    with pytest.raises(ProtocolError, match=r"^b at talk/1/Tell/b>a/1: did not say this"):
        talk({"a": records["a"][:3], "b": records["b"]}, factor=11)


def test_a_peer_that_claims_to_hold_what_was_never_said_hears_nothing() -> None:
    desk = Desk("a", MemoryTranscript(), NoNotary())
    sent: list[bytes] = []
    channel = desk.channel("b", MemoryLink([msgspec.msgpack.encode(Opened(2**62, b""))], sent))
    with pytest.raises(Unexpected, match="silence"):
        lockstep({"a": desk.run(asker(channel))})
    assert len(sent) == 1


WORLD = World.of(("telecom", "retailer"))


@pytest.fixture(autouse=True)
def _scheme() -> Iterator[None]:
    with clear_schemes():
        yield


@pytest.fixture(scope="module")
def whole() -> Told:
    with clear_schemes():
        return play(WORLD)


def assert_same(whole: Told, resumed: Told, *before: Told) -> None:
    assert resumed.essence() == whole.essence()
    told = dict(whole.said)
    for attempt in (*before, resumed):
        assert all(told[slot] == body for slot, body in attempt.said), "a message was said again with other bytes"
        slots = [slot for slot, _ in attempt.said]
        assert len(set(slots)) == len(slots), "a message travelled twice in one attempt"


@pytest.mark.parametrize("name", ["bank", "telecom", "retailer"])
@pytest.mark.parametrize("named", [True, False], ids=["named", "hidden"])
@pytest.mark.parametrize("every", [5, pytest.param(1, marks=pytest.mark.slow)])
def test_a_party_killed_after_any_message_goes_on(name: str, named: bool, every: int) -> None:
    with clear_schemes(named):
        whole = play(WORLD)
        for last in range(1, len(whole.records[name]) + 1, every if named else 3 * every):
            stopped = play(WORLD, lambda who, last=last: Dying([], last if who == name else 10**9))
            assert len(stopped.records[name]) == last
            assert stopped.outcomes == {}
            resumed = play(WORLD, lambda who, stopped=stopped: MemoryTranscript(stopped.records[who]))
            assert_same(whole, resumed, stopped)


def test_a_party_killed_after_every_single_message_still_ends(whole: Told) -> None:
    attempts = [play(WORLD, lambda who: Dying([], 1 if who == ACTIVE else 10**9))]
    while not attempts[-1].outcomes:
        known = attempts[-1].records
        reached = len(known[ACTIVE])
        attempts.append(
            play(
                WORLD,
                lambda who, known=known, reached=reached: Dying(known[who], reached + 1 if who == ACTIVE else 10**9),
            )
        )
    assert len(attempts) == len(whole.records[ACTIVE]) + 1
    assert_same(whole, attempts[-1], *attempts[:-1])


@examples(20, thorough=60)
@given(st.tuples(*[st.floats(0, 1)] * 3))
def test_parties_that_lost_different_amounts_go_on(whole: Told, shares: tuple[float, ...]) -> None:
    kept = {
        name: records[: round(share * len(records))]
        for share, (name, records) in zip(shares, whole.records.items(), strict=True)
    }
    assert_same(whole, play(WORLD, lambda who: MemoryTranscript(kept[who])))


def test_a_finished_run_can_be_gone_through_again_and_nothing_travels(whole: Told) -> None:
    again = play(WORLD, lambda who: MemoryTranscript(whole.records[who]))
    assert again.said == []
    assert again.essence() == whole.essence()


@pytest.mark.parametrize("name", ["bank", "telecom"])
def test_a_run_resumed_with_another_seed_is_refused_before_anything_leaves(whole: Told, name: str) -> None:
    half = {who: records[: len(records) // 2] for who, records in whole.records.items()}
    with pytest.raises(VflError, match=rf"^{name} at psi/0/Declare/{name}>\w+/\d+: did not say this"):
        play(WORLD.with_seed(name, 50), lambda who: MemoryTranscript(half[who]))
