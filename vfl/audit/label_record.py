"""What the audit bundle of a run says of the active party: its commitments, and what it sent as encrypted gradients."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from ledger.entry import Entry
from vfl.agreement import Agreement
from vfl.audit.log_record import LogRecord
from vfl.errors import UsageError

_TREE, _QUERY, _MORE = "TreeBlock", "NodeQuery", "QueryBlock"


@dataclass(frozen=True)
class SentRows:
    """One block of encrypted rows. `slot`, `digest` (hex), `round` (number of the tree) and `peer` of the message.

    query: number among the tree's queries to this peer, -1 where rows are sent once a tree.   block: number in that.
    """

    slot: str
    digest: str
    round: int
    peer: str
    query: int
    block: int


class LabelRecord(LogRecord):
    """The active party's log in a bundle."""

    @classmethod
    def require_audited(cls, agreement: Agreement, party: str) -> None:
        active = agreement.active.name
        if party != active:
            raise UsageError(f"{party!r} holds no labels in this run", remedy=f"name {active}")

    @property
    def peers(self) -> tuple[str, ...]:
        """Who got the encrypted rows."""
        return tuple(member.name for member in self.terms.agreement.passives)

    @cached_property
    def cells(self) -> list[SentRows]:
        """All blocks of encrypted rows, in order."""
        return list(self._cells())

    def _cells(self) -> Iterator[SentRows]:
        once = self.terms.scheme.names_rows
        query: Counter[tuple[int, str]] = Counter()
        block: Counter[tuple[int, str, int]] = Counter()
        for entry in self.entries:
            wanted = entry.step == _TREE if once else entry.step in (_QUERY, _MORE)
            if (entry.phase, entry.dir) != ("train", "send") or not (wanted and entry.payload and entry.peer):
                continue
            tree = entry.round, entry.peer
            query[tree] += entry.step == _QUERY
            at = *tree, query[tree] - 1
            yield SentRows(entry.slot, entry.payload.digest, *at, block[at])
            block[at] += 1

    def to(self, peer: str, phase: str, step: str) -> Entry:
        """The one message of that kind to `peer`. Raises UsageError where there is none, or more."""
        return self._only(phase, step, "send", peer)

    def earlier(self, peer: str) -> str:
        """Where `peer` told its decisions by the model to go on from."""
        return self._only("init", "Decisions", "recv", peer).slot

    def decided(self, peer: str, before: int) -> list[str]:
        """Where `peer` told which rows go left, in trees of a number below `before`."""
        return [
            entry.slot
            for entry in self.entries
            if (entry.phase, entry.dir, entry.step, entry.peer) == ("train", "recv", "SplitRows", peer)
            and entry.round < before
        ]

    def _only(self, phase: str, step: str, way: str, peer: str) -> Entry:
        wanted = (phase, step, way, peer)
        found = [entry for entry in self.entries if (entry.phase, entry.step, entry.dir, entry.peer) == wanted]
        if len(found) != 1:
            raise UsageError(f"the log of {self.party} has {len(found)} messages {step} of {peer}; one is due")
        return found[0]
