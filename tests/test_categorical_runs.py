"""Categorical columns in a run, at the bank and at a partner: as LightGBM has them, exported, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pandas as pd
import pytest
from run_kit import TWO, frames, scenario, tallystick

from vfl.learn.objective import sigmoid

NAMED = 'categorical = ["branch"]\n[party.telecom]', 'id = "phone"\ncategorical = "tariff"'
TOML = (
    TWO.replace("[party.telecom]", NAMED[0])
    .replace('id = "phone"', NAMED[1])
    .replace("[privacy]", "[privacy]\nmerge_models = true")
    .replace("min_data_in_leaf = 5", "min_data_in_leaf = 5\nmin_data_per_group = 10\ncat_smooth = 2")
    .replace("num_iterations = 3", "num_iterations = 15")
)


def tables() -> dict[str, pd.DataFrame]:
    """Branches at the bank and tariffs at the telecom decide: their numbers have no order."""
    found = frames()
    rng = np.random.default_rng(3)
    bank, telecom = found["bank"], found["telecom"]
    bank["branch"] = rng.integers(0, 12, len(bank))
    telecom["tariff"] = rng.integers(0, 9, len(telecom)).astype(float)
    telecom.loc[::20, "tariff"] = np.nan
    tariff = dict(zip(telecom["phone"].str.removeprefix("0034"), telecom["tariff"], strict=True))
    own = np.array([tariff.get(phone.removeprefix("+34"), np.nan) for phone in bank["customer_id"]])
    risk = np.isin(bank["branch"], [1, 4, 6, 11]) * 1.5 + np.isin(own, [0, 3, 8]) * 1.5 + rng.normal(size=len(bank))
    bank["default"] = (risk > 1.5).astype(int)
    return {"bank": bank, "telecom": telecom}


def test_sets_of_categories_of_both_parties(tmp_path: Path, capfd: Any) -> None:
    path = scenario(tmp_path, TOML, tables())
    assert tallystick(capfd, "run", path, "--out", tmp_path / "run").code == 0
    metrics = json.loads((tmp_path / "run" / "summary.json").read_text())["metrics"]
    assert metrics["federated"]["auc"] > metrics["bank_only"]["auc"] + 0.05
    assert metrics["federated"]["auc"] == pytest.approx(metrics["pooled_lightgbm"]["auc"], abs=0.03)
    for name, column in (("bank", "branch"), ("telecom", "tariff")):
        records = json.loads((tmp_path / "run" / name / "share.json").read_text())["records"]
        sets = [record for record in records if record["feature"] == column]
        assert sets
        assert all("threshold" not in record for record in sets)
        assert any(len(record["categories"]) > 1 for record in sets)
        assert all(len(record["categories"]) == len(record["bins"]) for record in sets)
    for party in ("bank", "telecom"):
        assert tallystick(capfd, "replay", tmp_path / "run", "--party", party).code == 0
    assert tallystick(capfd, "explain", tmp_path / "run").code == 0


def test_lightgbm_predicts_the_merged_model_alike(tmp_path: Path, capfd: Any) -> None:
    found = tables()
    assert tallystick(capfd, "run", scenario(tmp_path, TOML, found), "--out", tmp_path / "run").code == 0
    ended = tallystick(capfd, "export", tmp_path / "run", "--format", "lightgbm", "--out", tmp_path / "m.txt")
    assert ended.code == 0
    predicted = pd.read_csv(tmp_path / "run" / "predictions.csv", dtype={"id": str})
    bank = found["bank"].set_index("customer_id").loc[predicted["id"], ["income", "limit", "branch"]]
    telecom = found["telecom"].set_index(found["telecom"]["phone"].str.replace("0034", "+34"))
    telecom = telecom.loc[predicted["id"], ["calls", "roaming", "age", "tariff"]]
    booster = lightgbm.Booster(model_file=tmp_path / "m.txt")
    pooled = np.hstack([bank.to_numpy(float), telecom.to_numpy(float)])
    assert sigmoid(booster.predict(pooled, raw_score=True)).tobytes() == predicted["pd"].to_numpy().tobytes()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("bank", "branch", 1.5), "bank.csv, column 'branch': 1.5 in row 1 is no category"),
        (("bank", "branch", -2), "bank.csv, column 'branch': -2 in row 1 is no category"),
        (("bank", "branch", "north"), "column 'branch' is not numeric"),
        (("telecom", "tariff", 0.25), "telecom.parquet, column 'tariff': 0.25 in row 1 is no category"),
    ],
)
def test_what_is_no_category(tmp_path: Path, capfd: Any, change: tuple[str, str, Any], words: str) -> None:
    found = tables()
    party, column, value = change
    if isinstance(value, str):
        found[party][column] = found[party][column].astype(object)
    elif party == "bank":
        found[party][column] = found[party][column].astype(float)
    found[party].loc[0, column] = value
    ended = tallystick(capfd, "run", scenario(tmp_path, TOML, found), "--out", tmp_path / "run")
    assert ended.code == 2
    assert words in ended.err
    assert not (tmp_path / "run.partial").exists()


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('"branch"', '"brunch"', "'brunch' is no feature of bank"),
        ("[model]", "[party.telecom.monotone]\ntariff = 1\n[model]", "'tariff' is categorical and monotone"),
        ('kind = "gbdt"', 'kind = "scorecard"', "[party.bank] categorical is for trees"),
    ],
)
def test_bad_scenarios(tmp_path: Path, capfd: Any, old: str, new: str, words: str) -> None:
    toml = TOML.replace(old, new)
    if "scorecard" in new:
        toml = toml[: toml.index("num_iterations")] + toml[toml.index("[privacy]") :].replace("merge_models = true", "")
    ended = tallystick(capfd, "run", scenario(tmp_path, toml, tables()), "--out", tmp_path / "run")
    assert ended.code == 2
    assert words in ended.err
