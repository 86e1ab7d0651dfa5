"""What the audit bundle of a run says of one passive party: its commitments, and what it answered to what."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from ledger.bundle import Bundle, read_bundle
from ledger.checkpoint import Checkpoint
from ledger.entry import Entry
from ledger.errors import LedgerError
from ledger.note import Note
from vfl.agreement import Agreement
from vfl.commitments import Commitment
from vfl.errors import UsageError
from vfl.terms import GBDT, Terms

BUNDLE = "audit.bundle"
_WITNESS = "/witness"
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


@dataclass(frozen=True)
class PartyRecord:
    """One passive party's log in a bundle. Whether the bundle is valid is for `ledger.verify` to say."""

    terms: Terms
    party: str
    entries: Sequence[Entry]  # under the head
    head: Note

    @classmethod
    def read(cls, path: Path, party: str) -> PartyRecord:
        """From the bundle at `path`, or in the run directory `path`. Raises UsageError where there is none to audit."""
        try:
            return cls.of(read_bundle(path / BUNDLE if path.is_dir() else path), party)
        except LedgerError as error:
            raise UsageError(str(error), remedy=error.remedy or "name an audit bundle or a run directory") from None

    @classmethod
    def of(cls, bundle: Bundle, party: str) -> PartyRecord:
        """The same of a bundle in memory; raises a LedgerError for what cannot be read."""
        logs = bundle.logs()
        text = bundle.members.get("artefacts/agreement.json", b"")
        agreement = Agreement.decode(text)
        passives = [member.name for member in agreement.passives]
        if party not in passives:
            raise UsageError(f"{party!r} answers no queries in this run", remedy=f"name one of {', '.join(passives)}")
        if party not in logs:
            raise UsageError(f"the bundle lacks the log of {party}", remedy="ask for the whole bundle")
        entries = _entries(logs[party].entries)
        if not entries or any(entry.agreement != agreement.digest for entry in entries):
            raise UsageError("the agreement in the bundle is not the one in the log")
        terms = Terms(entries[0].job, agreement)
        if terms.kind != GBDT:
            raise UsageError(f"this run learned a {terms.kind}", remedy="audit a run of boosted trees")
        notes = [Note.parse(note) for _, note in sorted(logs[party].checkpoints.items(), reverse=True)]
        head = next((note for note in notes if any(line.name.endswith(_WITNESS) for line in note.signatures)), None)
        if head is None:
            raise UsageError(f"no head of {party} was cosigned", remedy="audit a finished run")
        return cls(terms, party, entries[: Checkpoint.parse(head.text).size], head)

    @property
    def names(self) -> tuple[str, ...]:
        """The party's features as agreed."""
        return self.terms.agreement.member(self.party).features

    @property
    def active(self) -> str:
        """The party whose queries were answered."""
        return self.terms.agreement.active.name

    @property
    def checkpoint(self) -> Checkpoint:
        """The party's last cosigned head: what fixes the cells that can be drawn."""
        return Checkpoint.parse(self.head.text)

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

    def digest(self, slot: str) -> str:
        """Of the message at `slot`, hex. Raises UsageError where there is none."""
        for entry in self.entries:
            if entry.slot == slot and entry.payload is not None:
                return entry.payload.digest
        raise UsageError(f"the log of {self.party} has no message {slot}")

    def commitment(self, kind: str) -> Commitment:
        """What the party committed to as `kind` before training. Raises UsageError where it did not."""
        for entry in self.entries:
            for item in entry.commit if (entry.phase, entry.step) == ("commit", "aligned") else ():
                match dict(item):
                    case {"kind": found, "alg": str(alg), "digest": str(digest), "count": int(count)} if found == kind:
                        return Commitment(kind, alg, bytes.fromhex(digest), count)
        raise UsageError(f"{self.party} did not commit to {kind} in this run")

    def _only(self, step: str) -> Entry:
        found = [entry for entry in self.entries if (entry.phase, entry.step) == ("bins", step)]
        if len(found) != 1:
            raise UsageError(f"the log of {self.party} has {len(found)} messages {step}; one is due")
        return found[0]


def _entries(lines: bytes) -> list[Entry]:
    return [Entry.from_bytes(body) for body in lines.split(b"\n") if body]
