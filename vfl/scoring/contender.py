"""A model that can decide, on its bench: with its lines to the partners, the bank's columns for it, and its grades."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from vfl.scoring.answers import Model, Scored
from vfl.scoring.bench import Bench
from vfl.scoring.grading import Grades
from vfl.scoring.models import Kind
from vfl.scoring.own_table import OwnTable
from vfl.scoring.registry import Described
from vfl.seat import RunFile
from vfl.terms import GBDT

_LOOK = 0.02  # seconds between two looks whether a model is still at work


@dataclass(eq=False)
class Contender:
    """file, root: of the run that trained it.   reference: points of its hold-out, int64[n].

    ended: releases what was started for this model alone.
    """

    bench: Bench
    table: OwnTable
    file: RunFile
    root: Path
    reference: npt.NDArray[np.int64]
    ended: Callable[[], None] = lambda: None
    _at_work: int = 0

    @property
    def version(self) -> str:
        """Which model it is."""
        return self.bench.model.version

    @property
    def grades(self) -> Grades:
        """How its scores become decisions."""
        return self.bench.grades

    @property
    def scored(self) -> Scored:
        """How an answer names it."""
        return Scored(self.file.agreement.scenario, self.version, self.file.agreement.digest)

    def shown(self) -> Model:
        """As an API tells it while there is no other."""
        one = described(self.file)
        return Model(one.name, self.version, one.agreement, one.kind, "champion", one.features, one.run)

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Not dismissed meanwhile."""
        self._at_work += 1
        try:
            yield
        finally:
            self._at_work -= 1

    async def leave(self) -> None:
        """Go, once nobody has it at work."""
        while self._at_work:
            await asyncio.sleep(_LOOK)
        await self.bench.stop()
        await asyncio.to_thread(self.ended)


def described(file: RunFile) -> Described:
    """What is told of the model of a run."""
    agreement = file.agreement
    features = {member.name: tuple(member.features) for member in (agreement.active, *agreement.passives)}
    kind: Kind = "gbdt" if file.terms.kind == GBDT else "scorecard"
    return Described(agreement.scenario, agreement.digest, kind, features, file.run)
