"""A service as its operator sees it: metrics, health, logs, what it refuses to do twice, and `tallystick runs`."""

from __future__ import annotations

import io
import json
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pytest
from services_kit import GOOD, Parties, apart

from ledger.ending import ended
from vfl.clock import FixedClock, SystemClock
from vfl.errors import UsageError
from vfl.files import alone
from vfl.party import cancelling, watching
from vfl.party.beginning import begin
from vfl.party.cancelling import cancel
from vfl.party.concluding import own_log
from vfl.party.metrics import Metrics
from vfl.party.runs import CANCELLED, DONE, RUNNING, SERVE_LOCK, RunFolder, Status, all_runs
from vfl.party.serving import json_log
from vfl.party.standing import Standing


@pytest.fixture(scope="module")
def parties(tmp_path_factory: pytest.TempPathFactory) -> Parties:
    return Parties(tmp_path_factory.mktemp("parties"))


@pytest.fixture(scope="module")
def telecom(parties: Parties) -> Iterator[subprocess.Popen[bytes]]:
    process = apart(parties.folder, "serve", "telecom")
    while not (parties.folder / "telecom.address").exists():
        assert process.poll() is None
        time.sleep(0.01)
    yield process
    process.kill()
    process.wait()


def page(parties: Parties, path: str) -> tuple[int, str]:
    port = (parties.folder / "telecom.metrics").read_text()
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


@pytest.fixture(scope="module")
def ran(parties: Parties, telecom: subprocess.Popen[bytes]) -> Iterator[Parties]:
    """After one run with the service."""
    with parties.serving("payroll"):
        parties.driving("first").run(lambda line: None)
        yield parties


