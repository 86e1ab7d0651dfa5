"""A search for parameters: real joint trainings, the hold-out never seen, nothing lost when it is killed."""

from __future__ import annotations

import json
import shlex
import signal
import subprocess
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pandas as pd
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from run_kit import TWO, command, frames, scenario, tallystick

from vfl.config import load_scenario
from vfl.tuning import Search
from vfl.tuning_space import Among, Between

SPACE = """[tune]
num_leaves = { low = 2, high = 6 }
learning_rate = { low = 0.1, high = 1.0, log = true }
max_depth = [2, 3]
"""
TOML = TWO + SPACE


def trials_of(folder: Path) -> list[optuna.trial.FrozenTrial]:
    storage = JournalStorage(JournalFileBackend(str(folder / "trials.journal")))
    return optuna.load_study(study_name="tune", storage=storage).get_trials()


def test_a_search_and_its_best_run(tmp_path: Path, capfd: Any) -> None:
    out = tmp_path / "tune"
    told = tallystick(capfd, "tune", scenario(tmp_path, TOML), "--trials", 3, "--out", out)
    assert told.code == 0, told.err
    assert "trial 3 of 3: auc" in told.err
    assert "The best of 3 trials" in told.out
    table = pd.read_csv(out / "trials.csv")
    assert list(table) == ["trial", "auc", "num_leaves", "learning_rate", "max_depth"]
    assert table["auc"].is_monotonic_decreasing
    best = load_scenario(out / "best.toml")
    assert best.model.num_leaves == table["num_leaves"][0]
    assert best.model.learning_rate == table["learning_rate"][0]
    given = load_scenario(tmp_path / "scenario.toml")
    assert best.model.min_data_in_leaf == given.model.min_data_in_leaf
    assert replace(best, model=given.model, source=given.source) == given
    assert tallystick(capfd, "run", out / "best.toml", "--out", tmp_path / "run").code == 0


def test_the_hold_out_is_never_looked_at(tmp_path: Path) -> None:
    """Whatever the labels of held-out customers are, the value of a trial is the same."""
    found = Search.prepare(load_scenario(scenario(tmp_path / "a", TOML)), "auc")
    tables = frames()
    bank = found.holdings["bank"]
    trains = np.zeros(len(bank.tokens), bool)
    trains[found.rows["bank"]] = True
    lost = {token for token, kept in zip(bank.tokens, trains, strict=True) if not kept}
    held = tables["bank"]["customer_id"].str.removeprefix("+34").isin([token[-9:] for token in lost])
    assert held.sum() > 150
    tables["bank"].loc[held, "default"] = 1 - tables["bank"].loc[held, "default"]
    other = Search.prepare(load_scenario(scenario(tmp_path / "b", TOML, tables)), "auc")
    judged = [search.holdings["bank"].holdout.sum() for search in (found, other)]
    assert judged[0] == judged[1] > 80
    values = [search.value({"num_leaves": 4, "learning_rate": 0.5, "max_depth": 3}) for search in (found, other)]
    assert 0.6 < values[0] < 1.0
    assert abs(values[0] - values[1]) < 0.1  # the judges are drawn among the aligned rows, whose order is drawn


