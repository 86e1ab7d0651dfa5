"""Runs over a network that fails, and partners that are slow, away for a while, or never back."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from run_kit import edit
from services_kit import SEEDS, Parties, apart, assert_same, await_phase, between, require_signed_end

from ledger import Code, verify_bytes
from ledger.bundle import write_bundle
from vfl.clock import SystemClock
from vfl.errors import AgreementError, RunEnded
from vfl.party import driving, watching
from vfl.party.concluding import own_log
from vfl.party.patience import Patience
from vfl.party.runs import ABORTED, CANCELLED, DONE, ENDED_BUNDLE, FAILED, RUNNING, WAITING, Status
from vfl.seat import RunFile, policy_of

PASSIVES = ("telecom", "payroll")


@pytest.fixture(scope="module")
def parties(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Parties]:
    """Three companies whose services are up, and that wait no longer than a test does."""
    parties = Parties(tmp_path_factory.mktemp("parties"))
    with parties.serving("telecom"), parties.serving("payroll"):
        yield parties


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driving, "FIRST_WAIT", 0.1)


def ran(parties: Parties, run: str, patience: float = 60.0) -> list[str]:
    """Why a run waited, which then came to its end."""
    waits: list[str] = []
    parties.driving(run, patience).run(waits.append)
    return waits


# ---- a network that fails --------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_run_takes_the_time_that_a_slow_network_takes(parties: Parties, tmp_path: Path) -> None:
    """50 kB a second and 20 to 40 ms each way: nobody gives up, nobody begins anew."""
    with between(parties, "telecom", latency=0.02, jitter=0.02, rate=50_000) as network:
        began = time.monotonic()
        assert ran(parties, "slow") == []
        assert time.monotonic() - began > network.carried / 2 / 50_000
        assert network.carried > 500_000
    assert parties.folder_of("bank", "slow").status().attempt == 1
    assert_same(parties, "slow", tmp_path / "same")


BAD = {
    "late": {"latency": 0.01, "jitter": 0.03},
    "reset": {"reset": 150_000},
    "half closed": {"half_close": 150_000},
    "altered": {"flip": 0.02},
    "all at once": {"latency": 0.002, "jitter": 0.01, "rate": 1_000_000, "reset": 400_000, "half_close": 400_000,
                    "flip": 0.004},
}  # fmt: skip


@pytest.mark.slow
def test_a_reset_connection_costs_an_attempt_and_no_byte(parties: Parties, tmp_path: Path) -> None:
    with between(parties, "telecom") as network, ThreadPoolExecutor(1) as pool:
        running = pool.submit(ran, parties, "reset")
        await_phase(parties.folder_of("bank", "reset"), "train")
        network.reset()
        (wait,) = running.result(60)
    assert wait.startswith("telecom cannot be reached")
    assert parties.folder_of("bank", "reset").status().attempt == 2
    assert_same(parties, "reset", tmp_path / "same")


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("kind", BAD)
def test_a_bad_network_costs_attempts_and_no_byte(parties: Parties, tmp_path: Path, kind: str, seed: int) -> None:
    """After a while the network is mended; until then attempts may end, and each goes on from the one before."""
    run = f"{kind.replace(' ', '-')}-{seed}"
    with between(parties, "telecom", seed, **BAD[kind]) as network:
        mending = threading.Timer(5.0, network.mend)
        mending.start()
        waits = ran(parties, run)
        mending.cancel()
    if kind == "late":
        assert waits == []
    else:
        assert network.happened
        assert waits, "an attempt ended"
    assert all("telecom" in wait for wait in waits), "blamed is who stands behind that network"
    assert_same(parties, run, tmp_path / "same")


@pytest.mark.slow
def test_a_hole_in_the_network_is_waited_out(parties: Parties, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing arrives and nothing is refused: the silence ends the attempt, and the run goes on after the hole."""
    monkeypatch.setattr(parties, "timeout", 1.0)
    monkeypatch.setattr(driving, "GRACE", 1.0)
    with between(parties, "telecom") as network, ThreadPoolExecutor(1) as pool:
        running = pool.submit(ran, parties, "hole")
        await_phase(parties.folder_of("bank", "hole"), "bins")
        network.blackhole(3.0)
        waits = running.result(60)
    assert any(re.match("no word from .*telecom.* for 1 seconds", wait) for wait in waits), waits
    assert_same(parties, "hole", tmp_path / "same")


# ---- a partner that is away, or never back ---------------------------------------------------------------------------


