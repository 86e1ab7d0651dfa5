"""The stories of the shipped scenarios: shown on the command line, and true to what a run finds."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from run_kit import here, tallystick

from scenarios import acts, cheats, readme, scenario_names

KINDS = ("gbdt", "scorecard")
HONEST = [name for name in scenario_names() if not cheats(name) and not acts(name)]


def figures(name: str) -> dict[str, list[float]]:
    """The figures in the story's table, by kind of model."""
    rows = re.findall(r"^\| (gbdt|scorecard) \| (.*) \|$", readme(name), re.M)
    return {kind: [float(cell) for cell in cells.split("|")] for kind, cells in rows}


@pytest.mark.parametrize("name", scenario_names())
def test_a_story_says_what_to_look_at_and_what_it_costs(name: str, capfd: Any) -> None:
    told = tallystick(capfd, "scenarios", name)
    assert told.code == 0
    assert told.out == readme(name)
    for heading in ("## What to look at", "## What it costs in privacy"):
        assert heading in told.out
    assert set(figures(name)) == (set(KINDS) if name in HONEST else set())
    for kind in KINDS if name in HONEST else KINDS[:1]:
        assert f"tallystick run {name}" + (" --model scorecard" if kind == "scorecard" else "") in told.out
    body = json.loads(tallystick(capfd, "scenarios", name, "--json").out)
    assert body["story"] == told.out
    assert body["name"] == name


def test_a_name_that_there_is_not(capfd: Any) -> None:
    told = tallystick(capfd, "scenarios", "thin-fill")
    assert told.code == 2
    assert "'thin-file'" in told.err


def require_true(name: str, kind: str, folder: Path) -> None:
    ended = here("run", name, "--model", kind, "--out", folder / "run")
    assert ended.returncode == 0, ended.stderr
    body = json.loads((folder / "run" / "summary.json").read_text())
    found, pooled = body["metrics"], "pooled_lightgbm" if kind == "gbdt" else "pooled_scorecard"
    joint = found["federated"]
    due = [joint["auc"], joint["ks"], found["bank_only"]["auc"], found[pooled]["auc"]]
    # A tie that rounding breaks one way or the other moves an AUC by one pair of customers.
    assert figures(name)[kind] == pytest.approx(due, abs=0.0005 + 1e-5)
    assert abs(joint["auc"] - found[pooled]["auc"]) <= 0.001
    common = body["rows"]["intersection"]
    assert f"{common:,}" in readme(name)


def test_the_figures_of_the_smallest_story_are_those_of_a_run(tmp_path: Path) -> None:
    require_true("thin-file", "scorecard", tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", HONEST)
def test_the_figures_of_every_story_are_those_of_a_run(name: str, kind: str, tmp_path: Path) -> None:
    require_true(name, kind, tmp_path)