def test_a_service_tells_how_it_is(ran: Parties) -> None:
    assert page(ran, "/healthz") == (200, "alive\n")
    assert page(ran, "/readyz") == (200, "ready\n")
    assert page(ran, "/else")[0] == 404
    code, text = page(ran, "/metrics")
    assert code == 200
    values = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    assert values["tallystick_attempts_total"] == "1"
    assert values["tallystick_attempts_running"] == "0"
    assert values["tallystick_peers_trusted"] == "2"
    assert values['tallystick_runs{party="telecom",state="done"}'] == "1"
    assert float(values["tallystick_memory_peak_bytes"]) > 1e7
    named = [line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")]
    assert named == list(dict.fromkeys(key.partition("{")[0] for key in values)), "each is described before it"


def test_the_log_is_json_and_names_no_customer(ran: Parties) -> None:
    text = (ran.folder / "telecom.log").read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    assert [line["event"] for line in lines[:4]] == ["serving", "offer accepted", "attempt begins", "attempt ends"]
    assert all(datetime.fromisoformat(line["time"]).tzinfo for line in lines)
    table = pd.read_csv(ran.folder / "tables" / "bank.csv", dtype=str)
    seen = text + page(ran, "/metrics")[1]
    numbers = table["customer_id"].str[-9:]
    assert not any(number in seen for number in numbers)
    assert any(
        number in (ran.folder_of("bank", "first").path / "bank" / "predictions.csv").read_text() for number in numbers
    )


def test_a_second_service_on_the_same_state_is_refused(ran: Parties) -> None:
    second = apart(ran.folder, "serve", "telecom")
    assert second.wait(20) == 1


def test_a_slow_asker_keeps_nobody_out(ran: Parties) -> None:
    port = int((ran.folder / "telecom.metrics").read_text())
    slow = [socket.create_connection(("127.0.0.1", port)) for _ in range(30)]
    for connection in slow:
        connection.sendall(b"GET /hea")
    assert page(ran, "/healthz") == (200, "alive\n")
    for connection in slow:
        connection.close()


def test_a_port_in_use_is_named() -> None:
    first = Metrics(0, lambda: False, lambda: "")
    try:
        with pytest.raises(UsageError, match=f"the port {first.port} for metrics"):
            Metrics(first.port, lambda: False, lambda: "")
    finally:
        first.stop()


def test_a_service_ends_when_it_is_asked_to(parties: Parties) -> None:
    process = apart(parties.folder, "serve", "bank")
    while not (parties.folder / "bank.address").exists():
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 0
    assert json.loads((parties.folder / "bank.log").read_text().splitlines()[-1])["event"] == "ending"


# ---- runs ------------------------------------------------------------------------------------------------------------


def test_runs_are_told_as_they_stand(ran: Parties) -> None:
    runs = ran.standing("telecom").runs
    (folder,) = all_runs(runs)
    about = watching.told(folder)
    assert (about["run"], about["state"], about["active"], about["attempt"]) == ("first", DONE, "bank", 1)
    assert watching.line(about) == "done"
    assert [each["state"] for each in watching.watch(folder)] == [DONE]
    with pytest.raises(UsageError, match="there is no run other") as caught:
        watching.named(runs, "other")
    assert "first" in caught.value.remedy
    with pytest.raises(UsageError, match="done already"):
        cancelled(ran, "first")


def test_a_line_says_place_and_pace() -> None:
    about = {
        "state": RUNNING, "reason": "", "phase": "train", "round": 4, "rounds": 30,
        "rows_per_second": 12345, "bytes": 4_819_584, "seconds_left": 61,
    }  # fmt: skip
    assert watching.line(about) == ("training on encrypted histograms, 5 of 30, 12,345 rows/s, 4.8 MB, 61 s left")


@pytest.mark.parametrize("name", ["", "..", "a/b", "x" * 64, ".partial\0"])
def test_no_name_leads_out_of_the_runs(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="no run name"):
        RunFolder(tmp_path, name)


def cancelled(parties: Parties, run: str, name: str = "telecom") -> Status:
    """What `runs cancel` does at a party."""
    who = parties.standing(name)
    return cancel(parties.folder_of(name, run), name, who.state, "no consent", lambda: who, SystemClock())


def offered(parties: Parties, run: str) -> RunFolder:
    """A run that waits at the telecom for its first attempt."""
    who = parties.standing("telecom")
    return begin(who, run, parties.admit(GOOD), "2026-01-01T00:00:00+00:00")


def test_a_run_is_cancelled_by_the_service_that_is_up(ran: Parties) -> None:
    folder = offered(ran, "asked")
    status = cancelled(ran, "asked")
    assert (status.state, status.reason) == (CANCELLED, "telecom ended it: no consent")
    events = [json.loads(line) for line in (ran.folder / "telecom.log").read_text().splitlines()]
    assert events[-1]["event"] == "run ended", "nobody else held its lock"
    with own_log(ran.standing("telecom"), folder, SystemClock()) as log:
        assert ended(log) is not None


def test_a_run_is_cancelled_although_nothing_is_up(tmp_path: Path) -> None:
    parties = Parties(tmp_path)
    folder = offered(parties, "r1")
    assert folder.cancelled == ""
    with pytest.raises(UsageError, match="no passphrase; without it the run ends when its service") as caught:
        cancel(folder, "telecom", parties.standing("telecom").state, "why", _no_passphrase, SystemClock())
    assert caught.value.remedy == "name a file"
    assert (folder.cancelled, folder.status().state) == ("why", "offered")
    status = cancelled(parties, "r1")
    assert (status.state, status.reason) == (CANCELLED, "telecom ended it: no consent")
    with own_log(parties.standing("telecom"), folder, SystemClock()) as log:
        assert (found := ended(log)) is not None
        assert (found.by, found.why, found.seq) == ("telecom", status.reason, len(log) - 1)
    with pytest.raises(UsageError, match="cancelled already"):
        cancelled(parties, "r1")
    (folder.path / "status.json").write_text('{"run": "r1"}')
    with pytest.raises(UsageError, match="damaged"):
        folder.status()


def _no_passphrase() -> Standing:
    raise UsageError("no passphrase", remedy="name a file")


def test_a_keeper_that_does_not_act_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parties = Parties(tmp_path)
    folder = offered(parties, "r1")
    monkeypatch.setattr(cancelling, "PATIENCE", 0.3)
    held = alone(parties.standing("telecom").state / SERVE_LOCK, "")
    with held, pytest.raises(UsageError, match="r1 is asked to end, and has not within 0 seconds"):
        cancelled(parties, "r1")
    assert folder.cancelled == "no consent"


def test_nobody_listening_to_the_log_is_no_reason_to_stop() -> None:
    out = io.StringIO()
    json_log(out, FixedClock(datetime(2026, 1, 1, tzinfo=UTC)))("event", run="r1")
    assert json.loads(out.getvalue())["run"] == "r1"
