"""Who is let in: keys, tokens, scopes, limits, and the file that holds them."""

from __future__ import annotations

import base64
import json
import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from api_kit import FakeScorer, Reply, Served, bearer, new_key, serving
from typer.testing import CliRunner

from vfl.api import keys
from vfl.api.app import ApiSettings, make_app
from vfl.api.limits import Limits
from vfl.api.problems import Problem
from vfl.api.server import HttpServer
from vfl.api.tls import Tls
from vfl.api.tokens import Tokens
from vfl.cli import app as command
from vfl.clock import SystemClock
from vfl.errors import UsageError

ONE = {"id": "A-1"}
ROUTES = {
    ("POST", "/v1/score"): {"score"},
    ("POST", "/v1/score/batch"): {"score"},
    ("POST", "/v2/models/pos-loan/infer"): {"score"},
    ("GET", "/v1/decisions/000001-0"): {"read"},
    ("GET", "/v1/ledger"): {"read"},
    ("GET", "/metrics"): {"read"},
    ("GET", "/v1/models"): {"score", "read"},
    ("GET", "/v2"): {"score", "read"},
    ("GET", "/v2/models/pos-loan"): {"score", "read"},
}
OPEN = ("/healthz", "/readyz", "/openapi.json", "/v2/health/live", "/v2/health/ready", "/v2/models/pos-loan/ready")


class SlowClock(SystemClock):
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def now(self) -> datetime:
        return datetime(2026, 3, 1, 23, 59, 0, tzinfo=UTC) + timedelta(seconds=self.ahead)

    def monotonic_ns(self) -> int:
        return int(self.ahead * 1e9)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("keys")


@pytest.fixture(scope="module")
def held(folder: Path) -> dict[str, str]:
    """A key for each scope, and one that has run out."""
    past = datetime(2020, 1, 1, tzinfo=UTC)
    return {
        **{scope: new_key(folder, f"{scope}-client", scope) for scope in keys.SCOPES},
        "expired": new_key(folder, "late", expires=past),
    }


@pytest.fixture(scope="module")
def api(folder: Path, held: dict[str, str]) -> Iterator[Served]:
    with serving(ApiSettings(keys=folder / keys.FILE)) as served:
        yield served


def token(api: Served, key: str, **more: str) -> Reply:
    form = {"grant_type": "client_credentials", "client_id": key[4:16], "client_secret": key, **more}
    body = "&".join(f"{name}={value}" for name, value in form.items() if value is not None)
    return api.ask("POST", "/oauth2/token", body.encode(), {"Content-Type": "application/x-www-form-urlencoded"})


# ---- the matrix ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_each_route_and_each_scope(api: Served, held: dict[str, str], method: str, path: str) -> None:
    body = {} if method == "POST" else None
    for scope in keys.SCOPES:
        answer = api.ask(method, path, body, bearer(held[scope]))
        given = api.ask(method, path, body, bearer(token(api, held[scope]).json["access_token"]))
        assert answer.status == given.status
        if scope in ROUTES[method, path]:
            assert answer.status in (200, 404, 422), (scope, answer.body)  # let in: the body is empty on purpose
            assert answer.status != 404 or answer.code == "unknown-decision"
        else:
            assert answer.code == "not-permitted"
            assert all(scope in answer.json["detail"] for scope in ROUTES[method, path])


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_nobody_gets_in_without(api: Served, held: dict[str, str], method: str, path: str) -> None:
    good = held["score"]
    other = new_key_text(good[4:16])
    wrong = [
        "", "Bearer", "Bearer ", f"Bearer {good[:-1]}", f"Bearer {good}x", f"Bearer {other}",
        f"Bearer {held['expired']}",
        f"Token {good}", good, "Bearer tsk_", "Bearer tst_", f"Bearer tst_{good[4:]}", "Basic", "Basic !!!",
        "Basic " + base64.b64encode(b"no colon").decode(),
        "Basic " + base64.b64encode(f"{'0' * 12}:{good}".encode()).decode(),
        "Bearer " + "x" * 5000, "Bearer tsk_ffffffffffff_" + "A" * 43,
    ]  # fmt: skip
    for value in wrong:
        answer = api.ask(method, path, b"{}" if method == "POST" else None, {"Authorization": value})
        assert answer.code == "unauthorized", value
        assert "Bearer" in answer.headers["www-authenticate"]
        assert good[20:] not in answer.body.decode()
    spoofed = {"X-Client-Cert": "bank", "X-Forwarded-Client-Cert": "Subject=bank", "X-API-Key": good}
    assert api.ask(method, path, None, spoofed).code == "unauthorized"


