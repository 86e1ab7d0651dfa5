"""What the pages say of the model beyond what scores: figures of its test, agreement, policy, stand-in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ledger.errors import LedgerError
from ledger.keys import KeyType, VerifyingKey
from vfl.agreement import Agreement
from vfl.errors import UsageError
from vfl.reasons import columns_of, words_of
from vfl.scoring.answers import Model, Outcome


@dataclass(frozen=True)
class Band:
    """Scores from `low` up to, and not with, `high` points (None: no bound), and what is decided about them."""

    name: str
    low: int | None
    high: int | None
    decision: Outcome


@dataclass(frozen=True)
class About:
    """All of it may be left out; the page then has no such part.

    summary: of the run that trained the champion, as in summary.json.   learns: who learns what from a score.
    bands: the safest first.   standin: what scores while a partner is away, in words; empty where the policy refuses.
    witnesses: C2SP key strings of those who cosign the ledger.   applicant, examples: what the form shows as examples
    of an identifier and of values by feature: nobody's own.
    """

    summary: Mapping[str, Any] = field(default_factory=dict)
    agreement: Agreement | None = None
    learns: Sequence[tuple[str, str]] = ()
    bands: Sequence[Band] = ()
    standin: str = ""
    witnesses: Sequence[str] = ()
    applicant: str = ""
    examples: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Raises UsageError for a key that is no witness's."""
        for text in self.witnesses:
            try:
                key = VerifyingKey.parse(text)
            except LedgerError as error:
                raise UsageError(f"a witness of the console: {error}") from None
            if key.kind is not KeyType.COSIGNATURE:
                raise UsageError(f"{key.name} is no witness: its key is of the type of logs", remedy="give a 0x04 key")

    def words(self, model: Model) -> dict[str, list[tuple[str, str]]]:
        """By party, the features of `model` with their words: those of the agreement, else those of their names."""
        agreed = {} if self.agreement is None else {(c.party, c.feature): c.words for c in columns_of(self.agreement)}
        return {
            party: [(name, agreed.get((party, name)) or words_of(name)) for name in names]
            for party, names in model.features.items()
        }

    def quality(self) -> list[tuple[str, Mapping[str, float], Mapping[str, Sequence[float]]]]:
        """Of the joint model and of the active party's alone: name in the summary, metrics, their intervals."""
        metrics, intervals = self.summary.get("metrics", {}), self.summary.get("intervals", {})
        return [
            (name, metrics[name], intervals.get(name, {})) for name in ("federated", "bank_only") if name in metrics
        ]
