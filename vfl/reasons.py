"""Why a score is bad, in words for the customer: the largest adverse contributions, named as the parties agreed.

Each party gives the words for its own features (`[party.NAME.reasons]` in the scenario file). They are part of the
agreement, so that everybody has seen them before they are told to anyone. A feature without words gets those of its
name.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from vfl.agreement import Agreement

MOST = 4
"""Reasons of a decision at most, as credit law and practice have it (United States: Regulation B, 12 CFR 1002.9)."""


@dataclass(frozen=True)
class Column:
    """A feature of the joint model: whose it is, its name there, and what a customer reads."""

    party: str
    feature: str
    words: str


@dataclass(frozen=True)
class Reason:
    """What a customer reads, who said it, and how much it adds to the raw score (log-odds of label 1)."""

    party: str
    words: str
    contribution: float


def columns_of(agreement: Agreement) -> tuple[Column, ...]:
    """All features of the model in the order of the attributions: the active party's first."""
    return tuple(
        Column(member.name, feature, member.reasons.get(feature) or words_of(feature))
        for member in (agreement.active, *agreement.passives)
        for feature in member.features
    )


def words_of(feature: str) -> str:
    """A feature's name as words: `credit_limit` becomes "Credit limit", `creditLimit` "Credit Limit"."""
    apart = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", feature)
    words = " ".join(re.split(r"[\s_.-]+", apart)).strip()
    return words[:1].upper() + words[1:] if words else feature


def groups_of(columns: Sequence[Column]) -> tuple[tuple[tuple[str, str], ...], tuple[int, ...]]:
    """The different reasons, (party, words), in the order of their first columns, and the number of each column's.

    The numbers are what `vfl.learn.compiled_reasons.top_reasons` asks for and answers with.
    """
    numbers: dict[tuple[str, str], int] = {}
    own = tuple(numbers.setdefault((column.party, column.words), len(numbers)) for column in columns)
    return tuple(numbers), own


def reasons(contributions: Sequence[float], columns: Sequence[Column], most: int = MOST) -> list[Reason]:
    """The largest adverse contributions of one row, given by column: those that raise the probability of label 1.

    Features of a party with the same words are one reason, with the sum of their contributions. Of equal reasons the
    one whose first feature comes first is first.
    """
    sums: dict[tuple[str, str], float] = {}
    for column, value in zip(columns, contributions, strict=True):
        key = (column.party, column.words)
        sums[key] = sums.get(key, 0.0) + value
    adverse = [Reason(*key, total) for key, total in sums.items() if total > 0.0]
    return sorted(adverse, key=lambda reason: -reason.contribution)[:most]