def new_key_text(which: str) -> str:
    return f"tsk_{which}_{'A' * 43}"


def test_pages_for_everybody(api: Served, held: dict[str, str]) -> None:
    for path in OPEN:
        answer = api.ask("GET", path)
        assert answer.status == 200, path
        assert "x-tallystick-authentication" not in answer.headers
    assert api.ask("GET", "/healthz").json["authentication"] == "on"
    assert api.ask("GET", "/readyz").json["partners"] == {}
    assert set(api.ask("GET", "/readyz", None, bearer(held["read"])).json["partners"]) == {"telecom"}


def test_a_browser_may_use_basic(api: Served, held: dict[str, str]) -> None:
    pair = base64.b64encode(f"{held['read'][4:16]}:{held['read']}".encode()).decode()
    assert api.ask("GET", "/v1/models", None, {"Authorization": f"Basic {pair}"}).status == 200


def test_the_scorer_and_the_log_know_the_client(api: Served, held: dict[str, str]) -> None:
    assert api.ask("POST", "/v1/score", ONE, bearer(held["score"])).status == 200
    assert "score-client" in api.scorer.callers
    assert api.told(client="score-client")["status"] == 200
    assert held["score"] not in json.dumps(api.log)


def test_two_authorizations_are_none(api: Served, held: dict[str, str]) -> None:
    head = f"GET /v1/models HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {held['read']}\r\n"
    assert b"malformed-header" in api.raw(f"{head}Authorization: Bearer no\r\n\r\n".encode(), 0.3)


# ---- tokens ----------------------------------------------------------------------------------------------------------


def test_a_token_for_a_key(api: Served, held: dict[str, str]) -> None:
    given = token(api, held["score"])
    assert given.status == 200
    assert given.headers["cache-control"] == "no-store"
    assert given.json | {"access_token": ""} == {
        "access_token": "", "token_type": "Bearer", "expires_in": 600, "scope": "score",
    }  # fmt: skip
    pair = base64.b64encode(f"{held['score'][4:16]}:{held['score']}".encode()).decode()
    form = {"Content-Type": "application/x-www-form-urlencoded", "Authorization": f"Basic {pair}"}
    assert api.ask("POST", "/oauth2/token", b"grant_type=client_credentials", form).status == 200


def test_what_gets_no_token(api: Served, held: dict[str, str]) -> None:
    good, form = held["score"], {"Content-Type": "application/x-www-form-urlencoded"}
    assert token(api, good, grant_type="password").json["error"] == "unsupported_grant_type"
    assert token(api, good, scope="admin").json["error"] == "invalid_scope"
    assert token(api, good, scope="score%20admin").json["error"] == "invalid_scope"
    assert token(api, good, scope="").json["scope"] == "score"  # without a value is as if left out (3.2)
    for more in ({"client_id": "0" * 12}, {"client_secret": new_key_text(good[4:16])}, {"client_secret": "x"}):
        answer = token(api, good, **more)
        assert (answer.status, answer.json["error"]) == (401, "invalid_client")
        assert answer.headers["www-authenticate"].startswith("Basic")
    assert token(api, held["expired"]).json["error"] == "invalid_client"
    for body in (b"", b"grant_type", b"grant_type=a&grant_type=b", b"\xff", b"a=%ff"):
        answer = api.ask("POST", "/oauth2/token", body, form)
        assert answer.status in (400, 401), body
        assert answer.json["error"] in ("invalid_request", "invalid_client")
    secret = f"client_id={good[4:16]}&client_secret={good}".encode()
    assert api.ask("POST", "/oauth2/token", secret, form).json["error"] == "invalid_request"
    twice = {**form, "Authorization": "Basic " + base64.b64encode(f"{good[4:16]}:{good}".encode()).decode()}
    assert api.ask("POST", "/oauth2/token", b"client_id=x&grant_type=client_credentials", twice).status == 400
    assert api.ask("POST", "/oauth2/token", b"{}").code == "unsupported-media-type"
    assert api.ask("POST", "/oauth2/token", b"a=" + b"x" * 5000, form).code == "body-too-large"


