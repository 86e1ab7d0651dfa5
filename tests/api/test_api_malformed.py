"""Thousands of requests that are wrong, drawn from a seed: no answer of 5xx, none that is taken by mistake."""

from __future__ import annotations

import http.client
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Callable

import pytest
from api_kit import FEATURES, resident, serving_process

Draw = Callable[[random.Random], tuple[str, str, bytes, dict[str, str]]]
JSON = {"Content-Type": "application/json"}
PATHS = ("/v1/score", "/v1/score/batch", "/v2/models/pos-loan/infer")
GOOD: dict[str, object] = {
    "/v1/score": {"id": "A-1", "features": dict.fromkeys(FEATURES, 1.5)},
    "/v1/score/batch": {"applicants": [{"id": "A-1"}, {"id": "A-2", "features": dict.fromkeys(FEATURES, 1.5)}]},
    "/v2/models/pos-loan/infer": {
        "id": "7",
        "inputs": [{"name": "id", "shape": [2], "datatype": "BYTES", "data": ["A-1", "A-2"]}],
    },
}
WRONG_VALUES = (
    b"NaN", b"Infinity", b"-Infinity", b"1e999", b"-1e999", b"true", b"false", b'"1"', b"[]", b"{}", b"[[1]]", b"0x10",
    b"01", b"+1", b"1.", b".1", b"1e", b"--1", b"'1'", b"undefined", b'"\xff"', b'"\\ud800"', b"9" * 400, b"",
)  # fmt: skip


def of_value(rng: random.Random) -> tuple[str, str, bytes, dict[str, str]]:
    """A value that is no finite number where one is due."""
    value = rng.choice(WRONG_VALUES)
    one = b'{"id":"A-%d","features":{"income":1,"age":%s,"utilisation":2}}' % (rng.randrange(99), value)
    many = b'{"applicants":[{"id":"A-1"},%s]}' % one
    path = rng.choice(PATHS[:2])
    return "POST", path, one if path == "/v1/score" else many, JSON


def of_bytes(rng: random.Random) -> tuple[str, str, bytes, dict[str, str]]:
    """A good body with some bytes changed, cut out or repeated, so that it is none any more."""
    path = rng.choice(PATHS)
    body = bytearray(json.dumps(GOOD[path]).encode())
    while True:
        for _ in range(rng.randrange(1, 6)):
            place = rng.randrange(len(body) or 1)
            match rng.randrange(4):
                case 0:
                    body[place : place + 1] = bytes([rng.randrange(256)])
                case 1:
                    del body[place : place + rng.randrange(1, 8)]
                case 2:
                    body[place:place] = body[place : place + rng.randrange(1, 16)]
                case _:
                    body[place:place] = rng.choice(WRONG_VALUES)
        try:
            json.loads(bytes(body))
        except ValueError:
            return "POST", path, bytes(body), JSON


def of_shape(rng: random.Random) -> tuple[str, str, bytes, dict[str, str]]:
    """JSON of another shape."""

    def node(depth: int) -> object:
        kind = rng.randrange(7 if depth else 5)
        if kind == 5:
            return [node(depth - 1) for _ in range(rng.randrange(4))]
        if kind == 6:
            names = ("id", "features", "applicants", "inputs", "x", "")
            return {rng.choice(names): node(depth - 1) for _ in range(rng.randrange(4))}
        return rng.choice([None, True, 1, 1.5, "A-1", "", "x" * 300, 10**30, -1])

    return "POST", rng.choice(PATHS), json.dumps({"more": node(4), "id": node(2)}).encode(), JSON


def of_head(rng: random.Random) -> tuple[str, str, bytes, dict[str, str]]:
    """Another method, path, media type or header."""
    path = rng.choice(PATHS)
    body = json.dumps(GOOD[path]).encode()
    match rng.randrange(5):
        case 0:
            return rng.choice(["GET", "PUT", "DELETE", "PATCH", "FROB"]), path, body, JSON
        case 1:
            return (
                "POST",
                path + rng.choice(["/", "x", "/%00", "/..", "%2f", "/\u0000".encode("unicode_escape").decode()]),
                body,
                JSON,
            )
        case 2:
            return "POST", path, body, {"Content-Type": rng.choice(["text/xml", "application/json5", "", "a/b/c", ";"])}
        case 3:
            return "POST", path, body, {**JSON, "Idempotency-Key": rng.choice(["", "a b", "x" * 300, "\t"])}
        case _:
            return (
                "GET",
                "/v1/ledger?" + rng.choice(["start=-1", "count=x", "%ff", "a=1", "start=1&start=2", "="]),
                b"",
                {},
            )


DRAWS: tuple[Draw, ...] = (of_value, of_value, of_bytes, of_shape, of_head)


def answered(port: int, count: int, seed: int) -> Counter[int]:
    rng, found = random.Random(seed), Counter[int]()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    for number in range(count):
        method, path, body, headers = DRAWS[number % len(DRAWS)](rng)
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
        except (ConnectionError, http.client.BadStatusLine):
            connection.close()
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
        told = answer.read()
        found[answer.status] += 1
        assert 400 <= answer.status < 500, (answer.status, method, path, body[:300], told)
        assert json.loads(told)["status"] == answer.status
    connection.close()
    return found


def malformed(count: int) -> tuple[Counter[int], float, float]:
    """Answers by status, growth of memory in MB, and how long a good request takes afterwards, ms."""
    with serving_process() as (process, port):
        threading.Thread(target=process.stderr.read, daemon=True).start()  # type: ignore[union-attr]
        answered(port, count // 10, 1)
        before = resident(process.pid)
        found = answered(port, count, 2)
        grown = resident(process.pid) - before
        started = time.perf_counter()
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        connection.request("POST", "/v1/score", json.dumps(GOOD["/v1/score"]), JSON)
        assert connection.getresponse().status == 200
        connection.close()
        return found, grown, (time.perf_counter() - started) * 1e3


def test_a_thousand_malformed_requests() -> None:
    found, grown, after = malformed(1000)
    assert sum(found.values()) == 1000
    assert {400, 404, 405, 415, 422} <= found.keys()
    assert grown < 10
    assert after < 250


@pytest.mark.slow
def test_ten_thousand_malformed_requests(capsys: pytest.CaptureFixture[str]) -> None:
    found, grown, after = malformed(10_000)
    with capsys.disabled():
        print(f"\n10,000 malformed requests: {dict(sorted(found.items()))}, {grown:+.1f} MB, then {after:.1f} ms")
    assert grown < 10
    assert after < 50
