"""A settlement as people read it, from its bundle: for the report, the console and pictures.

What the check found comes first: whoever shows an account says whether it holds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from hashlib import sha256
from pathlib import Path
from typing import Any

from ledger.policy import Policy
from vfl.errors import UsageError
from vfl.settle.book import FOLDER
from vfl.settle.checking import Checked, check_all
from vfl.settle.contribution import Contribution
from vfl.settle.replica import Replica

BUNDLE = "settlement.bundle"


@dataclass(frozen=True)
class Player:
    """Value and interval in the unit of the clause, share with its interval (0 to 1), and millionths that are paid."""

    name: str
    parties: tuple[str, ...]
    value: float
    low: float
    high: float
    share: tuple[float, float, float]
    ppm: int


@dataclass(frozen=True)
class Payment:
    """Of a period to a party, minor units."""

    period: str
    party: str
    amount: int


@dataclass(frozen=True)
class Penalty:
    """Who lost how much, why (`fork`, `notes`, ..), reported by whom."""

    accused: str
    reporter: str
    ground: str
    amount: int


@dataclass(frozen=True)
class Account:
    """digest: SHA-256 of the bundle, hex.   null: of noise, for comparison.   usage: parameters of the entries.

    stakes, credits: by party, minor units; empty where there is no contract, or nothing that plays it.
    disputes: periods whose shares somebody disputed, and who.
    """

    digest: str
    checked: Checked
    contribution: Contribution | None
    players: Sequence[Player] = ()
    null: Player | None = None
    usage: Sequence[Mapping[str, Any]] = ()
    payments: Sequence[Payment] = ()
    penalties: Sequence[Penalty] = ()
    disputes: Sequence[tuple[str, str]] = ()
    stakes: Mapping[str, int] = field(default_factory=dict)
    credits: Mapping[str, int] = field(default_factory=dict)
    totals: tuple[int, int] = (0, 0)

    @property
    def currency(self) -> str:
        """Of amounts."""
        return self.contribution.clause.currency if self.contribution else ""


def account_of(directory: Path, policy: Policy) -> Account | None:
    """Of the run in `directory`; None where nothing was settled. Raises UsageError where the bundle cannot be read."""
    path = directory / FOLDER / BUNDLE
    if not path.exists():
        return None
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from None
    return read_account(data, policy)


def read_account(data: bytes, policy: Policy) -> Account:
    """What a bundle says, and whether it holds. What does not hold may be missing."""
    found = check_all(data, policy)
    digest, contribution, replica = sha256(data).hexdigest(), found.contribution, found.replica
    players, null = _players(contribution, found.shares) if contribution and found.shares else ([], None)
    if replica is None:
        return Account(digest, found.checked, contribution, players, null, found.usage)
    events = [event for one in replica.played for event in one.events]
    job = bytes.fromhex(replica.genesis.job)
    return Account(
        digest, found.checked, contribution, players, null, found.usage, _payments(replica, found.usage),
        [
            Penalty(replica.party(e.values["accused"]), replica.party(e.values["reporter"]), str(e.values["ground"]),
                    int(e.values["amount"]))
            for e in events
            if e.name == "Slashed"
        ],
        [(str(e.values["period"]), replica.party(e.values["by"])) for e in events if e.name == "SharesDisputed"],
        replica.stakes(job), replica.credits(), replica.totals(),
    )  # fmt: skip


def _players(contribution: Contribution, shares: Mapping[str, Any]) -> tuple[list[Player], Player]:
    found = [
        _player(one["name"], tuple(one["parties"]), one, sum(shares["ppm"][party] for party in one["parties"]))
        for one in shares["players"]
    ]
    return found, _player("", (), shares["null"], 0)


def _player(name: str, parties: tuple[str, ...], told: Mapping[str, Any], ppm: int) -> Player:
    value, low, high = float(Fraction(told["value"])), float(told["low"]), float(told["high"])
    a, b, c = (float(one) for one in told["share"])
    return Player(name, parties, value, low, high, (a, b, c), ppm)


def _payments(replica: Replica, usage: Sequence[Mapping[str, Any]]) -> list[Payment]:
    periods = {int(str(one["period"]).replace("-", "")): str(one["period"]) for one in usage}
    return [
        Payment(
            periods.get(e.values["period"], str(e.values["period"])),
            replica.party(e.values["party"]),
            e.values["amount"],
        )
        for one in replica.played
        for e in one.events
        if e.name == "Paid" and e.values["amount"]
    ]
