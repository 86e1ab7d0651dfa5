"""A partner is killed in a run: who heard the challenge and stays away dropped out by proof, and nobody else."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from run_kit import TWO, apart, frames, scenario, tallystick, verify
from test_processes import children

from ledger.evidence import check_evidence
from ledger.keys import Identity
from ledger.policy import Policy
from ledger.store import SQLiteStore
from ledger.witness import Witness
from ledger.witness_http import WitnessServer
from ledger.witness_service import WitnessService
from vfl import challenge_commands, simulation
from vfl.clock import SystemClock
from vfl.config import load_scenario
from vfl.errors import BrokenPromise, TransportError
from vfl.progress import Silent
from vfl.seat import RunFile, Seat

pytestmark = pytest.mark.skipif(not Path("/proc").is_dir(), reason="finds the processes in /proc")
REGULATOR = Identity("regulator", bytes(32))
SLOW = """#!{python}
import sys, time
from pathlib import Path
from vfl import processes
from vfl.protocols import boost

answer = boost.answer_query

async def slow(active, order, *rest):
    if active._round == 1:
        Path({flag!r}).touch()
        time.sleep(60)
    return await answer(active, order, *rest)

if sys.argv[4] == "telecom":
    boost.answer_query = slow
sys.exit(processes.main(sys.argv[3:]))
"""


class Later(SystemClock):
    """A clock that tests can put forward."""

    ahead = timedelta()

    def now(self) -> datetime:
        return super().now() + self.ahead


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> type[Later]:
    monkeypatch.setattr(challenge_commands, "SystemClock", Later)
    monkeypatch.setattr(Later, "ahead", timedelta())
    return Later


@dataclass(frozen=True)
class Stopped:
    """A run whose telecom was killed while the bank waited for it."""

    file: Path
    partial: Path
    said: str


@pytest.fixture(scope="module", params=["round", pytest.param("message", marks=pytest.mark.slow)])
def stopped(request: Any, tmp_path_factory: pytest.TempPathFactory) -> Stopped:
    folder = tmp_path_factory.mktemp("stopped")
    toml = TWO.replace("[privacy]", f'[privacy]\nreceipts = "{request.param}"')
    file, out, flag, python = scenario(folder, toml, frames(240)), folder / "run", folder / "flag", folder / "python"
    python.write_text(SLOW.format(python=sys.executable, flag=str(flag)))
    python.chmod(0o755)

    def kill() -> None:
        deadline = time.monotonic() + 30
        while not flag.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        os.kill(children(os.getpid())["telecom"], signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "executable", str(python))
        options = simulation.Options(out, processes=True)
        with pytest.raises(TransportError) as caught:
            simulation.run_scenario(lambda tables: load_scenario(file), options, Silent())
    killer.join()
    return Stopped(file, simulation.partial_of(out), caught.value.diagnostics())


@pytest.fixture
def run(stopped: Stopped, tmp_path: Path) -> Path:
    """A copy of the stopped run; what --out was."""
    shutil.copytree(stopped.partial, tmp_path / "run.partial")
    return tmp_path / "run"


@dataclass(frozen=True)
class Regulator:
    """An independent witness, as words of the command line."""

    words: tuple[object, ...]


@pytest.fixture
def regulator(run: Path, tmp_path: Path) -> Iterator[Regulator]:
    keys = RunFile.read(run.with_name("run.partial")).keys
    store = SQLiteStore(tmp_path / "witness.db")
    witness = Witness(REGULATOR, store, Later())
    service = WitnessService(witness, [pair.identity for pair in keys.values()], store, tmp_path / "forks")
    with serving(service) as url:
        yield Regulator(("--witness", url, "--witness-key", REGULATOR.witness.verifying.vkey))
    store.close()


@contextmanager
def serving(service: WitnessService) -> Iterator[str]:
    server = WitnessServer(("127.0.0.1", 0), service, lambda reply: None)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server.url
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def do(capfd: Any, word: str, run: Path, *words: object, code: int = 0) -> str:
    ended = tallystick(capfd, "challenge", word, run, *words)
    assert ended.code == code, ended.err
    return ended.err if code else ended.out


def sent_and_heard(capfd: Any, run: Path, regulator: Regulator) -> Path:
    challenge, heard = run.parent / "challenge.json", run.parent / "heard.json"
    do(capfd, "send", run, "--party", "bank", *regulator.words, "--out", challenge)
    do(capfd, "hear", run, challenge, "--party", "telecom", "--out", heard)
    return heard


def test_the_run_says_who_owes_what(stopped: Stopped) -> None:
    assert "the process of telecom was killed by signal 9" in stopped.said
    assert "telecom owes bank train/1/NodeHistograms/telecom>bank/" in stopped.said
    assert not list(stopped.partial.glob("*/evidence")), "silence alone accuses nobody"


def test_who_heard_and_stays_away_dropped_out(run: Path, regulator: Regulator, clock: type[Later], capfd: Any) -> None:
    heard = sent_and_heard(capfd, run, regulator)
    accusing = (heard, "--party", "bank", *regulator.words)
    assert "has time until" in do(capfd, "accuse", run, *accusing, code=2)
    clock.ahead = timedelta(minutes=66)
    path = Path(do(capfd, "accuse", run, *accusing).splitlines()[0])
    partial = run.with_name("run.partial")
    found = check_evidence(path.read_bytes(), Policy.parse((partial / "policy.txt").read_text()))
    assert (found.party, found.kind) == ("telecom", "dropping-out")
    assert found.slot.startswith("train/1/NodeHistograms/telecom>bank/")


def test_who_goes_on_in_time_is_not_accused(
    stopped: Stopped, run: Path, regulator: Regulator, clock: type[Later], capfd: Any
) -> None:
    heard = sent_and_heard(capfd, run, regulator)
    ended = apart("run", stopped.file, "--out", run, "--resume")
    assert ended.returncode == 0, ended.stderr
    assert verify(run).returncode == 0
    for party in ("bank", "telecom"):
        assert tallystick(capfd, "replay", run, "--party", party).code == 0
    clock.ahead = timedelta(minutes=66)
    said = do(capfd, "accuse", run, heard, "--party", "bank", *regulator.words, code=2)
    assert "a run that is finished owes nothing" in said


def test_who_shows_itself_is_not_accused(run: Path, regulator: Regulator, clock: type[Later], capfd: Any) -> None:
    """Where the asker does not go on with the run."""
    heard = sent_and_heard(capfd, run, regulator)
    assert "has seen telecom" in do(capfd, "show", run, "--party", "telecom", *regulator.words)
    clock.ahead = timedelta(minutes=66)
    said = do(capfd, "accuse", run, heard, "--party", "bank", *regulator.words, code=2)
    assert "knows another head" in said or "has cosigned" in said
    assert not list(run.parent.glob("*/bank/evidence/*"))


def test_a_challenge_that_leaves_no_time_is_not_heard(
    run: Path, regulator: Regulator, clock: type[Later], capfd: Any
) -> None:
    challenge = run.parent / "challenge.json"
    words = ("--party", "bank", *regulator.words, "--out", challenge)
    assert "10 minutes at least" in do(capfd, "send", run, *words, "--within", 9, code=2)
    do(capfd, "send", run, *words, "--within", 10)
    hearing = (challenge, "--party", "telecom", "--out", run.parent / "heard.json")
    clock.ahead = timedelta(minutes=6)
    assert "leaves no time" in do(capfd, "hear", run, *hearing, code=2)
    assert "challenges telecom, not bank" in do(
        capfd, "hear", run, challenge, "--party", "bank", "--out", run.parent / "h", code=2
    )
    other = ("--party", "telecom", *regulator.words, "--out", run.parent / "c")
    assert "there is no waiting.json" in do(capfd, "send", run, *other, code=2)
    assert "no party '../bank'" in do(capfd, "hear", run, challenge, "--party", "../bank", "--out", run / "h", code=2)


def postponed(body: dict[str, Any]) -> None:
    body["challenge"]["entry"] = body["challenge"]["entry"].replace("2026-", "2036-")


HOSTILE: dict[str, tuple[Callable[[dict[str, Any]], None], str]] = {
    "nothing": (dict.clear, "is no challenge of this run"),
    "no signature": (lambda body: body.pop("signature"), "is no challenge of this run"),
    "another entry": (lambda body: body["challenge"].update(entry="{}"), "is no challenge of this run"),
    "another head": (lambda body: body["challenge"].update(head="bank/x\n1\nAA==\n"), "is no challenge of this run"),
    "a later deadline": (postponed, "is no challenge of this run"),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_false_challenge_is_not_heard(run: Path, regulator: Regulator, what: str, capfd: Any) -> None:
    challenge, (change, words) = run.parent / "challenge.json", HOSTILE[what]
    do(capfd, "send", run, "--party", "bank", *regulator.words, "--out", challenge)
    body = json.loads(challenge.read_text())
    change(body)
    challenge.write_text(json.dumps(body))
    hearing = (challenge, "--party", "telecom", "--out", run.parent / "heard.json")
    assert words in do(capfd, "hear", run, *hearing, code=2)


def test_nobody_heard_a_challenge_that_was_not_made(run: Path) -> None:
    seat = Seat(run.with_name("run.partial"), "bank", Later())
    try:
        with pytest.raises(BrokenPromise, match="a challenge that we did not make") as caught:
            seat.notary.was_heard("telecom", ["train/1/challenge/bank>telecom/0"])
        assert caught.value.peer == "telecom"
    finally:
        seat.release()
