"""A whole run of `vfl.run` in memory: three small parties, every party's desk, and ways to stop and start it again."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any
from unittest import mock

import msgspec
import numpy as np
from clear_scheme import ClearEvaluator, ClearKeyHolder

from vfl import run
from vfl.agreement import Agreement, Member
from vfl.channel import Channel, Record, lockstep
from vfl.commitments import Commitment
from vfl.crypto.scheme import Evaluator, HintStore, KeyHolder
from vfl.crypto.schemes import LEVELS, SchemeTerms
from vfl.desk import Desk, Envelope, Frame, MemoryLink, MemoryTranscript, NoNotary, memory_links
from vfl.engine import HERE, Engine
from vfl.holding import Holding
from vfl.randomness import Randomness
from vfl.replay import ReplayChannel
from vfl.terms import Terms

ACTIVE = "bank"
FEATURES = {"bank": ("income", "limit"), "telecom": ("calls", "age"), "retailer": ("spent",)}


@contextmanager
def clear_schemes(named: bool = True) -> Iterator[None]:
    """Runs use the scheme without encryption."""

    def holder(terms: SchemeTerms, rows: int, rng: Randomness, hints: HintStore | None = None) -> KeyHolder:
        return ClearKeyHolder(terms.lanes(rows), discloses_membership=named)

    def evaluator(
        terms: SchemeTerms, scheme: str, public: bytes, rows: int, hints: HintStore | None = None, engine: Engine = HERE
    ) -> Evaluator:
        return ClearEvaluator(public, terms.lanes(rows))

    with mock.patch.object(SchemeTerms, "key_holder", holder), mock.patch.object(SchemeTerms, "evaluator", evaluator):
        yield


def agreement(partners: tuple[str, ...] = ("telecom",), scheme: str = "lattice", **model: object) -> Agreement:
    members = [Member(ACTIVE, "active", FEATURES[ACTIVE])]
    members += [Member(name, "passive", FEATURES[name]) for name in partners]
    options = {"num_iterations": 2, "num_leaves": 4, "min_data_in_leaf": 2, "max_bin": 8, "learning_rate": 0.5}
    return Agreement(
        scenario="small",
        purpose="joint credit default model",
        members=tuple(members),
        model={"kind": "gbdt", **options, **model},
        privacy={"scheme": scheme, "level": LEVELS[scheme], "key_bits": 2048, "min_bin_population": 1}
        | {"min_intersection": 10},
        psi={"id_rule": "text@1", "max_set_size": 1000, "protocol": "x25519"},
        holdout={"fraction": 0.25, "seed": 5},
    )


def holding(name: str, rows: list[int], signal: np.ndarray, rng: np.random.Generator) -> Holding:
    """Customers `rows` of a population, in the party's own order, with features that say something of `signal`."""
    n = len(rows)
    values = np.column_stack([signal[rows] + rng.normal(size=n) * 0.8 for _ in FEATURES[name]]).round(4)
    values[rng.random(values.shape) < 0.06] = np.nan
    tokens = tuple(f"customer-{7919 * (row + 11):07d}" for row in rows)
    labels = holdout = None
    if name == ACTIVE:
        labels = (signal[rows] + rng.normal(size=n) * 0.3 > 0.2).astype(np.int8)
        holdout = np.arange(n) % 4 == 0
    return Holding(name, tokens, tokens, 1, 2, FEATURES[name], values, labels, holdout)


@dataclass(frozen=True)
class World:
    """Who takes part, with what, under which agreement and seeds."""

    terms: Terms
    holdings: Mapping[str, Holding]
    seeds: Mapping[str, int]

    @classmethod
    def of(
        cls,
        partners: tuple[str, ...] = ("telecom",),
        customers: int = 40,
        scheme: str = "lattice",
        **model: object,
    ) -> World:
        rng = np.random.default_rng(customers)
        signal = rng.normal(size=customers + 8)
        names = (ACTIVE, *partners)
        starts = [range(customers), *(range(3 + i, customers + 4 + i) for i in range(len(partners)))]
        parts = {
            name: holding(name, rng.permutation(rows).tolist(), signal, rng)
            for name, rows in zip(names, starts, strict=True)
        }
        terms = Terms("run-7", agreement(partners, scheme, **model))
        return cls(terms, parts, {name: i for i, name in enumerate(names, 1)})

    def with_holding(self, changed: Holding) -> World:
        return replace(self, holdings={**self.holdings, changed.name: changed})

    def with_seed(self, name: str, number: int) -> World:
        return replace(self, seeds={**self.seeds, name: number})

    @property
    def partners(self) -> list[str]:
        return [member.name for member in self.terms.agreement.passives]

    def peers(self, name: str) -> list[str]:
        return self.partners if name == ACTIVE else [ACTIVE]

    def role(self, name: str, channels: Mapping[str, Channel], commits: dict[str, Any]) -> Coroutine[int, None, Any]:
        rng = Randomness(hashlib.sha256(b"seed" + bytes([self.seeds[name]])).digest())

        def commit(step: str, commitments: Sequence[Commitment]) -> None:
            commits[step] = {one.kind: one for one in commitments}

        if name == ACTIVE:
            return run.active(self.holdings[name], self.terms, channels, rng, commit)
        return run.passive(self.holdings[name], self.terms, channels[ACTIVE], rng, commit)