def test_killed_and_resumed(tmp_path: Path, capfd: Any) -> None:
    """Killed for real in the middle of a trial: its parameters are tried again, the finished ones are not."""
    words = ("tune", scenario(tmp_path, TOML), "--out", tmp_path / "tune", "--trials")
    journal = tmp_path / "tune" / "trials.journal"
    with subprocess.Popen(command(*words, 50), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as running:
        deadline = time.monotonic() + 60
        while running.poll() is None and time.monotonic() < deadline:
            if (
                journal.exists()
                and journal.read_text().count('"state": 1') + journal.read_text().count('"state":1') >= 2
            ):
                running.send_signal(signal.SIGKILL)
                break
            time.sleep(0.005)
        running.wait(30)
    before = trials_of(tmp_path / "tune")
    done = [trial for trial in before if trial.state.name == "COMPLETE"]
    cut_off = [trial.params for trial in before if trial.state.name == "RUNNING" and trial.params]
    assert len(done) >= 2
    assert tallystick(capfd, *words, len(done) + 2, "--resume", "--json").code == 0
    after = trials_of(tmp_path / "tune")
    complete = [trial for trial in after if trial.state.name == "COMPLETE"]
    assert len(complete) == len(done) + 2
    assert [trial.params for trial in complete[: len(done)]] == [trial.params for trial in done]
    assert all(trial.state.name != "RUNNING" for trial in after)
    for parameters in cut_off:
        assert any(parameters.items() <= trial.params.items() for trial in complete)


def test_interrupted_and_gone_on_with_while_nobody_watches(tmp_path: Path) -> None:
    """Ctrl-C says how to go on; that command line, pasted, ends well although nobody reads what it says."""
    path, out = scenario(tmp_path, TOML), tmp_path / "tune"
    heeded = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    pipes: Any = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "preexec_fn": heeded}
    with subprocess.Popen(command("tune", path, "--out", out, "--trials", 4, "--metric", "ks"), **pipes) as running:
        while "trial 2 of 4" not in (line := running.stderr.readline()):
            assert line, running.wait(30)
        running.send_signal(signal.SIGINT)
        told, said = running.communicate(timeout=30)
    assert (running.returncode, told) == (130, ""), said
    assert "Traceback" not in said
    assert f"interrupted: what was reached is in {out}\n" in said
    again = shlex.split(said.split("`")[1])
    assert again == ["tallystick", "tune", str(path), "--out", str(out), "--trials", "4", "--metric", "ks", "--resume"]
    with subprocess.Popen(command(*again[1:]), **pipes) as running:
        running.stdout.close()
        running.stderr.close()
        assert running.wait(60) == 0
    assert len(pd.read_csv(out / "trials.csv")) == 4


def test_a_search_that_is_prepared_again_trains_and_judges_the_same_customers(tmp_path: Path) -> None:
    """The order of an intersection is drawn anew. Decoys change nothing: one process has nobody to hide rows from."""
    found = [
        Search.prepare(load_scenario(scenario(tmp_path / name, toml)), "auc")
        for name, toml in (("a", TOML), ("b", TOML), ("c", TOML.replace("[psi]", "[psi]\ndecoys = 0.2")))
    ]
    for again in found[1:]:
        assert (again.holdings["bank"].holdout == found[0].holdings["bank"].holdout).all()
        assert all((again.rows[party] == rows).all() for party, rows in found[0].rows.items())
    tokens = [np.array(found[0].holdings[party].tokens)[rows] for party, rows in found[0].rows.items()]
    assert (tokens[0] == tokens[1]).all()


def test_another_search_is_not_gone_on_with(tmp_path: Path, capfd: Any) -> None:
    path, out = scenario(tmp_path, TOML), tmp_path / "t"
    assert tallystick(capfd, "tune", path, "--out", out, "--trials", 1).code == 0
    for word, extra, change in (
        ("metric", ("--metric", "ks"), ("", "")),
        ("space", (), ("high = 6", "high = 7")),
        ("scenario", (), ("max_bin = 16", "max_bin = 17")),
    ):
        path.write_text(TOML.replace(*change))
        told = tallystick(capfd, "tune", path, "--out", out, "--trials", 2, "--resume", *extra)
        assert told.code == 2
        assert f"begun with another {word}" in told.err


def test_a_scorecard_and_json(tmp_path: Path, capfd: Any) -> None:
    toml = TWO[: TWO.index("[model]")] + '[model]\nkind = "scorecard"\n' + TWO[TWO.index("[privacy]") :]
    told = tallystick(
        capfd, "tune", scenario(tmp_path, toml), "--trials", 2, "--metric", "ks", "--out", tmp_path / "t", "--json"
    )
    assert told.code == 0, told.err
    body = json.loads(told.out)
    assert body["metric"] == "ks"
    assert body["trials"] == 2
    assert set(body["best"]) == {"trial", "ks", "max_bins", "significance", "min_iv", "max_correlation"}