@pytest.mark.slow
def test_a_partner_that_is_away_is_waited_for_twice_as_long_each_time(tmp_path: Path) -> None:
    """Its service is gone for a while in the middle of a run; the bank dials less and less often, and then goes on."""
    parties, dialled = Parties(tmp_path), []
    with parties.serving("telecom"), ThreadPoolExecutor(1) as pool:
        with parties.serving("payroll"):
            running = pool.submit(parties.driving("away").run, lambda line: dialled.append(time.monotonic()))
            await_phase(parties.folder_of("bank", "away"), "train")
        time.sleep(1.5)
        status = parties.folder_of("bank", "away").status()
        assert status.state in (WAITING, RUNNING)
        assert status.state == RUNNING or "payroll" in status.reason
        with parties.serving("payroll"):
            running.result(60)
    gaps = [after - before for before, after in pairwise(dialled)]
    assert len(gaps) >= 2
    assert all(after > 1.5 * before for before, after in pairwise(gaps[1:])), gaps
    assert_same(parties, "away", tmp_path / "same")


@pytest.fixture(scope="module")
def lost(tmp_path_factory: pytest.TempPathFactory) -> Parties:
    """After a run from which the payroll office went in the middle, and did not come back in time."""
    parties = Parties(tmp_path_factory.mktemp("lost"))
    with pytest.MonkeyPatch.context() as patch, parties.serving("telecom"), ThreadPoolExecutor(1) as pool:
        patch.setattr(driving, "FIRST_WAIT", 0.1)
        with parties.serving("payroll"):
            running = pool.submit(parties.driving("lost", patience=1.0).run, lambda line: None)
            await_phase(parties.folder_of("bank", "lost"), "train")
        with pytest.raises(RunEnded, match=r"the run lost is aborted: bank gave it up .*payroll cannot be reached"):
            running.result(60)
    return parties


def test_a_partner_that_never_comes_back_ends_the_run_on_the_record_of_all_who_remain(
    lost: Parties, tmp_path: Path
) -> None:
    for name in ("bank", "telecom"):
        found = require_signed_end(lost, name, "lost", by="bank")
        assert "bank gave it up after 1 seconds without progress" in found.why
        about = watching.told(lost.folder_of(name, "lost"))
        assert about["state"] == ABORTED
        assert about["reason"] == found.why
        assert about["signed"].endswith("lost.partial/ended.bundle")
        assert watching.line(about).startswith("aborted, bank gave it up")
    assert lost.folder_of("payroll", "lost").status().state == WAITING
    # Whoever looks into these ledgers later finds them in order, the end of each under a signed head.
    folder = lost.folder_of("bank", "lost").path
    for name in ("bank", "telecom"):
        require_in_order(lost.folder_of(name, "lost").path / ENDED_BUNDLE, folder)
    file = RunFile.read(folder)
    with ExitStack() as logs:
        both = [
            logs.enter_context(own_log(lost.standing(name), lost.folder_of(name, "lost"), SystemClock()))
            for name in ("bank", "telecom")
        ]
        people = [lost.standing(name).identity for name in ("bank", "telecom")]
        write_bundle(tmp_path / "both", both, "lost", artefacts={}, identities=people, policy=policy_of(file))
    require_in_order(tmp_path / "both", folder)


def require_in_order(bundle: Path, folder: Path) -> None:
    """Nothing in it is wrong; what is missing is only what nobody could confirm any more."""
    result = verify_bytes(bundle.read_bytes(), policy_of(RunFile.read(folder)))
    codes = {finding.code for finding in result.findings}
    assert codes <= {Code.INCOMPLETE, Code.POLICY}, result.as_text()
    assert result.code is not Code.VALID


def test_what_was_given_up_does_not_go_on_in_silence(lost: Parties) -> None:
    """Neither at its driver, nor at a service, nor where somebody altered the status: the ledger has the last word."""
    with pytest.raises(RunEnded, match="the run lost is aborted"):
        lost.driving("lost")
    before = require_signed_end(lost, "bank", "lost", by="bank")
    with lost.serving("telecom"), lost.serving("payroll"):
        folder = lost.folder_of("bank", "lost")
        folder.set(replace(folder.status(), state=WAITING, reason=""))
        with pytest.raises(RunEnded, match="the run lost is aborted: bank gave it up"):
            lost.driving("lost").run(lambda line: None)
        for name in SEEDS:
            folder = lost.folder_of(name, "lost")
            folder.set(replace(folder.status(), state=WAITING, reason=""))
        with pytest.raises(RunEnded, match="the run lost is aborted: bank gave it up"):
            lost.driving("lost").run(lambda line: None)
    assert require_signed_end(lost, "bank", "lost", by="bank") == before
    require_signed_end(lost, "telecom", "lost", by="bank")
    require_signed_end(lost, "payroll", "lost", by="bank")


