"""Runs that learn a scorecard: the pooled solution, points at their owners, and every command on such a run."""

from __future__ import annotations

import csv
import io
import json
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from run_kit import (
    TOML,
    Runs,
    apart,
    assert_committed_first,
    command,
    essence,
    frames,
    parties,
    scenario,
    tallystick,
    verify,
)

from vfl.card_models import read_card
from vfl.learn.logistic import Logistic
from vfl.learn.objective import sigmoid
from vfl.learn.woe import woe_matrix
from vfl.seat import RunFile, read_own_holding

MODEL = TOML.index("[model]"), TOML.index("[privacy]")
CARD = TOML[: MODEL[0]] + '[model]\nkind = "scorecard"\nmax_bins = 3\nmin_iv = 0.0\n' + TOML[MODEL[1] :]


@pytest.fixture(scope="module")
def run(finished: Runs) -> Path:
    return finished(CARD, "--seed", "card").out


def shares(run: Path) -> dict[str, dict[str, Any]]:
    return {name: json.loads((run / name / "share.json").read_text()) for name in parties(run)}


def pooled(run: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[float], list[float]]:
    """WOE of all cards' features over the common customers, labels, parts, coefficients and standard errors."""
    blocks, coefficients, errors = [], [], []
    tables = frames()
    for name, share in shares(run).items():
        card = read_card((run / name / "share.json").read_bytes())
        rows = np.load(run / name / "rows.npy")
        table = tables[name].iloc[rows]
        blocks.append(woe_matrix(card.features, table[[one.name for one in card.features]].to_numpy(float)))
        coefficients += [line["coefficient"] for line in share["lines"]]
        errors += [line["standard_error"] for line in share["lines"]]
    labels = tables["bank"]["default"].to_numpy()[np.load(run / "bank" / "rows.npy")]
    return np.hstack(blocks), labels.astype(np.int8), np.load(run / "bank" / "parts.npy"), coefficients, errors


def test_coefficients_and_errors_are_those_of_the_pooled_columns(run: Path) -> None:
    matrix, labels, parts, coefficients, errors = pooled(run)
    train = parts == 0
    due = Logistic.fit(matrix[train], labels[train], l1=0.0, l2=0.0, positive=False)
    np.testing.assert_allclose(coefficients, due.coefficients, atol=1e-4)
    np.testing.assert_allclose(errors, due.inference(matrix[train]).errors[1:], rtol=1e-3)
    bank = shares(run)["bank"]
    assert bank["intercept"] == pytest.approx(due.intercept, abs=1e-4)
    scores = bank["intercept"] + matrix[train] @ np.array(coefficients)

    def loss(at: np.ndarray) -> float:
        return float((np.logaddexp(0, at) - labels[train] * at).mean())

    assert loss(scores) == pytest.approx(loss(due.predictor(matrix[train])), abs=1e-6)


def test_predictions_and_points(run: Path) -> None:
    matrix, labels, parts, coefficients, _ = pooled(run)
    bank, held = shares(run)["bank"], parts == 2
    predicted = pd.read_csv(run / "predictions.csv", dtype={"id": str})
    assert list(predicted) == ["id", "label", "pd", "points"]
    order = np.argsort(np.load(run / "bank" / "rows.npy")[held])
    due = sigmoid(bank["intercept"] + matrix[held] @ np.array(coefficients))[order]
    np.testing.assert_allclose(predicted["pd"], due, atol=1e-5)
    assert predicted["label"].tolist() == labels[held][order].tolist()
    # A point more is pdo / ln 2 times the log-odds less, but for rounding of each attribute and of the base.
    scaling = bank["scaling"]
    exact = scaling["offset"] - scaling["factor"] * np.log(due / (1.0 - due))
    assert np.abs(predicted["points"] - exact).max() <= 0.5 * (1 + matrix.shape[1]) + 0.01


def test_every_party_has_the_points_of_its_own_attributes(run: Path) -> None:
    for name, share in shares(run).items():
        rows = list(csv.DictReader(io.StringIO((run / name / "scorecard.csv").read_text())))
        own = {line["feature"] for line in share["lines"]}
        assert {row["feature"] for row in rows} == own | ({"(base)"} if name == "bank" else set())
        assert own <= set(share["features"])
        others = [other for other in parties(run) if other != name]
        assert not any(
            f'"{feature}"' in json.dumps(share["lines"]) for o in others for feature in shares(run)[o]["features"]
        )


