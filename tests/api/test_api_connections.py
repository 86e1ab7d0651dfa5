"""What callers may do to a socket: half-open ones, slow ones, large ones, ambiguous ones, and many at a time."""

from __future__ import annotations

import contextlib
import http.client
import json
import signal
import socket
import statistics
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from api_kit import Served, resident, serving, serving_process

from vfl.api.connections import MOST_OF_A_HEAD, Bounds

HOST = b"Host: 127.0.0.1\r\n"
JSON = b"Content-Type: application/json\r\n"
GOOD = b"POST /v1/score HTTP/1.1\r\n" + HOST + JSON + b'Content-Length: 12\r\n\r\n{"id":"A-1"}'
SHORT = Bounds(arriving=0.3, idle=1, stalled=0.3)


@pytest.fixture(scope="module")
def api() -> Iterator[Served]:
    with serving() as served:
        yield served


@pytest.fixture(scope="module")
def hasty() -> Iterator[Served]:
    """One with short deadlines."""
    with serving(bounds=SHORT) as served:
        yield served


def answers(data: bytes) -> list[bytes]:
    """The status lines in what came back."""
    return [line for line in data.split(b"\r\n") if line.startswith(b"HTTP/1.1 ")] + [
        line[line.index(b"HTTP/1.1 ") :] for line in data.split(b"\r\n") if b"}HTTP/1.1 " in line
    ]


# ---- ambiguous requests ----------------------------------------------------------------------------------------------

SMUGGLED = b"GET /v1/models HTTP/1.1\r\n" + HOST + b"\r\n"
TE = b"Transfer-Encoding: chunked\r\n"
AMBIGUOUS = {
    "length and chunks": b"Content-Length: 5\r\n" + TE + b"\r\n0\r\n\r\n" + SMUGGLED,
    "chunks and length": TE + b"Content-Length: 5\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "two lengths": b"Content-Length: 2\r\nContent-Length: 50\r\n\r\n{}" + SMUGGLED,
    "the same length twice": b"Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}" + SMUGGLED,
    "lengths in a list": b"Content-Length: 2, 2\r\n\r\n{}" + SMUGGLED,
    "a signed length": b"Content-Length: +2\r\n\r\n{}" + SMUGGLED,
    "a negative length": b"Content-Length: -2\r\n\r\n{}" + SMUGGLED,
    "a hexadecimal length": b"Content-Length: 0x2\r\n\r\n{}" + SMUGGLED,
    "a length beyond all": b"Content-Length: 99999999999999999999999999\r\n\r\n{}",
    "an empty length": b"Content-Length: \r\n\r\n" + SMUGGLED,
    "an unknown coding": b"Transfer-Encoding: identity\r\nContent-Length: 2\r\n\r\n{}" + SMUGGLED,
    "chunked, but not last": b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "a vertical tab": b"Transfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "a space before the colon": b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "a chunk with a wrong size": TE + b"\r\n-1\r\n{}\r\n0\r\n\r\n" + SMUGGLED,
    "a chunk with a large size": TE + b"\r\nffffffffffffffffff\r\n{}\r\n0\r\n\r\n" + SMUGGLED,
    "a chunk without its end": TE + b"\r\n2\r\n{}0\r\n\r\n" + SMUGGLED,
    "a folded header": b"X: a\r\n b\r\nContent-Length: 2\r\n\r\n{}" + SMUGGLED,
    "a bare carriage return": b"X: a\rb\r\nContent-Length: 2\r\n\r\n{}" + SMUGGLED,
    "a bare line feed": b"X: a\nContent-Length: 2\r\n\r\n{}" + SMUGGLED,
    "a null": b"X: a\x00b\r\nContent-Length: 2\r\n\r\n{}" + SMUGGLED,
}


@pytest.mark.parametrize("case", AMBIGUOUS)
def test_nothing_is_smuggled(api: Served, case: str) -> None:
    head = b"POST /v1/score HTTP/1.1\r\n" + HOST + JSON
    found = api.raw(head + AMBIGUOUS[case], 0.15)
    assert answers(found)[0].split()[1] in (b"400", b"411", b"413"), found
    assert len(answers(found)) == 1
    assert b"champion" not in found, "the second request was answered"