class WatchedLink(MemoryLink):
    """Keeps every message it is given to carry."""

    said: list[tuple[str, bytes]]

    @classmethod
    def around(cls, link: MemoryLink, said: list[tuple[str, bytes]]) -> WatchedLink:
        watched = cls(link._inbox, link._outbox)
        watched.said = said
        return watched

    def push(self, frame: bytes) -> None:
        found: Frame = msgspec.msgpack.decode(frame, type=Frame)
        if isinstance(found, Envelope):
            self.said.append((found.slot, found.body))
        super().push(frame)


class Killed(Exception):
    """A process has died."""


class Dying(MemoryTranscript):
    """Kills its party once it has so many records."""

    def __init__(self, past: list[Record], last: int) -> None:
        super().__init__(past)
        self._last = last

    def append(self, record: Record) -> None:
        super().append(record)
        if len(self.all) >= self._last:
            raise Killed


@dataclass
class Told:
    """What came of a run: by party its transcript, commitments and outcome, and all messages that travelled."""

    transcripts: dict[str, MemoryTranscript]
    commits: dict[str, dict[str, Any]] = field(default_factory=dict)
    outcomes: dict[str, Any] = field(default_factory=dict)
    said: list[tuple[str, bytes]] = field(default_factory=list)
    desks: dict[str, Desk] = field(default_factory=dict)

    @property
    def records(self) -> dict[str, list[Record]]:
        return {name: transcript.all for name, transcript in self.transcripts.items()}

    def essence(self) -> dict[str, Any]:
        """All that a repetition must come to."""
        shares = {name: outcome.share for name, outcome in self.outcomes.items()}
        return {"shares": shares, "records": self.records, "commits": self.commits}


Open = Callable[[str], MemoryTranscript]


def play(world: World, transcripts: Open = lambda name: MemoryTranscript()) -> Told:
    """Run everybody in lockstep; a party that is killed leaves the others where they are, and all is told."""
    told = Told({name: transcripts(name) for name in world.holdings})
    told.desks = {name: Desk(name, transcript, NoNotary()) for name, transcript in told.transcripts.items()}
    links: dict[str, dict[str, WatchedLink]] = {name: {} for name in world.holdings}
    for name in world.partners:
        links[ACTIVE][name], links[name][ACTIVE] = (WatchedLink.around(end, told.said) for end in memory_links())
    roles = {}
    for name, desk in told.desks.items():
        channels = {peer: desk.channel(peer, links[name][peer]) for peer in world.peers(name)}
        roles[name] = desk.run(world.role(name, channels, told.commits.setdefault(name, {})))
    try:
        told.outcomes = lockstep(roles)
    except Killed:
        told.outcomes = {}
    return told


def replay(world: World, told: Told, name: str) -> tuple[Any, dict[str, Any]]:
    """One party again, alone: its outcome and commitments. Raises ProtocolError where it says something else."""
    records, commits = told.records[name], {}
    channels = {peer: ReplayChannel(name, peer, [r for r in records if r.peer == peer]) for peer in world.peers(name)}
    outcome = lockstep({name: world.role(name, channels, commits)})[name]
    assert all(channel.left == 0 for channel in channels.values())
    return outcome, commits


def fingerprint(named: bool = True) -> str:
    """A digest of everything that a small run comes to."""
    with clear_schemes(named):
        found = play(World.of(("telecom", "retailer"))).essence()
    return hashlib.sha256(repr(found).encode()).hexdigest()
