"""Runs between services: the same bytes as in lockstep, and a run that goes on after whatever breaks."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from engine_kit import WITHOUT_RAY
from run_kit import edit, verify
from services_kit import (
    GOOD,
    PHASES,
    SEEDS,
    Finished,
    Parties,
    apart,
    assert_same,
    await_phase,
    in_lockstep,
    require_signed_end,
)

from ledger.bundle import SUMS, LogFiles, read_bundle, sums_text
from ledger.note import Note, sign_note
from vfl.clock import SystemClock
from vfl.engine import Here
from vfl.engines import EngineConfig
from vfl.errors import AgreementError, Malformed, ProtocolError, UsageError, VflError
from vfl.files import alone
from vfl.net.client import Dialled
from vfl.party import driving
from vfl.party.beginning import require_unchanged
from vfl.party.concluding import BUNDLE, Gathering, attestation, log_of, own_log, read_log
from vfl.party.driving import Driving
from vfl.party.runs import ABORTED, CANCELLED, DONE, FAILED
from vfl.party.standing import Offer
from vfl.progress import Silent
from vfl.seat import read_own_holding, read_party

FILES = ("transcript.bin", "share.json", "rows.npy")


@pytest.fixture(scope="module")
def parties(tmp_path_factory: pytest.TempPathFactory) -> Parties:
    return Parties(tmp_path_factory.mktemp("parties"))


@pytest.fixture(scope="module")
def killable(tmp_path_factory: pytest.TempPathFactory) -> Parties:
    """Parties whose services are processes of their own."""
    return Parties(tmp_path_factory.mktemp("killable"))


@pytest.fixture(scope="module")
def finished(parties: Parties) -> Iterator[Finished]:
    with parties.serving("telecom"), parties.serving("payroll"):
        parties.driving("first").run(lambda line: parties.log.append((line, {})))
        yield Finished(parties, "first")


def test_services_leave_the_same_bytes_as_lockstep(finished: Finished, tmp_path: Path) -> None:
    in_lockstep(finished.parties, finished.run, tmp_path / "same")
    for name in SEEDS:
        for file in ("transcript.bin", "share.json", "rows.npy"):
            assert (tmp_path / "same" / name / file).read_bytes() == (finished.seat(name) / file).read_bytes(), file
    assert finished.parties.folder_of("bank", "first").status().state == DONE


def test_a_party_may_change_its_engine_and_go_on(tmp_path: Path) -> None:
    """A run that stopped goes on where party.toml says by then; nobody else is told, and a replay needs none."""
    parties = Parties(tmp_path)
    first = parties.driving("moved")
    assert read_party(first.folder.path / "bank").engine == EngineConfig()
    ray = EngineConfig("ray", partition_rows=8192)
    tables = [replace(party, engine=ray) if party.name == "bank" else party for party in parties.config.parties]
    parties.config = replace(parties.config, parties=tuple(tables))
    again = parties.driving("moved")
    assert read_party(again.folder.path / "bank").engine == ray
    assert again.folder.path == first.folder.path
    require_unchanged(parties.standing("bank"), again.folder)
    held = read_own_holding(again.folder.path / "bank", parties.agreement)
    assert isinstance(held.engine, Here)


@pytest.mark.slow
@pytest.mark.skipif(WITHOUT_RAY, reason="ray is not installed")
@pytest.mark.parametrize("name", ["bank", "telecom"])
def test_a_party_on_ray_leaves_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    parties = Parties(tmp_path / "own")
    tables = parties.config.parties
    ray = EngineConfig("ray")
    parties.config = replace(
        parties.config, parties=tuple(replace(one, engine=ray) if one.name == name else one for one in tables)
    )
    with tempfile.TemporaryDirectory(prefix="t") as short, ExitStack() as services:
        monkeypatch.setenv("TMPDIR", short)  # Ray's sockets do not fit below a long path
        for each in ("telecom", "payroll"):
            services.enter_context(parties.serving(each))
        seen: list[bool] = []
        parties.driving("large").run(lambda line: None, Watched(lambda: seen.append(any(Path(short).glob("tally-*")))))
        assert any(seen), "a Ray was there"
        assert not list(Path(short).glob("tally-*"))
    parties.config = replace(parties.config, parties=tables)
    assert_same(parties, "large", tmp_path / "same")


class Watched(Silent):
    """Calls something whenever the run gets on."""

    def __init__(self, look: Callable[[], None]) -> None:
        self._look = look

    def enter(self, phase: str, round: int, rounds: int = 1) -> None:
        self._look()


# ---- whatever breaks -------------------------------------------------------------------------------------------------


@contextmanager
def apart_services(parties: Parties) -> Iterator[dict[str, subprocess.Popen[bytes]]]:
    running = {name: serve(parties, name) for name in ("telecom", "payroll")}
    try:
        yield running
    finally:
        for process in running.values():
            process.kill()
            process.wait()


def serve(parties: Parties, name: str) -> subprocess.Popen[bytes]:
    at = parties.folder / f"{name}.address"
    before = at.stat().st_mtime_ns if at.exists() else 0
    process = apart(parties.folder, "serve", name)
    while not at.exists() or at.stat().st_mtime_ns == before:
        assert process.poll() is None
        time.sleep(0.01)
    return process


@pytest.mark.parametrize(
    ("victim", "phase"),
    [
        ("telecom", "train"),
        *(
            pytest.param(victim, phase, marks=pytest.mark.slow)
            for victim in SEEDS
            for phase in PHASES
            if (victim, phase) != ("telecom", "train")
        ),
    ],
)
def test_a_killed_party_comes_back_and_nothing_is_lost(
    killable: Parties, tmp_path: Path, victim: str, phase: str
) -> None:
    parties, run = killable, f"killed-{victim}-{phase}"
    with apart_services(parties) as services:
        bank = apart(parties.folder, "drive", run)
        await_phase(parties.folder_of(victim, run), phase)
        if victim == "bank":
            os.kill(bank.pid, signal.SIGKILL)
            bank.wait()
            bank = apart(parties.folder, "drive", run)
        else:
            os.kill(services[victim].pid, signal.SIGKILL)
            services[victim].wait()
            services[victim] = serve(parties, victim)
        assert bank.wait(60) == 0
    assert parties.folder_of("bank", run).status().attempt >= 2
    assert_same(parties, run, tmp_path / "same")


# ---- what does not begin, and what ends for good ---------------------------------------------------------------------


@pytest.fixture(scope="module")
def telecom(finished: Finished) -> Iterator[Dialled]:
    """The bank's connection to the telecom's service, where the run `first` is done."""
    parties = finished.parties
    with Dialled("bank", parties.tls["bank"], parties.standing("bank").trusted()["telecom"]) as there:
        yield there


def refused(there: Dialled, run: str, attempt: int) -> str:
    """What the peer says to a stream that it does not want."""
    ours, theirs = socket.socketpair()
    with ours:
        error = there.stream(run, attempt, theirs).ended(10.0)
    assert isinstance(error, AgreementError)
    return str(error)


def test_an_offer_is_for_one_run_under_one_signed_agreement(finished: Finished, telecom: Dialled) -> None:
    with pytest.raises(AgreementError, match="telecom refuses: not signed by all"):
        telecom.offer(Offer("second", b"signed by two").encode())
    assert not finished.parties.folder_of("telecom", "second").exists
    for run in ("", "..", "../../etc", "a/b", "a" * 63 + "b", "x\0y"):
        with pytest.raises(AgreementError, match=r"no run name|no offer"):
            telecom.offer(Offer(run, GOOD).encode())
    for data in (b"", b"\xc0", b"\xff" * 100, Offer("second", GOOD).encode() + b"x", bytes(2_000_000)):
        with pytest.raises(AgreementError, match=r"no offer|larger"):
            telecom.offer(data)
    assert sorted(path.name for path in (finished.parties.folder / "telecom" / "runs").iterdir()) == ["first"]
    telecom.offer(Offer("first", GOOD).encode())  # said again, it changes nothing
    assert finished.parties.folder_of("telecom", "first").status().state == DONE


def test_only_the_active_party_offers_a_run_and_only_it_hears_of_one(finished: Finished) -> None:
    parties = finished.parties
    payroll = Dialled("payroll", parties.tls["payroll"], parties.standing("bank").trusted()["telecom"])
    with payroll as there:
        with pytest.raises(AgreementError, match="only bank may offer"):
            there.offer(Offer("mine", GOOD).encode())
        same = [refused(there, run, 9).replace(run, "RUN") for run in ("first", "nothing")]
        assert same[0] == same[1]
        for call in (there.log, lambda run: there.attest(run, b""), lambda run: there.withdraw(run, "no")):
            with pytest.raises(AgreementError, match="there is no run first with payroll"):
                call("first")


def test_an_attempt_is_made_once(telecom: Dialled) -> None:
    for attempt in (0, 1):
        assert f"attempt {attempt} of first is over" in refused(telecom, "first", attempt)


def test_nobody_signs_for_a_ledger_that_is_not_its_own(finished: Finished, telecom: Dialled) -> None:
    bundle = read_bundle(finished.parties.folder_of("bank", "first").path / BUNDLE)
    sums = bundle.members[SUMS]
    assert Note.parse(telecom.attest("first", sums))
    lines = sums.splitlines(keepends=True)
    own = next(line for line in lines if b"logs/telecom/entries" in line)
    for wrong in (b"", sums.replace(own, b""), sums.replace(own, b"0" * 64 + own[64:]), b"\xff" * 90):
        with pytest.raises(AgreementError, match="does not hold the ledger of telecom as it is"):
            telecom.attest("first", wrong)


def test_the_bundle_is_verified_alone(finished: Finished) -> None:
    folder = finished.parties.folder_of("bank", "first").path
    assert verify(folder).returncode == 0
    policy = (finished.parties.folder_of("telecom", "first").path / "policy.txt").read_bytes()
    assert (folder / "policy.txt").read_bytes() == policy
    for name in ("telecom", "payroll"):
        kept = finished.parties.folder_of(name, "first").path / BUNDLE
        assert kept.read_bytes() == (folder / BUNDLE).read_bytes()


def test_a_party_keeps_no_bundle_that_is_not_valid(finished: Finished, telecom: Dialled) -> None:
    good = (finished.parties.folder_of("bank", "first").path / BUNDLE).read_bytes()
    for wrong in (b"", good[:-1], good[:5000] + bytes([good[5000] ^ 1]) + good[5001:], b"\xff" * 1000):
        with pytest.raises(AgreementError, match="finds the audit bundle of first not valid"):
            telecom.keep("first", wrong)
    assert (finished.parties.folder_of("telecom", "first").path / BUNDLE).read_bytes() == good


def test_a_bad_ledger_or_signature_of_a_peer_is_its_fault(finished: Finished, tmp_path: Path) -> None:
    parties = finished.parties
    who, folder, clock = parties.standing("bank"), parties.folder_of("bank", "first"), SystemClock()
    for data in (b"", b"\xc0", b"\xff" * 9):
        with pytest.raises(Malformed, match="telecom: sends no ledger"):
            read_log("telecom", data)
    before = (folder.path / BUNDLE).read_bytes()
    good = {
        name: read_log(name, log_of(parties.standing(name), parties.folder_of(name, "first"), clock))
        for name in ("telecom", "payroll")
    }
    forged = replace(good["telecom"], entries=good["telecom"].entries.replace(b'"seq":7,', b'"seq":8,', 1))
    for theirs in ({**good, "telecom": forged}, {**good, "payroll": LogFiles()}):
        gathering = Gathering(who, folder, clock, theirs)
        signed = {
            name: str(
                sign_note(sums_text("first", gathering.sums), [parties.standing(name).identity.identity])
            ).encode()
            for name in theirs
        }
        with pytest.raises(ProtocolError, match="not valid"):
            gathering.close(signed)
    gathering = Gathering(who, folder, clock, good)
    for note in (b"", b"x\n\n", before[:500]):
        with pytest.raises(ProtocolError, match="telecom: does not sign the bundle"):
            gathering.close({"telecom": note})
    signed = {name: attestation(parties.standing(name), parties.folder_of(name, "first"), gathering.sums, clock)
              for name in good}  # fmt: skip
    gathering.close(signed)
    assert (folder.path / BUNDLE).read_bytes() == before


def test_a_passive_party_starts_nothing(parties: Parties) -> None:
    with pytest.raises(AgreementError, match="telecom is not the active party"):
        Driving(parties.standing("telecom"), "mine", parties.admit(GOOD), SystemClock(), 1.0)


def test_a_run_has_one_driver(tmp_path: Path) -> None:
    parties = Parties(tmp_path)
    drive = parties.driving("once")
    with (
        alone(drive.folder.path / "drive.lock", "held"),
        pytest.raises(UsageError, match="the run once is driven by another process"),
    ):
        drive.run(lambda line: None)


def test_a_run_that_misbehaviour_ended_does_not_go_on(tmp_path: Path) -> None:
    parties = Parties(tmp_path)
    seat = parties.driving("bad").folder.path / "bank"
    parties.driving("bad")
    (seat / "evidence").mkdir()
    (seat / "evidence" / "fork-1.json").write_text("{}")
    with pytest.raises(AgreementError, match="was ended because a party misbehaved"):
        parties.driving("bad")


def test_a_peer_that_never_comes_ends_the_run_with_a_signed_word(tmp_path: Path, monkeypatch: Any) -> None:
    parties = Parties(tmp_path)
    monkeypatch.setattr(driving, "FIRST_WAIT", 0.05)
    waits: list[str] = []
    with pytest.raises(
        AgreementError, match=r"the run lonely is aborted: bank gave it up .* telecom cannot be reached"
    ):
        parties.driving("lonely", patience=0.5).run(waits.append)
    assert 2 <= len(waits) <= 5
    folder = parties.folder_of("bank", "lonely")
    assert folder.status().state == ABORTED
    with own_log(parties.standing("bank"), folder, SystemClock()) as log:
        last = [*log.entries()][-1]
        said = {"state": ABORTED, "by": "bank", "attempts": len(waits) + 1, "why": folder.status().reason}
        assert (last.slot, dict(last.params)) == ("end/0/end/bank>bank/0", said)
        assert log.checkpoints()[-1].size == len(log)
    with pytest.raises(AgreementError, match="the run lonely is aborted"):
        parties.driving("lonely")


def stopped_while(parties: Parties, run: str, act: Callable[[], None], phase: str = "train") -> VflError:
    """What ends a run in which `act` happens in that phase."""
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(parties.driving(run).run, lambda line: None)
        await_phase(parties.folder_of("bank", run), phase)
        act()
        error = running.exception(30)
    assert isinstance(error, VflError)
    return error


def test_a_run_is_ended_by_whoever_takes_part(finished: Finished) -> None:
    """The active party's word reaches the others; a passive party's ends the run for all."""
    parties = finished.parties
    error = stopped_while(parties, "off", lambda: parties.folder_of("bank", "off").ask_to_cancel("wrong table"))
    assert "the run off is cancelled: bank ended it: wrong table" in str(error)
    assert {name: parties.folder_of(name, "off").status().state for name in SEEDS} == {
        "bank": CANCELLED, "telecom": ABORTED, "payroll": ABORTED,
    }  # fmt: skip
    assert "bank ended it: wrong table" in parties.folder_of("payroll", "off").status().reason
    error = stopped_while(parties, "out", lambda: parties.folder_of("telecom", "out").ask_to_cancel("no consent"))
    assert "the run out is aborted: telecom ended it: no consent" in str(error)
    assert {name: parties.folder_of(name, "out").status().state for name in SEEDS} == {
        "bank": ABORTED, "telecom": CANCELLED, "payroll": ABORTED,
    }  # fmt: skip
    for name in SEEDS:
        require_signed_end(parties, name, "off", by="bank")
        require_signed_end(parties, name, "out", by="bank" if name == "payroll" else "telecom")


def test_a_pin_taken_back_ends_what_goes_on(finished: Finished) -> None:
    parties = finished.parties
    known = parties.known.pop("bank")
    parties.known["bank"] = known
    error = stopped_while(parties, "revoked", lambda: parties.known.pop("bank") and None)
    parties.known["bank"] = known
    assert "no pin that counts" in str(error)
    for name in ("telecom", "payroll"):
        ended = parties.folder_of(name, "revoked").status()
        assert (ended.state, "no pin that counts" in ended.reason) == (FAILED, True), "not only at the next call"


@pytest.mark.parametrize("what", ["table", "version of tallystick"])
def test_what_changed_since_a_run_began_is_refused(tmp_path: Path, what: str) -> None:
    parties = Parties(tmp_path)
    drive = parties.driving("changed", patience=0)
    with pytest.raises(AgreementError, match="aborted"):
        drive.run(lambda line: None)
    folder = parties.folder_of("bank", "changed")
    folder.set(replace(folder.status(), state="waiting"))
    if what == "table":
        edit(tmp_path / "tables" / "bank.csv", 3, "income", 7)
    else:
        begun = json.loads((folder.path / "begun.json").read_text())
        (folder.path / "begun.json").write_text(json.dumps(begun | {what: "0.0.1"}))
    with pytest.raises(AgreementError, match=f"the {what} changed since the run changed began"):
        parties.driving("changed").run(lambda line: None)
