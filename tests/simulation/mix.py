"""Which faults a seed brings, and how often: each kind is left out of half the seeds, so that none hides another."""

from __future__ import annotations

import random
from dataclasses import dataclass, fields

HORIZON = 300.0  # seconds of virtual time after which every fault stops


@dataclass
class Mix:
    """Chances of each fault where it may happen; `budget`: disruptive ones until all faults stop."""

    cast: str
    signed: bool  # every message carries a signature, or the accounts at round boundaries are all that is signed
    protected: bool  # streams are as TLS gives them, or frames reach the desks as the network left them
    budget: int
    drop: float = 0.0
    duplicate: float = 0.0
    late: float = 0.0  # a frame that takes seconds, and is overtaken
    corrupt: float = 0.0
    truncate: float = 0.0
    partition: float = 0.0  # of every dial
    kill: float = 0.0  # at every durable step: what the operating system has, survives
    power: float = 0.0  # at every durable step: what was not synced is lost
    full: float = 0.0  # at every write: the disk takes a part of it, or all of it and says it did not
    damage: float = 0.0  # of every start: a bit of what is stored has flipped
    rollback: float = 0.0  # of every start: an old backup of the ledger was restored
    changed: float = 0.0  # of every start: another version of the software
    gone: float = 0.0  # of every death: that party never comes back
    skew: float = 0.0  # seconds that clocks are off, and jump at every start

    def quiet(self) -> None:
        """All faults stop."""
        for each in fields(self):
            if isinstance(getattr(self, each.name), float):
                setattr(self, each.name, 0.0)
        self.budget = 0


def mix_of(chance: random.Random, casts: dict[str, int], seed: int) -> Mix:
    """The faults of a seed. `casts`: by name, how often each is played.

    In every seventh seed somebody may be gone for good.
    """
    name = chance.choices(list(casts), list(casts.values()))[0]
    protected = chance.random() < 0.5
    mix = Mix(name, chance.random() < 0.5, protected, chance.randint(1, 4))
    for fault, most in (
        ("drop", 0.05 if protected else 0.01),  # a lost frame costs a bare stream the attempt
        ("duplicate", 0.08),
        ("late", 0.08 if protected else 0.03),
        ("corrupt", 0.01 if protected else 0.06),
        ("truncate", 0.01),
        ("partition", 0.5),
        ("kill", 0.03),
        ("power", 0.03),
        ("full", 0.01),
        ("damage", 0.7),
        ("rollback", 1.0),
        ("changed", 1.0),
    ):
        if chance.random() < 0.5:
            setattr(mix, fault, most * chance.random())
    mix.skew = chance.choice([0.0, 60.0, 3e8])
    if seed % 7 == 6:
        mix.gone, mix.kill = 0.6, 0.03
        # Whoever remains has nobody left who would notice these, and waits for no mended disk.
        mix.damage = mix.rollback = mix.full = mix.changed = 0.0
    return mix
