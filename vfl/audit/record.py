"""What the audit bundle of a run says of one passive party: its commitments, and what it answered to what."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from ledger.entry import Entry
from vfl.agreement import Agreement
from vfl.audit.log_record import LogRecord
from vfl.errors import UsageError

_ROWS, _BINS, _TREE, _QUERY, _MORE, _ANSWER = (
    "TrainingRows",
    "FeatureBins",
    "TreeBlock",
    "NodeQuery",
    "QueryBlock",
    "NodeHistograms",
)


@dataclass(frozen=True)
class Cell:
    """One answered query. `slot`, `digest` (hex) and `round` of the answer; the messages that it answers, in order."""

    slot: str
    digest: str
    round: int
    tree: Sequence[str]
    query: Sequence[str]


class PartyRecord(LogRecord):
    """One passive party's log in a bundle."""

    @classmethod
    def require_audited(cls, agreement: Agreement, party: str) -> None:
        passives = [member.name for member in agreement.passives]
        if party not in passives:
            raise UsageError(f"{party!r} answers no queries in this run", remedy=f"name one of {', '.join(passives)}")

    @property
    def active(self) -> str:
        """The party whose queries were answered."""
        return self.terms.agreement.active.name

    @cached_property
    def cells(self) -> list[Cell]:
        """All answered queries, in order."""
        return list(self._cells())

    def _cells(self) -> Iterator[Cell]:
        tree: list[str] = []
        query: list[str] = []
        round = -1
        for entry in self.entries:
            if entry.phase != "train" or entry.dir == "local":
                continue
            if entry.round != round:
                round, tree = entry.round, []
            if entry.step == _TREE:
                tree.append(entry.slot)
            elif entry.step == _QUERY:
                query = [entry.slot]
            elif entry.step == _MORE:
                query.append(entry.slot)
            elif entry.step == _ANSWER and entry.payload is not None:
                yield Cell(entry.slot, entry.payload.digest, entry.round, tuple(tree), tuple(query))

    @cached_property
    def rows_slot(self) -> str:
        """Where the party was told which rows train."""
        return self._only(_ROWS).slot

    @cached_property
    def bins(self) -> Entry:
        """Where the party said its bins."""
        return self._only(_BINS)

    def _only(self, step: str) -> Entry:
        found = [entry for entry in self.entries if (entry.phase, entry.step) == ("bins", step)]
        if len(found) != 1:
            raise UsageError(f"the log of {self.party} has {len(found)} messages {step}; one is due")
        return found[0]