def test_a_header_behind_the_body_is_none(api: Served) -> None:
    head = b"POST /v1/score HTTP/1.1\r\n" + HOST + JSON + TE
    found = api.raw(head + b'\r\nc\r\n{"id":"A-1"}\r\n0\r\nIdempotency-Key: a b\r\n\r\n', 0.15)
    assert answers(found) == [b"HTTP/1.1 200 OK"]


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc", b"SSH-2.0-OpenSSH\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x00" * 100, b"GET / HTTP/1.1\r\n: x\r\n\r\n", b"GET /\xff HTTP/1.1\r\n\r\n", b"GET  HTTP/1.1\r\n\r\n",
        b"GET / HTTP/3.7\r\n\r\n", b"FROB / HTTP/1.1\r\n" + HOST + b"\r\n",
        b"CONNECT x:1 HTTP/1.1\r\n" + HOST + b"\r\n", b"GET http://[ HTTP/1.1\r\n\r\n",
    ],
)  # fmt: skip
def test_what_is_no_http(api: Served, data: bytes) -> None:
    found = api.raw(data, 0.15)
    assert answers(found)[0].split()[1] == b"400", found
    assert b'"code":"malformed-request"' in found


def test_requests_in_a_row_are_answered_in_order(api: Served) -> None:
    found = api.raw(GOOD * 3 + SMUGGLED, 0.3)
    assert len(answers(found)) == 4
    assert found.index(b"champion") > found.rindex(b"receipt")


def test_other_forms_of_the_target(api: Served) -> None:
    found = api.raw(b"GET http://127.0.0.1/healthz HTTP/1.1\r\n" + HOST + b"\r\n", 0.15)
    assert answers(found) == [b"HTTP/1.1 200 OK"]
    assert answers(api.raw(b"OPTIONS * HTTP/1.1\r\n" + HOST + b"\r\n", 0.15))[0].split()[1][:1] == b"4"
    assert answers(api.raw(b"GET /healthz HTTP/1.0\r\n" + HOST + b"\r\n", 0.15)) == [b"HTTP/1.1 200 OK"]
    upgrade = b"GET /healthz HTTP/1.1\r\n" + HOST + b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    assert len(answers(api.raw(upgrade, 0.15))) == 1


def test_continue_is_said_only_where_the_body_is_wanted(api: Served) -> None:
    head = b"POST /v1/score HTTP/1.1\r\n" + HOST + JSON + b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n"
    assert api.raw(head % 12, 0.15).startswith(b"HTTP/1.1 100 Continue")
    assert api.raw(head % 10_000_000, 0.15).startswith(b"HTTP/1.1 413 ")


# ---- too much --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "head",
    [
        b"GET /" + b"x" * (MOST_OF_A_HEAD + 1) + b" HTTP/1.1\r\n" + HOST + b"\r\n",
        b"GET / HTTP/1.1\r\n" + HOST + b"X: " + b"y" * (MOST_OF_A_HEAD + 1) + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + HOST + b"".join(b"X-%d: y\r\n" % n for n in range(5000)) + b"\r\n",
        b"GET / HTTP/1.1\r\n" + HOST + b"X: " + b"y" * (MOST_OF_A_HEAD + 1),
        b"GET / HTTP/1.1\r\n" + HOST + b"Z: y\r\n" * 6000,
    ],
    ids=["target", "field", "fields", "field without end", "fields without end"],
)
def test_heads_that_are_too_large(api: Served, head: bytes) -> None:
    found = api.raw(head, 0.3)
    assert found.startswith(b"HTTP/1.1 431 "), found[:300]
    assert b"head-too-large" in found


