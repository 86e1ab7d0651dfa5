"""Explanations and exports of finished runs, from the files that a run leaves."""

from __future__ import annotations

import csv
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pandas as pd
import pytest
from memory_run import clear_schemes
from rich.console import Console
from run_kit import TOML, content, inside, scenario, tallystick

from scenarios import materialise
from vfl.config import load_scenario
from vfl.errors import ProtocolError, UsageError
from vfl.explaining import Explained, explain
from vfl.learn.objective import sigmoid
from vfl.model_commands import customer_body
from vfl.present_explanation import show_customer
from vfl.progress import Silent
from vfl.replaying import replay
from vfl.seat import RunFile, read_own_holding
from vfl.simulation import Options, run_scenario

MERGED = TOML.replace("[privacy]\n", "[privacy]\nmerge_models = true\n")
WORDS = '[party.telecom.reasons]\ncalls = "Few calls"\nage = "Few calls"\n[party.payroll]'


def run(out: Path, path: Path) -> Path:
    with clear_schemes():
        run_scenario(lambda _: load_scenario(path), Options(out, seed=bytes(32)), Silent())
    return out


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of three parties with merge clause and words; not to be changed."""
    folder = tmp_path_factory.mktemp("done")
    return run(folder / "run", scenario(folder / "own", MERGED.replace("[party.payroll]", WORDS)))


@pytest.fixture(scope="module")
def found(done: Path) -> Explained:
    return explain(done)


@pytest.fixture
def copy(done: Path, tmp_path: Path) -> Path:
    target = tmp_path / "run"
    shutil.copytree(done, target)
    return target


def pooled_holdout(directory: Path) -> pd.DataFrame:
    """Every party's values of the hold-out customers under PARTY.FEATURE, and their ids as the active party's."""
    file = RunFile.read(directory)
    active = directory / file.agreement.active.name
    held_out, columns = np.load(active / "parts.npy") == 2, {}
    for member in (file.agreement.active, *file.agreement.passives):
        holding = read_own_holding(directory / member.name, file.agreement)
        rows = np.load(directory / member.name / "rows.npy")
        if member.role == "passive" and file.terms.psi.decoys:
            rows = rows[np.load(active / "places.npy")]
        rows = rows[held_out]
        if member.role == "active":
            columns["id"] = np.array(holding.ids)[rows]
        columns |= {f"{member.name}.{name}": holding.values[rows, at] for at, name in enumerate(holding.names)}
    return pd.DataFrame(columns).set_index("id")


def require_parity(directory: Path, tmp_path: Path, capfd: Any) -> None:
    """The exported model predicts what stands in predictions.csv and attributes what `explain` does."""
    target = tmp_path / "joint.txt"
    ended = tallystick(capfd, "export", directory, "--format", "lightgbm", "--out", target)
    assert (ended.code, ended.err) == (0, ""), ended.err
    booster = lightgbm.Booster(model_file=str(target))
    found, rows = explain(directory), pooled_holdout(directory)
    values = rows.loc[list(found.ids)]
    assert booster.feature_name() == list(values.columns)
    assert values.isna().any(axis=None)
    raw = booster.predict(values.to_numpy(), raw_score=True)
    assert sigmoid(raw).tobytes() == found.pd.tobytes()
    due = booster.predict(values.to_numpy(), pred_contrib=True)
    np.testing.assert_allclose(found.attribution.values, due[:, :-1], rtol=0, atol=1e-9)
    np.testing.assert_allclose(found.attribution.base, due[:, -1], rtol=0, atol=1e-9)
    assert found.importance.splits.tolist() == booster.feature_importance("split").tolist()


def test_a_run_explains_and_exports_as_lightgbm_does(done: Path, tmp_path: Path, capfd: Any) -> None:
    require_parity(done, tmp_path, capfd)


def test_decoys_change_neither(tmp_path: Path, capfd: Any) -> None:
    path = scenario(tmp_path / "own", MERGED.replace("[psi]\n", "[psi]\ndecoys = 0.5\n"))
    with clear_schemes(named=False):
        run_scenario(lambda _: load_scenario(path), Options(tmp_path / "run", seed=bytes(32)), Silent())
    require_parity(tmp_path / "run", tmp_path, capfd)


@pytest.mark.slow
def test_the_shipped_loans_explain_and_export_as_lightgbm_does(tmp_path: Path, capfd: Any) -> None:
    path = materialise("pos-loan", tmp_path / "tables")
    path.write_text(path.read_text() + "\n[privacy]\nmerge_models = true\n")
    require_parity(run(tmp_path / "run", path), tmp_path, capfd)


def test_words_for_a_feature_that_there_is_not_are_refused(tmp_path: Path, capfd: Any) -> None:
    text = TOML.replace("[party.payroll]", '[party.telecom.reasons]\ncals = "Few calls"\n[party.payroll]')
    path = scenario(tmp_path, text)
    ended = tallystick(capfd, "run", path, "--config-check")
    assert (ended.code, ended.out) == (2, "")
    assert "[party.telecom.reasons] 'cals' is no feature of telecom" in ended.err
    assert "Did you mean 'calls'?" in ended.err


# ---- the guide -------------------------------------------------------------------------------------------------------


def example(page: str) -> str:
    """The Python example of a page of the guide."""
    text = (Path(__file__).parents[1] / "docs/guide" / page).read_text("utf-8")
    (source,) = re.findall(r"^```python\n(.*?)^```$", text, re.S | re.M)
    return str(source)


def test_the_example_of_an_explanation_runs(done: Path, found: Explained, capsys: Any) -> None:
    place = int(np.argmax(found.pd))
    source = example("explain.md").replace("runs/demo", str(done)).replace("+34205070867", found.ids[place])
    exec(compile(source, "explain.md", "exec"), {})
    *told, raw = capsys.readouterr().out.splitlines()
    assert told == [f"{r.words} {r.party} {round(r.contribution, 3)}" for r in found.reasons(place, 2)]
    assert float(raw) == pytest.approx(float(np.log(found.pd[place] / (1 - found.pd[place]))))


def test_the_example_of_an_export_runs(done: Path, tmp_path: Path, capfd: Any) -> None:
    tallystick(capfd, "export", done, "--format", "lightgbm", "--out", tmp_path / "joint.txt")
    with inside(tmp_path):
        exec(compile(example("export.md"), "export.md", "exec"), {})
    assert "['bank.income', 'bank.limit', 'telecom.calls'" in capfd.readouterr().out


# ---- explain ---------------------------------------------------------------------------------------------------------


def test_the_order_is_that_of_the_predictions(done: Path, found: Explained) -> None:
    predictions = pd.read_csv(done / "predictions.csv", dtype={"id": str})
    assert list(found.ids) == predictions["id"].tolist()
    np.testing.assert_array_equal(found.pd, predictions["pd"])
    raw = found.attribution.base + found.attribution.values.sum(axis=1)
    np.testing.assert_allclose(sigmoid(raw), found.pd, rtol=0, atol=1e-12)


def test_one_customer_as_json(done: Path, found: Explained, capfd: Any) -> None:
    place = int(np.argmax(found.pd))
    ended = tallystick(capfd, "explain", done, "--id", found.ids[place], "--top", 2, "--json")
    assert (ended.code, ended.err) == (0, "")
    body = json.loads(ended.out)
    assert (body["id"], body["pd"]) == (found.ids[place], found.pd[place])
    sizes = [abs(row["contribution"]) for row in body["contributions"]]
    assert sizes == sorted(sizes, reverse=True)
    assert len(sizes) == 7
    assert body["base"] + sum(row["contribution"] for row in body["contributions"]) == pytest.approx(body["raw_score"])
    assert len(body["reasons"]) == 2
    assert all(reason["contribution"] > 0 for reason in body["reasons"])


def test_one_customer_for_people(done: Path, found: Explained, capfd: Any) -> None:
    place = int(np.argmax(found.pd))
    ended = tallystick(capfd, "explain", done, "--id", found.ids[place])
    assert (ended.code, ended.err) == (0, "")
    assert f"Customer {found.ids[place]}: probability of default {found.pd[place]:.2%}" in ended.out
    assert "average in training" in ended.out
    for number, reason in enumerate(found.reasons(place, 4), 1):
        assert f"{number}. {reason.words} ({reason.party})" in ended.out


def test_the_agreed_words_are_told_once_for_both_their_features(found: Explained) -> None:
    told = [[reason.words for reason in found.reasons(place, 4)] for place in range(len(found.ids))]
    assert any("Few calls" in words for words in told)
    assert all(words.count("Few calls") <= 1 for words in told)
    assert not {word for words in told for word in words} & {"Calls", "Age"}


def test_a_customer_against_whom_nothing_speaks(found: Explained, capfd: Any) -> None:
    best = customer_body(found, int(np.argmin(found.pd)), 4)
    good = {**best, "reasons": [], "contributions": best["contributions"] * 3}
    capfd.readouterr()
    show_customer(good, Console(width=88))
    out = capfd.readouterr().out
    assert "Nothing speaks against this customer." in out
    assert "9 others" in out


def test_the_importance_of_features(done: Path, found: Explained, capfd: Any) -> None:
    ended = tallystick(capfd, "explain", done)
    assert (ended.code, ended.err) == (0, "")
    body = json.loads(tallystick(capfd, "explain", done, "--json").out)
    assert body["customers"] == len(found.ids)
    shap = [row["mean_abs_shap"] for row in body["features"]]
    assert shap == sorted(shap, reverse=True)
    assert sum(row["splits"] for row in body["features"]) == found.importance.splits.sum() > 0
    for row in body["features"]:
        assert row["feature"] in ended.out
        assert row["party"] in ended.out
    words = {(row["party"], row["feature"]): row["words"] for row in body["features"]}
    assert words["telecom", "calls"] == words["telecom", "age"] == "Few calls"
    assert words["bank", "income"] == "Income"


def test_reasons_of_all_as_a_table(copy: Path, found: Explained, capfd: Any) -> None:
    ended = tallystick(capfd, "explain", copy, "--csv", "--top", 3)
    assert ended.code == 0
    assert "reasons.csv" in ended.err
    with (copy / "bank" / "reasons.csv").open(newline="") as file:
        header, *rows = csv.reader(file)
    assert header == ["id", "pd", "reason_1", "reason_2", "reason_3"]
    assert [row[0] for row in rows] == list(found.ids)
    for place, row in enumerate(rows):
        words = [reason.words for reason in found.reasons(place, 3)]
        assert row[2:] == words + [""] * (3 - len(words))
    assert tallystick(capfd, "explain", copy, "--csv", "--json").err == ""


def test_the_active_partys_folder_is_enough(copy: Path, found: Explained) -> None:
    for other in ("telecom", "payroll", "tables"):
        shutil.rmtree(copy / other, ignore_errors=True)
    assert explain(copy).attribution.values.tobytes() == found.attribution.values.tobytes()


def test_a_customer_who_is_not_held_out_is_refused(done: Path, found: Explained, capfd: Any) -> None:
    for name in ("nobody", ""):
        ended = tallystick(capfd, "explain", done, "--id", name)
        assert (ended.code, ended.out) == (2, "")
        assert f"no customer {name!r} in the hold-out" in ended.err
    with pytest.raises(UsageError, match="no customer"):
        found.place("nobody")


DAMAGE: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "no share": ("share.json", Path.unlink, "there is no share.json"),
    "no decisions": ("decisions.npy", Path.unlink, "there is no decisions.npy"),
    "decisions of another model": (
        "decisions.npy",
        lambda p: np.save(p, np.zeros((3, 1), np.uint8)),
        "not of the model",
    ),
    "other decisions": ("decisions.npy", lambda p: np.save(p, ~np.load(p)), "not of the model"),
    "decisions cut short": ("decisions.npy", lambda p: p.write_bytes(p.read_bytes()[:40]), "decisions.npy is damaged"),
    "objects": ("decisions.npy", lambda p: np.save(p, np.array([{}]), allow_pickle=True), "decisions.npy is damaged"),
    "no predictions": ("predictions.csv", Path.unlink, "there is no predictions.csv"),
    "other predictions": ("predictions.csv", lambda p: p.write_text("id,label,pd\na,0,0.5\n"), "not of the model"),
    "no numbers": ("predictions.csv", lambda p: p.write_text("id,label,pd\na,0,high\n"), "predictions.csv is damaged"),
    "no columns": ("predictions.csv", lambda p: p.write_text("a,b\n1,2\n"), "predictions.csv is damaged"),
    "another share": (
        "share.json",
        lambda p: p.write_bytes((p.parents[1] / "telecom/share.json").read_bytes()),
        "party",
    ),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_files_that_do_not_belong_together_are_refused(copy: Path, case: str, capfd: Any) -> None:
    name, damage, words = DAMAGE[case]
    path = copy / "bank" / name
    data = path.read_bytes()
    path.unlink()
    path.write_bytes(data)  # predictions.csv has a second name, which stays as it is
    damage(path)
    ended = tallystick(capfd, "explain", copy)
    assert (ended.code, ended.out) == (2, ""), ended
    assert words in ended.err


def test_no_run_is_refused(tmp_path: Path, capfd: Any) -> None:
    for words in (("explain", tmp_path), ("export", tmp_path, "--out", tmp_path / "x")):
        ended = tallystick(capfd, *words)
        assert (ended.code, ended.out) == (2, "")
        assert "run.json" in ended.err


def test_a_replay_comes_to_the_same_decisions(copy: Path) -> None:
    with clear_schemes():
        replay(copy, "bank")
        path = copy / "bank" / "decisions.npy"
        np.save(path, ~np.load(path))
        with pytest.raises(ProtocolError, match=r"another content of decisions\.npy"):
            replay(copy, "bank")


# ---- export ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("words", "party"), [((), "bank"), (("--party", "telecom"), "telecom")])
def test_a_share_is_exported_as_it_is(done: Path, tmp_path: Path, words: Any, party: str, capfd: Any) -> None:
    target = tmp_path / "new" / "share.json"
    ended = tallystick(capfd, "export", done, "--out", target, *words)
    assert (ended.code, ended.err) == (0, "")
    assert str(target) in ended.out
    assert target.read_bytes() == (done / party / "share.json").read_bytes()


def test_what_was_written_as_json(done: Path, tmp_path: Path, capfd: Any) -> None:
    target = tmp_path / "joint.txt"
    ended = tallystick(capfd, "export", done, "--format", "lightgbm", "--out", target, "--json")
    assert json.loads(ended.out) == {"format": "lightgbm", "file": str(target), "bytes": target.stat().st_size}


def test_every_key_of_a_share_is_explained(done: Path) -> None:
    page = (Path(__file__).parents[1] / "docs/guide/export.md").read_text("utf-8")
    for party in ("bank", "telecom"):
        body = json.loads((done / party / "share.json").read_text())
        keys = [*body, *(f"records[].{key}" for key in body["records"][0])]
        keys += [f"trees[].{key}" for key in body["trees"][0]] if party == "bank" else []
        keys = [key for key in keys if key != "trees"]
        assert [key for key in keys if f"`{key}`" not in page] == []
    assert body["format"] in page


REFUSED: dict[str, tuple[tuple[str, ...], str, str]] = {
    "format": (("--format", "onnx"), "--format is 'onnx'", "'json', 'lightgbm'"),
    "party": (("--party", "insurer"), "no party 'insurer'", "bank, telecom, payroll"),
    "both": (("--format", "lightgbm", "--party", "bank"), "--party is given", "--format json"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_exported_is_refused(done: Path, tmp_path: Path, case: str, capfd: Any) -> None:
    words, said, remedy = REFUSED[case]
    ended = tallystick(capfd, "export", done, "--out", tmp_path / "x", *words)
    assert (ended.code, ended.out) == (2, "")
    assert said in ended.err
    assert remedy in ended.err
    assert not (tmp_path / "x").exists()


def test_a_file_that_exists_stays(done: Path, tmp_path: Path, capfd: Any) -> None:
    target = tmp_path / "mine"
    target.write_text("mine")
    ended = tallystick(capfd, "export", done, "--out", target)
    assert ended.code == 2
    assert "exists already" in ended.err
    assert target.read_text() == "mine"


def test_a_missing_share_is_named(copy: Path, tmp_path: Path, capfd: Any) -> None:
    (copy / "telecom" / "share.json").unlink()
    ended = tallystick(capfd, "export", copy, "--format", "lightgbm", "--out", tmp_path / "x")
    assert ended.code == 2
    assert "telecom" in ended.err


def test_without_the_clause_the_command_refuses_to_merge(tmp_path: Path, capfd: Any) -> None:
    done = run(tmp_path / "run", scenario(tmp_path / "own", TOML))
    before = content(done)
    ended = tallystick(capfd, "export", done, "--format", "lightgbm", "--out", tmp_path / "x")
    assert (ended.code, ended.out) == (2, "")
    assert "does not allow to merge" in ended.err
    assert "merge_models = true" in ended.err
    assert not (tmp_path / "x").exists()
    assert content(done) == before
    assert "merge_models" not in (done / "run.json").read_text()
