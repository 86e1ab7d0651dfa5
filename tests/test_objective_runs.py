"""Runs of other objectives and of weighted rows: figures, files, export, and words where something does not fit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pandas as pd
import pytest
from run_kit import TWO, frames, scenario, tallystick, verify

MERGED = TWO.replace("[privacy]", "[privacy]\nmerge_models = true")


def tables(kind: str) -> dict[str, pd.DataFrame]:
    """The tables of `run_kit`, with a label of another kind."""
    found = frames()
    bank, telecom = found["bank"], found["telecom"]
    rng = np.random.default_rng(3)
    signal = bank["income"].fillna(0.0) + rng.normal(size=len(bank)) * 0.3
    known = dict(zip(telecom["phone"].str.removeprefix("0034"), telecom["calls"].fillna(0.0), strict=True))
    signal += np.array([known.get(phone.removeprefix("+34"), 0.0) for phone in bank["customer_id"]])
    if kind == "regression":
        bank["default"] = (1000 * signal).round(2)
    if kind == "multiclass":
        bank["default"] = np.digitize(signal, [-0.8, 0.8])
    bank["exposure"] = rng.integers(1, 9, len(bank))
    return {"bank": bank, "telecom": telecom}


def run(tmp_path: Path, capfd: Any, kind: str, toml: str) -> tuple[Path, dict[str, Any], str]:
    out = tmp_path / "run"
    ended = tallystick(capfd, "run", scenario(tmp_path / "input", toml, tables(kind)), "--out", out)
    assert ended.code == 0, ended.err
    return out, json.loads((out / "summary.json").read_text()), ended.out


def pooled(tmp_path: Path) -> tuple[lightgbm.Booster, pd.DataFrame, np.ndarray]:
    """The merged model, the predictions, and the pooled columns of the same customers."""
    predicted = pd.read_csv(tmp_path / "run" / "predictions.csv", dtype={"id": str})
    bank = pd.read_csv(tmp_path / "input" / "bank.csv", dtype={"customer_id": str}).set_index("customer_id")
    telecom = tables("binary")["telecom"]
    telecom.index = telecom["phone"].str.replace("0034", "+34")
    ids = predicted["id"]
    columns = np.hstack(
        [
            bank.loc[ids, ["income", "limit"]].to_numpy(float),
            telecom.loc[ids, ["calls", "roaming", "age"]].to_numpy(float),
        ]
    )
    return lightgbm.Booster(model_file=tmp_path / "model.txt"), predicted, columns


def test_regression(tmp_path: Path, capfd: Any) -> None:
    toml = MERGED.replace('kind = "gbdt"', 'kind = "gbdt"\nobjective = "regression"').replace(
        "num_iterations = 3", "num_iterations = 30"
    )
    toml = toml.replace('label = "default"', 'label = "default"\nfeatures = ["income", "limit"]')
    out, summary, said = run(tmp_path, capfd, "regression", toml)
    assert "R squared" in said
    figures = summary["metrics"]
    assert figures["federated"]["r2"] > figures["bank_only"]["r2"] + 0.2
    assert figures["federated"]["rmse"] == pytest.approx(figures["pooled_lightgbm"]["rmse"], rel=0.02)
    assert verify(out).returncode == 0
    assert tallystick(capfd, "replay", out, "--party", "telecom").code == 0
    assert tallystick(capfd, "export", out, "--format", "lightgbm", "--out", tmp_path / "model.txt").code == 0
    booster, predicted, columns = pooled(tmp_path)
    assert list(predicted) == ["id", "label", "prediction"]
    assert booster.predict(columns).tobytes() == predicted["prediction"].to_numpy().tobytes()
    for words in (["evaluate", out], ["explain", out], ["attack", out, "--party", "telecom"]):
        refused = tallystick(capfd, *words)
        assert refused.code == 2, words
        assert "regression" in refused.err, refused.err


def test_multiclass(tmp_path: Path, capfd: Any) -> None:
    toml = MERGED.replace('kind = "gbdt"', 'kind = "gbdt"\nobjective = "multiclass"\nnum_class = 3')
    toml = toml.replace('label = "default"', 'label = "default"\nfeatures = ["income", "limit"]')
    out, summary, said = run(tmp_path, capfd, "multiclass", toml.replace("num_iterations = 3", "num_iterations = 9"))
    assert "log-loss" in said
    figures = summary["metrics"]
    assert figures["federated"]["log_loss"] < figures["bank_only"]["log_loss"]
    assert figures["federated"]["accuracy"] > figures["bank_only"]["accuracy"]
    assert figures["federated"]["log_loss"] == pytest.approx(figures["pooled_lightgbm"]["log_loss"], rel=0.02)
    assert tallystick(capfd, "replay", out, "--party", "telecom").code == 0
    assert tallystick(capfd, "export", out, "--format", "lightgbm", "--out", tmp_path / "model.txt").code == 0
    booster, predicted, columns = pooled(tmp_path)
    assert list(predicted) == ["id", "label", "p_0", "p_1", "p_2"]
    np.testing.assert_allclose(booster.predict(columns), predicted[["p_0", "p_1", "p_2"]], rtol=0, atol=1e-14)
    scores = pd.read_csv(out / "scores.csv")
    assert {"federated_0", "bank_only_2", "pooled_lightgbm_1"} <= set(scores)


def test_weighted_rows(tmp_path: Path, capfd: Any) -> None:
    """The weights reach the joint model and both that it is compared with, and are no feature."""
    plain = TWO.replace('label = "default"', 'label = "default"\nfeatures = ["income", "limit"]')
    _, before, _ = run(tmp_path / "plain", capfd, "binary", plain)
    _, after, _ = run(
        tmp_path / "w", capfd, "binary", plain.replace("[party.telecom]", 'weight = "exposure"\n[party.telecom]')
    )
    for model in ("federated", "bank_only", "pooled_lightgbm"):
        assert before["metrics"][model] != after["metrics"][model]
    assert after["metrics"]["federated"]["auc"] == pytest.approx(after["metrics"]["pooled_lightgbm"]["auc"], abs=0.01)
    assert after["features"]["bank"] == 2


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("bank", "exposure", -1.0), "weight column 'exposure' is -1 in data row 1"),
        (("bank", "exposure", np.nan), "weight column 'exposure' is missing in data row 1"),
        (("bank", "default", 3), "label column 'default' is not a class number, 0 to 2: data row 1 holds 3"),
        (("bank", "default", 0.5), "label column 'default' is not a class number, 0 to 2: data row 1 holds 0.5"),
        (("bank", "default", "good"), "label column 'default' is not a class number, 0 to 2"),
    ],
)
def test_bad_weights_and_classes(tmp_path: Path, capfd: Any, change: tuple[str, str, Any], words: str) -> None:
    party, column, value = change
    found = tables("multiclass")
    found[party][column] = found[party][column].astype(object)
    found[party].loc[0, column] = value
    toml = TWO.replace('kind = "gbdt"', 'kind = "gbdt"\nobjective = "multiclass"\nnum_class = 3')
    toml = toml.replace("[party.telecom]", 'weight = "exposure"\n[party.telecom]')
    ended = tallystick(capfd, "run", scenario(tmp_path, toml, found), "--out", tmp_path / "run")
    assert ended.code == 2
    assert f"bank.csv: {words}" in ended.err
    assert not (tmp_path / "run").exists()
    assert not (tmp_path / "run.partial").exists()


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('id = "phone"', 'id = "phone"\nweight = "w"', "weight 'w' at a passive party"),
        ('label = "default"', 'label = "default"\nweight = "default"', "'default' is listed more than once"),
        ("[holdout]\nfraction = 0.3\nseed = 5", '[holdout]\ncolumn = "w"', "[holdout] column 'w' is also id"),
        ('kind = "gbdt"\n', 'kind = "scorecard"\n', "a scorecard counts every customer once"),
    ],
)
def test_bad_scenarios(tmp_path: Path, capfd: Any, old: str, new: str, words: str) -> None:
    toml = TWO.replace("[party.telecom]", 'weight = "w"\n[party.telecom]', 1) if "phone" not in old else TWO
    if "weight" in new:
        toml = TWO
    if "scorecard" in new:
        start = toml.index("num_iterations")
        toml = toml[:start] + toml[toml.index("[privacy]") :]
    assert old in toml
    ended = tallystick(capfd, "run", scenario(tmp_path, toml.replace(old, new)), "--out", tmp_path / "run")
    assert ended.code == 2
    assert words in ended.err


def test_rows_that_count_are_all_held_out(tmp_path: Path, capfd: Any) -> None:
    """Nothing to learn from is said in words, and nothing is kept."""
    found = tables("binary")
    found["bank"]["held"] = (np.arange(len(found["bank"])) % 3 == 0).astype(int)
    found["bank"]["exposure"] = found["bank"]["held"] * 1.0
    toml = TWO.replace('label = "default"', 'label = "default"\nweight = "exposure"\nfeatures = ["income", "limit"]')
    toml = toml[: toml.index("[holdout]")] + '[holdout]\ncolumn = "held"\n'
    ended = tallystick(capfd, "run", scenario(tmp_path, toml, found), "--out", tmp_path / "run")
    assert ended.code == 2, ended.err
    assert "training rows are zero" in ended.err
    assert "to do: Some row of every part must count" in ended.err
    assert not (tmp_path / "run.partial").exists()
