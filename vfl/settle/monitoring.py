"""Contribution month by month without a training: the model as it is, with a partner's answers masked.

    trees        where an absent partner splits, a customer goes both ways, in the shares in which training rows did
    scorecard    an absent partner's points are their mean

All parties answer anew about the customers held out, from their tables as they are now; outcomes are those of the
label owner's table now. The label owner masks, so one round of questions is enough for all coalitions.

A second opinion, not a price: a model that lost a partner would have learned to do without, so masking favours whoever
the model leans on. What it shows is drift: masked shares are put on record, and compared with the first since the
valuation. The game, the patterns and the resamples are those of a valuation.

Source: the path-dependent expectation of trees, Lundberg, Erion and Lee, Consistent individualized feature attribution
for tree ensembles, arXiv:1802.03888, algorithm 1; players are parties in place of features.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from vfl import in_process
from vfl.errors import UsageError
from vfl.files import NO_RUN, read_result
from vfl.holding import Holding
from vfl.learn.ensemble import Ensemble
from vfl.learn.objective import sigmoid
from vfl.learn.tree import Tree
from vfl.models import read_ensemble
from vfl.predictions import FILE as PREDICTIONS
from vfl.retention import ROWS, SHARES, require_kept
from vfl.seat import read_own_holding
from vfl.settle.book import MONITOR
from vfl.settle.contribution import Contribution
from vfl.settle.desk import Desk
from vfl.settle.patterns import Patterns, approved, places_of
from vfl.settle.shares import resamples, worths
from vfl.terms import GBDT, Terms

Reals = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Masked = Callable[[Collection[str]], Reals]
"""From the partners that are present, the log-odds of the customers held out, float64[n]."""


@dataclass(frozen=True)
class Share:
    """Of one player, 0 to 1: what is paid, what masking finds now and in which interval, and what it found at first."""

    name: str
    paid: float
    masked: float
    low: float
    high: float
    first: float

    @property
    def drifted(self) -> bool:
        """Whether the first share lies outside the interval of now."""
        return not self.low <= self.first <= self.high

    def to_json(self) -> dict[str, Any]:
        """For programs."""
        return {**vars(self), "drifted": self.drifted}


def monitor(desk: Desk, found: Contribution, ppm: Mapping[str, int]) -> list[Share]:
    """Masked shares of the players of a valuation, put on record and beside the paid ones. Raises UsageError."""
    if found.clause.label_owner == "player":
        raise UsageError("a label owner that plays cannot be masked", remedy='value with label_owner = "payer"')
    patterns = _patterns(desk, found)
    game = found.game
    drawn = resamples(patterns, found.seed)
    worth = worths(game, patterns, range(len(game.coalitions)), found.clause, drawn)
    whole = float(sum((max(one.value, Fraction(0)) for one in worth), Fraction(0))) or float("nan")
    bounds = [[float(np.nan_to_num(each / whole)) for each in (float(o.value), o.low, o.high)] for o in worth]
    now = {player.name: round(1_000_000 * share) for player, (share, _, _) in zip(found.players, bounds, strict=True)}
    first = _first(desk, found.seed) or now
    desk.books.leader.note(MONITOR, {"seed": found.seed.hex(), "customers": patterns.customers, "masked": now})
    desk.books.countersign()
    return [
        Share(
            player.name, sum(ppm[party] for party in player.parties) / 1_000_000, share, low, high,
            first.get(player.name, 0) / 1_000_000,
        )
        for player, (share, low, high) in zip(found.players, bounds, strict=True)
    ]  # fmt: skip


def _first(desk: Desk, seed: bytes) -> Mapping[str, int]:
    """Masked shares as they were first monitored since the valuation with this seed; empty before."""
    for entry in desk.books.leader.entries(MONITOR):
        if entry.params["seed"] == seed.hex():
            masked: Any = entry.params["masked"]
            return dict(masked)
    return {}


def _patterns(desk: Desk, found: Contribution) -> Patterns:
    """Of the customers held out, as all parties answer about them now."""
    file, active = desk.file, desk.payer
    names = [member.name for member in (file.agreement.active, *file.agreement.passives)]
    require_kept(desk.directory, names, [ROWS, SHARES])
    holdings = {name: read_own_holding(desk.directory / name, file.agreement) for name in names}
    mine = holdings[active] = _held_out(holdings[active], desk.directory / active / PREDICTIONS)
    shares = {name: read_result(desk.directory / name / "share.json") for name in names}
    agreement = replace(file.agreement, psi={k: v for k, v in file.agreement.psi.items() if k != "decoys"})
    trained = in_process.Trained(Terms(file.run, agreement), shares, {}, {})
    masked: Masked
    if file.terms.kind == GBDT:
        rows, decisions = in_process.asked(holdings, trained, in_process.decisions_of, None)
        masked = _trees(read_ensemble(shares[active]), decisions, names)
    else:
        rows, (parts, _) = in_process.asked(holdings, trained, in_process.parts_of, None)
        masked = _card(parts, names)
    assert mine.labels is not None
    places, bits = places_of([mine.tokens[row] for row in rows]), []
    for players in found.game.coalitions:
        present = {party for number in players for party in found.players[number].parties}
        bits.append(approved(sigmoid(masked(present)), found.clause.approve, places))
    return Patterns.of(mine.labels[rows].astype(np.int8), np.column_stack(bits))


def _held_out(mine: Holding, predictions: Path) -> Holding:
    """The label owner's table, those that the run held out alone."""
    with predictions.open(encoding="utf-8", newline="") as lines:
        wanted = {line["id"] for line in csv.DictReader(lines)}
    rows = [row for row, customer in enumerate(mine.ids) if customer in wanted]
    assert mine.labels is not None
    return replace(
        mine, tokens=[mine.tokens[row] for row in rows], ids=[mine.ids[row] for row in rows],
        values=mine.values[rows], labels=mine.labels[rows],
        weights=None if mine.weights is None else mine.weights[rows],
    )  # fmt: skip


