"""What parties agree about money: how a partner's data is valued, what a decision costs, what a lie costs.

    [settlement]
    value = "profit"             # of a coalition, at the cut-off: "profit", or "bad-rate", the fall of the rate of bads
    approve = 0.8                # the cut-off: the share of applicants approved, those of the lowest probability first
    profit_good = 25000          # in minor units of the currency (cents): what an approved good one earns
    loss_bad = 150000            # what an approved bad one costs
    label_owner = "payer"        # the active party pays and earns nothing; as "player" it has a share as well
    price = 40                   # of a decision, in minor units
    currency = "EUR"
    stake = 1000000              # that each party locks for a run, in minor units
    period = "month"             # of payments: "month" or "year"
    dispute_hours = 72           # to dispute proposed shares
    respond_hours = 48           # to answer a challenge
    similarity = 0.9             # parties whose columns explain each other's so well are paid once
    in_cluster = "equal"         # how those share; "first": whoever stands first in the agreement
    [settlement.entities]        # the legal entity of each party; default: each is its own
    telecom = "Telecom Holding"

Every default is written once, below. An agreement without the clause settles nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from vfl.errors import AgreementError

VALUES = ("profit", "bad-rate")
LABEL_OWNERS = ("payer", "player")
PERIODS = ("month", "year")
IN_CLUSTER = ("equal", "first")
_MOST = 10**15  # minor units
WORDS: Mapping[str, tuple[str, ...]] = {
    "value": VALUES, "label_owner": LABEL_OWNERS, "period": PERIODS, "in_cluster": IN_CLUSTER,
}  # fmt: skip
WHOLE: Mapping[str, range] = {
    "profit_good": range(_MOST), "loss_bad": range(_MOST), "price": range(1, _MOST), "stake": range(1, _MOST),
    "dispute_hours": range(1, 8_785), "respond_hours": range(1, 8_785),
}  # fmt: skip
REAL: Mapping[str, tuple[float, float]] = {"approve": (0.01, 0.99), "similarity": (0.5, 1.0)}
"""WORDS, WHOLE, REAL: by key what a value may be; of REAL both ends are allowed."""
CURRENCY = re.compile("[A-Z]{3}")


@dataclass(frozen=True)
class Settlement:
    """The clause. Amounts are minor units of `currency`; keys as above."""

    value: str = "profit"
    approve: float = 0.8
    profit_good: int = 25_000
    loss_bad: int = 150_000
    label_owner: str = "payer"
    price: int = 40
    currency: str = "EUR"
    stake: int = 1_000_000
    period: str = "month"
    dispute_hours: int = 72
    respond_hours: int = 48
    similarity: float = 0.9
    in_cluster: str = "equal"
    entities: Mapping[str, str] = field(default_factory=dict)

    def entity(self, party: str) -> str:
        """The legal entity that a party is of."""
        return self.entities.get(party, party)

    def to_json(self) -> dict[str, Any]:
        """What `from_json` reads."""
        return {**asdict(self), "entities": dict(self.entities)}

    @classmethod
    def from_json(cls, body: Any) -> Settlement:
        """Read what `to_json` gave. Raises AgreementError."""
        names = {each.name for each in fields(cls)}
        if not isinstance(body, dict) or body.keys() != names:
            given = set(map(str, body)) if isinstance(body, dict) else set()
            raise AgreementError(f"settlement lacks or should not have: {', '.join(sorted(given ^ names))[:200]}")
        found = cls(**body)
        found.check()
        return found

    def check(self) -> None:
        """Raise AgreementError naming what cannot be what it says."""
        own = vars(self)
        right = {
            **{key: own[key] in allowed for key, allowed in WORDS.items()},
            **{key: type(own[key]) is int and own[key] in allowed for key, allowed in WHOLE.items()},
            **{key: type(own[key]) is float and low <= own[key] <= high for key, (low, high) in REAL.items()},
            "currency": isinstance(self.currency, str) and bool(CURRENCY.fullmatch(self.currency)),
            "entities": isinstance(self.entities, Mapping)
            and all(isinstance(text, str) and text.strip() for pair in self.entities.items() for text in pair),
        }  # fmt: skip
        for key, is_right in right.items():
            if not is_right:
                raise AgreementError(f"settlement.{key} is {own[key]!r:.80}")
