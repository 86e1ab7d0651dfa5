"""`tallystick evaluate`: figures of three models, recomputed from the scores; tables, pictures, and refusals."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from rich.console import Console
from run_kit import VALIDATED, Runs, tallystick

from vfl import evaluation_commands
from vfl.errors import UsageError
from vfl.evaluating import evaluate, intervals, judge
from vfl.learn.calibration import brier
from vfl.learn.evaluation_parameters import EvaluationParameters
from vfl.learn.metrics import auc, gini, ks, log_loss
from vfl.learn.recalibration import Platt
from vfl.plots.draw import Drawing
from vfl.present_evaluation import show_evaluation
from vfl.scores import MODELS, Scores

QUICK = EvaluationParameters(resamples=100)
PICTURES = ("bands", "calibration", "gain", "ks", "lift", "profit", "roc", "trade-off")


@pytest.fixture(scope="module")
def out(finished: Runs, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy: pictures are drawn into it."""
    run = finished(VALIDATED, "--seed", "x").out
    return Path(shutil.copytree(run, tmp_path_factory.mktemp("evaluated") / "run"))


@pytest.fixture(scope="module")
def body(out: Path) -> dict[str, Any]:
    return evaluate(out, QUICK, [0.3, 0.0])


def test_every_figure_is_that_of_the_scores(out: Path, body: dict[str, Any]) -> None:
    scores = Scores.read(out)
    held = scores.holdout
    labels = scores.labels[held]
    assert body["customers"] == {"train": 274, "validation": 68, "holdout": int(held.sum())}
    assert tuple(body["models"]) == MODELS
    for name, model in body["models"].items():
        pd = scores.scores[name][held]
        for figure, of in {"auc": auc, "ks": ks, "gini": gini}.items():
            low, high = model[figure]["interval"]
            assert low < model[figure]["value"] == of(labels, pd) < high
        assert model["calibration"]["brier"] == brier(labels, pd)
        assert model["calibration"]["log_loss"] == log_loss(labels, pd)
        for table in ("lift", "bands"):
            assert sum(row["customers"] for row in model[table]) == held.sum()
            assert sum(row["bads"] for row in model[table]) == pytest.approx(labels.sum())
        assert sum(row["trained"] for row in model["bands"]) == 274
        assert model["approvals"][-1]["bad_rate"] == pytest.approx(labels.mean())
        approved = pd <= 0.3
        at = model["cutoffs"][0]
        assert (at["cutoff"], at["approved"]) == (0.3, pytest.approx(approved.mean()))
        assert at["profit"] == pytest.approx(
            np.where(labels == 1, -QUICK.loss_bad, QUICK.profit_good)[approved].sum() / len(labels)
        )
        assert at["profit"] <= model["best_cutoff"]["profit"]
        assert model["cutoffs"][1] == {"approved": 0.0, "cutoff": 0.0, "bad_rate": 0.0, "profit": 0.0}


def test_the_gain_over_the_bank_is_more_than_chance_and_over_pooling_it_is_none(body: dict[str, Any]) -> None:
    over = body["differences"]
    assert over.keys() == {"bank_only", "pooled_lightgbm"}
    assert over["bank_only"]["auc"]["interval"][0] > 0
    assert over["bank_only"]["delong_p"] < 0.001
    low, high = over["pooled_lightgbm"]["auc"]["interval"]
    assert low <= 0 <= high
    for name, found in over.items():
        difference = body["models"]["federated"]["auc"]["value"] - body["models"][name]["auc"]["value"]
        assert found["auc"]["value"] == pytest.approx(difference)


def test_recalibration_is_fitted_on_validation_customers_where_there_are_any(out: Path, body: dict[str, Any]) -> None:
    scores = Scores.read(out)
    aside, held = scores.part == 1, scores.holdout
    found = body["models"]["federated"]["recalibration"]
    pd = scores.scores["federated"]
    better = Platt.fit(scores.labels[aside], pd[aside])(pd[held])
    assert found["fitted_on"] == "validation"
    assert found["platt"]["brier"] == brier(scores.labels[held], better)


