"""The command line as a stranger meets it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from run_kit import TOML, command, here, inside, scenario, tallystick

from scenarios import scenario_names
from vfl import __version__
from vfl.present import show_summary
from vfl.scores import MODELS
from vfl.summary import Summary

COMMANDS = ("run", "scenarios", "replay", "explain", "export", "evaluate", "version")
KEYS = {"scenario", "rows", "metrics", "seconds", "bytes", "ledger", "privacy", "versions"}


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return scenario(tmp_path_factory.mktemp("own"))


# ---- help ------------------------------------------------------------------------------------------------------------


def test_help_names_every_command_with_its_whole_sentence(capfd: Any) -> None:
    ended = tallystick(capfd, "--help")
    assert (ended.code, ended.err) == (0, "")
    for name in COMMANDS:
        assert re.search(rf"^  {name} +[A-Z].*\.$", ended.out, re.MULTILINE), ended.out
    assert "..." not in ended.out.removeprefix("Usage: tallystick [OPTIONS] COMMAND [ARGS]...")


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_has_help(capfd: Any, name: str) -> None:
    ended = tallystick(capfd, name, "--help")
    assert (ended.code, ended.err) == (0, "")
    assert f"tallystick {name}" in ended.out
    assert "--no-" not in ended.out


def test_without_a_command_there_is_help(capfd: Any) -> None:
    ended = tallystick(capfd)
    assert ended.code == 2
    assert "Commands:" in ended.out + ended.err


def test_help_costs_no_more_than_a_glance() -> None:
    spent = []
    for _ in range(3):
        with subprocess.Popen(command("--help"), stdout=subprocess.DEVNULL) as child:
            _, status, usage = os.wait4(child.pid, 0)
            child.returncode = os.waitstatus_to_exitcode(status)
        assert child.returncode == 0
        spent.append(usage.ru_utime + usage.ru_stime)
    assert min(spent) < 0.4


def test_help_imports_nothing_heavy() -> None:
    code = "import sys, vfl.cli; print(sorted({'numpy', 'pandas', 'lightgbm', 'cryptography'} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


@pytest.mark.parametrize("words", [("version",), ("--version",)])
def test_the_version_is_told(capfd: Any, words: tuple[str, ...]) -> None:
    ended = tallystick(capfd, *words)
    assert (ended.code, ended.out, ended.err) == (0, f"{__version__}\n", "")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("rum", "pos-loan"), "rum"),
        (("run",), "SCENARIO"),
        (("run", "pos-loan", "--ouch"), "--ouch"),
        (("run", "pos-loan", "--timeout", "soon"), "--timeout"),
        (("run", "pos-loan", "--timeout", "0"), "--timeout"),
        (("replay", "somewhere"), "--party"),
    ],
)
def test_a_slip_of_the_pen_is_told_without_a_traceback(capfd: Any, words: tuple[str, ...], told: str) -> None:
    ended = tallystick(capfd, *words)
    assert (ended.code, ended.out) == (2, "")
    assert told in ended.err
    assert "Traceback" not in ended.err


def test_scenarios_reads_as_a_list(capfd: Any) -> None:
    ended = tallystick(capfd, "scenarios")
    assert (ended.code, ended.err) == (0, "")
    for name in scenario_names():
        assert len(re.findall(rf"^{name}: ", ended.out, re.MULTILINE)) == 1
        assert ended.out.count(name) == 1, "a name is said once"
    as_json = json.loads(tallystick(capfd, "scenarios", "--json").out)
    assert list(as_json) == scenario_names()


# ---- run -------------------------------------------------------------------------------------------------------------


def test_json_is_one_object_on_stdout_and_progress_goes_to_stderr(capfd: Any, own: Path, tmp_path: Path) -> None:
    ended = tallystick(capfd, "run", own, "--json", "--out", tmp_path / "out")
    assert ended.code == 0
    body = json.loads(ended.out)
    assert body == json.loads((tmp_path / "out" / "summary.json").read_text())
    assert body.keys() >= KEYS
    assert body["scenario"] == "my-bank"
    assert body["rows"].keys() >= {"bank", "telecom", "intersection"}
    assert body["metrics"].keys() == {"federated", "bank_only", "pooled_lightgbm"}
    for found in body["metrics"].values():
        assert found.keys() == {"auc", "ks", "gini"}
    assert body["ledger"].keys() >= {"entries", "checkpoints", "overhead_fraction", "seconds", "share_of_run"}
    assert body["seconds"]["train"] > 0
    assert body["bytes"]["train"] > 0
    assert body["versions"]["tallystick"] == __version__
    assert re.search(r"^\[ +\d+\.\d s\] training on encrypted histograms$", ended.err, re.MULTILINE)


def test_the_default_directory_is_named_after_the_scenario_and_the_time(capfd: Any, own: Path, tmp_path: Path) -> None:
    with inside(tmp_path):
        ended = tallystick(capfd, "run", os.path.relpath(own))
    assert ended.code == 0, ended.err
    (made,) = (tmp_path / "runs").iterdir()
    assert re.fullmatch(r"my-bank-\d{8}T\d{6}", made.name)
    assert f"runs/{made.name}/audit.bundle" in ended.out


def test_config_check_computes_nothing_and_leaves_nothing(capfd: Any, own: Path, tmp_path: Path) -> None:
    before = sorted(own.parent.rglob("*"))
    with inside(tmp_path):
        ended = tallystick(capfd, "run", own, "--config-check")
        as_json = tallystick(capfd, "run", own, "--config-check", "--json")
    assert (ended.code, ended.err) == (0, "")
    assert "telecom" in ended.out
    body = json.loads(as_json.out)
    assert body["parties"]["bank"] == {"customers": 600, "features": 2, "excluded": 0, "duplicates": 0}
    assert not list(tmp_path.iterdir())
    assert sorted(own.parent.rglob("*")) == before


def test_parties_picks_a_subset_of_a_shipped_scenario_and_of_a_file(capfd: Any, tmp_path: Path) -> None:
    shipped = tallystick(capfd, "run", "card-limit", "--parties", "bank, telecom", "--config-check", "--json")
    assert list(json.loads(shipped.out)["parties"]) == ["bank", "telecom"]
    mine = scenario(tmp_path, TOML)
    found = tallystick(capfd, "run", mine, "--parties", "payroll,bank", "--config-check", "--json")
    assert list(json.loads(found.out)["parties"]) == ["bank", "payroll"]


@pytest.mark.slow
def test_a_subset_of_a_shipped_scenario_runs(capfd: Any, tmp_path: Path) -> None:
    ended = tallystick(capfd, "run", "pos-loan", "--parties", "bank,telecom", "--json", "--out", tmp_path / "out")
    assert ended.code == 0, ended.err
    metrics = json.loads(ended.out)["metrics"]
    assert abs(metrics["federated"]["auc"] - metrics["pooled_lightgbm"]["auc"]) < 0.003


# ---- pipes and signals -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", [("scenarios",), ("scenarios", "--json"), ("run", "OWN", "--config-check")])
def test_a_reader_who_leaves_early_sees_no_traceback(own: Path, words: tuple[str, ...]) -> None:
    read, write = os.pipe()
    os.close(read)
    line = [str(own) if word == "OWN" else word for word in words]
    ended = subprocess.run(command(*line), stdout=write, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    os.close(write)
    assert "Traceback" not in ended.stderr
    assert "Exception ignored" not in ended.stderr
    assert ended.returncode in (0, 1)


def test_a_run_outlives_whoever_watched_its_progress(own: Path, tmp_path: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    words = command("run", own, "--json", "--out", tmp_path / "out")
    ended = subprocess.run(words, stdout=subprocess.PIPE, stderr=write, text=True, timeout=60, check=False)
    os.close(write)
    assert ended.returncode == 0
    assert json.loads(ended.stdout)["scenario"] == "my-bank"


@pytest.mark.parametrize("processes", [(), pytest.param(("--processes",), marks=pytest.mark.slow)])
def test_ctrl_c_ends_with_a_sentence_and_the_run_can_go_on(
    own: Path, tmp_path: Path, processes: tuple[str, ...]
) -> None:
    out = tmp_path / "out"
    words = command("run", own, "--out", out, *processes)
    # A test run started in the background ignores SIGINT, and a child would inherit that.
    heeded = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(words, preexec_fn=heeded, **pipes) as child:  # type: ignore[call-overload]  # noqa: PLW1509
        assert child.stderr is not None
        while "encrypted histograms" not in child.stderr.readline():
            pass
        child.send_signal(signal.SIGINT)
        told, said = child.communicate(timeout=30)
    assert child.returncode == 130
    assert told == ""
    assert "Traceback" not in said
    assert f"{out}.partial" in said
    assert "--resume" in said
    assert not out.exists()
    again = here("run", own, "--out", out, "--resume", *processes)
    assert again.returncode == 0, again.stderr
    assert out.exists()


# ---- tables ----------------------------------------------------------------------------------------------------------


def a_summary(name: str = "my-bank") -> Summary:
    figures = {"auc": 0.8573, "ks": 0.53306, "gini": 0.71466}
    return Summary(
        {
            "scenario": name,
            "model": "gbdt",
            "rows": {"bank": 600, "telecom": 580, "intersection": 540, "train": 377, "validation": 0, "holdout": 163},
            "features": {"bank": 2, "telecom": 3},
            "cpu_seconds": {"bank": 1.0, "telecom": 0.5},
            "metrics": {"federated": figures, "bank_only": figures, "pooled_lightgbm": figures},
            "intervals": {**{model: {"auc": [0.8312, 0.8825]} for model in MODELS}, "confidence": 0.95},
            "seconds": {"train": 1.14, "total": 1.14},
            "bytes": {"train": 1_070_000, "total": 1_070_000},
            "ledger": {"entries": 203, "checkpoints": 34, "overhead_fraction": 0.086, "share_of_run": 0.031},
            "privacy": {"scheme": "paillier", "level": "disclosed", "key_bits": 2048, "min_bin_population": 20},
        }
    )


@pytest.mark.parametrize("width", [80, 120])
def test_the_summary_keeps_titles_rows_and_paths_whole(capsys: Any, width: int) -> None:
    name = "a-" + "very-" * 25 + "long-name"
    out = Path("/somewhere") / "deep" / ("below-" * 15 + "here")
    show_summary(a_summary(name), out, Console(width=width))
    told = capsys.readouterr().out
    lines = told.splitlines()
    for whole in (f"Customers ({name})", "Hold-out", "Cost"):
        assert whole in lines
    assert f"python -m ledger verify {out / 'audit.bundle'} --policy {out / 'policy.txt'}" in told
    pooled = next(line for line in lines if line.startswith("all columns pooled"))
    figures = "0.8573 +0.831-0.882 +0.5331 +0.7147"
    assert re.fullmatch(rf"all columns pooled \(simulation only\) +{figures}", pooled)
    assert all(len(line) <= 80 for line in lines if str(out) not in line and name not in line)


def test_names_in_square_brackets_are_not_taken_for_markup(capsys: Any) -> None:
    show_summary(a_summary(), Path("runs/[bold]"), Console(width=80))
    assert "runs/[bold]/audit.bundle" in capsys.readouterr().out
