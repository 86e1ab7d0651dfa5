"""Parties in one process: training and joint scoring by the same roles, messages and checks as between companies.

Every party has a desk of its own and talks through links in memory; nothing is written and nothing is notarised.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from vfl import __version__
from vfl import run as running
from vfl.agreement import Agreement
from vfl.card_models import read_card, read_share
from vfl.channel import Channel, lockstep
from vfl.commitments import Commitment
from vfl.crypto.scheme import NoHints
from vfl.desk import Desk, MemoryTranscript, NoNotary, memory_links
from vfl.holding import Holding
from vfl.learn.columns import left_values
from vfl.models import read_ensemble, read_records
from vfl.protocols import handshake, intersect, points, score
from vfl.randomness import Randomness, fresh_seed
from vfl.terms import SCORECARD, Kept, Terms

Int64s = npt.NDArray[np.int64]
Reals = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
R = TypeVar("R")
Asks = Callable[[Reals, bytes, Mapping[str, Channel]], Coroutine[int, None, R]]
Role = Callable[[Mapping[str, Channel], Randomness], Coroutine[int, None, Any]]
Roles = Mapping[str, Role]


@dataclass(frozen=True, eq=False)
class Trained:
    """What parties hold after training: terms, each one's share, and bytes of messages by phase."""

    terms: Terms
    shares: Mapping[str, bytes]
    traffic: Mapping[str, int]
    outcomes: Mapping[str, Any]


def align(holdings: Mapping[str, Holding], agreement: Agreement, seed: int | None) -> dict[str, Int64s]:
    """The common customers by the real intersection: each party's rows, index into its tokens, in the agreed order."""
    terms, active = Terms(_name("align", seed), agreement), agreement.active.name

    async def ask(peers: Mapping[str, Channel], rng: Randomness) -> Int64s:
        ordered = {member.name: peers[member.name] for member in agreement.passives}
        rows, _, _ = await intersect.active(ordered, holdings[active].tokens, terms.psi, rng)
        return rows

    def answer(name: str) -> Role:
        async def role(peers: Mapping[str, Channel], rng: Randomness) -> Int64s:
            rows, _ = await intersect.passive(peers[active], holdings[name].tokens, terms.psi, rng)
            return rows

        return role

    roles: dict[str, Role] = {name: answer(name) for name in holdings if name != active}
    found, _ = drive({active: ask, **roles}, active, seed)
    return found


def train(
    holdings: Mapping[str, Holding],
    agreement: Agreement,
    seed: int | None,
    rows: Mapping[str, Int64s] | None = None,
    kept: Mapping[str, Kept] | None = None,
    seeds: Mapping[str, bytes] | None = None,
) -> Trained:
    """Train jointly. `holdings`: by party. `seed`: all randomness follows from it; None draws fresh.

    `rows`: of each party, where the customers are aligned already; or `kept`, which has hints of earlier trainings too.
    `seeds`: each party's own, 32 bytes, in place of `seed`.
    """
    terms = Terms(_name("notebook", seed), agreement)
    active = agreement.active.name

    def role(name: str) -> Role:
        def its(rng: Randomness) -> Kept:
            return kept[name] if kept else Kept(NoHints(), rng, None if rows is None else rows[name])

        if name == active:
            return lambda peers, rng: running.active(holdings[name], terms, peers, rng, _commit, its(rng))
        return lambda peers, rng: running.passive(holdings[name], terms, peers[active], rng, _commit, its(rng))

    outcomes, desks = drive({name: role(name) for name in holdings}, active, seed, seeds)
    traffic = {phase: sum(asdict(count).values()) for phase, count in desks[active].traffic.items()}
    return Trained(terms, {name: outcome.share for name, outcome in outcomes.items()}, traffic, outcomes)


def joint_scores(holdings: Mapping[str, Holding], trained: Trained, seed: int | None) -> tuple[Int64s, Reals, Int64s]:
    """Score new customers jointly: which of the active party's they are, raw scores [n] or [n, outputs], and points.

    Only customers that every party knows are scored. `holdings`: without labels.
    """
    asks = _ask_card if trained.terms.kind == SCORECARD else _ask_trees
    rows, (scores, total) = asked(holdings, trained, asks, seed)
    return rows, scores, total