def expected(tree: Tree, decisions: Mapping[int, Flags], rows: int) -> Reals:
    """What a tree adds to the raw score where only some owners answer, float64[rows].

    `decisions`: by owner, bool[records, rows]; owners that are not there are absent. Raises UsageError without counts.
    """
    if tree.cover is None:
        raise UsageError("the model has no counts of training rows", remedy=NO_RUN)
    values: dict[int, Reals | float] = {~leaf: float(value) for leaf, value in enumerate(tree.leaf_value)}
    counts = {~leaf: float(count) for leaf, count in enumerate(tree.cover.count)}
    for node in reversed(range(len(tree.left))):  # parents come before their children
        left, right, owner = int(tree.left[node]), int(tree.right[node]), int(tree.owner[node])
        counts[node] = counts[left] + counts[right]
        if owner in decisions:
            values[node] = np.where(decisions[owner][int(tree.record[node])], values[left], values[right])
        else:
            part = counts[left] / max(counts[node], 1.0)
            values[node] = part * values[left] + (1.0 - part) * values[right]
    root = values[0 if len(tree.left) else ~0]
    return np.broadcast_to(np.asarray(root, np.float64), (rows,))


def _trees(model: Ensemble, decisions: list[Flags], names: Sequence[str]) -> Masked:
    def masked(present: Collection[str]) -> Reals:
        there = {n: decisions[n] for n, name in enumerate(names) if n == 0 or name in present}
        rows = decisions[0].shape[1]
        return np.asarray(model.init_score + sum(expected(tree, there, rows) for tree in model.trees))

    return masked


def _card(parts: list[Reals], names: Sequence[str]) -> Masked:
    def masked(present: Collection[str]) -> Reals:
        told = [part if name in present else part.mean() for name, part in zip(names[1:], parts[1:], strict=True)]
        return np.asarray(parts[0] + sum(told))

    return masked
