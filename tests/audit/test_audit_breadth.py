"""Audits of all parties of runs of many kinds: every cell of an honest party comes out again, to the byte."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
from audit_kit import NONCE, Ran
from run_kit import TOML, TWO, frames, scenario, tallystick

from ledger.selection import Choice, select_bundle
from vfl import cli
from vfl.audit.sides import side_of
from vfl.errors import UsageError
from vfl.seat import RunFile

Runs = Callable[[str], Path]
PAILLIER = ("[privacy]", '[privacy]\nscheme = "paillier"')
SHORT = ("num_iterations = 3", "num_iterations = 2")
WEIGHED = ('label = "default"', 'label = "default"\nweight = "exposure"\nfeatures = ["income", "limit"]')
CHANGES: dict[str, tuple[tuple[str, str], ...]] = {
    "three": (SHORT,),
    "three by name": (PAILLIER, SHORT),
    "multiclass": (('kind = "gbdt"', 'kind = "gbdt"\nobjective = "multiclass"\nnum_class = 3'), SHORT),
    "regression": (('kind = "gbdt"', 'kind = "gbdt"\nobjective = "regression"'), SHORT),
    "weights": (WEIGHED,),
    "goss": (
        ('kind = "gbdt"', 'kind = "gbdt"\ndata_sample_strategy = "goss"'),
        ("learning_rate = 0.3", "learning_rate = 1.0"),
    ),
    "bagging": (('kind = "gbdt"', 'kind = "gbdt"\nbagging_freq = 1\nbagging_fraction = 0.6\nfeature_fraction = 0.7'),),
    "levels": (("num_leaves = 4", "num_leaves = 8\nmax_depth = 3"), SHORT),
    "stopped": (
        ("num_iterations = 3", "num_iterations = 9\nearly_stopping_round = 1\nvalidation_fraction = 0.3"),
        ("learning_rate = 0.3", "learning_rate = 3.0"),
    ),
    "categorical": (('id = "phone"', 'id = "phone"\ncategorical = ["age"]'), SHORT),
    "monotone": (('id = "phone"', 'id = "phone"\nmonotone = {calls = 1}'), SHORT),
    "each signed": (("[privacy]", '[privacy]\nreceipts = "message"'), SHORT),
    "noise": (("[privacy]", "[privacy]\ncell_noise = 0.5"), SHORT),
    "decoys": (("[psi]", "[psi]\ndecoys = 0.5"), SHORT),
}  # fmt: skip
BAGS = ("max_bin = 16", "max_bin = 16\nbagging_freq = 1\nbagging_fraction = 0.6\nfeature_fraction = 0.7")
SEVERAL = {
    "weights, bags, each signed": (WEIGHED, BAGS, ("[privacy]", '[privacy]\nreceipts = "message"'), SHORT),
    "categorical, monotone, noise": (
        ('id = "phone"', 'id = "phone"\ncategorical = ["age"]\nmonotone = {calls = 1}'),
        ("[privacy]", "[privacy]\ncell_noise = 0.5"),
        SHORT,
    ),
}
"""What the quick suite tries at once; CHANGES tells, where one of these fails, which of them it was."""
ALONE = {"three by name", "weights", "bagging", "categorical", "monotone", "each signed", "noise"}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    """Runs by what is special in them, each made once."""

    @cache
    def ran(kind: str, *words: str) -> Path:
        folder = tmp_path_factory.mktemp("kinds")
        toml = TOML if kind.startswith("three") else TWO
        if kind == "scorecard":
            toml = toml[: toml.index("kind =")] + 'kind = "scorecard"\n' + toml[toml.index("[privacy]") :]
        for old, new in (CHANGES | SEVERAL).get(kind, ()):
            assert old in toml
            toml = toml.replace(old, new)
        tables = frames(240)
        rng = np.random.default_rng(1)
        bank = tables["bank"]
        bank["exposure"] = rng.integers(1, 9, len(bank)).astype(float)
        if kind == "multiclass":
            bank["default"] += bank["exposure"].gt(6)
        if kind == "regression":
            bank["default"] += bank["exposure"] / 7
        if "categorical" in kind:
            tables["telecom"]["age"] = rng.integers(0, 4, len(tables["telecom"]))
        if "weights" not in kind:
            del bank["exposure"]
        file = scenario(folder, toml, tables)
        argv = ["tallystick", "run", str(file), "--out", str(folder / "run"), "--json", *words]
        with mock.patch("sys.argv", argv), pytest.raises(SystemExit, match=r"^0$"):
            cli.main()
        return folder / "run"

    return ran


def require_all_fit(run: Path, least: int = 2) -> dict[str, int]:
    """All cells of all parties fit; how many were left out, by party."""
    left_out = {}
    for party in RunFile.read(run).keys:
        side = side_of(run, party)
        found = side.compute(side.open(run / party, b"nonce", 1000), b"nonce", 1000)
        assert all(verdict.fits for verdict in found.verdicts), party
        assert found.cells >= least
        assert found.cells + found.left_out == found.total
        left_out[party] = found.left_out
    return left_out


@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=[pytest.mark.slow] if kind in ALONE else []) for kind in CHANGES | SEVERAL]
)
def test_honest_parties_pass(runs: Runs, kind: str) -> None:
    left_out = require_all_fit(runs(kind))
    assert any(left_out.values()) == (kind == "stopped")


def test_a_model_that_goes_on(runs: Any) -> None:
    require_all_fit(runs("goes on", "--init-model", str(runs("levels"))))


def test_chosen_entries_are_not_audited(runs: Runs, capfd: Any, tmp_path: Path) -> None:
    """Whoever chose them chose what can be drawn."""
    run = runs("levels")
    part = tmp_path / "part.bundle"
    select_bundle(run / "audit.bundle", part, Choice(slots=("train/*",), artefacts=("agreement.json",)))
    for party in RunFile.read(run).keys:
        with pytest.raises(UsageError, match="selective: cells are drawn from whole logs"):
            side_of(part, party)
    ran = Ran.of(run)
    file = ran.opened(capfd, tmp_path / "o", cells=1)
    ended = tallystick(capfd, "audit", "check", part, file, "--key", ran.key, "--policy", run / "policy.txt",
                       "--nonce", NONCE.hex(), "--cells", 1)  # fmt: skip
    assert ended.code == 2
    assert "only a part of a run's bundle" in ended.err


def test_a_scorecard_is_refused(runs: Runs, capfd: Any) -> None:
    run = runs("scorecard")
    for party in RunFile.read(run).keys:
        ended = tallystick(capfd, "audit", "open", run, "--party", party, "--to", "00" * 32, "--nonce", NONCE.hex(),
                           "--out", run.parent / "o")  # fmt: skip
        assert ended.code == 2
        assert "this run learned a scorecard" in ended.err
        assert "tallystick replay" in ended.err
