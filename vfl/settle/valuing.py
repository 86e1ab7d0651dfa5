"""The valuation of a finished run: who repeats whom, the models of coalitions, and what follows from them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from fractions import Fraction
from hashlib import sha256
from pathlib import Path

import numpy as np

from ledger.note import Note
from vfl.errors import UsageError
from vfl.seat import RunFile
from vfl.settle.clusters import players_of, similarities
from vfl.settle.coalitions import Coalitions, Measured
from vfl.settle.contribution import Contribution, game_of
from vfl.settle.game import MOST_EXACT, orders_of
from vfl.settle.patterns import Patterns, approved, figures
from vfl.settle.shares import Player
from vfl.settlement import Settlement

Told = Callable[[int, int, Measured], None]
"""Coalitions measured, how many there are for now, the last one."""
_MOST_PAIRS = 256  # of sampled orders
_STEP = 8
_HALF_WIDTH = 0.01  # of the mean of sampled marginals, over the value of everybody


def seed_of(note: str) -> bytes:
    """What nobody chose: SHA-256 of a head that others cosigned. Raises UsageError for one without a cosignature."""
    if len(Note.parse(note).signatures) < 2:
        raise UsageError("the head of the run's ledger has no cosignature", remedy="finish the run first")
    return sha256(note.encode()).digest()


def value(directory: Path, file: RunFile, clause: Settlement, seed: bytes, told: Told) -> Contribution:
    """Value the partners of a finished run. Goes on where it was killed. Raises UsageError."""
    known = Coalitions(directory, file, seed, 2**MOST_EXACT)
    similar = similarities(file.terms, {name: known.columns(name) for name in known.partners})
    players = players_of(known.partners, similar, clause)
    exact = len(players) <= MOST_EXACT
    if clause.label_owner == "player":
        players.append(Player(((clause.entity(known.active), (known.active,)),)))
    work = _Work(known, players, clause, told)
    pairs = 0 if exact else work.settled(seed)
    game = game_of(len(players), clause, seed, pairs)
    for each in game.coalitions:
        work.measure(each, len(game.coalitions) + 2)
    for each in (game.coalitions[0], game.coalitions[-1]):
        work.measure(each, len(game.coalitions) + 2, null=True)
    return Contribution(
        file.run, file.agreement.digest, seed, clause, (known.active, *known.partners), tuple(players), pairs,
        tuple(work.told()), work.patterns(), tuple((a, b, f"{share:.4f}") for (a, b), share in similar.items()),
    )  # fmt: skip


class _Work:
    """Coalitions of players, measured when they are asked for."""

    def __init__(self, known: Coalitions, players: Sequence[Player], clause: Settlement, told: Told) -> None:
        self._known, self._players, self._clause, self._tell = known, players, clause, told
        self._found: dict[tuple[frozenset[int], bool], Measured] = {}

    def measure(self, players: frozenset[int], of: int, *, null: bool = False) -> Measured:
        """`of`: how many there are."""
        if (players, null) not in self._found:
            parties = [party for number in players for party in self._players[number].parties]
            self._found[players, null] = self._known.measure(parties, null=null)
            self._tell(len(self._found), max(of, len(self._found)), self._found[players, null])
        return self._found[players, null]

    def settled(self, seed: bytes) -> int:
        """How many pairs of orders it takes until no player's mean is uncertain by more than _HALF_WIDTH."""
        players = len(self._players)
        for pairs in range(_STEP, _MOST_PAIRS + 1, _STEP):
            game = game_of(players, self._clause, seed, pairs)
            for each in game.coalitions:
                self.measure(each, len(game.coalitions) + 2)
            values = self._values()
            means = np.array([
                [float(sum(order[player] for order in two)) / 2 for player in range(players)]
                for two in self._pairs(seed, pairs, values)
            ])  # fmt: skip
            whole = abs(float(values[game.coalitions[-1]])) or 1.0
            if 1.96 * means.std(axis=0, ddof=1).max() / np.sqrt(pairs) <= _HALF_WIDTH * whole:
                return pairs
        return _MOST_PAIRS

    def _pairs(
        self, seed: bytes, pairs: int, values: Mapping[frozenset[int], Fraction]
    ) -> Iterator[list[list[Fraction]]]:
        """The marginals of each player in an order and in its reverse."""
        owner = len(self._players) - 1 if self._clause.label_owner == "player" else None

        def worth(players: Sequence[int]) -> Fraction:
            if owner is not None and owner not in players:
                return Fraction(0)
            return values[frozenset(players) - {owner}]

        orders = orders_of(len(self._players), seed, pairs)
        for two in zip(orders[::2], orders[1::2], strict=True):
            yield [
                [worth(order[: order.index(player) + 1]) - worth(order[: order.index(player)])
                 for player in range(len(self._players))]
                for order in two
            ]  # fmt: skip

    def _values(self) -> dict[frozenset[int], Fraction]:
        exact = self.patterns().exact_values(self._clause)
        values = {players: value for (players, null), value in zip(self._found, exact, strict=True) if not null}
        return {players: value - values[frozenset()] for players, value in values.items()}

    def told(self) -> list[dict[str, object]]:
        """What is on record of each coalition."""
        return [
            {"players": sorted(players), **one.told(), **figures(self._known.labels, self._bits(one))}
            for (players, _), one in self._found.items()
        ]

    def patterns(self) -> Patterns:
        """Of all coalitions so far."""
        return Patterns.of(self._known.labels, np.column_stack([self._bits(one) for one in self._found.values()]))

    def _bits(self, one: Measured) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
        return approved(one.pd, self._clause.approve, self._known.places)


def contribution_bytes(found: Contribution) -> bytes:
    """The file contribution.json."""
    return (json.dumps(found.to_json(), indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()