def test_an_active_party_that_never_comes_back_is_given_up_by_the_others(tmp_path: Path) -> None:
    """Each signs so for itself; the active party, too late, is told and signs as well."""
    parties = Parties(tmp_path)
    parties.patience = 1.0
    with parties.serving("telecom"), parties.serving("payroll"):
        bank = apart(parties.folder, "drive", "left")
        await_phase(parties.folder_of("telecom", "left"), "train")
        bank.kill()
        bank.wait()
        for name in PASSIVES:
            until(lambda name=name: parties.folder_of(name, "left").status().state == ABORTED)
            found = require_signed_end(parties, name, "left", by=name)
            assert found.why == f"{name} gave it up: no word from bank for 1 seconds"
        with pytest.raises(RunEnded, match="the run left is aborted: telecom gave it up: no word from bank"):
            parties.driving("left").run(lambda line: None)
    require_signed_end(parties, "bank", "left", by="telecom")


def until(true: Callable[[], bool], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_run_whose_active_party_still_dials_is_not_given_up() -> None:
    """What is waited for is a word from the active party; a clock that jumps, or our own absence, is no silence."""
    clock = Moving()
    patience, status = Patience(60.0, clock), Status("r1", WAITING, "bank", changed=clock.now().isoformat())
    assert not patience.over(status)
    clock.at += timedelta(days=400)
    assert not patience.over(status), "this service has only begun to listen"
    clock.ran += 61
    assert patience.over(status)
    patience.heard("r1")
    assert not patience.over(status)
    assert patience.over(replace(status, run="r2"))
    for state in (DONE, FAILED, ABORTED, CANCELLED):
        assert not patience.over(replace(status, run="r2", state=state))


class Moving:
    """A clock that is set."""

    def __init__(self) -> None:
        self.at, self.ran = datetime(2026, 1, 1, tzinfo=UTC), 1000.0

    def now(self) -> datetime:
        return self.at

    def monotonic_ns(self) -> int:
        return int(self.ran * 1e9)


# ---- a partner that changed ------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("table", "the table changed since the run"),
        ("columns", "the description of the table changed since the run"),
        ("version", "the version of tallystick changed since the run"),
        ("agreement", "not signed by all"),
        ("terms", "the agreement of the offer differs from ours in scenario"),
    ],
)
def test_what_changed_at_a_partner_is_refused_with_the_reason(tmp_path: Path, what: str, said: str) -> None:
    """Over the network, in the middle of a run; and mended, the run goes on as if nothing had been."""
    parties, run = Parties(tmp_path / "p"), f"changed-{what}"
    with parties.serving("telecom"), ThreadPoolExecutor(1) as pool:
        with parties.serving("payroll"):
            running = pool.submit(parties.driving(run).run, lambda line: None)
            await_phase(parties.folder_of("payroll", run), "bins")
        with changed(parties, run, what), parties.serving("payroll"):
            with pytest.raises(AgreementError, match=f"(payroll|telecom) refuses: .*{said}"):
                running.result(60)
            assert parties.folder_of("bank", run).status().state == FAILED
        with parties.serving("payroll"):
            parties.driving(run).run(lambda line: None)
    assert_same(parties, run, tmp_path / "same")


@contextmanager
def changed(parties: Parties, run: str, what: str) -> Iterator[None]:
    """Something is another at the payroll office."""
    table, begun = parties.folder / "tables" / "payroll.csv", parties.folder_of("payroll", run).path / "begun.json"
    before, config, agreement, admit = table.read_bytes(), parties.config, parties.agreement, parties.admit
    noted = begun.read_bytes()
    if what == "table":
        edit(table, 3, "salary", 7)
    elif what == "columns":
        others = tuple(replace(one, special={"salary": (1.0,)}) for one in config.parties)
        parties.config = replace(config, parties=others)
    elif what == "version":
        begun.write_text(json.dumps(json.loads(noted) | {"version of tallystick": "0.0.1"}))
    elif what == "agreement":
        parties.admit = lambda data: admit(b"signed by two")  # type: ignore[method-assign]
    else:
        parties.agreement = replace(agreement, scenario="another")
    try:
        yield
    finally:
        table.write_bytes(before)
        begun.write_bytes(noted)
        parties.config, parties.agreement, parties.admit = config, agreement, admit  # type: ignore[method-assign]
