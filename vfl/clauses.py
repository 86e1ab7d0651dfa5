"""What companies sign beyond the mathematics of a run: who they are, why they may, what may be learned, until when."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import date
from typing import Any

from vfl.errors import AgreementError

BUDGETS = ("runs", "scores", "scores_per_day")
"""Runs and answers in all; answers of each partner a day (UTC)."""
RULES = ("none", "equal", "shares", "contribution")
WHOLE = 10_000  # basis points


@dataclass(frozen=True)
class Contract:
    """Clauses of an agreement between companies; those of one desk have none.

    parties: by name the identity and the witness key (C2SP key strings).   expires: the last day, as 2027-12-31.
    leakage: what parties may learn, codes of `vfl.agreements.leakage`.   budgets: how often, by what is counted.
    revenue: `rule`, one of RULES; with "shares" also basis points by party.
    """

    parties: Mapping[str, tuple[str, str]]
    legal_basis: str
    expires: str
    leakage: tuple[str, ...]
    budgets: Mapping[str, int]
    revenue: Mapping[str, int | str]

    @classmethod
    def from_json(cls, body: Any) -> Contract:
        """What `asdict` gives, read back. Raises AgreementError, or what a value of another form raises."""
        names = {each.name for each in fields(cls)}
        if not isinstance(body, dict) or body.keys() != names:
            given = set(map(str, body)) if isinstance(body, dict) else set()
            raise AgreementError(f"contract lacks or should not have: {', '.join(sorted(given ^ names))[:200]}")
        parties = {name: (str(identity), str(witness)) for name, (identity, witness) in body["parties"].items()}
        found = cls(**{**body, "parties": parties, "leakage": tuple(body["leakage"])})
        found.check()
        return found

    def check(self) -> None:
        """Raise AgreementError naming the clause that cannot be what it says."""
        if not isinstance(self.legal_basis, str) or not self.legal_basis.strip():
            raise AgreementError("contract.legal_basis is blank", remedy="name the ground in law: --legal-basis TEXT")
        if not _is_day(self.expires):
            raise AgreementError(f"contract.expires is {self.expires!r:.40}, no day such as 2027-12-31")
        if tuple(sorted(set(self.leakage))) != self.leakage:
            raise AgreementError("contract.leakage is not a sorted list of different codes")
        for name, count in self.budgets.items():
            if name not in BUDGETS or type(count) is not int or count < 1:
                what = f"contract.budgets.{name!s:.40} is {count!r:.40}"
                raise AgreementError(what, remedy=f"counted are {', '.join(BUDGETS)}, from 1")
        self._check_revenue()

    def _check_revenue(self) -> None:
        rule = self.revenue.get("rule")
        shares = {name: part for name, part in self.revenue.items() if name != "rule"}
        if rule not in RULES:
            what = f"contract.revenue.rule is {rule!r:.40}"
            raise AgreementError(what, remedy=f"choose one of {', '.join(RULES)}")
        if rule != "shares":
            if shares:
                raise AgreementError(f"contract.revenue has shares beside the rule {rule}")
            return
        whole = all(type(part) is int and part >= 0 for part in shares.values())
        if not whole or shares.keys() != self.parties.keys() or sum(map(int, shares.values())) != WHOLE:
            told = ", ".join(f"{name} {part}" for name, part in shares.items()) or "nobody"
            raise AgreementError(
                f"contract.revenue shares out to {told:.200}", remedy=f"give each party basis points, {WHOLE} in all"
            )


def _is_day(text: object) -> bool:
    try:
        return isinstance(text, str) and date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False
