"""What a party does while it waits: ahead of time, never in the way, and without a trace in what it says."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
from protocols.boosting import Case, Scheme, cast, credit, paillier

from vfl.channel import Record, lockstep, no_work, wait
from vfl.crypto.paillier import PaillierEvaluator
from vfl.desk import Desk, MemoryTranscript, NoNotary, memory_links
from vfl.errors import TimedOut
from vfl.transport import LOOPBACK, SocketLink, accept, connect, drive, listen

PARTIES = ("bank", "telecom")
CASE = credit(owned=(2, 3), num_iterations=2, num_leaves=4)


@pytest.fixture
def pair() -> Iterator[tuple[SocketLink, SocketLink]]:
    """The bank's end of a connection and the telecom's."""
    with listen() as server:
        there = connect(LOOPBACK, server.getsockname()[1], "telecom", "bank", 5.0)
        here = accept(server, ["telecom"], 5.0)["telecom"]
    there.peer = "bank"
    yield here, there
    here.close()
    there.close()


async def hear(link: SocketLink) -> bytes:
    """A role that waits for one frame."""
    while (frame := link.pull()) is None:
        await wait(0)
    return frame


# ---- the driver ------------------------------------------------------------------------------------------------------


def test_a_party_that_waits_works_ahead_until_nothing_is_left(pair: tuple[SocketLink, SocketLink]) -> None:
    here, there = pair
    left = [3, 2, 1]

    def idle() -> bool:
        left.pop()
        if not left:
            there.push(b"at last")
        return bool(left)

    assert drive(hear(here), [here], 5.0, idle) == b"at last"
    assert left == []


def test_nobody_works_ahead_when_the_message_is_there(pair: tuple[SocketLink, SocketLink]) -> None:
    here, there = pair
    there.push(b"early")
    time.sleep(0.05)
    calls: list[int] = []
    assert drive(hear(here), [here], 5.0, lambda: bool(calls.append(1))) == b"early"
    assert calls == []


def test_work_without_end_does_not_hide_the_silence_of_a_peer(pair: tuple[SocketLink, SocketLink]) -> None:
    here, _ = pair
    began = time.monotonic()
    with pytest.raises(TimedOut, match="no word from telecom"):
        drive(hear(here), [here], 0.2, lambda: True)
    assert 0.15 < time.monotonic() - began < 2


def test_pending_bytes_leave_while_a_party_works_ahead(pair: tuple[SocketLink, SocketLink]) -> None:
    here, there = pair
    big = bytes(8_000_000)

    async def role() -> bytes:
        here.push(big)
        return await hear(here)

    async def answer() -> None:
        assert await hear(there) == big
        there.push(b"all of it")

    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(drive, answer(), [there], 5.0)
        assert drive(role(), [here], 5.0, lambda: True) == b"all of it"
        other.result()


# ---- boosting with Paillier ------------------------------------------------------------------------------------------


def watched(scheme: Scheme, made: list[PaillierEvaluator]) -> Scheme:
    """The scheme, with its evaluators kept in `made`."""

    def evaluator(*words: Any) -> Any:
        made.append(scheme.evaluator(*words))
        return made[-1]

    return replace(scheme, evaluator=evaluator)


def over_sockets(case: Case, scheme: Scheme, pair: tuple[SocketLink, SocketLink]) -> dict[str, list[Record]]:
    """Each party's transcript when each is driven over its own end of a connection."""
    kept = {name: MemoryTranscript() for name in PARTIES}
    desks = {name: Desk(name, kept[name], NoNotary()) for name in PARTIES}

    def whole(name: str, peer: str, link: SocketLink) -> None:
        desk = desks[name]
        drive(desk.run(cast(case, scheme)[name]({peer: desk.channel(peer, link)})), [link], 20.0, desk.idle)

    with ThreadPoolExecutor(2) as pool:
        both = [pool.submit(whole, "bank", "telecom", pair[0]), pool.submit(whole, "telecom", "bank", pair[1])]
        for one in both:
            one.result()
    assert all(desk.ahead is no_work for desk in desks.values()), "nothing goes on after the last tree"
    return {name: transcript.all for name, transcript in kept.items()}


def in_lockstep(case: Case, scheme: Scheme) -> dict[str, list[Record]]:
    """The same under lockstep, where nobody waits while there is something to do."""
    kept = {name: MemoryTranscript() for name in PARTIES}
    desks = {name: Desk(name, kept[name], NoNotary()) for name in PARTIES}
    links = dict(zip(PARTIES, memory_links(), strict=True))
    roles = {}
    for name, peer in zip(PARTIES, reversed(PARTIES), strict=True):
        roles[name] = desks[name].run(cast(case, scheme)[name]({peer: desks[name].channel(peer, links[name])}))
    lockstep(roles)
    return {name: transcript.all for name, transcript in kept.items()}


def test_the_pool_is_filled_while_a_party_waits_and_no_byte_shows_it(
    pair: tuple[SocketLink, SocketLink], monkeypatch: pytest.MonkeyPatch
) -> None:
    ahead: list[int] = []
    made: list[PaillierEvaluator] = []
    idle = PaillierEvaluator.idle

    def counted(evaluator: PaillierEvaluator) -> bool:
        left = idle(evaluator)
        assert evaluator._randomisers is not None
        ahead.append(evaluator._randomisers.ahead)
        return left

    monkeypatch.setattr(PaillierEvaluator, "idle", counted)
    scheme = watched(paillier(512), made)
    apart = over_sockets(CASE, scheme, pair)
    assert max(ahead) > 0
    assert len(apart["telecom"]) == len(apart["bank"]) > 10
    ahead.clear()
    assert in_lockstep(CASE, scheme) == apart
    assert ahead == []
    assert made[0]._randomisers.count == made[1]._randomisers.count > 0  # type: ignore[union-attr]
