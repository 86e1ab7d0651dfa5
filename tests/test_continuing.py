"""A run that goes on from another: the same customers, no hint where the bins are the same, and nothing else shared."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from run_kit import TOML, TWO, here, scenario, verify

from vfl.replaying import replay

PARTIES = ("bank", "telecom", "payroll")


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return scenario(tmp_path_factory.mktemp("own"), TOML)


@pytest.fixture(scope="module")
def first(own: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("first") / "run"
    assert here("run", own, "--out", out).returncode == 0
    return out


def changed_file(own: Path, changes: dict[str, str]) -> Path:
    """The scenario with other words in it, beside the same tables."""
    text = own.read_text()
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    path = own.with_name("changed.toml")
    path.write_text(text)
    return path


def again(own: Path, first: Path, out: Path, *words: str) -> dict[str, Any]:
    ended = here("run", own, "--out", out, "--aligned", first, *words)
    assert ended.returncode == 0, ended.stderr
    found: dict[str, Any] = json.loads((out / "summary.json").read_text())
    return found


def test_a_second_training_aligns_nobody_sends_no_hint_and_gives_the_same_model(own, first, tmp_path):
    then, now = json.loads((first / "summary.json").read_text()), again(own, first, tmp_path / "run")
    assert now["metrics"] == then["metrics"]
    assert (tmp_path / "run" / "predictions.csv").read_bytes() == (first / "predictions.csv").read_bytes()
    assert {"psi", "align"} & now["bytes"].keys() == set()
    assert now["bytes"]["bins"] < then["bytes"]["bins"] / 100
    assert now["run"] != then["run"]
    for party in PARTIES:
        replay(tmp_path / "run", party)
    assert verify(tmp_path / "run").returncode == 0


@pytest.mark.slow
def test_a_third_training_with_other_trees_and_bins_makes_the_hints_it_lacks(own, first, tmp_path):
    agreement = json.loads(json.loads((first / "run.json").read_text())["agreement"])
    edited = changed_file(own, {"num_leaves = 4": "num_leaves = 6", "max_bin = 16": "max_bin = 12"})
    second = tmp_path / "second"
    found = again(edited, first, second)
    assert found["bytes"]["bins"] > 100_000, "other bins have hints of their own"
    third = again(edited, second, tmp_path / "third", "--processes")
    assert third["bytes"]["bins"] < 10_000
    psi = json.loads(json.loads((tmp_path / "third" / "run.json").read_text())["agreement"])["psi"]
    assert (psi.pop("aligned_in"), psi.pop("training")) == (json.loads((first / "summary.json").read_text())["run"], 3)
    assert psi == agreement["psi"]
    for party in PARTIES:
        replay(tmp_path / "third", party)


REFUSED = {
    "fraction = 0.3": ("fraction = 0.2", "was run with another [holdout]"),
    'id_rule = "phone-es@1"': ('id_rule = "phone-es@1"\nmax_invalid_share = 0.1', "was run with another [psi]"),
}


@pytest.mark.parametrize("old", REFUSED)
def test_other_terms_of_alignment_are_refused(own, first, tmp_path, old):
    new, sentence = REFUSED[old]
    edited = changed_file(own, {old: new})
    ended = here("run", edited, "--out", tmp_path / "run", "--aligned", first)
    assert ended.returncode == 2
    assert sentence in ended.stderr
    assert not list(tmp_path.glob("run*"))


def test_other_parties_customers_and_directories_are_refused(own, first, tmp_path):
    two = scenario(tmp_path / "two", TWO)
    ended = here("run", two, "--out", tmp_path / "run", "--aligned", first)
    assert (ended.returncode, "is a run of other parties" in ended.stderr) == (2, True)
    ended = here("run", own, "--out", tmp_path / "run", "--aligned", tmp_path / "nothing")
    assert ended.returncode == 2
    changed = tmp_path / "first"
    shutil.copytree(first, changed)
    (changed / "payroll" / "customers.json").write_text('{"digest": "00"}')
    ended = here("run", own, "--out", tmp_path / "run", "--aligned", changed)
    assert (ended.returncode, "the customers of payroll are not those" in ended.stderr) == (2, True)
