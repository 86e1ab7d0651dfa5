"""Frames over real sockets: whole, in parts, too large, from the wrong peer, or never."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from vfl import transport
from vfl.channel import wait
from vfl.desk import MAX_FRAME
from vfl.errors import Malformed, TimedOut, Unreachable, UsageError
from vfl.transport import LOOPBACK, SocketLink, accept, connect, drive, listen, require_loopback

Pair = tuple[SocketLink, SocketLink]


def linked(peer: str = "telecom") -> Pair:
    """Both ends of one connection: ours, on which `peer` is heard, and the peer's."""
    with listen() as server:
        there = connect(LOOPBACK, server.getsockname()[1], peer, "bank", 5.0)
        return accept(server, [peer], 5.0)[peer], there


@pytest.fixture
def pair() -> Iterator[Pair]:
    here, there = linked()
    yield here, there
    here.close()
    there.close()


async def hear(link: SocketLink, frames: int) -> list[bytes]:
    """A role that waits for so many frames."""
    heard: list[bytes] = []
    while len(heard) < frames:
        if (frame := link.pull()) is None:
            await wait(len(heard))
        else:
            heard.append(frame)
    return heard


async def say(link: SocketLink, frames: list[bytes]) -> int:
    for frame in frames:
        link.push(frame)
    return len(frames)


def alone(role: Coroutine[int, None, list[bytes]], link: SocketLink, timeout: float = 5.0) -> list[bytes]:
    return drive(role, [link], timeout)


# ---- frames ----------------------------------------------------------------------------------------------------------


def test_frames_arrive_whole_and_in_order(pair: Pair) -> None:
    here, there = pair
    frames = [b"", b"a", bytes(70_000), b"last"]
    with ThreadPoolExecutor(1) as pool:
        sent = pool.submit(drive, say(there, frames), [there], 5.0)
        assert alone(hear(here, 4), here) == frames
        assert sent.result() == 4


def test_a_large_frame_crosses_while_both_sides_send(pair: Pair) -> None:
    """Neither side waits for the other to read before it reads itself."""
    here, there = pair
    big = bytes(8_000_000)

    async def both(link: SocketLink) -> list[bytes]:
        link.push(big)
        return await hear(link, 1)

    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(alone, both(there), there)
        assert alone(both(here), here) == [big]
        assert other.result() == [big]


def test_a_frame_in_single_bytes_is_put_together(pair: Pair) -> None:
    here, there = pair
    raw = (5).to_bytes(4, "big") + b"hello" + (2).to_bytes(4, "big") + b"yo"

    def drip() -> None:
        for byte in raw:
            there.socket.send(bytes([byte]))
            time.sleep(0.001)

    thread = threading.Thread(target=drip)
    thread.start()
    assert alone(hear(here, 2), here) == [b"hello", b"yo"]
    thread.join()


@pytest.mark.parametrize("size", [MAX_FRAME + 1, 2**32 - 1])
def test_a_frame_beyond_the_limit_is_refused_before_it_is_awaited(pair: Pair, size: int) -> None:
    here, there = pair
    there.socket.send(size.to_bytes(4, "big"))
    with pytest.raises(Malformed, match=str(size)) as caught:
        alone(hear(here, 1), here)
    assert caught.value.peer == "telecom"


def test_a_frame_cut_short_is_a_lost_connection(pair: Pair) -> None:
    here, there = pair
    there.socket.send((10).to_bytes(4, "big") + b"half")
    there.close()
    with pytest.raises(Unreachable, match="telecom closed the connection"):
        alone(hear(here, 1), here)


def test_what_a_peer_said_before_it_went_is_still_heard(pair: Pair) -> None:
    here, there = pair
    there.push(b"goodbye")
    there.close()

    async def answer_then_hear() -> list[bytes]:
        for _ in range(20):  # to nobody: the first is answered by a reset, the next finds the connection broken
            here.push(b"are you there?")
            time.sleep(0.01)
        return await hear(here, 1)

    assert alone(answer_then_hear(), here) == [b"goodbye"]
    with pytest.raises(Unreachable, match="telecom"):
        alone(hear(here, 1), here)


