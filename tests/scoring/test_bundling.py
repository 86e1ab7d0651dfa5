"""The ledgers of scoring as bundles that anyone verifies: also beside a service, and not if somebody changed them."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from run_kit import here
from scoring_kit import SHORT, policy, predictions, run, table

from ledger.archive import pack, unpack
from ledger.policy import Policy
from ledger.verify import verify_bytes
from vfl.errors import UsageError
from vfl.scoring.bundling import write_bundles
from vfl.seat import RunFile, policy_of


def ids(root: Path) -> list[str]:
    return [row["id"] for row in predictions(root)]


def codes(root: Path, paths: list[Path]) -> dict[str, int]:
    trusted = policy_of(RunFile.read(root))
    return {path.name.split("-")[0]: int(verify_bytes(path.read_bytes(), trusted).code) for path in paths}


def test_every_volume_and_session_verifies(card: Path, tmp_path: Path) -> None:
    async def work() -> list[Path]:
        async with table(card, replace(policy(), record=replace(SHORT, volume_entries=4))) as one:
            for name in ids(card)[:5]:
                await one.score(name)
            await one.service.cosign()
            return await asyncio.to_thread(write_bundles, card, RunFile.read(card), tmp_path / "beside")

    beside = run(work())
    after = write_bundles(card, RunFile.read(card), tmp_path / "after")
    assert len([path for path in after if path.name.startswith("decisions-")]) > 1, "several volumes"
    assert len([path for path in after if path.name.startswith("scores-")]) == 2, "a session with each partner"
    assert codes(card, after) == {"decisions": 0, "scores": 0}
    assert codes(card, [path for path in beside if path.name.startswith("decisions-")]) == {"decisions": 0}


def test_whoever_changes_a_ledger_is_seen(card: Path, tmp_path: Path) -> None:
    run(scored(card))
    for path in write_bundles(card, RunFile.read(card), tmp_path / "true"):
        members = dict(unpack(path.read_bytes()).members)
        entries = members["logs/bank/entries.jsonl"]
        bent = pack({**members, "logs/bank/entries.jsonl": entries.replace(b'"phase":"s', b'"phase":"t', 1)})
        assert verify_bytes(bent, policy_of(RunFile.read(card))).code == 1
    (volume,) = (card / "bank" / "scoring" / "volumes").glob("*.sqlite")
    with closing(sqlite3.connect(volume)) as db:
        db.execute("DROP TRIGGER entry_UPDATE")
    with pytest.raises(UsageError, match="is damaged"):
        write_bundles(card, RunFile.read(card), tmp_path / "false")


async def scored(card: Path) -> None:
    async with table(card, policy()) as one:
        await one.score(ids(card)[0])


def test_the_command(card: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert "nothing was scored with" in here("decisions", card, "--bundles", out).stderr
    run(scored(card))
    told = here("decisions", card, "--bundles", out)
    assert told.returncode == 0, told.stderr
    assert told.stdout.count("python -m ledger verify") == len(list(out.iterdir())) == 3
    assert "exists already" in here("decisions", card, "--bundles", out).stderr
    assert here("decisions", card).returncode == 2
    assert Policy.parse((card / "policy.txt").read_bytes()).logs
