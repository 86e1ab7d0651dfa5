"""A purge takes the records of decisions, and leaves the ledger that commits to them."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from vfl.clock import SystemClock
from vfl.errors import UsageError
from vfl.files import alone
from vfl.purging import purge
from vfl.records import has_records
from vfl.scoring.answers import Applicant
from vfl.scoring.policy import ServingPolicy
from vfl.scoring.serving import simulated


async def decide(run: Path, who: str) -> str:
    async with simulated(run, ServingPolicy()) as opened:
        await opened.service.ready()
        return (await opened.service.score(Applicant(who), "test", "key-of-a-request")).decision_id


@pytest.mark.slow
def test_records_go_and_the_ledger_stays(trees: Path) -> None:
    run = trees
    who = (run / "predictions.csv").read_text().splitlines()[1].split(",")[0]
    decision = asyncio.run(decide(run, who))
    volume = run / "bank" / "scoring" / "volumes" / "000001.sqlite"
    assert has_records(volume)
    assert who.encode() in volume.read_bytes()
    with alone(volume.parents[1] / "serve.lock", "x"), pytest.raises(UsageError, match="a service scores with"):
        purge(run, ["bank"], ["rows"], "asked to", SystemClock())
    purge(run, ["bank"], ["rows"], "asked to", SystemClock())
    assert not has_records(volume)
    left = b"".join(path.read_bytes() for path in (run / "bank" / "scoring").rglob("*") if path.is_file())
    assert who.encode() not in left
    assert b"key-of-a-request" not in left
    assert b"serve/0/decision/bank>bank/" in left, "its entry stays"
    assert decision
