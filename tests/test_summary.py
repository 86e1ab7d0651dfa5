"""The figures at the end: counted twice, recomputed from what lies in the folder, told as what they are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from run_kit import VALIDATED, Runs, parties

from ledger.bundle import read_bundle
from vfl import summary as summaries
from vfl.clock import SystemClock
from vfl.comparison import figures, lightgbm_scores
from vfl.learn.metrics import auc, gini, ks
from vfl.learn.rounds import Parts
from vfl.models import read_ensemble, read_records
from vfl.progress import Silent
from vfl.scores import Scores, joint_scores
from vfl.seat import RunFile, read_own_holding
from vfl.stopwatch import Stopwatch
from vfl.summary import conclude


@pytest.fixture(scope="module", params=[(), ("--processes",)], ids=["lockstep", "processes"])
def out(request: pytest.FixtureRequest, finished: Runs) -> Path:
    return finished(VALIDATED, "--seed", "x", *request.param).out


def body(out: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((out / "summary.json").read_text())
    return found


def test_every_byte_sent_was_received_phase_by_phase(out: Path) -> None:
    reports = {party: json.loads((out / party / "report.json").read_text())["bytes"] for party in parties(out)}
    bank = reports.pop("bank")
    phases = {phase for report in (bank, *reports.values()) for phase in report}
    for phase in phases:
        assert bank[phase]["sent"] == sum(report[phase]["received"] for report in reports.values())
        assert bank[phase]["received"] == sum(report[phase]["sent"] for report in reports.values())
    told = body(out)["bytes"]
    assert told == {p: c["sent"] + c["received"] for p, c in bank.items()} | {"total": told["total"]}
    assert told["total"] == sum(size for phase, size in told.items() if phase != "total")


def test_ledger_payloads_add_up_to_the_bytes(out: Path) -> None:
    import sqlite3

    from ledger.entry import Entry

    with sqlite3.connect(out / "bank" / "ledger.sqlite") as store:
        entries = [Entry.from_bytes(row) for (row,) in store.execute("SELECT body FROM entry")]
    store.close()
    told = body(out)["bytes"]
    for phase in set(told) - {"total"}:
        assert told[phase] == sum(entry.payload.size for entry in entries if entry.payload and entry.phase == phase)


def test_seconds_add_up_and_every_phase_took_some(out: Path) -> None:
    seconds = body(out)["seconds"]
    total = seconds.pop("total")
    assert total == pytest.approx(sum(seconds.values()), abs=0.01)
    assert seconds.keys() >= {
        "start",
        "handshake",
        "psi",
        "align",
        "bins",
        "train",
        "score",
        "freeze",
        "compare",
        "audit",
    }
    assert seconds["train"] > 0.05
    assert all(value >= 0 for value in seconds.values())
    assert 0 < body(out)["ledger"]["overhead_fraction"] < 1


def test_rows_and_ledger_are_counted(out: Path) -> None:
    found = body(out)
    rows = found["rows"]
    assert (rows["bank"], rows["telecom"], rows["payroll"]) == (600, 580, 572)
    assert rows["train"] + rows["validation"] + rows["holdout"] == rows["intersection"] == 492
    assert rows["validation"] > 0
    entries = checkpoints = 0
    for party in parties(out):
        report = json.loads((out / party / "report.json").read_text())
        entries, checkpoints = entries + report["entries"], checkpoints + report["checkpoints"]
    # At the end the active party puts artefacts and decisions on record, under one more checkpoint.
    assert found["ledger"]["entries"] == entries + 2 > 100
    assert found["ledger"]["checkpoints"] == checkpoints + 1 > 10


def test_metrics_can_be_recomputed_from_the_predictions(out: Path) -> None:
    frame = pd.read_csv(out / "predictions.csv")
    label, score = frame["label"].to_numpy(), frame["pd"].to_numpy()
    federated = body(out)["metrics"]["federated"]
    assert federated == pytest.approx({"auc": auc(label, score), "ks": ks(label, score), "gini": gini(label, score)})
    better = (score[label == 1][:, None] > score[label == 0]).mean()
    equal = (score[label == 1][:, None] == score[label == 0]).mean()
    assert federated["auc"] == pytest.approx(better + equal / 2)
    assert federated["gini"] == pytest.approx(2 * federated["auc"] - 1)


def test_the_comparisons_train_on_the_rows_of_the_joint_model(out: Path) -> None:
    file = RunFile.read(out)
    code = np.load(out / "bank" / "parts.npy")
    parts, held_out = Parts(code == 0, code == 1), code == 2
    rows = {party: np.load(out / party / "rows.npy") for party in parties(out)}
    held = {party: read_own_holding(out / party, file.agreement) for party in parties(out)}
    tokens = [[held[party].tokens[row] for row in rows[party]] for party in parties(out)]
    assert tokens[0] == tokens[1] == tokens[2], "row k is the same customer everywhere"
    labels = held["bank"].labels
    assert labels is not None
    labels = labels[rows["bank"]]
    for name, members in {"bank_only": ["bank"], "pooled_lightgbm": parties(out)}.items():
        values = np.column_stack([held[party].values[rows[party]] for party in members])
        scores = lightgbm_scores(values, labels, parts, held_out, file.terms.parameters)
        assert body(out)["metrics"][name] == figures(labels[held_out], scores)
    frame = pd.read_csv(out / "predictions.csv", dtype={"id": str})
    shown = {held["bank"].ids[row] for row in rows["bank"][held_out]}
    assert set(frame["id"]) == shown


def test_intervals_surround_the_figures(out: Path) -> None:
    found = body(out)
    intervals = found["intervals"]
    assert (intervals.pop("confidence"), intervals.pop("resamples")) == (0.95, 500)
    assert intervals.keys() == found["metrics"].keys()
    for name, of in intervals.items():
        for figure, (low, high) in of.items():
            assert low < found["metrics"][name][figure] < high < low + 0.5


def test_scores_are_kept_of_every_common_customer_and_model(out: Path) -> None:
    scores = Scores.read(out)
    code, rows = np.load(out / "bank" / "parts.npy"), np.load(out / "bank" / "rows.npy")
    assert scores.part.tolist() == code[np.argsort(rows)].tolist()
    frame = pd.read_csv(out / "predictions.csv", dtype={"id": str})
    held = scores.holdout
    assert [name for name, kept in zip(scores.ids, held, strict=True) if kept] == frame["id"].tolist()
    assert scores.labels[held].tolist() == frame["label"].tolist()
    assert scores.scores["federated"][held] == pytest.approx(frame["pd"].to_numpy(), abs=1e-15)
    for name, score in scores.scores.items():
        assert figures(scores.labels[held], score[held]) == body(out)["metrics"][name]
        assert auc(scores.labels[~held], score[~held]) > 0.6, "the trained customers are told apart as well"


def test_shares_put_together_score_as_the_run_did(out: Path) -> None:
    """The joint model's scores of training customers come of the same walk as those of the hold-out."""
    file = RunFile.read(out)
    held = {party: read_own_holding(out / party, file.agreement) for party in parties(out)}
    tables = [held[party].values[np.load(out / party / "rows.npy")] for party in parties(out)]
    shares = [(out / party / "share.json").read_bytes() for party in parties(out)]
    found = joint_scores(read_ensemble(shares[0]), [read_records(share) for share in shares], tables)
    order = np.argsort(np.load(out / "bank" / "rows.npy"))
    scores = Scores.read(out)
    assert found[order].tolist() == scores.scores["federated"].tolist()


