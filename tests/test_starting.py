"""A run that goes on from the model of another: as if it had been trained in one go, and nobody's share moves."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from run_kit import TOML, here, scenario, tallystick, verify

from vfl.replaying import replay

PARTIES = ("bank", "telecom", "payroll")
ROUNDS = "num_iterations = 3"


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return scenario(tmp_path_factory.mktemp("own"), TOML)


def run(own: Path, out: Path, *words: object, changes: dict[str, str] | None = None) -> dict[str, Any]:
    text = own.read_text()
    for old, new in (changes or {}).items():
        assert old in text
        text = text.replace(old, new)
    path = own.with_name(f"{out.name}.toml")
    path.write_text(text)
    ended = here("run", path, "--out", out, *words)
    assert ended.returncode == 0, ended.stderr
    found: dict[str, Any] = json.loads((out / "summary.json").read_text())
    return found


@pytest.fixture(scope="module")
def first(own: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("first") / "first"
    run(own, out)
    return out


def share(folder: Path, party: str) -> dict[str, Any]:
    body: dict[str, Any] = json.loads((folder / party / "share.json").read_text())
    return {key: value for key, value in body.items() if key != "agreement"}


def test_three_rounds_and_two_more_are_five(own: Path, first: Path, tmp_path: Path) -> None:
    """To the last bit, also where the customers are aligned again; the comparisons have five rounds too."""
    whole = run(own, tmp_path / "whole", changes={ROUNDS: "num_iterations = 5"})
    more = run(own, tmp_path / "more", "--init-model", first, changes={ROUNDS: "num_iterations = 2"})
    for party in PARTIES:
        assert share(tmp_path / "more", party) == share(tmp_path / "whole", party)
    predicted = [(tmp_path / name / "predictions.csv").read_bytes() for name in ("whole", "more")]
    assert predicted[0] == predicted[1]
    assert more["metrics"] == whole["metrics"]
    assert more["bytes"]["init"] > 0
    agreed = json.loads(json.loads((tmp_path / "more" / "run.json").read_text())["agreement"])
    assert agreed["model"]["init_model"] == json.loads((first / "run.json").read_text())["run"]
    for party in PARTIES:
        replay(tmp_path / "more", party)
    assert verify(tmp_path / "more").returncode == 0
    assert here("explain", tmp_path / "more").returncode == 0


@pytest.mark.slow
def test_on_the_same_customers_and_again(own: Path, first: Path, tmp_path: Path) -> None:
    words = ("--init-model", first, "--aligned", first)
    second = run(own, tmp_path / "second", *words, changes={ROUNDS: "num_iterations = 1"})
    assert "psi" not in second["bytes"]
    third = run(own, tmp_path / "third", "--init-model", tmp_path / "second", changes={ROUNDS: "num_iterations = 1"})
    whole = run(own, tmp_path / "whole", changes={ROUNDS: "num_iterations = 5"})
    assert third["metrics"]["federated"] == whole["metrics"]["federated"]
    assert len(share(tmp_path / "third", "bank")["trees"]) == 5


def test_a_share_that_is_not_of_that_model_is_refused(own: Path, first: Path, tmp_path: Path, capfd: Any) -> None:
    copied = tmp_path / "copied"
    shutil.copytree(first, copied)
    body = json.loads((copied / "telecom" / "share.json").read_text())
    body["records"] = body["records"][:-1]
    (copied / "telecom" / "share.json").write_text(json.dumps(body))
    ended = tallystick(capfd, "run", own, "--out", tmp_path / "run", "--init-model", copied)
    assert ended.code == 3
    assert "splits of the model" in ended.err
    (copied / "telecom" / "share.json").unlink()
    ended = tallystick(capfd, "run", own, "--out", tmp_path / "other", "--init-model", copied)
    assert ended.code == 2
    assert "there is no share.json" in ended.err


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('id = "mobile"', 'id = "mobile"\nfeatures = ["salary"]', "is of other parties or columns"),
        ('kind = "gbdt"', 'kind = "gbdt"\nobjective = "multiclass"\nnum_class = 2', "has objective 'binary'"),
        ('kind = "gbdt"', 'kind = "scorecard"', "only boosted trees go on from a model"),
    ],
)
def test_what_does_not_fit(own: Path, first: Path, tmp_path: Path, capfd: Any, old: str, new: str, words: str) -> None:
    text = own.read_text().replace(old, new)
    if "scorecard" in new:
        text = text[: text.index("num_iterations")] + text[text.index("[privacy]") :]
    path = own.with_name("wrong.toml")
    path.write_text(text)
    ended = tallystick(capfd, "run", path, "--out", tmp_path / "run", "--init-model", first)
    assert ended.code == 2
    assert words in ended.err
    assert not (tmp_path / "run.partial").exists()