def test_the_bank_has_verdicts_on_all_features(run: Path) -> None:
    rows = list(csv.DictReader(io.StringIO((run / "bank" / "features.csv").read_text())))
    assert {(row["party"], row["feature"]) for row in rows} == {
        (name, feature) for name, share in shares(run).items() for feature in share["features"]
    }
    on_cards = {(name, line["feature"]) for name, share in shares(run).items() for line in share["lines"]}
    assert {(row["party"], row["feature"]) for row in rows if row["kept"] == "yes"} == on_cards
    assert all(float(row["vif"]) >= 1.0 for row in rows if row["kept"] == "yes")
    assert not any((run / name / "features.csv").exists() for name in parties(run) if name != "bank")


def test_summary_and_scores(run: Path) -> None:
    body = json.loads((run / "summary.json").read_text())
    assert body["model"] == "scorecard"
    assert body["scorecard"]["converged"]
    assert body["scorecard"]["standard_errors"]
    assert set(body["metrics"]) == {"federated", "bank_only", "pooled_lightgbm", "pooled_scorecard"}
    found = body["metrics"]
    assert found["federated"]["auc"] == pytest.approx(found["pooled_scorecard"]["auc"], abs=1e-3)
    assert found["federated"]["auc"] > found["bank_only"]["auc"] + 0.1
    assert body["attacks"] == {}


def test_commitments_come_first(run: Path) -> None:
    assert_committed_first(run, parties(run))


def test_it_verifies_and_every_party_replays(run: Path, capfd: Any) -> None:
    assert verify(run).returncode == 0
    for name in parties(run):
        assert tallystick(capfd, "replay", run, "--party", name).code == 0, name


@pytest.mark.slow
@pytest.mark.parametrize("name", ["pos-loan", "card-limit"])
def test_shipped_scenarios_have_the_maximum_likelihood_solution(tmp_path: Path, capfd: Any, name: str) -> None:
    """Real data and encryption, three partners, against statsmodels on everybody's weights of evidence."""
    run = tmp_path / "run"
    assert tallystick(capfd, "run", name, "--model", "scorecard", "--out", run).code == 0
    agreement, parts = RunFile.read(run).agreement, np.load(run / "bank" / "parts.npy")
    blocks, lines, labels = [], [], np.zeros(0)
    for member in (agreement.active, *agreement.passives):
        holding, rows = read_own_holding(run / member.name, agreement), np.load(run / member.name / "rows.npy")
        card = read_card((run / member.name / "share.json").read_bytes())
        places = [holding.names.index(feature.name) for feature in card.features]
        blocks.append(woe_matrix(card.features, holding.values[rows][:, places]))
        lines += shares(run)[member.name]["lines"]
        labels = labels if holding.labels is None else holding.labels[rows]
    due = sm.Logit(labels[parts == 0], sm.add_constant(np.hstack(blocks)[parts == 0])).fit(disp=0, tol=1e-12)
    assert shares(run)["bank"]["intercept"] == pytest.approx(due.params[0], abs=1e-4)
    np.testing.assert_allclose([line["coefficient"] for line in lines], due.params[1:], atol=1e-4)
    np.testing.assert_allclose([line["standard_error"] for line in lines], due.bse[1:], rtol=1e-4)
    np.testing.assert_allclose([line["p_value"] for line in lines], due.pvalues[1:], atol=1e-4)


@pytest.mark.slow
def test_processes_say_the_same_bytes(run: Path, tmp_path: Path) -> None:
    ended = apart("run", scenario(tmp_path, CARD), "--out", tmp_path / "run", "--seed", "card", "--processes")
    assert ended.returncode == 0, ended.stderr
    assert essence(tmp_path / "run") == essence(run)


