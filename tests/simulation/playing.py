"""Play a seed: one simulated run, compared with the undisturbed one."""

from __future__ import annotations

import hashlib
import os
import random
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any
from unittest import mock

from memory_run import clear_schemes

from vfl import notary

from .casts import CASTS, OFTEN
from .mix import Mix, mix_of
from .promises import Broken, Undisturbed, entries_of, essence, records_of
from .world import World, essence_of

AUDITED = 8  # every so many seeds, for it takes as long as an attempt


@dataclass
class Told:
    """What came of a seed."""

    seed: int
    mix: str
    ending: str
    attempts: int = 0
    faults: dict[str, int] = field(default_factory=dict)
    trace: list[str] = field(default_factory=list)
    broken: Broken | None = None

    @property
    def digest(self) -> str:
        return hashlib.sha256("\n".join(self.trace).encode()).hexdigest()


class _NoTime:
    """How long the product's ledger took is not measured in virtual time."""

    @staticmethod
    def thread_time() -> float:
        return 0.0

    perf_counter = thread_time


@contextmanager
def virtual() -> Iterator[None]:
    """The scheme without encryption, and no clock but the machines' own."""
    with clear_schemes(), mock.patch.object(notary, "time", _NoTime):
        yield


@contextmanager
def folder() -> Iterator[Path]:
    """A folder in memory where there is one: thousands of small files are not for a disk."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as name:
        yield Path(name)


@lru_cache
def undisturbed(cast: str, signed: bool) -> Undisturbed:
    """How this cast ends when nothing goes wrong."""
    mix = Mix(cast, signed, protected=True, budget=0)
    with folder() as home, virtual():
        world = World(CASTS[cast], mix, random.Random(0), home, None)
        assert world.run() == "a model"
        world.close()
        return Undisturbed(
            {name: essence_of(result) for name, result in world.results.items()},
            {name: records_of(machine) for name, machine in world.machines.items()},
            {name: [essence(e) for e in entries_of(machine)] for name, machine in world.machines.items()},
        )


def simulate(seed: int, spoil: Callable[[], AbstractContextManager[Any]] = nullcontext) -> Told:
    """Play one seed. `spoil`: plants a bug for as long as the context lasts that it gives."""
    chance = random.Random(seed)
    mix = mix_of(chance, OFTEN, seed)
    due, told = undisturbed(mix.cast, mix.signed), Told(seed, str(mix), "")
    with folder() as place, virtual():
        world = World(CASTS[mix.cast], mix, chance, place, due)
        world.audited = seed % AUDITED == 0
        try:
            with spoil():
                told.ending = world.run()
        except Broken as broken:
            told.broken, told.ending = broken, str(broken)
        finally:
            world.close()
        told.attempts, told.faults, told.trace = world.attempts, world.faults, world.trace
    return told
