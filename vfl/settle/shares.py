"""From what coalitions are worth to millionths of the revenue, in whole numbers that anyone gets again.

1  value of each coalition from the outcome patterns, less what the label owner is worth alone
2  Shapley value of each player (a legal entity, or a cluster of those whose data repeat each other)
3  200 resamples of the customers: an interval for each player
4  whoever's interval reaches 0 or below, or whose value is not above it, earns nothing
5  the rest is divided in proportion, within a cluster and an entity as agreed, by largest remainder

The resamples follow from a seed that nobody chose: the hash of the head that the partners cosigned before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from hashlib import shake_256

import numpy as np
import numpy.typing as npt

from vfl.settle.game import Game
from vfl.settle.patterns import Patterns
from vfl.settlement import Settlement

Reals = npt.NDArray[np.float64]
Int64s = npt.NDArray[np.int64]
MILLION = 1_000_000
RESAMPLES = 200
_OUTSIDE = 5  # resamples beyond each end of an interval: 95 % lie within


@dataclass(frozen=True)
class Player:
    """entities: legal entities of one cluster, in the order of the agreement; of each its parties."""

    entities: tuple[tuple[str, tuple[str, ...]], ...]

    @property
    def name(self) -> str:
        """As people read it."""
        return " + ".join(name for name, _ in self.entities)

    @property
    def parties(self) -> tuple[str, ...]:
        """All of them."""
        return tuple(party for _, parties in self.entities for party in parties)


@dataclass(frozen=True)
class Worth:
    """What a player contributes to the value of the whole, over all customers held out, and in which interval it lies.

    In minor units where the value is profit, in rates where it is the rate of bads.
    """

    value: Fraction
    low: float
    high: float

    @property
    def significant(self) -> bool:
        """Whether it is paid for."""
        return self.value > 0 and self.low > 0


def resamples(patterns: Patterns, seed: bytes, count: int = RESAMPLES) -> Int64s:
    """Counts of customers drawn with replacement, int64[count, p].

    Customer j of resample r is number x n / 2^32, rounded down, of the n in the order of the patterns, where x is the
    j-th 4-byte little-endian word of SHAKE256(seed || "resample" || r).
    """
    n, ends = patterns.customers, np.cumsum(patterns.counts)
    found = np.empty((count, len(ends)), np.int64)
    for number in range(count):
        stream = shake_256(seed + b"resample" + number.to_bytes(4, "big")).digest(4 * n)
        drawn = (np.frombuffer(stream, "<u4").astype(np.uint64) * np.uint64(n)) >> np.uint64(32)
        places = np.searchsorted(ends, drawn.astype(np.int64), side="right")
        found[number] = np.bincount(places, minlength=len(ends))
    return found


def worths(game: Game, patterns: Patterns, columns: Sequence[int], clause: Settlement, drawn: Int64s) -> list[Worth]:
    """Of each player. `columns`: of the patterns, for each coalition of the game, the empty one first."""
    places = list(columns)
    exact = patterns.exact_values(clause)
    found = game.exact([exact[place] - exact[places[0]] for place in places])
    many = patterns.values(clause, drawn)[:, places]
    spread = np.sort(game.many(many - many[:, :1]), axis=0)
    return [
        Worth(value, float(spread[_OUTSIDE, player]), float(spread[-1 - _OUTSIDE, player]))
        for player, value in enumerate(found)
    ]


def millionths(
    worth: Sequence[Worth], players: Sequence[Player], parties: Sequence[str], clause: Settlement
) -> list[int]:
    """The share of each of `parties`, in their order; they sum to MILLION. `players`: without whom nobody is paid for.

    Where no contribution is significant the first party, who pays, keeps everything.
    """
    paid = [one.value if one.significant else Fraction(0) for one in worth]
    total = sum(paid, Fraction(0))
    if not total:
        return [MILLION, *(0 for _ in parties[1:])]
    quotas = dict.fromkeys(parties, Fraction(0))
    for part, player in zip(paid, players, strict=True):
        sharing = player.entities[:1] if clause.in_cluster == "first" else player.entities
        for _, own in sharing:
            for party in own:
                quotas[party] += part / total / len(sharing) / len(own)
    return largest_remainder([quotas[party] for party in parties], MILLION)


def largest_remainder(quotas: Sequence[Fraction], whole: int) -> list[int]:
    """Whole numbers that sum to `whole`, in proportion to quotas that sum to 1: rounded down, then one more for the
    largest remainders, the first of equal ones."""
    exact = [quota * whole for quota in quotas]
    found = [int(one) for one in exact]
    order = sorted(range(len(exact)), key=lambda place: (found[place] - exact[place], place))
    for place in order[: whole - sum(found)]:
        found[place] += 1
    return found