@pytest.mark.slow
def test_killed_in_the_fit_and_resumed(run: Path, tmp_path: Path, capfd: Any) -> None:
    """Killed for real as soon as coefficients are told; nothing is different at the end."""
    words = ("run", scenario(tmp_path, CARD), "--out", tmp_path / "run", "--seed", "card")
    transcript = tmp_path / "run.partial" / "telecom" / "transcript.bin"
    with subprocess.Popen(command(*words), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as running:
        deadline = time.monotonic() + 60
        while running.poll() is None and time.monotonic() < deadline:
            if transcript.exists() and b"Standing" in transcript.read_bytes():
                running.send_signal(signal.SIGKILL)
                break
            time.sleep(0.002)
        running.wait(30)
    if not (tmp_path / "run").exists():  # it may have been faster than we
        assert tallystick(capfd, *words, "--resume").code == 0
    assert essence(tmp_path / "run") == essence(run)


def test_commands_on_a_scorecard(run: Path, capfd: Any, tmp_path: Path) -> None:
    told = tallystick(capfd, "explain", run)
    assert told.code == 0
    assert "bank: income" in told.out
    assert "on the card" in told.out
    body = json.loads(tallystick(capfd, "explain", run, "--json").out)
    assert {line["party"] for line in body["lines"]} == set(parties(run))
    assert all(one["points"] == round(one["points"]) for line in body["lines"] for one in line["attributes"])
    assert tallystick(capfd, "evaluate", run, "--json").code == 0
    assert tallystick(capfd, "export", run, "--party", "telecom", "--out", tmp_path / "t.json").code == 0
    assert json.loads((tmp_path / "t.json").read_text()) == shares(run)["telecom"]
    for words, sentence in (
        (("explain", run, "--id", "1"), "its own explanation"),
        (("export", run, "--format", "lightgbm", "--out", tmp_path / "m"), "no LightGBM model"),
        (("attack", "node-sets", run, "--party", "telecom"), "no tree nodes"),
    ):
        refused = tallystick(capfd, *words)
        assert refused.code == 2, words
        assert sentence in refused.err


def test_special_values_have_bins_of_their_own_and_trends_are_kept(tmp_path: Path, capfd: Any) -> None:
    tables = frames()
    tables["telecom"].loc[::4, "calls"] = -999.0
    wishes = '[party.telecom.special]\ncalls = [-999]\n[party.bank.trends]\nincome = "descending"\n'
    path = scenario(tmp_path, CARD.replace("[model]", wishes + "[model]"), tables)
    assert tallystick(capfd, "run", path, "--out", tmp_path / "run").code == 0
    body = json.loads(tallystick(capfd, "explain", tmp_path / "run", "--json").out)
    lines = {(line["party"], line["feature"]): line["attributes"] for line in body["lines"]}
    assert any(one["attribute"].startswith("-999") for one in lines["telecom", "calls"])
    assert ("bank", "income") not in lines or len(lines["bank", "income"]) <= 2  # the bad rate rises with income here


@pytest.mark.parametrize(
    ("added", "words"),
    [
        ("[party.telecom.special]\nspeed = [-1]\n", "[party.telecom.special] 'speed' is no feature of telecom"),
        ("[party.telecom.special]\ncalls = []\n", "[party.telecom.special] 'calls' is '[]'"),
        ("[party.telecom.special]\ncalls = [1, 1]\n", "'calls' is '[1, 1]'"),
        ("[party.telecom.special]\ncalls = [nan]\n", "'calls' is '[nan]'"),
        ('[party.telecom.special]\ncalls = ["x"]\n', "'calls' is \"['x']\""),
        ('[party.bank.trends]\nincome = "up"\n', "[party.bank.trends] 'income' is 'up'"),
        ('[party.bank.trends]\nwage = "auto"\n', "'wage' is no feature of bank"),
    ],
)
def test_bad_wishes(tmp_path: Path, capfd: Any, added: str, words: str) -> None:
    ended = tallystick(
        capfd, "run", scenario(tmp_path, CARD.replace("[model]", added + "[model]")), "--out", tmp_path / "r"
    )
    assert ended.code == 2
    assert words in ended.err
    assert not (tmp_path / "r").exists()


def test_wishes_are_for_scorecards(tmp_path: Path, capfd: Any) -> None:
    toml = TOML.replace("[model]", "[party.telecom.special]\ncalls = [-1]\n[model]")
    ended = tallystick(capfd, "run", scenario(tmp_path, toml), "--out", tmp_path / "r")
    assert ended.code == 2
    assert "is for the bins of a scorecard" in ended.err


def test_no_feature_is_worth_a_line(tmp_path: Path, capfd: Any) -> None:
    toml = CARD.replace("min_iv = 0.0", "min_iv = 50.0")
    ended = tallystick(capfd, "run", scenario(tmp_path, toml), "--out", tmp_path / "r")
    assert ended.code == 2
    assert "no feature of any party is worth a line" in ended.err


def test_a_partner_without_a_line_witnesses_the_rounds(tmp_path: Path, capfd: Any) -> None:
    tables = frames()
    tables["telecom"]["calls"] = np.arange(len(tables["telecom"])) % 7
    path = scenario(tmp_path, CARD.replace("min_iv = 0.0", "min_iv = 0.2"), tables)
    assert tallystick(capfd, "run", path, "--out", tmp_path / "run").code == 0
    lines = {name: len(share["lines"]) for name, share in shares(tmp_path / "run").items()}
    assert (lines["telecom"], lines["payroll"]) == (0, 1)
    assert verify(tmp_path / "run").returncode == 0
    assert tallystick(capfd, "replay", tmp_path / "run", "--party", "telecom").code == 0


def test_a_damaged_share_is_named(run: Path, tmp_path: Path, capfd: Any) -> None:
    copied = tmp_path / "run"
    subprocess.run(["cp", "-r", run, copied], check=True)
    (copied / "telecom" / "share.json").write_text("{}")
    ended = tallystick(capfd, "explain", copied)
    assert ended.code == 2
    assert "not a share of a scorecard" in ended.err