def test_the_joint_model_is_worth_it_and_no_worse_than_pooling(out: Path) -> None:
    metrics = body(out)["metrics"]
    assert metrics["federated"]["auc"] > metrics["bank_only"]["auc"] + 0.05
    assert metrics["federated"]["auc"] == pytest.approx(metrics["pooled_lightgbm"]["auc"], abs=0.003)


def test_pooling_is_labelled_as_simulation(out: Path) -> None:
    assert "simulation" in body(out)["metrics_note"]


def test_the_bundle_has_the_summary_and_the_agreement(out: Path) -> None:
    members = read_bundle(out / "audit.bundle").members
    public = json.loads(members["artefacts/summary.json"])
    found = body(out)
    assert public == {name: found[name] for name in public}
    assert public.keys() >= {"scenario", "rows", "metrics", "privacy", "versions"}
    assert members["artefacts/agreement.json"] == RunFile.read(out).agreement.encode()
    assert members["policy.txt"] == (out / "policy.txt").read_bytes()


def test_concluding_twice_gives_the_same(out: Path) -> None:
    """As after a run that was killed while it concluded."""
    first, bundle = body(out), (out / "audit.bundle").read_bytes()
    again = conclude(out, RunFile.read(out), SystemClock(), Silent())
    for same in ("rows", "metrics", "intervals", "bytes", "ledger"):
        assert _untimed(again.body[same]) == _untimed(first[same])
    assert (out / "audit.bundle").read_bytes() == bundle
    assert (out / "predictions.csv").read_bytes() == (out / "bank" / "predictions.csv").read_bytes()


def _untimed(part: dict[str, Any]) -> dict[str, Any]:
    """Without the share of a time that includes concluding itself."""
    return {name: value for name, value in part.items() if name != "share_of_run"}


def test_predictions_are_copied_where_the_disk_has_no_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError("no links here")

    monkeypatch.setattr(summaries.os, "link", refuse)
    (tmp_path / "bank").mkdir()
    (tmp_path / "bank" / "predictions.csv").write_text("id,label,pd\n")
    for _ in range(2):
        summaries._expose_predictions(tmp_path, "bank")
        assert (tmp_path / "predictions.csv").read_text() == "id,label,pd\n"


def test_a_stopwatch_counts_into_phases_and_only_while_it_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    from vfl import stopwatch

    moment = [0.0]
    monkeypatch.setattr(stopwatch.time, "perf_counter", lambda: moment[0])
    monkeypatch.setattr(stopwatch.time, "thread_time", lambda: moment[0] / 2)
    watch = Stopwatch()
    watch.stop()
    moment[0] = 5.0
    watch.start()
    moment[0] = 6.0
    watch.switch("train")
    moment[0] = 8.0
    watch.stop()
    watch.switch("score")
    moment[0] = 20.0
    watch.start()
    moment[0] = 21.0
    watch.stop()
    assert watch.wall == {"start": 1.0, "train": 2.0, "score": 1.0}
    assert watch.cpu == {"start": 0.5, "train": 1.0, "score": 0.5}
