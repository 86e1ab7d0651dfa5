"""Every party as a process of its own: the same bytes, and a clear end when one of them ends badly."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from run_kit import TOML, Runs, apart, command, content, essence, parties, scenario, tallystick, verify

from vfl import processes
from vfl.clock import SystemClock
from vfl.config import load_scenario
from vfl.errors import AgreementError, TimedOut, TransportError, UsageError
from vfl.progress import Silent
from vfl.seat import RunFile
from vfl.simulation import Options, prepare, run_scenario

SEED = "a fixed seed"


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return scenario(tmp_path_factory.mktemp("own"), TOML)


def children(parent: int) -> dict[str, int]:
    """The running party processes that `parent` started, by party."""
    found = {}
    for task in Path("/proc").glob("[0-9]*"):
        try:
            stat = (task / "stat").read_text().rpartition(")")[2].split()
            words = (task / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if int(stat[1]) == parent and stat[0] != "Z" and b"vfl.processes" in words:
            found[words[words.index(b"vfl.processes") + 2].decode()] = int(task.name)
    return found


def test_processes_leave_the_same_bytes_as_lockstep(finished: Runs) -> None:
    runs = [finished(TOML, "--seed", SEED, *words).out for words in ((), ("--processes",))]
    lockstep, apart_ = (essence(run) for run in runs)
    assert len(lockstep) == 3 * 3 + 3
    assert lockstep == apart_
    first, second = (json.loads((run / "summary.json").read_text()) for run in runs)
    for same in ("rows", "metrics", "bytes", "privacy", "features", "run"):
        assert first[same] == second[same]
    assert first["seconds"].keys() == second["seconds"].keys()
    assert first["ledger"]["entries"] == second["ledger"]["entries"]
    assert all(second["seconds"][phase] > 0 for phase in ("psi", "train", "score"))
    assert all(seconds > 0 for seconds in second["cpu_seconds"].values())
    assert verify(runs[1]).returncode == 0


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="finds the processes in /proc")
@pytest.mark.parametrize(
    "victim", ["bank", *(pytest.param(name, marks=pytest.mark.slow) for name in ("telecom", "payroll"))]
)
def test_a_killed_party_is_named_and_nobody_waits_for_it(own: Path, tmp_path: Path, victim: str) -> None:
    out = tmp_path / "out"
    words = command("run", own, "--out", out, "--seed", SEED, "--processes")
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as parent:
        assert parent.stderr is not None
        while "encrypted histograms" not in parent.stderr.readline():
            assert parent.poll() is None
        started = children(parent.pid)
        assert started.keys() == {"bank", "telecom", "payroll"}
        began = time.monotonic()
        os.kill(started[victim], signal.SIGKILL)
        told, said = parent.communicate(timeout=30)
    assert time.monotonic() - began < 10
    assert parent.returncode == 4
    assert told == ""
    assert f"the process of {victim} was killed by signal 9" in said
    assert "--resume" in said
    assert "Traceback" not in said
    for process in started.values():
        assert not Path(f"/proc/{process}").exists(), "nobody is left behind"
    assert not out.exists()
    assert (tmp_path / "out.partial").exists()
    if victim == "telecom":
        resumed = apart("run", own, "--out", out, "--resume", "--processes")
        assert resumed.returncode == 0, resumed.stderr
        assert verify(out).returncode == 0


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="finds the processes in /proc")
def test_parties_do_not_outlive_a_killed_parent(own: Path, tmp_path: Path) -> None:
    words = command("run", own, "--out", tmp_path / "out", "--processes")
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as parent:
        assert parent.stderr is not None
        while "encrypted histograms" not in parent.stderr.readline():
            assert parent.poll() is None
        started = children(parent.pid)
        parent.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 20
    while any(alive(process) for process in started.values()):
        assert time.monotonic() < deadline, "a party still runs"
        time.sleep(0.02)


def alive(process: int) -> bool:
    try:
        return (Path("/proc") / str(process) / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def prepared(own: Path, folder: Path) -> RunFile:
    return prepare(load_scenario(own), folder, b"\7" * 32, SystemClock())


def test_a_silent_party_is_named_when_its_time_is_up(
    own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = prepared(own, tmp_path / "run")
    stopped: list[processes._Child] = []

    class Told(Silent):
        def enter(self, phase: str, round: int, rounds: int = 1) -> None:
            if phase == "train" and not stopped:
                stopped.append(born["telecom"])
                born["telecom"].process.send_signal(signal.SIGSTOP)

    born: dict[str, Any] = {}
    plain = processes._Child.__init__

    def remembered(self: Any, folder: Path, party: str, timeout: float, port: int) -> None:
        plain(self, folder, party, timeout, port)
        born[party] = self

    monkeypatch.setattr(processes._Child, "__init__", remembered)
    monkeypatch.setattr(processes, "GRACE", 0.5)
    with pytest.raises(TimedOut, match=r"no word from .*telecom"):
        processes.run_processes(tmp_path / "run", file, 6.0, Told())
    assert all(child.process.returncode is not None for child in born.values())


@pytest.mark.parametrize("party", ["bank", pytest.param("telecom", marks=pytest.mark.slow)])
def test_bad_input_inside_a_process_is_told_as_in_lockstep(own: Path, tmp_path: Path, party: str) -> None:
    moved = scenario(tmp_path / "own", TOML)
    file = prepared(moved, tmp_path / "run")
    table = next(moved.parent.glob(f"{party}.*"))
    table.unlink()
    with pytest.raises(UsageError, match=table.name) as caught:
        processes.run_processes(tmp_path / "run", file, 30.0, Silent())
    assert caught.value.remedy


def test_a_party_that_cannot_even_begin_stops_the_others(
    own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = prepared(own, tmp_path / "run")
    (tmp_path / "run" / "payroll" / "seed").write_text("no seed")
    monkeypatch.setattr(processes, "GRACE", 0.5)
    began = time.monotonic()
    with pytest.raises(UsageError, match="seed"):
        processes.run_processes(tmp_path / "run", file, 60.0, Silent())
    assert time.monotonic() - began < 15
    (tmp_path / "run" / "bank" / "seed").unlink()
    with pytest.raises(UsageError, match="bank"):
        processes.run_processes(tmp_path / "run", file, 60.0, Silent())


def test_too_few_customers_are_told_in_numbers_and_nothing_is_left(own: Path, tmp_path: Path, capfd: Any) -> None:
    toml = TOML.replace("min_intersection = 100", "min_intersection = 500")
    strict = own.with_name("strict.toml")
    strict.write_text(toml)
    ended = tallystick(capfd, "run", strict, "--out", tmp_path / "out", "--processes")
    assert (ended.code, ended.out) == (2, "")
    assert "492 customers in common" in ended.err
    assert "min_intersection" in ended.err
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_full_disk_in_a_process_is_told_and_nothing_is_left(own: Path, tmp_path: Path) -> None:
    ended = apart(
        "run", own, "--out", tmp_path / "out", "--processes",
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000)),
    )  # fmt: skip
    assert ended.returncode == 2, ended.stderr
    assert str(tmp_path) in ended.stderr
    assert "to do:" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert not list(tmp_path.iterdir())


def test_what_the_system_refuses_a_process_is_told_as_bad_input(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device", "transcript.bin")

    monkeypatch.setattr(processes, "_take_part", full)
    assert processes.main([str(tmp_path), "bank", "1", "0"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert told["error"] == "UsageError"
    assert "transcript.bin cannot be written: No space left on device" in told["message"]
    assert told["remedy"]


def test_errors_keep_their_kind_on_the_way_to_the_parent() -> None:
    told = {"error": "AgreementError", "message": "no", "remedy": "yes"}
    found = processes.told_error(told)
    assert (type(found), str(found), found.remedy) == (AgreementError, "no", "yes")
    ranked = sorted(
        [TransportError("bank closed"), processes._Died("killed"), UsageError("cause")], key=processes._distance
    )
    assert [type(error) for error in ranked] == [UsageError, processes._Died, TransportError]


@pytest.mark.slow
def test_a_run_through_the_library_is_the_same(own: Path, tmp_path: Path) -> None:
    found = run_scenario(
        lambda folder: load_scenario(own), Options(tmp_path / "out", processes=True, seed=b"\7" * 32), Silent()
    )
    assert found.body["rows"]["intersection"] == 492
    assert parties(tmp_path / "out") == ["bank", "telecom", "payroll"]
    assert not [name for name in content(tmp_path / "out") if name.endswith(".part")]