def test_parameters_with_which_nothing_can_be_trained(tmp_path: Path, capfd: Any) -> None:
    """They count for nothing; where there are no others, the search says why."""
    toml = TWO[: TWO.index("[model]")] + '[model]\nkind = "scorecard"\n' + TWO[TWO.index("[privacy]") :]
    some = scenario(tmp_path, f"{toml}[tune]\nmin_iv = [0.01, 90.0]\n")
    told = tallystick(capfd, "tune", some, "--trials", 3, "--out", tmp_path / "some")
    assert told.code == 0, told.err
    assert set(pd.read_csv(tmp_path / "some" / "trials.csv")["min_iv"]) == {0.01}
    none = scenario(tmp_path / "none", f"{toml}[tune]\nmin_iv = [80.0, 90.0]\n")
    told = tallystick(capfd, "tune", none, "--trials", 3, "--out", tmp_path / "nothing")
    assert told.code == 2
    assert "worth a line" in told.err


def test_the_space_of_a_file(tmp_path: Path) -> None:
    found = load_scenario(scenario(tmp_path, TOML)).tune
    assert found == {
        "num_leaves": Between(2, 6), "learning_rate": Between(0.1, 1.0, log=True), "max_depth": Among((2, 3)),
    }  # fmt: skip


def test_a_parameter_by_lightgbms_other_names(tmp_path: Path, capfd: Any) -> None:
    """Both in the space and in the model: what is tried takes the place of what is given."""
    toml = TWO.replace("num_iterations", "num_round") + "[tune]\neta = [0.2, 0.4]\nnum_trees = { low = 2, high = 3 }\n"
    told = tallystick(capfd, "tune", scenario(tmp_path, toml), "--trials", 2, "--out", tmp_path / "t")
    assert told.code == 0, told.err
    table = pd.read_csv(tmp_path / "t" / "trials.csv")
    assert list(table) == ["trial", "auc", "learning_rate", "num_iterations"]
    assert load_scenario(tmp_path / "t" / "best.toml").model.learning_rate == table["learning_rate"][0]


@pytest.mark.parametrize(
    ("space", "words"),
    [
        ("eta = [0.1]\nlearning_rate = [0.2]", "[tune] learning_rate is given twice, as 'eta' and as 'learning_rate'"),
        ("num_leafs = [3]", "[tune] num_leafs: unknown parameter 'num_leafs'"),
        ("num_leaves = [1]", "[tune] num_leaves: parameter 'num_leaves' is 1"),
        ("num_leaves = { low = 2, high = 2 }", "[tune] num_leaves is"),
        ("num_leaves = { low = 2 }", "[tune] num_leaves is"),
        ("learning_rate = { low = 0, high = 1, log = true }", "[tune] learning_rate is"),
        ("num_leaves = []", "[tune] num_leaves is '[]'"),
        ("num_leaves = 3", "[tune] num_leaves is '3'"),
    ],
)
def test_bad_spaces(tmp_path: Path, capfd: Any, space: str, words: str) -> None:
    told = tallystick(capfd, "tune", scenario(tmp_path, f"{TWO}[tune]\n{space}\n"), "--out", tmp_path / "t")
    assert told.code == 2
    assert words in told.err
    assert not (tmp_path / "t").exists()


def test_what_cannot_be_searched(tmp_path: Path, capfd: Any) -> None:
    path, out = scenario(tmp_path, TOML), tmp_path / "t"
    for words, sentence in (
        (("--metric", "f1"), "--metric is 'f1'"),
        (("--resume",), "has no search to go on with"),
    ):
        told = tallystick(capfd, "tune", path, "--out", out, *words)
        assert told.code == 2
        assert sentence in told.err
    told = tallystick(capfd, "tune", path, "--out", out, "--trials", 1)
    assert told.code == 0
    told = tallystick(capfd, "tune", path, "--out", out, "--trials", 1)
    assert "has a search already" in told.err
    regression = tmp_path / "regression.toml"
    regression.write_text(TOML.replace('kind = "gbdt"', 'kind = "gbdt"\nobjective = "regression"'))
    told = tallystick(capfd, "tune", regression, "--out", tmp_path / "u")
    assert "judged by AUC or KS" in told.err