@pytest.mark.slow
def test_bodies_without_end_take_no_memory() -> None:
    """A gigabyte is sent in every way that there is; the process stays small, and answers others meanwhile."""
    with serving_process() as (process, port):
        threading.Thread(target=process.stderr.read, daemon=True).start()  # type: ignore[union-attr]
        head = b"POST /v1/score/batch HTTP/1.1\r\n" + HOST + JSON
        ways = {
            "announced": (head + b"Content-Length: 1000000000\r\n\r\n", b"x" * 1_000_000),
            "chunks": (head + TE + b"\r\n", b"f4240\r\n" + b"x" * 1_000_000 + b"\r\n"),
            "small chunks": (head + TE + b"\r\n", b"1\r\nx\r\n" * 100_000),
            "extensions": (head + TE + b"\r\n", b"1;" + b"e" * 500_000 + b"\r\nx\r\n"),
            "to nobody": (b"POST /nope HTTP/1.1\r\n" + HOST + TE + b"\r\n", b"f4240\r\n" + b"x" * 1_000_000 + b"\r\n"),
        }
        assert ask(port) == 200
        before = resident(process.pid)
        for case, (first, part) in ways.items():
            sent, most = 0, 0.0
            with socket.create_connection(("127.0.0.1", port), timeout=10) as own, contextlib.suppress(OSError):
                own.sendall(first)
                while sent < 1_000_000_000:
                    own.sendall(part)
                    sent += len(part)
                    most = max(most, resident(process.pid))
            assert sent < 200_000_000, f"{case}: nobody stopped it"
            assert most - before < 80, f"{case}: {most - before} MB"
            assert ask(port) == 200


def ask(port: int) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("POST", "/v1/score", b'{"id":"A-1"}', {"Content-Type": "application/json"})
    status = connection.getresponse().status
    connection.close()
    return status


# ---- too slow --------------------------------------------------------------------------------------------------------


def seconds_until_closed(port: int, *parts: bytes, pause: float = 0.2, most: float = 6) -> float:
    """Send the parts with pauses between; how long until the server ends the connection."""
    started = time.monotonic()
    with socket.create_connection(("127.0.0.1", port)) as own:
        own.settimeout(pause)
        coming = iter(parts)
        while time.monotonic() - started < most:
            try:
                if part := next(coming, b""):
                    own.sendall(part)
                if not own.recv(65536):
                    break
            except TimeoutError:
                continue
            except OSError:
                break
    return time.monotonic() - started


BODY = b"POST /v1/score HTTP/1.1\r\n" + HOST + JSON + b"Content-Length: 60000\r\n\r\n"


@pytest.mark.parametrize(
    "parts",
    [
        (),
        (b"GET",),
        (b"GET / HTTP/1.1\r\n", *[b"X: y\r\n"] * 100),
        (b"\r\n",) * 100,
        (BODY,),
        (BODY, *[b"x"] * 100),
        (GOOD, *[b"\r\n"] * 100),
        (GOOD, *[b"GET / HTTP/1.1\r\n"], *[b"X: y\r\n"] * 100),
        (b"POST /v1/score HTTP/1.1\r\n" + HOST + JSON + TE + b"\r\n", *[b"1\r\n{\r\n"] * 100),
    ],
    ids=["nothing", "a word", "head", "blank", "no body", "body", "blank after", "head after", "chunks"],
)
def test_half_open_connections_end(hasty: Served, parts: tuple[bytes, ...]) -> None:
    assert 0.2 < seconds_until_closed(hasty.port, *parts, pause=0.1) < 3


def test_a_body_at_a_fair_pace_may_take_longer() -> None:
    with serving(bounds=Bounds(arriving=0.4)) as api:
        body = json.dumps({"applicants": [{"id": "A" * 200}] * 2000}).encode()
        head = b"POST /v1/score/batch HTTP/1.1\r\n" + HOST + JSON + b"Content-Length: %d\r\n\r\n" % len(body)
        with socket.create_connection(("127.0.0.1", api.port), timeout=10) as own:
            own.sendall(head)
            for start in range(0, len(body), 30_000):
                own.sendall(body[start : start + 30_000])
                time.sleep(0.1)  # 300 kB/s: slow, but not too slow
            assert own.recv(100).startswith(b"HTTP/1.1 200 ")


def test_an_answer_that_takes_long_is_waited_for(hasty: Served) -> None:
    hasty.scorer.takes = 0.8
    try:
        # also with half a request behind it
        assert [len(answers(hasty.raw(GOOD + more, 1.0))) for more in (b"", GOOD[:40])] == [1, 1]
    finally:
        hasty.scorer.takes = 0.0


def test_idle_connections_end(hasty: Served) -> None:
    assert 0.8 < seconds_until_closed(hasty.port, GOOD) < 4


