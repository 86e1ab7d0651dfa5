"""What surrounds every request: names, origins, the log, the counts, health."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from api_kit import LOG, Served, bearer, new_key, serving
from fastapi import FastAPI

from vfl.api import keys
from vfl.api.app import ApiSettings
from vfl.api.calls import Answer, Call
from vfl.api.operation import Operation
from vfl.api.releases import Release, UnknownModel
from vfl.errors import AgreementError

ONE = {"id": "A-1"}


@pytest.fixture(scope="module")
def api() -> Iterator[Served]:
    with serving() as served:
        yield served


# ---- browsers --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost:8000", "[::1]:80", "127.0.0.2:1"])
def test_names_of_this_machine(api: Served, host: str) -> None:
    assert api.ask("POST", "/v1/score", ONE, {"Host": host}).status == 200


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example:80", "", "localhost.evil.example", "[::2]"])
def test_other_names_are_refused_where_nobody_is_asked_who_he_is(api: Served, host: str) -> None:
    for method, path in (("POST", "/v1/score"), ("GET", "/v1/models"), ("GET", "/healthz")):
        assert api.ask(method, path, ONE if method == "POST" else None, {"Host": host}).code == "wrong-host"


def test_pages_from_elsewhere_cannot_send(api: Served) -> None:
    own = {"Host": "localhost:1", "Origin": "http://localhost:1"}
    assert api.ask("POST", "/v1/score", ONE, own).status == 200
    for origin in ("http://evil.example", "null", "http://localhost:2", "https://", "localhost:1"):
        assert api.ask("POST", "/v1/score", ONE, {**own, "Origin": origin}).code == "cross-origin"


def test_with_keys_any_name_will_do(tmp_path: Path) -> None:
    key = new_key(tmp_path)
    with serving(ApiSettings(keys=tmp_path / keys.FILE)) as api:
        assert api.ask("POST", "/v1/score", ONE, {**bearer(key), "Host": "scores.bank.example"}).status == 200


# ---- the log ---------------------------------------------------------------------------------------------------------


def test_the_log_holds_no_identifiers(tmp_path: Path) -> None:
    key = new_key(tmp_path)
    with serving(ApiSettings(keys=tmp_path / keys.FILE)) as api:
        secrets = [f"A-secret-{number}" for number in range(300)]
        for number, each in enumerate(secrets):
            match number % 6:
                case 0:
                    api.ask("POST", "/v1/score", {"id": each}, bearer(key))
                case 1:
                    api.ask("GET", f"/v1/decisions/{each}?who={each}", None, bearer(key))
                case 2:
                    api.ask("GET", f"/{each}", None, bearer(each))
                case 3:
                    api.ask("POST", "/v1/score", {"id": each, each: 1}, {**bearer(key), "Idempotency-Key": each})
                case 4:
                    api.ask("POST", f"/v1/score?id={each}", each.encode(), {**bearer(key), "User-Agent": each})
                case _:
                    api.scorer.fails = RuntimeError(each)
                    assert each not in api.ask("POST", "/v1/score", {"id": each}, bearer(key)).body.decode()
                    api.scorer.fails = None
        metrics = api.ask("GET", "/metrics", None, bearer(key)).body.decode()
    log = json.dumps(api.log)
    assert len([each for each in api.log if each["event"] == "request"]) == 301  # the service has ended: all is told
    assert not any(each in log or each in metrics for each in secrets)
    assert {each["route"] for each in api.log if each["event"] == "request"} == {
        "/v1/score", "/v1/decisions/{id}", "none", "/metrics",
    }  # fmt: skip


# ---- counts ----------------------------------------------------------------------------------------------------------


def counts(api: Served) -> dict[str, float]:
    text = api.ask("GET", "/metrics").body.decode()
    for line in text.splitlines():
        assert re.fullmatch(r'# (HELP|TYPE) \w+ .+|\w+(\{(\w+="[^"\\]*",?)+\})? [0-9.e+-]+', line), line
    return {
        line.rpartition(" ")[0].removeprefix("tallystick_api_"): float(line.rpartition(" ")[2])
        for line in text.splitlines()
        if not line.startswith("#")
    }


def test_what_is_counted() -> None:
    with serving() as api:
        for body in (ONE, {"id": "A-2"}, {"id": "unknown"}):
            api.ask("POST", "/v1/score", body)
        api.ask("POST", "/v1/score/batch", {"applicants": [ONE] * 5 + [{"id": "stranger"}]})
        api.scorer.link = "open circuit"
        api.ask("POST", "/v1/score", ONE)
        api.raw(b"nonsense\r\n\r\n", 0.2)
        api.ask("FROB", "/v1/score")
        found = counts(api)
    assert found['requests_total{route="/v1/score",method="POST",status="200"}'] == 3
    assert found['requests_total{route="/v1/score",method="POST",status="404"}'] == 1
    assert found['requests_total{route="none",method="other",status="400"}'] == 2
    assert found['request_seconds_count{route="/v1/score"}'] == 4
    assert found['request_seconds_bucket{route="/v1/score",le="+Inf"}'] == 4
    made = {name: value for name, value in found.items() if name.startswith("decisions_total")}
    assert sum(made.values()) == 8
    assert sum(value for name, value in made.items() if 'degraded="true"' in name) == 1
    assert found['refused_total{code="unknown-applicant"}'] == 1
    assert found["batch_rows_sum"] == 9
    assert found['batch_rows_bucket{le="1"}'] == 3
    assert found['partner_answers_total{partner="telecom",state="ok"}'] == 7
    assert found['partner_answers_total{partner="telecom",state="down"}'] == 1
    assert found['partner_seconds_sum{partner="telecom"}'] == pytest.approx(0.01)
    assert found['partner_up{partner="telecom"}'] == 0
    assert found['partner_budget_left{partner="telecom"}'] == 1000
    assert found[f'ledger_entries{{log="{LOG}"}}'] == 8


def test_label_values_are_escaped() -> None:
    from vfl.api.meters import _labelled

    assert _labelled(("a",), ('x"y\\z\n',)) == '{a="x\\"y\\\\z\\n"}'


# ---- health ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("link", "champion", "needed", "ready", "degraded"),
    [
        ("up", True, False, True, False),
        ("connecting", True, False, True, True),
        ("open circuit", True, False, True, True),
        ("open circuit", True, True, False, True),
        ("up", True, True, True, False),
        ("refuses", True, False, False, True),
        ("up", False, False, False, False),
    ],
)
def test_when_it_is_ready(link: str, champion: bool, needed: bool, ready: bool, degraded: bool) -> None:
    with serving(ApiSettings(needs_partners=needed)) as api:
        api.scorer.link, api.scorer.champion = link, champion
        answer = api.ask("GET", "/readyz")
        assert answer.status == (200 if ready else 503)
        assert (answer.json["ready"], answer.json["degraded"]) == (ready, degraded)
        assert answer.json["partners"]["telecom"]["state"] == link
        assert api.ask("GET", "/v2/health/ready").status == answer.status
        assert api.ask("GET", "/healthz").status == 200


def test_without_authentication_it_says_so(api: Served) -> None:
    assert "AUTHENTICATION IS OFF" in api.server.start_line
    assert api.ask("GET", "/healthz").json["authentication"] == "off"
    for path in ("/healthz", "/nope", "/v1/models"):
        answer = api.ask("GET", path)
        assert answer.headers["x-tallystick-authentication"] == "off"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "server" not in answer.headers


# ---- what others add -------------------------------------------------------------------------------------------------


class FakeReleases:
    async def promote(self, version: str, caller: str) -> Release:
        if version == "none":
            raise UnknownModel
        if version == "early":
            raise AgreementError("it has no challenger's record yet")
        return Release(version, "awaits approval", (caller,), 2)

    async def rollback(self, version: str, caller: str) -> Release:
        return Release(version, "done", ("risk", caller), 2)

    async def canary(self, version: str, share: float, caller: str) -> Release:
        return Release(f"{version}/{share}", "awaits approval", (caller,), 2)


def test_models_are_promoted_by_administrators(tmp_path: Path) -> None:
    admin, reader = new_key(tmp_path, "risk", "admin"), new_key(tmp_path, "desk", "read", "score")
    with serving(ApiSettings(keys=tmp_path / keys.FILE, releases=FakeReleases())) as api:
        asked = api.ask("POST", "/v1/models/abc:promote", None, bearer(admin))
        assert asked.status == 202
        assert asked.json == {"version": "abc", "state": "awaits approval", "approved_by": ["risk"], "needed": 2}
        assert api.ask("POST", "/v1/models/abc:rollback", None, bearer(admin)).status == 200
        some = api.ask("POST", "/v1/models/abc:canary", {"share": 0.25}, bearer(admin))
        assert (some.status, some.json["version"]) == (202, "abc/0.25")
        for wrong in (1.5, -0.1, True, "0.1", None):
            assert api.ask("POST", "/v1/models/abc:canary", {"share": wrong}, bearer(admin)).code == "invalid-request"
        assert api.ask("POST", "/v1/models/none:promote", None, bearer(admin)).code == "unknown-model"
        early = api.ask("POST", "/v1/models/early:promote", None, bearer(admin))
        assert (early.status, early.code) == (409, "not-agreed")
        assert early.json["detail"] == "it has no challenger's record yet"
        assert api.ask("POST", "/v1/models/abc:promote", None, bearer(reader)).code == "not-permitted"
        assert api.ask("POST", "/v1/models/abc:delete", None, bearer(admin)).code == "not-found"


def test_operations_and_pages_can_be_added(tmp_path: Path) -> None:
    async def act(call: Call, _: None) -> Answer:
        return Answer(call.caller.name.encode(), media=b"text/plain")

    def extend(app: FastAPI) -> None:
        @app.get("/page/{name}")
        async def page(name: str) -> dict[str, str]:
            if name == "broken":
                raise ValueError(name)
            return {"page": name}

    whoami = Operation("GET", "/v1/whoami", "whoami", "Who asks.", act, frozenset({"read"}))
    key = new_key(tmp_path, "desk", "read")
    settings = ApiSettings(keys=tmp_path / keys.FILE, more=(whoami,))
    with serving(settings, extend=extend) as api:
        assert api.ask("GET", "/v1/whoami", None, bearer(key)).body == b"desk"
        assert api.ask("GET", "/v1/whoami").code == "unauthorized"
        assert api.ask("GET", "/page/x").json == {"page": "x"}
        assert api.told(route="/page/{name}")["status"] == 200
        assert api.ask("GET", "/page/broken").code == "internal"
        assert "/v1/whoami" in api.ask("GET", "/openapi.json").json["paths"]