def asked(holdings: Mapping[str, Holding], trained: Trained, asks: Asks[R], seed: int | None) -> tuple[Int64s, R]:
    """Ask all passive parties about the customers that everybody knows: which of the active party's, and what is found.

    `asks`: the active party's part, from its own values, its share and the channels.
    """
    terms, active = trained.terms, trained.terms.agreement.active.name

    def passive(name: str) -> Role:
        return lambda peers, rng: _answer(holdings[name], trained.shares[name], terms, peers[active], rng)

    roles = {name: passive(name) for name in holdings if name != active}
    roles[active] = lambda peers, rng: _ask(holdings[active], trained.shares[active], terms, peers, rng, asks)
    outcomes, _ = drive(roles, active, seed)
    found: tuple[Int64s, R] = outcomes[active]
    return found


async def _ask(
    mine: Holding, share: bytes, terms: Terms, passives: Mapping[str, Channel], rng: Randomness, asks: Asks[R]
) -> tuple[Int64s, R]:
    ordered = {member.name: passives[member.name] for member in terms.agreement.passives}
    for channel in ordered.values():
        await handshake.active(channel, terms.run, terms.agreement.encode(), __version__)
    rows, _, _ = await intersect.active(ordered, mine.tokens, replace(terms.psi, min_intersection=1), rng.child("psi"))
    found = await asks(mine.values[rows], share, ordered)
    for channel in ordered.values():
        await channel.checkpoint()
    return rows, found


async def decisions_of(values: Reals, share: bytes, passives: Mapping[str, Channel]) -> list[Flags]:
    """Of trees: which way customers go at every split, by party, bool[records, n] with the active party's first."""
    model = read_ensemble(share)
    found = [left_values(values, model.records)]
    for channel, records in zip(passives.values(), model.passive_records, strict=True):
        found.append(await score.active(channel, np.ones(len(values), np.bool_), records))
    return found


async def parts_of(values: Reals, share: bytes, passives: Mapping[str, Channel]) -> tuple[list[Reals], Int64s]:
    """Of a scorecard: log-odds by party, float64[n] with the active party's and its intercept first; and all points."""
    card, body = read_card(share), read_share(share)
    own = values[:, [body["features"].index(one.name) for one in card.features]]
    total = card.scaling.base(float(body["intercept"])) + card.points(own)
    parts = [float(body["intercept"]) + card.predictor(own)]
    for channel in passives.values():
        told, theirs = await points.active(channel, np.ones(len(values), np.bool_))
        total += theirs
        parts.append(told)
    return parts, total


async def _ask_trees(values: Reals, share: bytes, passives: Mapping[str, Channel]) -> tuple[Reals, Int64s]:
    decisions = await decisions_of(values, share, passives)
    return read_ensemble(share).predict(decisions), np.zeros(len(values), np.int64)


async def _ask_card(values: Reals, share: bytes, passives: Mapping[str, Channel]) -> tuple[Reals, Int64s]:
    (own, *told), total = await parts_of(values, share, passives)
    return points.joined(own, told), total


async def _answer(mine: Holding, share: bytes, terms: Terms, active: Channel, rng: Randomness) -> None:
    await handshake.passive(active, terms.run, terms.agreement.encode(), __version__)
    rows, _ = await intersect.passive(active, mine.tokens, replace(terms.psi, min_intersection=1), rng.child("psi"))
    values = mine.values[rows]
    if terms.kind == SCORECARD:
        card = read_card(share)
        own = values[:, [mine.names.index(one.name) for one in card.features]]
        await points.passive(active, card.predictor(own), card.points(own))
    else:
        await score.passive(active, left_values(values, read_records(share)))
    await active.checkpoint()


def drive(
    roles: Roles, active: str, seed: int | None = None, seeds: Mapping[str, bytes] | None = None
) -> tuple[dict[str, Any], dict[str, Desk]]:
    """All roles in turn; what they return, and their desks. `seed`, `seeds`: as in `train`."""
    links: dict[str, dict[str, Any]] = {name: {} for name in roles}
    for name in roles:
        if name != active:
            links[active][name], links[name][active] = memory_links()
    desks = {name: Desk(name, MemoryTranscript(), NoNotary()) for name in roles}
    running_roles = {}
    for name, role in roles.items():
        drawn = fresh_seed() if seed is None else hashlib.sha256(f"{seed}/{name}".encode()).digest()
        own = seeds[name] if seeds else drawn
        channels = {peer: desks[name].channel(peer, link) for peer, link in links[name].items()}
        running_roles[name] = desks[name].run(role(channels, Randomness(own)))
    return lockstep(running_roles), desks


def _name(what: str, seed: int | None) -> str:
    """A name for a run: as fresh as its randomness."""
    return f"{what}-{fresh_seed().hex()[:8] if seed is None else seed}"


def _commit(step: str, commitments: Sequence[Commitment]) -> None:
    """Nothing is on record in a notebook."""