def test_answers_that_are_not_taken_are_given_up(hasty: Served) -> None:
    batch = json.dumps({"applicants": [{"id": "A-1"}] * 10_000}).encode()
    head = b"POST /v1/score/batch HTTP/1.1\r\n" + HOST + JSON + b"Content-Length: %d\r\n\r\n" % len(batch)
    cut = hasty.server.connections.meters.cut
    with socket.socket() as own:
        own.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        own.connect(("127.0.0.1", hasty.port))
        own.sendall(head + batch)
        waited = time.monotonic()
        while hasty.server.connections.meters.cut == cut and time.monotonic() - waited < 5:
            time.sleep(0.05)
    assert hasty.server.connections.meters.cut == cut + 1


# ---- too many --------------------------------------------------------------------------------------------------------


def crowd(port: int, count: int) -> list[socket.socket]:
    """Half-open connections: some silent, some within a head, some within a body."""
    starts = (b"", b"POST /v1/score HTTP/1.1\r\nHo", BODY + b"{")
    made = []
    for number in range(count):
        own = socket.create_connection(("127.0.0.1", port), timeout=5)
        own.sendall(starts[number % 3])
        made.append(own)
    return made


def good_requests(port: int, count: int, *, fresh: bool) -> list[float]:
    """Milliseconds of requests that are answered with 200; on new connections, or on one that is kept."""
    took = []
    kept = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    for _ in range(count):
        started = time.perf_counter()
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10) if fresh else kept
        connection.request("POST", "/v1/score", b'{"id":"A-1"}', {"Content-Type": "application/json"})
        answer = connection.getresponse()
        answer.read()
        assert answer.status == 200
        if fresh:
            connection.close()
        took.append((time.perf_counter() - started) * 1e3)
    kept.close()
    return took


def under_siege(port: int, half_open: int, good: int) -> float:
    """The 99th percentile of good requests, ms, while so many connections are half-open."""
    good_requests(port, 20, fresh=True)
    held = crowd(port, half_open)
    try:
        took = good_requests(port, good, fresh=True) + good_requests(port, good, fresh=False)
    finally:
        for own in held:
            own.close()
    return statistics.quantiles(took, n=100)[98]


@pytest.mark.parametrize("bound", [4096, 64], ids=["with room for all", "the oldest make room"])
def test_half_open_connections_keep_nobody_out(bound: int) -> None:
    with serving(bounds=Bounds(bound)) as api:
        held = crowd(api.port, 20)
        assert under_siege(api.port, 200, 100) < 250
        for own in held:
            own.close()
        assert (api.server.connections.meters.cut > 100) == (bound == 64)


@pytest.mark.slow
def test_a_thousand_half_open_connections(capsys: pytest.CaptureFixture[str]) -> None:
    figures = {}
    for bound in (4096, 512):
        with serving_process("--bounds", str(bound)) as (process, port):
            threading.Thread(target=process.stderr.read, daemon=True).start()  # type: ignore[union-attr]
            figures[bound] = under_siege(port, 1000, 1000)
    with capsys.disabled():
        print(f"\np99 of good requests beside 1,000 half-open connections, ms by bound: {figures}")
    assert max(figures.values()) < 250


def test_without_the_deadline_they_would(monkeypatch: pytest.MonkeyPatch) -> None:
    """The planted fault: nobody makes room."""
    from vfl.api.connections import Connections

    monkeypatch.setattr(Connections, "_cut", lambda *_: None)
    with serving(bounds=Bounds(connections=16, arriving=0.2)) as api:
        held = crowd(api.port, 40)
        time.sleep(1)
        alive = 0
        for own in held:
            own.setblocking(False)
            try:
                alive += own.recv(1) != b""
            except BlockingIOError:
                alive += 1
            except OSError:
                pass
            own.close()
        assert alive == 40


# ---- the end ---------------------------------------------------------------------------------------------------------


def test_what_is_under_way_is_answered_before_the_end(tmp_path: Path) -> None:
    with serving_process("--takes", "0.4", "--arriving", "0.5") as (process, port):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        connection.request("POST", "/v1/score", b'{"id":"A-1"}', {"Content-Type": "application/json"})
        held = crowd(port, 6)
        time.sleep(0.2)
        process.send_signal(signal.SIGTERM)
        assert connection.getresponse().status == 200
        assert process.wait(10) == 0
        connection.close()
        for own in held:
            own.close()
        assert process.stderr is not None
        lines = [json.loads(line) for line in process.stderr.read().splitlines()]
        assert next(each["status"] for each in lines if each["route"] == "/v1/score") == 200
