"""What callers of `/v1` get: decisions, refusals that repeat nothing, and strict types."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from api_kit import FEATURES, LOG, VERSION, FakeScorer, Served, serving

from vfl.api.operation import MOST_OF_MANY, MOST_OF_ONE
from vfl.errors import UsageError
from vfl.scoring.answers import MOST_OF_A_BATCH, PartnerAway

FRESH = {"income": 1200.5, "age": 40, "utilisation": None}


@pytest.fixture(scope="module")
def api() -> Iterator[Served]:
    with serving() as served:
        yield served


@pytest.fixture
def own() -> Iterator[Served]:
    """One whose scorer a test may set."""
    with serving() as served:
        yield served


# ---- decisions -------------------------------------------------------------------------------------------------------


def test_one_applicant_by_row_and_by_values(api: Served) -> None:
    by_row = api.ask("POST", "/v1/score", {"id": "A-17"})
    assert by_row.status == 200
    assert by_row.headers["cache-control"] == "no-store"
    body = by_row.json
    assert set(body) == {
        "decision_id", "pd", "points", "band", "decision", "reasons", "degraded", "model", "parties", "receipt",
    }  # fmt: skip
    assert body["receipt"]["log"] == LOG
    assert api.ask("POST", "/v1/score", {"id": "new", "features": FRESH}).status == 200
    assert api.scorer.callers == {"local"}


def test_what_is_the_same_is_written_the_same(api: Served) -> None:
    many = [{"applicants": [{"id": "A-1"}] * 4}, {"id": "A-1"}, {"id": "A-1"}]
    for body in many:
        path = "/v1/score/batch" if "applicants" in body else "/v1/score"
        text = api.ask("POST", path, body).body
        assert text.count(b'"parties":{"bureau"') == text.count(b'"parties"') > 0


def test_a_batch_keeps_the_order_and_refuses_one_by_one(api: Served) -> None:
    asked = [{"id": "A-1"}, {"id": "stranger"}, {"id": "fresh", "features": FRESH}]
    results = api.ask("POST", "/v1/score/batch", {"applicants": asked}).json["results"]
    assert [set(each) == {"code", "detail"} for each in results] == [False, True, False]
    assert results[1]["code"] == "unknown-applicant"
    alone = api.ask("POST", "/v1/score", {"id": "A-1"}).json
    assert results[0]["pd"] == alone["pd"]


@pytest.mark.parametrize("count", [249, 250, 251, 501])
def test_long_answers_are_whole(api: Served, count: int) -> None:
    asked = {"applicants": [{"id": f"A-{number}"} for number in range(count)]}
    results = api.ask("POST", "/v1/score/batch", asked).json["results"]
    assert len(results) == count
    assert [each["decision_id"].rpartition("-")[2] for each in results] == [str(place) for place in range(count)]


def test_the_largest_batch_and_one_more(api: Served) -> None:
    most = [{"id": "A-1"}] * MOST_OF_A_BATCH
    assert len(api.ask("POST", "/v1/score/batch", {"applicants": most}).json["results"]) == MOST_OF_A_BATCH
    assert api.ask("POST", "/v1/score/batch", {"applicants": [*most, {"id": "A"}]}).code == "invalid-request"
    assert api.ask("POST", "/v1/score/batch", {"applicants": []}).code == "invalid-request"


def test_a_decision_is_found_again_with_its_proof(api: Served) -> None:
    made = api.ask("POST", "/v1/score", {"id": "A-3"}).json
    found = api.ask("GET", f"/v1/decisions/{made['decision_id']}").json
    assert found["decision"] == made
    assert set(found["proof"]) >= {"record", "salt", "path", "entry", "inclusion", "checkpoint", "key"}
    for unknown in ("000009-1", "%00", "..%2f..", "%ff"):
        assert api.ask("GET", f"/v1/decisions/{unknown}").status == 404


def test_models_and_ledger(api: Served) -> None:
    api.ask("POST", "/v1/score", {"id": "A-3"})
    assert [each["role"] for each in api.ask("GET", "/v1/models").json["models"]] == ["champion", "challenger"]
    part = api.ask("GET", f"/v1/ledger?log={LOG}&start=0&count=1").json
    assert part["log"] == LOG
    assert part["entries"] == ['{"seq":0}']
    assert part["start"] == 0
    assert api.ask("GET", "/v1/ledger").json["size"] == part["size"]


@pytest.mark.parametrize(
    "query",
    [
        "start=-1", "start=x", "start=1.5", "start=", "count=0", "count=1001", "count=1&count=2", "strat=1", "log=",
        "=", "log=" + "x" * 256, "log=none-of-ours", "start=99999999999999999999", "start", "&", "a=1&" * 40, "log=%ff",
    ],
)  # fmt: skip
def test_queries_that_cannot_be(api: Served, query: str) -> None:
    assert api.ask("GET", f"/v1/ledger?{query}").code == "invalid-request"


def test_no_routes_for_releases_where_nobody_keeps_models(api: Served) -> None:
    assert api.ask("POST", f"/v1/models/{VERSION}:promote").code == "not-found"


# ---- idempotency -----------------------------------------------------------------------------------------------------


def test_the_same_key_gives_the_same_answer(own: Served) -> None:
    key = {"Idempotency-Key": '"8e03978e-40d5-43dd-bc93-6894a57f9324"'}
    first = own.ask("POST", "/v1/score", {"id": "A-1"}, key)
    again = own.ask("POST", "/v1/score", {"id": "A-1"}, key)
    assert first.body == again.body
    assert len(own.scorer.made) == 1
    assert own.ask("POST", "/v1/score", {"id": "A-2"}, key).code == "key-reused"
    batch = {"applicants": [{"id": "A-1"}, {"id": "A-2"}]}
    other = {"Idempotency-Key": "k"}
    assert (
        own.ask("POST", "/v1/score/batch", batch, other).body == own.ask("POST", "/v1/score/batch", batch, other).body
    )


def test_a_key_that_is_in_use(own: Served) -> None:
    own.scorer.takes = 0.3
    with ThreadPoolExecutor(2) as pool:
        asked = [pool.submit(own.ask, "POST", "/v1/score", {"id": "A-1"}, {"Idempotency-Key": "k"}) for _ in range(2)]
        answers = sorted((each.result() for each in asked), key=lambda each: each.status)
    assert [each.status for each in answers] == [200, 409]
    assert answers[1].code == "key-in-use"
    assert answers[1].headers["retry-after"] == "1"


@pytest.mark.parametrize("key", ["", " ", "x" * 256, "a b", "k\u00e9"])
def test_keys_that_cannot_be(api: Served, key: str) -> None:
    answer = api.ask("POST", "/v1/score", {"id": "A-1"}, {"Idempotency-Key": key.encode("latin-1")})  # type: ignore[dict-item]
    assert answer.code == "malformed-header"


# ---- refusals --------------------------------------------------------------------------------------------------------

WRONG = {
    b'{"id":"A","features":{"income":true}}': ("invalid-request", "$.features[...]"),
    b'{"id":"A","features":{"income":"1"}}': ("invalid-request", "$.features[...]"),
    b'{"id":"A","features":{"income":[1]}}': ("invalid-request", "$.features[...]"),
    b'{"id":1}': ("invalid-request", "$.id"),
    b'{"id":true}': ("invalid-request", "$.id"),
    b'{"id":null}': ("invalid-request", "$.id"),
    b'{"id":""}': ("invalid-request", "$.id"),
    b'{"id":"%s"}' % (b"A" * 257): ("invalid-request", "$.id"),
    b"{}": ("invalid-request", "$"),
    b"[]": ("invalid-request", "$"),
    b'"A"': ("invalid-request", "$"),
    b"null": ("invalid-request", "$"),
    b'{"id":"A","phone":"07700900123"}': ("invalid-request", "$"),
    b'{"id":"A","features":{"income":1e999}}': ("not-finite", "$.features[...]"),
    b'{"id":"A","features":{"income":-1e999}}': ("not-finite", "$.features[...]"),
    b'{"id":"A","features":{"income":1%s}}' % (b"0" * 400): ("not-finite", "$.features[...]"),
    b'{"id":"A","features":{"income":NaN}}': ("not-finite", ""),
    b'{"id":"A","features":{"income":-NaN}}': ("not-finite", ""),
    b'{"id":"A","features":{"income":Infinity}}': ("not-finite", ""),
    b'{"id":"A","features":{"income":-Infinity}}': ("not-finite", ""),
    b'{"id":"A","features":{"income":nan}}': ("malformed-json", ""),
    b'{"id":"A","features":{"income":0x1F}}': ("malformed-json", ""),
    b'{"id":"A","features":{"income":+1}}': ("malformed-json", ""),
    b'{"id":"A","features":{"income":.5}}': ("malformed-json", ""),
    b"": ("malformed-json", ""),
    b"{": ("malformed-json", ""),
    b"not json": ("malformed-json", ""),
    b'{"id":"A"} {"id":"B"}': ("malformed-json", ""),
    b'{"id":"\xff\xfe"}': ("malformed-json", ""),
    b'\xef\xbb\xbf{"id":"A"}': ("malformed-json", ""),
    b'{"id":"\\ud800"}': ("malformed-json", ""),
    b"\x00": ("malformed-json", ""),
    b"[" * 60_000: ("invalid-request", "$"),
}


@pytest.mark.parametrize("body", WRONG, ids=lambda body: body[:40].decode("latin-1"))
def test_bodies_that_are_refused(api: Served, body: bytes) -> None:
    answer = api.ask("POST", "/v1/score", body)
    code, at = WRONG[body]
    assert answer.code == code
    assert answer.json.get("at", "") == at
    assert answer.status == (400 if code == "malformed-json" else 422)
    for sent in (b"07700900123", b"phone", b"income", b"0x1F", b"AAAA"):
        assert sent not in answer.body


def test_where_in_a_batch_it_is_wrong(api: Served) -> None:
    body = b'{"applicants":[{"id":"A"},{"id":"B","features":{"income":"secret"}}]}'
    answer = api.ask("POST", "/v1/score/batch", body)
    assert answer.json["at"] == "$.applicants[1].features[...]"
    assert answer.json["detail"] == "Expected float | null, got str"


def test_numbers_that_are_taken(api: Served) -> None:
    for value in (0, -1, 1.5, 1e308, -1e-308, 5e-324, None, 10**30):
        body = {"id": "A", "features": {**dict.fromkeys(FEATURES, 1.0), "income": value}}
        assert api.ask("POST", "/v1/score", body).status == 200, value
        assert value is None or math.isfinite(float(value))


@pytest.mark.parametrize("kind", ["", "text/plain", "application/x-www-form-urlencoded", "application/jsonp", "json"])
def test_other_kinds_of_body(api: Served, kind: str) -> None:
    assert api.ask("POST", "/v1/score", b'{"id":"A"}', {"Content-Type": kind}).code == "unsupported-media-type"


def test_a_kind_with_parameters_is_json_too(api: Served) -> None:
    for kind in ("application/json; charset=utf-8", "Application/JSON", " application/json "):
        assert api.ask("POST", "/v1/score", b'{"id":"A"}', {"Content-Type": kind}).status == 200


def test_bodies_that_are_too_large(api: Served) -> None:
    for path, most in (("/v1/score", MOST_OF_ONE), ("/v1/score/batch", MOST_OF_MANY)):
        head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        announced = api.raw(f"{head}Content-Length: {most + 1}\r\n\r\n".encode(), 0.3)
        assert announced.startswith(b"HTTP/1.1 413 "), path
        assert b"body-too-large" in announced


def test_bodies_that_are_too_large_and_do_not_say_so(api: Served) -> None:
    chunk = b"%x\r\n%s\r\n" % (10_000, b"x" * 10_000)
    head = b"POST /v1/score HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    answer = api.raw(head + b"Transfer-Encoding: chunked\r\n\r\n" + chunk * 8 + b"0\r\n\r\n", 0.3)
    assert answer.startswith(b"HTTP/1.1 413 ")


def test_what_a_scorer_raises(own: Served) -> None:
    own.scorer.fails = UsageError("the features are a, b")
    assert own.ask("POST", "/v1/score", {"id": "A-77"}).json["detail"] == "the features are a, b"
    own.scorer.fails = UsageError("the row 'A-77' has no such value")
    told = own.ask("POST", "/v1/score", {"id": "A-77"})
    assert told.code == "refused-input"
    assert b"A-77" not in told.body
    own.scorer.fails = PartnerAway()
    away = own.ask("POST", "/v1/score", {"id": "A-77"})
    assert (away.status, away.code) == (503, "partner-away")
    assert int(away.headers["retry-after"]) > 0


def test_a_failure_tells_an_incident_and_nothing_else(own: Served) -> None:
    own.scorer.fails = RuntimeError("cannot score A-77 with income 1234")
    answer = own.ask("POST", "/v1/score", {"id": "A-77"})
    assert (answer.status, answer.code) == (500, "internal")
    told = own.told(event="failure", incident=answer.json["incident"])
    assert told["error"] == "RuntimeError"
    assert any(each.startswith("api_kit.py:") for each in told["places"])
    assert own.told(event="request", incident=told["incident"])["status"] == 500
    assert "A-77" not in json.dumps(own.log) + answer.body.decode()


def test_pages_and_methods_that_are_not_there(api: Served) -> None:
    for path in ("/", "/docs", "/redoc", "/v1/score/", "/v1", "/V1/score", "//v1/score", "/v1/score/batch/x"):
        assert api.ask("GET", path).status in (404, 405), path
    for method in ("GET", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"):
        answer = api.ask(method, "/v1/score")
        assert answer.code == "method-not-allowed"
        assert answer.headers["allow"] == "POST"


def test_the_scorer_of_tests_is_one() -> None:
    """mypy would see it; here the names alone are compared."""
    from vfl.scoring.answers import Scorer

    wanted = {name for name in vars(Scorer) if not name.startswith("_")}
    assert wanted <= set(dir(FakeScorer))