def test_without_validation_customers_it_is_fitted_across_folds(out: Path, tmp_path: Path) -> None:
    shutil.copy(out / "run.json", tmp_path)
    scores = Scores.read(out)
    Scores(scores.ids, np.where(scores.part == 1, 0, scores.part), scores.labels, scores.scores).write(tmp_path)
    found = evaluate(tmp_path, QUICK)["models"]["federated"]["recalibration"]
    assert found["fitted_on"] == "hold-out, 5 folds crosswise"
    assert 0 < found["isotonic"]["brier"] < 0.25


def test_the_same_run_gives_the_same_figures_and_the_summarys(out: Path, body: dict[str, Any]) -> None:
    assert evaluate(out, QUICK, [0.3, 0.0]) == body
    summary = json.loads((out / "summary.json").read_text())
    whole = evaluate(out, EvaluationParameters())
    for name in MODELS:
        for figure in ("auc", "ks", "gini"):
            assert whole["models"][name][figure]["value"] == pytest.approx(summary["metrics"][name][figure], abs=1e-12)
            assert whole["models"][name][figure]["interval"] == summary["intervals"][name][figure]
    assert intervals(Scores.read(out)) == summary["intervals"]


def test_pooling_is_labelled_as_simulation(out: Path, body: dict[str, Any], capfd: Any) -> None:
    assert "simulation" in body["note"]
    assert "simulation only" in tallystick(capfd, "evaluate", out).out


@pytest.mark.parametrize("width", [80, 120])
def test_tables_keep_whole_at(width: int, body: dict[str, Any], capsys: Any) -> None:
    show_evaluation(body, Console(width=width))
    told = capsys.readouterr().out
    assert "…" not in told
    lines = told.splitlines()
    for table in ("joint model", "bank alone", "all pooled*"):
        assert sum(line.startswith(f"{table} ") for line in lines) >= 3
    assert all(len(line) <= 90 for line in lines)
    assert "joint model (best)" in told


def test_the_command_prints_json_and_nothing_else(out: Path, capfd: Any) -> None:
    words = ("--json", "--cutoff", "0.2", "--cutoff", "0.4", "--resamples", "60", "--profit-good", "3", "--groups", "5")
    ended = tallystick(capfd, "evaluate", out, *words, "--loss-bad", "7")
    assert (ended.code, ended.err) == (0, "")
    found = json.loads(ended.out)
    chosen = {"resamples": 60, "profit_good": 3.0, "loss_bad": 7.0, "groups": 5}
    assert found["parameters"] == {**EvaluationParameters().as_dict(), **chosen}
    model = found["models"]["federated"]
    assert [row["cutoff"] for row in model["cutoffs"]] == [0.2, 0.4]
    assert len(model["lift"]) == 5
    assert (model["bands"][0]["low"], model["bands"][-1]["high"]) == (None, None), "infinity is no JSON"


def test_defaults_are_written_once(capfd: Any) -> None:
    told = re.sub(r"\s+", " ", tallystick(capfd, "evaluate", "--help").out)
    default = EvaluationParameters()
    for option in ("resamples", "groups", "profit_good", "loss_bad"):
        assert f"[default: {getattr(default, option)};" in told, option


@pytest.mark.parametrize(
    ("words", "wrong"),
    [
        (("--cutoff", "1.5"), "--cutoff is 1.5"),
        (("--cutoff", "-1"), "--cutoff is -1"),
        (("--resamples", "1"), "--resamples"),
        (("--loss-bad", "-1"), "--loss-bad"),
        (("--loss-bad", "0"), "loss_bad"),
        (("--groups", "1"), "--groups"),
    ],
)
def test_wrong_options_are_named(out: Path, capfd: Any, words: tuple[str, ...], wrong: str) -> None:
    ended = tallystick(capfd, "evaluate", out, *words)
    assert (ended.code, ended.out) == (2, "")
    assert wrong in ended.err


def test_what_is_no_run_is_named(tmp_path: Path, out: Path, capfd: Any) -> None:
    ended = tallystick(capfd, "evaluate", tmp_path)
    assert ended.code == 2
    assert "run.json" in ended.err
    shutil.copy(out / "run.json", tmp_path)
    ended = tallystick(capfd, "evaluate", tmp_path)
    assert ended.code == 2
    assert "there is no scores.csv" in ended.err