def test_tokens_end_and_do_not_pile_up(tmp_path: Path) -> None:
    clock = SlowClock()
    key = new_key(tmp_path, "desk", "score", "read")
    ring = keys.KeyRing(tmp_path / keys.FILE, clock)
    tokens = Tokens(ring, Limits(clock), clock)
    form = {"grant_type": "client_credentials", "client_id": key[4:16], "client_secret": key, "scope": "read"}
    given = [tokens._given(form, None).access_token for _ in range(150)]
    assert len(tokens._held) == 100
    assert tokens.find(given[0]) is None
    found = tokens.find(given[-1])
    assert found is not None
    assert found[1] == {"read"}
    assert given[-1] not in str(tokens._held)
    clock.ahead = 601
    assert tokens.find(given[-1]) is None
    tokens._given(form, None)
    assert len(tokens._held) == 1


# ---- limits ----------------------------------------------------------------------------------------------------------


def test_requests_a_minute(tmp_path: Path) -> None:
    limited, free = new_key(tmp_path, "limited", per_minute=30), new_key(tmp_path, "free")
    with serving(ApiSettings(keys=tmp_path / keys.FILE)) as api:
        answers = [api.ask("POST", "/v1/score", ONE, bearer(limited)) for _ in range(7)]
        assert [each.status for each in answers] == [200] * 5 + [429] * 2
        assert answers[-1].code == "too-many-requests"
        assert 1 <= int(answers[-1].headers["retry-after"]) <= 2
        assert api.ask("POST", "/v1/score", ONE, bearer(free)).status == 200
        # the other key of a client does not get round the limit
        second = new_key(tmp_path, "limited", per_minute=30)
        time.sleep(0.1)
        assert [api.ask("POST", "/v1/score", ONE, bearer(second)).status for _ in range(2)][-1] == 429


def test_a_bucket_fills_again() -> None:
    clock = SlowClock()
    limits = Limits(clock)

    def passes() -> int:
        count = 0
        try:
            while True:
                limits.request("desk", 600)
                count += 1
        except Problem:
            return count

    assert passes() == 100
    clock.ahead += 1
    assert passes() == 10
    clock.ahead += 3600
    assert passes() == 100


def test_decisions_a_day_are_exact(tmp_path: Path) -> None:
    clock = SlowClock()
    key = new_key(tmp_path, per_day=10)
    path = tmp_path / keys.FILE
    with serving(ApiSettings(keys=path), clock=clock) as api:
        batch = {"applicants": [ONE] * 4}
        assert [api.ask("POST", "/v1/score/batch", batch, bearer(key)).status for _ in range(3)] == [200, 200, 429]
        answers = [api.ask("POST", "/v1/score", ONE, bearer(key)) for _ in range(3)]
        assert [each.status for each in answers] == [200, 200, 429]
        assert answers[-1].code == "quota-used-up"
        assert answers[-1].headers["retry-after"] == "60"
        assert len(api.scorer.made) == 10
        tensor = {"inputs": [{"name": "id", "shape": [1], "datatype": "BYTES", "data": ["A-1"]}]}
        assert api.ask("POST", "/v2/models/pos-loan/infer", tensor, bearer(key)).status == 429
        clock.ahead = 61  # the next day
        assert api.ask("POST", "/v1/score", ONE, bearer(key)).status == 200


