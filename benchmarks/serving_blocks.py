"""Batches without HTTP: what each part of the way costs, in rows a second; the partners are on this machine, too.

kernel    the model alone, on decisions that are there: scores and reasons
joint     with the partners, over mutual TLS: tokens, their answers, scores and reasons; two questions under way
ledger    `Scorer.score_batch`: the same, and every decision graded, on record durably, and an object; two under way
alone     the same with one batch at a time
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from vfl.scoring.answers import Applicant
from vfl.scoring.models import JointTrees
from vfl.scoring.opening import Opened
from vfl.scoring.policy import ServingPolicy
from vfl.scoring.serving import simulated
from vfl.serve_commands import runs_long


def measure(pipe: Connection, root: str, customers: Sequence[str], batch: int, seconds: float) -> None:
    """Told through the pipe: to be run in a process of its own."""
    pipe.send(asyncio.run(_measure(Path(root), customers, batch, seconds)))


async def _measure(root: Path, customers: Sequence[str], batch: int, seconds: float) -> dict[str, Any]:
    applicants = [Applicant(customers[number % len(customers)]) for number in range(batch)]
    async with simulated(root, ServingPolicy()) as opened:
        await opened.service.ready()
        runs_long()
        service, champion = opened.service, opened.service.lineup.champion
        asked = champion.table.look_up(applicants)

        async def decide() -> object:
            return await service.score_batch(applicants, "benchmark")

        async def judge() -> object:
            return await champion.bench.judge(asked.identifiers, asked.values)

        await decide()
        return {
            "kernel_rows_per_second": _kernel(opened, batch, seconds),
            "joint_rows_per_second": await _rate(judge, 2, batch, seconds),
            "ledger_rows_per_second": await _rate(decide, 2, batch, seconds),
            "alone_rows_per_second": await _rate(decide, 1, batch, seconds),
        }


def _kernel(opened: Opened, batch: int, seconds: float) -> int:
    model = opened.service.lineup.champion.bench.model
    assert isinstance(model, JointTrees)
    decisions = np.random.default_rng(0).random((model.why.n_bits, batch)) < 0.5
    began, rows = time.perf_counter(), 0
    while time.perf_counter() < began + seconds:
        model.trees.predict(decisions)
        model.book.worst(model.why.attributions(decisions))
        rows += batch
    return round(rows / (time.perf_counter() - began))


async def _rate(act: Callable[[], Coroutine[Any, Any, object]], callers: int, batch: int, seconds: float) -> int:
    began, rows = time.perf_counter(), 0

    async def caller() -> None:
        nonlocal rows
        while time.perf_counter() < began + seconds:
            await act()
            rows += batch

    await asyncio.gather(*(caller() for _ in range(callers)))
    return round(rows / (time.perf_counter() - began))