def test_a_writer_waits_for_a_slow_reader_and_goes_on_with_it(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is pushed without end stays in bounds at both ends, and all of it arrives."""
    monkeypatch.setattr(transport, "_MOST_PENDING", 1_000_000)
    monkeypatch.setattr(transport, "_MOST_UNREAD", 3_000_000)
    here, there = pair
    pending, unread = [0], [0]

    async def flood() -> int:
        for number in range(200):
            while there.full:
                await wait(number)
            there.push(bytes(100_000))
            pending.append(sum(map(len, there._out)))
        return 200

    async def sip() -> int:
        await hear(here, 1)
        time.sleep(0.3)  # an hour of computing
        for _ in range(199):
            await hear(here, 1)
            unread.append(sum(map(len, here._frames)))
        return 200

    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(drive, flood(), [there], 5.0)
        assert drive(sip(), [here], 5.0) == other.result() == 200
    assert 1_000_000 < max(pending) < 1_200_000
    assert 0 < max(unread) < 3_000_000 + transport._CHUNK * 2


def test_a_peer_that_nobody_listens_to_yet_has_to_wait(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a role waits for one peer, another cannot fill its memory."""
    monkeypatch.setattr(transport, "_MOST_UNREAD", 1_000_000)
    here, there = pair
    other, its_end = linked("bureau")
    unread = [0]

    def idle() -> bool:
        unread.append(sum(map(len, here._frames)))
        time.sleep(0.001)
        return True

    def call_late() -> None:
        time.sleep(0.5)
        its_end.push(b"now")

    with ThreadPoolExecutor(2) as pool:
        flood = pool.submit(drive, say(there, [bytes(100_000)] * 200), [there], 5.0)
        late = pool.submit(call_late)
        assert drive(hear(other, 1), [here, other], 5.0, idle) == [b"now"]
        late.result()
        assert 1_000_000 <= max(unread) < 1_000_000 + 2 * transport._CHUNK
        assert len(drive(hear(here, 200), [here], 5.0)) == flood.result() == 200
    for link in (other, its_end):
        link.close()


def test_a_full_link_whose_peer_has_gone_holds_nobody_up(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "_MOST_PENDING", 1000)
    here, there = pair
    there.close()

    async def flood() -> None:
        for number in range(100):
            while here.full:
                await wait(number)
            here.push(bytes(100_000))

    drive(flood(), [here], 5.0)


def test_silence_ends_in_time_naming_the_peer(pair: Pair) -> None:
    here, _ = pair
    began = time.monotonic()
    with pytest.raises(TimedOut, match="no word from telecom"):
        alone(hear(here, 1), here, timeout=0.2)
    assert 0.15 < time.monotonic() - began < 2


def test_a_peer_that_has_gone_does_not_keep_us_from_noticing_the_silence_of_another() -> None:
    (gone, its_end), (silent, right) = linked("bureau"), linked("telecom")
    its_end.close()
    cpu, began = time.thread_time(), time.monotonic()
    with pytest.raises(TimedOut, match="no word from telecom for"):
        drive(hear(silent, 1), [gone, silent], 0.5)
    assert time.monotonic() - began < 3
    assert time.thread_time() - cpu < 0.2, "waiting costs nothing"
    for link in (gone, silent):
        link.close()
    right.close()


def test_a_peer_that_goes_gives_a_silent_one_no_more_time() -> None:
    (silent, one), (going, two) = linked("telecom"), linked("bureau")

    async def waiting() -> bytes:
        while (frame := silent.pull()) is None:
            await wait(0)
        return frame

    gone = threading.Timer(0.6, two.close)
    gone.start()
    began = time.monotonic()
    with pytest.raises(TimedOut, match="no word from telecom for 1 seconds"):
        drive(waiting(), [silent, going], 1.0)
    assert time.monotonic() - began < 1.5
    gone.join()
    for end in (silent, going, one):
        end.close()


def test_a_role_that_fails_is_closed(pair: Pair) -> None:
    here, _ = pair

    async def fail() -> None:
        raise UsageError("wrong")

    with pytest.raises(UsageError, match="wrong"):
        drive(fail(), [here], 1.0)


# ---- addresses and names ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.5", "8.8.8.8", "::", "example.com", "localhost", "", "127.0.0"])
def test_only_loopback_is_served_and_called(host: str) -> None:
    for call in (
        lambda: require_loopback(host),
        lambda: listen(host),
        lambda: connect(host, 9, "bank", "telecom", 0.1),
    ):
        with pytest.raises(UsageError, match="loopback only") as caught:
            call()
        assert LOOPBACK in caught.value.remedy


def test_loopback_is_served() -> None:
    require_loopback("::1")
    with listen() as server:
        assert server.getsockname()[0] == LOOPBACK


def test_peers_are_accepted_by_name_in_the_order_asked_for() -> None:
    with listen() as server, ThreadPoolExecutor(2) as pool:
        port = server.getsockname()[1]
        callers = [pool.submit(connect, LOOPBACK, port, name, "bank", 5.0) for name in ("payroll", "telecom")]
        links = accept(server, ["telecom", "payroll"], 5.0)
        assert list(links) == ["telecom", "payroll"]
        for caller in callers:
            caller.result().close()
        for link in links.values():
            link.close()


def stranger(port: int, first: bytes) -> socket.socket:
    connection = socket.create_connection((LOOPBACK, port), timeout=5)
    connection.sendall(first)
    return connection


@pytest.mark.parametrize(
    "first",
    [
        (6).to_bytes(4, "big") + b"bureau",  # nobody asked for it
        (2**31).to_bytes(4, "big"),  # a name without an end
        (4).to_bytes(4, "big") + b"\xff\xfe\x00\x01",  # no text
        (0).to_bytes(4, "big"),
        b"GET / HTTP/1.1\r\n\r\n",
    ],
)
def test_a_stranger_is_turned_away_and_the_peer_still_comes_in(first: bytes) -> None:
    with listen() as server, ThreadPoolExecutor(1) as pool:
        port = server.getsockname()[1]
        wrong = stranger(port, first)
        right = pool.submit(connect, LOOPBACK, port, "telecom", "bank", 5.0)
        links = accept(server, ["telecom"], 5.0)
        wrong.settimeout(5)
        with contextlib.suppress(ConnectionResetError):
            assert wrong.recv(1) == b"", "the stranger is disconnected"
        wrong.close()
        assert list(links) == ["telecom"]
        right.result().close()
        links["telecom"].close()


def test_a_second_connection_under_a_name_changes_nothing() -> None:
    with listen() as server, ThreadPoolExecutor(2) as pool:
        port = server.getsockname()[1]
        first = connect(LOOPBACK, port, "telecom", "bank", 5.0)
        second = connect(LOOPBACK, port, "telecom", "bank", 5.0)
        other = pool.submit(connect, LOOPBACK, port, "payroll", "bank", 5.0)
        links = accept(server, ["telecom", "payroll"], 5.0)
        first.push(b"I was first")
        assert alone(hear(links["telecom"], 1), links["telecom"]) == [b"I was first"]
        for link in (first, second, other.result(), *links.values()):
            link.close()


def test_a_peer_that_says_nothing_or_never_comes_is_named() -> None:
    with listen() as server:
        port = server.getsockname()[1]
        silent = stranger(port, b"")
        link = connect(LOOPBACK, port, "telecom", "bank", 5.0)
        with pytest.raises(TimedOut, match="payroll did not connect within 1 seconds"):
            accept(server, ["telecom", "payroll"], 1.0)
        silent.close()
        link.close()


def test_nobody_there_is_told_with_name_and_address() -> None:
    with listen() as server:
        port = server.getsockname()[1]
    with pytest.raises(Unreachable, match=rf"bank cannot be reached at {LOOPBACK}:{port}"):
        connect(LOOPBACK, port, "telecom", "bank", 0.2)