def test_decisions_a_day_outlive_the_process(tmp_path: Path) -> None:
    key = new_key(tmp_path, per_day=5)
    settings = ApiSettings(keys=tmp_path / keys.FILE)
    for expected in ([200, 200], [200, 200], [200, 429]):
        with serving(settings) as api:
            assert [api.ask("POST", "/v1/score", ONE, bearer(key)).status for _ in expected] == expected
    usage = tmp_path / "api-usage.json"
    assert usage.stat().st_mode & 0o777 == 0o600
    usage.write_text('{"day": "2020-01-01", "decisions": {"desk": 5}}')  # another day
    with serving(settings) as api:
        assert api.ask("POST", "/v1/score", ONE, bearer(key)).status == 200
    usage.write_text("{")
    with pytest.raises(UsageError, match="cannot be read"):
        make_app(FakeScorer(), settings, SystemClock(), print)


def test_counts_are_kept_while_it_serves_and_a_full_disk_is_told(tmp_path: Path) -> None:
    key = new_key(tmp_path, per_day=50)
    usage = tmp_path / "api-usage.json"
    with serving(ApiSettings(keys=tmp_path / keys.FILE)) as api:
        assert api.ask("POST", "/v1/score", ONE, bearer(key)).status == 200
        until = time.monotonic() + 6
        while not usage.exists() and time.monotonic() < until:
            time.sleep(0.05)
        assert json.loads(usage.read_text())["decisions"] == {"desk": 1}
        (tmp_path / "api-usage.json.part").mkdir()  # where it would be written
        assert api.ask("POST", "/v1/score", ONE, bearer(key)).status == 200
        until = time.monotonic() + 6
        while not any(each["event"] == "counts cannot be kept" for each in api.log) and time.monotonic() < until:
            time.sleep(0.05)
        assert api.told(event="counts cannot be kept")["error"] == "IsADirectoryError"


# ---- the file --------------------------------------------------------------------------------------------------------


def test_a_client_changes_keys_without_a_gap(tmp_path: Path) -> None:
    path = tmp_path / keys.FILE
    old = new_key(tmp_path)
    with serving(ApiSettings(keys=path)) as api:
        given = token(api, old).json["access_token"]
        new = new_key(tmp_path)
        time.sleep(0.1)
        assert {api.ask("GET", "/v1/models", None, bearer(each)).status for each in (old, new, given)} == {200}
        keys.revoke(path, old[4:16], datetime.now(UTC))
        time.sleep(0.1)
        seen = [api.ask("GET", "/v1/models", None, bearer(each)).status for each in (old, new, given)]
        assert seen == [401, 200, 401]


def test_a_file_that_breaks_leaves_what_was_read(tmp_path: Path) -> None:
    path = tmp_path / keys.FILE
    clock = SlowClock()
    key = new_key(tmp_path)
    ring = keys.KeyRing(path, clock)
    path.write_text("{")
    clock.ahead = 2
    assert ring.by_key(key) is not None
    assert ring.damaged
    path.unlink()
    clock.ahead = 4
    assert ring.by_key(key) is not None
    other = new_key(tmp_path)
    clock.ahead = 6
    assert ring.by_key(key) is None
    assert ring.by_key(other) is not None
    assert not ring.damaged


def test_the_file_holds_no_keys_and_is_private(tmp_path: Path) -> None:
    path = tmp_path / keys.FILE
    key = new_key(tmp_path)
    assert key not in path.read_text()
    assert key[17:] not in path.read_text()
    assert path.stat().st_mode & 0o777 == 0o600
    os.chmod(path, 0o640)
    for act in (lambda: keys.read(path), lambda: keys.KeyRing(path, SystemClock()), lambda: new_key(tmp_path)):
        with pytest.raises(UsageError, match="others may read it"):
            act()


