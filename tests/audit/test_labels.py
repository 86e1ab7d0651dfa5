"""Audits of the active party: it passes where it sent gradients of its committed labels, and else is named."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from audit_kit import Ran
from run_kit import TWO, frames, scenario

from ledger.errors import LedgerError
from ledger.evidence import check_evidence
from ledger.policy import Policy
from vfl import cli, run_gbdt
from vfl.audit.label_record import LabelRecord
from vfl.audit.sealing_to import AuditorKey
from vfl.learn.rounds import Rounds, Target

Runs = Callable[..., Ran]


def flipping(labels: Any, *rest: Any) -> Target:
    """Cheat: a group of customers gets the other label once labels were committed to."""
    flipped = labels.copy()
    flipped[:30] = 1 - flipped[:30]
    return Target(flipped, *rest)


def flipping_later(self: Rounds) -> None:
    """Cheat: the same in the second tree only."""
    if self.number == 1:
        self._target = flipping(self._target.labels, self._target.weights)
    _opened(self)


_opened = Rounds.open


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    """Runs by scheme and cheat, each made once."""

    @cache
    def ran(scheme: str, cheat: str = "") -> Ran:
        folder = tmp_path_factory.mktemp("labels")
        toml = TWO.replace("[privacy]", f'[privacy]\nscheme = "{scheme}"').replace(
            "num_iterations = 3", "num_iterations = 2"
        )
        file = scenario(folder, toml, frames(240))
        with (
            mock.patch.object(run_gbdt, "Target", flipping if cheat == "flipped" else Target),
            mock.patch.object(Rounds, "open", flipping_later if cheat == "later" else _opened),
            mock.patch("sys.argv", ["tallystick", "run", str(file), "--out", str(folder / "run"), "--json"]),
            pytest.raises(SystemExit, match=r"^0$"),
        ):
            cli.main()
        return Ran.of(folder / "run")

    return ran


@pytest.mark.parametrize("scheme", ["lattice", "paillier"])
def test_an_honest_bank_passes(runs: Runs, scheme: str, capfd: Any, tmp_path: Path) -> None:
    ran = runs(scheme)
    file = ran.opened(capfd, tmp_path / "o", party="bank")
    ended = ran.checked(capfd, file, "--json", evidence=tmp_path / "evidence")
    assert ended.code == 0, ended.err
    [told] = json.loads(ended.out)["parties"]
    record = LabelRecord.read(ran.run, "bank")
    assert told["cells"] == told["answers"] == len(record.cells) >= 2
    assert all(verdict["fits"] for verdict in told["verdicts"])
    assert not (tmp_path / "evidence").exists()
    assert "blocks of encrypted rows, computed again" in ran.checked(capfd, file).out


@pytest.mark.parametrize("scheme", ["lattice", "paillier"])
@pytest.mark.parametrize(("cheat", "trees"), [("flipped", {0, 1}), ("later", {1})])
def test_flipped_labels_are_found(
    runs: Runs, scheme: str, cheat: str, trees: set[int], capfd: Any, tmp_path: Path
) -> None:
    ran = runs(scheme, cheat)
    file = ran.opened(capfd, tmp_path / "o", party="bank")
    ended = ran.checked(capfd, file, "--json", evidence=tmp_path / "evidence")
    assert ended.code == 3, ended.err
    [told] = json.loads(ended.out)["parties"]
    failed = told["failed"]
    assert f"bank at {failed[0]['slot']}" in ended.err
    wrong = {cell.slot for cell in LabelRecord.read(ran.run, "bank").cells if cell.round in trees}
    assert {one["slot"] for one in failed} == wrong
    policy, key = (ran.run / "policy.txt").read_text(), AuditorKey.read(ran.key).signer.verifying
    for verdict, path in zip(failed, told["evidence"], strict=True):
        with pytest.raises(LedgerError, match="calls an auditor"):
            check_evidence(Path(path).read_bytes(), Policy.parse(policy))
        found = check_evidence(Path(path).read_bytes(), Policy.parse(f"log {key.vkey}\n{policy}"))
        assert (found.party, found.slot, found.kind) == ("bank", verdict["slot"], "flipped-labels")
