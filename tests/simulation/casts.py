"""Who plays what: the real roles on tiny tables, and how they end when nothing disturbs them."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any

import memory_run
from clear_shares import ClearShares
from protocols import boosting, fitting

from vfl import run
from vfl.channel import Channel
from vfl.protocols import intersect
from vfl.randomness import Randomness
from vfl.terms import Commit

ACTIVE = "bank"
Play = Callable[[str, Mapping[str, Channel], Commit, int], Coroutine[int, None, Any]]
"""A party's role: its name, its channels, where commitments go, and a number that every draw depends on."""


@dataclass(frozen=True)
class Cast:
    """A protocol, or a whole run, and who takes part in it, the active party first."""

    name: str
    parties: tuple[str, ...]
    play: Play

    def peers(self, name: str) -> list[str]:
        return list(self.parties[1:]) if name == ACTIVE else [ACTIVE]


def trees(name: str, owned: tuple[int, ...], *, named: bool, trees: int) -> Cast:
    """Boosted trees with the scheme without encryption."""
    case = boosting.credit(16, owned, num_iterations=trees, num_leaves=3)
    scheme = boosting.clear(named)

    def play(me: str, peers: Mapping[str, Channel], commit: Commit, number: int) -> Coroutine[int, None, Any]:
        if me == ACTIVE:
            return boosting.bank(case, scheme, 1 + number)(peers)
        party = 1 + case.partners.index(me)
        return boosting.partner(case, party, scheme, 1 + party + number)(peers)

    return Cast(name, (ACTIVE, *case.partners), play)


def card() -> Cast:
    """The coefficients of a scorecard."""
    case, shares = fitting.regression(40, (1, 1)), ClearShares(named=False)

    def play(me: str, peers: Mapping[str, Channel], commit: Commit, number: int) -> Coroutine[int, None, Any]:
        if me == ACTIVE:
            return fitting.bank(case, shares, 1 + number)(peers)
        return fitting.partner(case, 1 + case.partners.index(me), shares, 2 + number)(peers)

    return Cast("card", (ACTIVE, *case.partners), play)


def common_customers() -> Cast:
    """The intersection of three parties' customers."""
    terms = intersect.PsiTerms(run="run-7", id_rule="text@1", max_set_size=100, min_intersection=1)
    ids = {ACTIVE: ["a", "b", "c", "d"], "telecom": ["b", "c", "e"], "retailer": ["c", "f", "b"]}

    def play(me: str, peers: Mapping[str, Channel], commit: Commit, number: int) -> Coroutine[int, None, Any]:
        rng = Randomness(bytes([len(me), number]) * 16)
        if me == ACTIVE:
            return intersect.active(peers, ids[me], terms, rng)
        return intersect.passive(peers[ACTIVE], ids[me], terms, rng)

    return Cast("psi", tuple(ids), play)


def whole_run() -> Cast:
    """A whole run of `vfl.run`: handshake, intersection, commitments, trees, scores, freeze."""
    world = memory_run.World.of(("telecom",), 16, num_iterations=1, num_leaves=3)

    def play(me: str, peers: Mapping[str, Channel], commit: Commit, number: int) -> Coroutine[int, None, Any]:
        rng = Randomness(bytes([len(me), number]) * 16)
        if me == ACTIVE:
            return run.active(world.holdings[me], world.terms, peers, rng, commit)
        return run.passive(world.holdings[me], world.terms, peers[ACTIVE], rng, commit)

    return Cast("run", (ACTIVE, "telecom"), play)


CASTS = {
    cast.name: cast
    for cast in (
        trees("trees", (1, 1, 1), named=True, trees=1),
        trees("hidden", (1, 1), named=False, trees=2),
        card(),
        common_customers(),
        whole_run(),
    )
}
OFTEN = {"trees": 4, "hidden": 4, "card": 2, "psi": 4, "run": 2}