@pytest.mark.parametrize(
    "change",
    [
        lambda body: body.update(format="other"),
        lambda body: body.update(more=1),
        lambda body: body["credentials"].append(body["credentials"][0]),
        lambda body: body["credentials"][0].update(sha256=""),
        lambda body: body["credentials"][0].update(scopes=["root"]),
        lambda body: body["credentials"][0].update(per_minute=0),
        lambda body: body["credentials"][0].update(expires="2026-01-01T00:00:00"),
    ],
)
def test_a_damaged_file_is_refused(tmp_path: Path, change: object) -> None:
    path = tmp_path / keys.FILE
    new_key(tmp_path)
    body = json.loads(path.read_text())
    assert callable(change)
    change(body)
    path.write_text(json.dumps(body))
    with pytest.raises(UsageError, match=r"api-keys\.json"):
        keys.read(path)


def test_no_file_is_no_service(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        make_app(FakeScorer(), ApiSettings(keys=tmp_path / "none.json"), SystemClock(), print)


def test_where_a_service_does_not_start(tmp_path: Path) -> None:
    new_key(tmp_path)
    plain = make_app(FakeScorer(), ApiSettings(), SystemClock(), print)
    keyed = make_app(FakeScorer(), ApiSettings(keys=tmp_path / keys.FILE), SystemClock(), print)
    for host in ("0.0.0.0", "::", "192.0.2.1", "bank.example"):  # none of them is ever bound
        with pytest.raises(UsageError, match="authentication is off"):
            HttpServer(plain, host, 0, Tls(tmp_path / "c", tmp_path / "k"))
        with pytest.raises(UsageError, match="no TLS"):
            HttpServer(keyed, host, 0)
    first = HttpServer(keyed, "127.0.0.1", 0)
    with pytest.raises(UsageError, match="not to be had"):
        HttpServer(keyed, "127.0.0.1", first.port)
    first.close()


# ---- the command -----------------------------------------------------------------------------------------------------


def run(*words: object) -> str:
    done = CliRunner().invoke(command, ["api-key", *map(str, words)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def test_keys_on_the_command_line(tmp_path: Path) -> None:
    key = run("new", "desk", "--scope", "score", "--scope", "read", "--folder", tmp_path, "--per-day", 5).strip()
    ring = keys.KeyRing(tmp_path / keys.FILE, SystemClock())
    found = ring.by_key(key)
    assert found is not None
    assert (found.client, found.scopes, found.per_minute, found.per_day) == ("desk", ("score", "read"), 60_000, 5)
    assert found.expires is not None
    assert 364 <= (found.expires - datetime.now(UTC)).days <= 365
    made = json.loads(run("new", "desk", "--scope", "admin", "--folder", tmp_path, "--days", 30, "--json"))
    assert made["key"].startswith(f"tsk_{made['id']}_")
    table = run("list", "--folder", tmp_path)
    assert made["id"] in table
    assert made["key"] not in table
    run("revoke", made["id"], "--folder", tmp_path)
    listed = json.loads(run("list", "--folder", tmp_path, "--json"))["keys"]
    assert [each["state"] for each in listed] == ["valid", "revoked"]
    assert "key" not in listed[0]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("new", "desk", "--scope", "root"), "is no scope"),
        (("new", "a b", "--scope", "read"), "no client name"),
        (("new", "desk", "--scope", "read", "--certificate", "none.pem"), "cannot be read"),
        (("revoke", "0" * 12), "no API key"),
    ],
)
def test_wrong_words_on_the_command_line(tmp_path: Path, words: tuple[str, ...], said: str) -> None:
    new_key(tmp_path)
    with pytest.raises(UsageError, match=said):
        CliRunner().invoke(command, ["api-key", *words, "--folder", str(tmp_path)], catch_exceptions=False)


def test_help_does_not_pay_for_a_web_server() -> None:
    import subprocess
    import sys

    code = (
        "import sys, vfl.cli, vfl.api_commands; print(sorted({'fastapi', 'uvicorn', 'starlette'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
