"""Monotone constraints in a run: agreed by name, kept by the joint model, handed to the comparisons."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pandas as pd
import pytest
from run_kit import TWO, frames, scenario, tallystick

WAYS = "[party.bank.monotone]\nincome = 1\n[party.telecom.monotone]\ncalls = -1\nage = 0\n"
TOML = TWO.replace("[model]", WAYS + "[model]").replace("[privacy]", "[privacy]\nmerge_models = true")


def test_the_joint_model_keeps_directions_of_both_parties(tmp_path: Path, capfd: Any) -> None:
    path = scenario(tmp_path, TOML.replace("num_iterations = 3", "num_iterations = 20"))
    assert tallystick(capfd, "run", path, "--out", tmp_path / "run").code == 0
    agreement = json.loads(json.loads((tmp_path / "run" / "run.json").read_text())["agreement"])
    assert [member.get("monotone") for member in agreement["members"]] == [{"income": 1}, {"age": 0, "calls": -1}]
    assert tallystick(capfd, "export", tmp_path / "run", "--format", "lightgbm", "--out", tmp_path / "m.txt").code == 0
    booster = lightgbm.Booster(model_file=tmp_path / "m.txt")
    assert booster.feature_importance()[[0, 2]].min() > 0
    rng = np.random.default_rng(1)
    low = rng.normal(size=(500, 5))
    for column, way in ((0, 1), (2, -1)):
        high = low.copy()
        high[:, column] += rng.exponential(size=500)
        assert not np.any(way * (booster.predict(high) - booster.predict(low)) < -1e-12)
    metrics = json.loads((tmp_path / "run" / "summary.json").read_text())["metrics"]
    assert metrics["federated"]["auc"] == pytest.approx(metrics["pooled_lightgbm"]["auc"], abs=0.03)
    assert metrics["federated"]["auc"] < 0.75  # calls raise the risk here, which this agreement forbids
    assert tallystick(capfd, "replay", tmp_path / "run", "--party", "bank").code == 0


def test_the_comparison_is_bound_as_well(tmp_path: Path, capfd: Any) -> None:
    """The bank's own column speaks against its agreed direction: alone it is left with nothing."""
    tables = frames()
    toml = TWO.replace("[model]", "[party.bank.monotone]\nincome = -1\nlimit = -1\n[model]")
    path = scenario(tmp_path, toml, {"bank": tables["bank"], "telecom": tables["telecom"]})
    assert tallystick(capfd, "run", path, "--out", tmp_path / "run").code == 0
    scores = pd.read_csv(tmp_path / "run" / "scores.csv")
    assert scores["bank_only"].corr(scores["label"]) < 0.2


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("calls = -1", "speed = -1", "[party.telecom.monotone] 'speed' is no feature of telecom"),
        ("calls = -1", "calls = 2", "[party.telecom.monotone] 'calls' is '2'"),
        ("calls = -1", "calls = true", "[party.telecom.monotone] 'calls' is 'True'"),
        ("calls = -1", 'calls = "down"', "[party.telecom.monotone] 'calls' is 'down'"),
        ('kind = "gbdt"', 'kind = "scorecard"', "[party.bank.monotone] is for trees"),
    ],
)
def test_bad_directions(tmp_path: Path, capfd: Any, old: str, new: str, words: str) -> None:
    toml = TOML.replace(old, new)
    if "scorecard" in new:
        toml = toml[: toml.index("num_iterations")] + toml[toml.index("[privacy]") :].replace("merge_models = true", "")
    ended = tallystick(capfd, "run", scenario(tmp_path, toml), "--out", tmp_path / "run")
    assert ended.code == 2
    assert words in ended.err