def test_the_example_in_the_guide_runs(out: Path, capsys: Any) -> None:
    page = (Path(__file__).resolve().parent.parent / "docs/guide/evaluation.md").read_text("utf-8")
    (example,) = re.findall(r"^```python\n(.*?)^```$", page, re.S | re.M)
    exec(compile(example.replace("runs/demo", str(out)), "evaluation.md", "exec"), {})
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(MODELS)


# ---- pictures --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pictures(out: Path, body: dict[str, Any]) -> list[Path]:
    return evaluation_commands.draw_plots(out, body)


def test_every_picture_is_drawn_as_png_and_svg(out: Path, pictures: list[Path]) -> None:
    expected = {out / "plots" / f"{name}.{form}" for name in PICTURES for form in ("png", "svg")}
    assert set(pictures) == expected == set((out / "plots").iterdir())
    for path in pictures:
        data = path.read_bytes()
        assert len(data) > 5_000
        if path.suffix == ".svg":
            ElementTree.fromstring(data)
        else:
            assert data.startswith(b"\x89PNG")


def test_the_same_figures_give_the_same_pictures(out: Path, body: dict[str, Any], pictures: list[Path]) -> None:
    before = {path: path.read_bytes() for path in pictures if path.stem == "roc"}
    evaluation_commands.draw_plots(out, body)
    assert {path: path.read_bytes() for path in before} == before


def test_a_party_with_a_long_name_stays_inside_the_picture(out: Path, body: dict[str, Any]) -> None:
    from vfl.plots.draw import roc
    from vfl.plots.style import styled

    with styled():
        figure = roc(Drawing.of({**body, "active": "a$" + "very-long-name-" * 4}, Scores.read(out)))
        for text in figure.texts:
            assert text.get_window_extent().x1 <= figure.bbox.x1


@pytest.mark.parametrize(
    ("interval", "verb"), [([0.1, 0.2], "beats"), ([-0.2, -0.1], "falls"), ([-0.1, 0.1], "is level")]
)
def test_a_title_says_what_was_found(out: Path, body: dict[str, Any], interval: list[float], verb: str) -> None:
    found = {**body, "differences": {"bank_only": {"auc": {"interval": interval}}}}
    assert Drawing.of(found, Scores.read(out)).against.startswith(verb)


def test_plots_without_matplotlib_name_the_extra(out: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any) -> None:
    monkeypatch.setattr(evaluation_commands, "find_spec", lambda name: None)
    ended = tallystick(capfd, "evaluate", out, "--plots")
    assert ended.code == 2
    assert "--plots needs matplotlib" in ended.err
    assert "pip install 'tallystick[plots]'" in ended.err


def test_the_command_draws_and_says_where(out: Path, capfd: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluation_commands, "draw_plots", lambda directory, body: [directory / "plots" / "roc.png"])
    ended = tallystick(capfd, "evaluate", out, "--plots", "--resamples", "50")
    assert ended.code == 0
    assert ended.err == f"drawn: 1 files in {out / 'plots'}\n"


def test_nothing_but_pictures_needs_matplotlib() -> None:
    import subprocess
    import sys

    code = "import sys, vfl.evaluation_commands, vfl.commands; print('matplotlib' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_a_small_hold_out_is_judged_and_too_small_a_one_refused() -> None:
    def small(bads: int) -> Scores:
        labels = (np.arange(24) % 12 < bads).astype(np.int8)
        pd = (np.arange(24) % 7 + 1) / 8
        return Scores([""] * 24, np.repeat([0, 2], 12).astype(np.int8), labels, dict.fromkeys(MODELS, pd))

    assert json.dumps(judge(small(2), QUICK), allow_nan=False)
    with pytest.raises(UsageError):
        judge(small(1), QUICK)


def test_evaluation_refuses_a_hold_out_of_one_class(out: Path, tmp_path: Path) -> None:
    shutil.copy(out / "run.json", tmp_path)
    scores = Scores.read(out)
    Scores(scores.ids, scores.part, np.zeros_like(scores.labels), scores.scores).write(tmp_path)
    with pytest.raises(UsageError, match="labels are 0"):
        evaluate(tmp_path, QUICK)
