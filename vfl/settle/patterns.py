"""Outcome patterns: how each held-out customer would have fared under the model of every coalition, without saying who.

    label 0, approved under coalitions 1, 2 and 4 of 4:  "0", "1101", 812 customers

A row holds no identifier, no score and no feature. Everything about contribution follows from these counts: values,
shares, intervals. They are an artefact of the bundle, by digest on the ledger, so that anyone can work it out again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from hashlib import sha256
from typing import Any

import numpy as np
import numpy.typing as npt

from vfl.errors import UsageError
from vfl.settlement import Settlement

Reals = npt.NDArray[np.float64]
Int64s = npt.NDArray[np.int64]
Bits = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Patterns:
    """bad: whether the label is 1, bool[p].   approved: bool[p, coalitions].   counts: customers, int64[p].

    In ascending order of label and bits, no row twice, no count of 0.
    """

    bad: Bits
    approved: Bits
    counts: Int64s

    @classmethod
    def of(cls, labels: npt.NDArray[Any], approved: Bits) -> Patterns:
        """Of customers: `labels` 0 or 1, [n]; `approved` bool[n, coalitions]."""
        rows = Counter((int(label), _text(bits)) for label, bits in zip(labels, approved, strict=True))
        return cls.from_json([[label, bits, count] for (label, bits), count in sorted(rows.items())])

    @classmethod
    def from_json(cls, rows: Any) -> Patterns:
        """What `to_json` gave. Raises UsageError for anything else."""
        try:
            named = [(label, bits) for label, bits, _ in rows]
            width = len(rows[0][1])
            whole = (
                named == sorted(set(named))
                and all(type(count) is int and count > 0 for _, _, count in rows)
                and all(label in (0, 1) and type(label) is int for label, _ in named)
                and all(len(bits) == width and not bits.strip("01") for _, bits in named)
            )
        except (TypeError, ValueError, IndexError, AttributeError):
            whole = False
        if not whole:
            raise UsageError("the outcome patterns are damaged", remedy="take the bundle from another party")
        bits = np.array([list(map(int, bits)) for _, bits in named], np.bool_).reshape(len(rows), width)
        return cls(np.array([bool(label) for label, _ in named]), bits, np.array([count for *_, count in rows]))

    def to_json(self) -> list[list[int | str]]:
        """Label, a 0 or 1 for each coalition, and how many customers."""
        return [
            [int(bad), _text(bits), int(count)]
            for bad, bits, count in zip(self.bad, self.approved, self.counts, strict=True)
        ]

    @property
    def customers(self) -> int:
        """How many there are."""
        return int(self.counts.sum())

    def values(self, clause: Settlement, counts: Int64s | None = None) -> Int64s | Reals:
        """What each coalition is worth: profit in minor units, int64, or minus the rate of bads among those approved.

        `counts`: others than those that were found, int64[..., p]; the result is [..., coalitions].
        """
        counts = self.counts if counts is None else counts
        good, bad = counts @ (self.approved & ~self.bad[:, None]), counts @ (self.approved & self.bad[:, None])
        if clause.value == "profit":
            return np.asarray(good * clause.profit_good - bad * clause.loss_bad)
        return np.asarray(-(bad / np.maximum(good + bad, 1)))

    def exact_values(self, clause: Settlement) -> list[Fraction]:
        """The same as they were found, without rounding."""
        if clause.value == "profit":
            return [Fraction(int(value)) for value in self.values(clause)]
        good = (self.counts @ (self.approved & ~self.bad[:, None])).tolist()
        bad = (self.counts @ (self.approved & self.bad[:, None])).tolist()
        return [-Fraction(b, max(g + b, 1)) for g, b in zip(good, bad, strict=True)]


def approved(pd: Reals, share: float, places: Int64s) -> Bits:
    """Who is approved: the share of customers with the lowest probability; bool[n].

    `places`: of equals the one with the lower place comes first, int64[n]; it is the customer's, in whatever run.
    """
    found = np.zeros(len(pd), np.bool_)
    found[np.lexsort((places, pd))[: int(len(pd) * share)]] = True
    return found


def places_of(tokens: Sequence[str]) -> Int64s:
    """A place for each customer that follows from its normalised identifier alone, int64[n]."""
    drawn = np.array([sha256(b"place" + token.encode()).digest() for token in tokens], dtype="S32")
    return np.argsort(np.argsort(drawn)).astype(np.int64)


def figures(labels: npt.NDArray[Any], bits: Bits) -> Mapping[str, int]:
    """Among those approved: how many, and how many bads."""
    return {"approved": int(bits.sum()), "bads": int((bits & (labels == 1)).sum())}


def _text(bits: Sequence[Any] | Bits) -> str:
    return "".join("1" if bit else "0" for bit in bits)
