"""What a valuation found, as an artefact that anyone can work out again: patterns in, shares out.

    contribution.json    the clause, the players, the coalitions with the digests of their models, the outcome patterns
    shares.json          each player's value with its interval, the noise null, millionths by party

`result_of` needs the first alone; `tallystick settle check` compares what it gives with the second and with the ledger.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from hashlib import sha256
from typing import Any

import numpy as np

from vfl.errors import AgreementError, UsageError
from vfl.settle.game import Game, exact_game, led_by, orders_of, sampled_game
from vfl.settle.patterns import Patterns
from vfl.settle.shares import Player, Worth, millionths, resamples, worths
from vfl.settlement import Settlement

FORMAT, RESULT = "tallystick-contribution-v1", "tallystick-shares-v1"
FILE, SHARES = "contribution.json", "shares.json"
_KEYS = {
    "format",
    "run",
    "agreement",
    "seed",
    "clause",
    "parties",
    "players",
    "pairs",
    "coalitions",
    "patterns",
    "similarity",
}


@dataclass(frozen=True)
class Contribution:
    """The content of contribution.json.

    parties: the label owner first.   players: coalitions name them by place; the label owner, if it is one, comes last.
    pairs: of sampled orders; 0 if every coalition was measured.
    coalitions: players, whether with columns of noise, and what was told of the model.   patterns: a bit a coalition.
    """

    run: str
    agreement: str
    seed: bytes
    clause: Settlement
    parties: tuple[str, ...]
    players: tuple[Player, ...]
    pairs: int
    coalitions: tuple[Mapping[str, Any], ...]
    patterns: Patterns
    similarity: tuple[tuple[str, str, str], ...] = ()

    def to_json(self) -> dict[str, Any]:
        """What `from_json` reads."""
        return {
            "format": FORMAT, "run": self.run, "agreement": self.agreement, "seed": self.seed.hex(),
            "clause": self.clause.to_json(), "parties": list(self.parties),
            "players": [[[name, list(parties)] for name, parties in one.entities] for one in self.players],
            "pairs": self.pairs, "coalitions": [dict(one) for one in self.coalitions],
            "patterns": self.patterns.to_json(), "similarity": [list(one) for one in self.similarity],
        }  # fmt: skip

    @classmethod
    def from_json(cls, body: Any) -> Contribution:
        """Read contribution.json. Raises UsageError for anything else."""
        try:
            if body.keys() != _KEYS or body["format"] != FORMAT:
                raise ValueError(f"not of the format {FORMAT}")
            players = tuple(
                Player(tuple((str(name), tuple(map(str, parties))) for name, parties in one)) for one in body["players"]
            )
            return cls(
                str(body["run"]), str(body["agreement"]), bytes.fromhex(body["seed"]),
                Settlement.from_json(body["clause"]), tuple(map(str, body["parties"])), players, int(body["pairs"]),
                tuple(body["coalitions"]), Patterns.from_json(body["patterns"]),
                tuple((str(a), str(b), str(share)) for a, b, share in body["similarity"]),
            )  # fmt: skip
        except (AttributeError, KeyError, TypeError, ValueError, AgreementError) as error:
            raise UsageError(f"{FILE} is damaged: {error}", remedy="take the bundle from another party") from None

    @property
    def game(self) -> Game:
        """Which coalitions count how much."""
        return game_of(len(self.players), self.clause, self.seed, self.pairs)

    def place(self, players: Sequence[int] | frozenset[int], *, null: bool = False) -> int:
        """Which column of the patterns is of this coalition. Raises UsageError if there is none."""
        wanted = sorted(players)
        for number, one in enumerate(self.coalitions):
            if (one["players"], one["null"]) == (wanted, null):
                return number
        raise UsageError(f"{FILE} lacks the coalition of players {wanted}{' with noise' if null else ''}")


@dataclass(frozen=True)
class Result:
    """Worths of the players and of the noise null, and millionths by party."""

    worths: tuple[Worth, ...]
    null: Worth
    ppm: Mapping[str, int]

    def to_json(self, contribution: Contribution, digest: str) -> dict[str, Any]:
        """The content of shares.json. `digest`: SHA-256 of contribution.json, hex."""
        total = sum((one.value for one in self.worths if one.significant), Fraction(0))
        return {
            "format": RESULT, "contribution": digest, "customers": contribution.patterns.customers,
            "players": [
                {"name": player.name, "parties": list(player.parties), **_told(worth, total)}
                for player, worth in zip(contribution.players, self.worths, strict=True)
            ],
            "null": _told(self.null, total), "ppm": dict(self.ppm),
        }  # fmt: skip


def game_of(players: int, clause: Settlement, seed: bytes, pairs: int) -> Game:
    """The game that is played. `pairs`: of sampled orders; 0 for an exact one."""
    game = sampled_game(players, orders_of(players, seed, pairs)) if pairs else exact_game(players)
    return led_by(game, players - 1) if clause.label_owner == "player" else game


def result_of(found: Contribution) -> Result:
    """Work out the shares. Raises UsageError where a coalition is missing."""
    game, drawn = found.game, resamples(found.patterns, found.seed)
    if found.patterns.approved.shape[1] != len(found.coalitions):
        raise UsageError(f"{FILE}: the patterns are of {found.patterns.approved.shape[1]} coalitions")
    columns = [found.place(each) for each in game.coalitions]
    worth = worths(game, found.patterns, columns, found.clause, drawn)
    everybody = game.coalitions[-1]
    first, last = found.place((), null=True), found.place(everybody, null=True)
    # Noise that comes first, and noise that comes last, against the same coalitions without it.
    beside = [found.place(()), first, found.place(everybody), last]
    null = worths(_BOTH_ENDS, found.patterns, beside, found.clause, drawn)[0]
    ppm = millionths(worth, found.players, found.parties, found.clause)
    return Result(tuple(worth), null, dict(zip(found.parties, ppm, strict=True)))


_BOTH_ENDS = Game(1, (frozenset(),) * 4, ((-1, 1, -1, 1),), 2)
"""The mean of two marginals: of the second over the first column, and of the fourth over the third."""


def digest_of(data: bytes) -> str:
    """SHA-256, hex."""
    return sha256(data).hexdigest()


def _told(worth: Worth, total: Fraction) -> dict[str, Any]:
    """`share`: of what all that are paid contribute, with its interval."""
    over = float(total) or float("nan")
    shares = [np.nan_to_num(one / over) for one in (float(worth.value), worth.low, worth.high)]
    return {
        "value": str(worth.value), "low": f"{worth.low:.6f}", "high": f"{worth.high:.6f}", "paid": worth.significant,
        "share": [f"{one:.6f}" for one in shares],
    }  # fmt: skip
