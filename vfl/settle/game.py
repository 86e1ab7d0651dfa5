"""Who contributed how much: the Shapley value of a game whose coalitions were measured.

    phi_i = sum over S without i of |S|! (n - |S| - 1)! / n! (v(S + i) - v(S))

Exact for few players. For more, the mean of the marginals along sampled orders, each with its reverse (antithetic): an
order and its reverse let everybody come early once and late once.

Sources: Shapley, A value for n-person games (1953); Mitchell, Cooper, Frank and Holmes, Sampling permutations for
Shapley value estimation, JMLR 23 (2022). Players are legal entities or clusters of them, as in the quotient game: Owen,
Values of games with a priori unions (1977). Whoever divides itself in two gains nothing by it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from hashlib import shake_256
from itertools import combinations
from math import factorial

import numpy as np
import numpy.typing as npt

Reals = npt.NDArray[np.float64]
Coalition = frozenset[int]
MOST_EXACT = 5
"""Players up to which every coalition is measured."""


@dataclass(frozen=True)
class Game:
    """players: how many.   coalitions: those that are measured.   weights: by player, of each coalition, over `parts`.

    The value of a player is the weighted sum of the coalitions' values, divided by `parts`.
    """

    players: int
    coalitions: tuple[Coalition, ...]
    weights: tuple[tuple[int, ...], ...]
    parts: int

    def exact(self, values: Sequence[Fraction]) -> list[Fraction]:
        """What each player contributes; `values` of the coalitions."""
        found = (
            sum((weight * value for weight, value in zip(row, values, strict=True)), Fraction(0))
            for row in self.weights
        )
        return [one / self.parts for one in found]

    def many(self, values: npt.NDArray[np.int64] | Reals) -> Reals:
        """The same for many measurements: values [r, coalitions], result float64[r, players]."""
        return np.asarray(values @ np.array(self.weights, np.float64).T / self.parts)


def subsets(players: int) -> tuple[Coalition, ...]:
    """All coalitions: the empty one first, then by size."""
    return tuple(frozenset(each) for size in range(players + 1) for each in combinations(range(players), size))


def exact_game(players: int) -> Game:
    """Every coalition is measured."""
    coalitions = subsets(players)
    rows = []
    for player in range(players):
        row = []
        for each in coalitions:
            size = len(each - {player})
            weight = factorial(size) * factorial(players - size - 1)
            row.append(weight if player in each else -weight)
        rows.append(tuple(row))
    return Game(players, coalitions, tuple(rows), factorial(players))


def sampled_game(players: int, orders: Sequence[Sequence[int]]) -> Game:
    """The coalitions along these orders are measured."""
    found = {frozenset(order[:length]) for order in orders for length in range(players + 1)}
    coalitions = tuple(sorted(found, key=lambda each: (len(each), sorted(each))))
    at = {each: number for number, each in enumerate(coalitions)}
    weights = np.zeros((players, len(coalitions)), np.int64)
    for order in orders:
        for length, player in enumerate(order):
            weights[player, at[frozenset(order[: length + 1])]] += 1
            weights[player, at[frozenset(order[:length])]] -= 1
    return Game(players, coalitions, tuple(map(tuple, weights.tolist())), len(orders))


def orders_of(players: int, seed: bytes, pairs: int) -> list[tuple[int, ...]]:
    """Orders drawn from the seed, each followed by its reverse; the first ones of more pairs are the same.

    Order `k` sorts the players by the 8-byte big-endian words of SHAKE256(seed || "order" || k).
    """
    found: list[tuple[int, ...]] = []
    for number in range(pairs):
        drawn = shake_256(seed + b"order" + number.to_bytes(4, "big")).digest(8 * players)
        order = tuple(sorted(range(players), key=lambda player: drawn[8 * player : 8 * player + 8]))
        found += [order, order[::-1]]
    return found


def led_by(game: Game, owner: int) -> Game:
    """The game in which a coalition without `owner` is worth nothing, by the other players in each coalition.

    Of the owner there is a weight, too: its row stays where it was.
    """
    places = {each - {owner}: number for number, each in enumerate(game.coalitions) if owner in each}
    alone: Coalition = frozenset()
    coalitions = tuple(sorted({alone, *places}, key=lambda each: (len(each), sorted(each))))
    weights = tuple(
        tuple(row[places[each]] if each in places else 0 for each in coalitions) for row in game.weights
    )  # fmt: skip
    return Game(game.players, coalitions, weights, game.parts)
