"""What the audit bundle of a run says of one party of boosted trees: its log up to the head that it is audited by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Self

from ledger.bundle import Bundle, read_bundle
from ledger.checkpoint import Checkpoint
from ledger.entry import Entry
from ledger.errors import LedgerError
from ledger.note import Note
from ledger.verify_selection import is_selection
from vfl.agreement import Agreement
from vfl.commitments import Commitment
from vfl.errors import UsageError
from vfl.terms import GBDT, Terms

BUNDLE = "audit.bundle"
_WITNESS = "/witness"


@dataclass(frozen=True)
class LogRecord:
    """One party's log in a bundle. Whether the bundle is valid is for `ledger.verify` to say."""

    terms: Terms
    party: str
    entries: Sequence[Entry]  # under the head
    head: Note

    @classmethod
    def read(cls, path: Path, party: str) -> Self:
        """From the bundle at `path`, or in the run directory `path`. Raises UsageError where there is none to audit."""
        try:
            return cls.of(read_bundle(path / BUNDLE if path.is_dir() else path), party)
        except LedgerError as error:
            raise UsageError(str(error), remedy=error.remedy or "name an audit bundle or a run directory") from None

    @classmethod
    def of(cls, bundle: Bundle, party: str) -> Self:
        """The same of a bundle in memory; raises a LedgerError for what cannot be read."""
        logs, agreement = bundle.logs(), Agreement.decode(cls.agreement_in(bundle))
        cls.require_audited(agreement, party)
        if party not in logs:
            raise UsageError(f"the bundle lacks the log of {party}", remedy="ask for the whole bundle")
        entries = [Entry.from_bytes(body) for body in logs[party].entries.split(b"\n") if body]
        if not entries or any(entry.agreement != agreement.digest for entry in entries):
            raise UsageError("the agreement in the bundle is not the one in the log")
        terms = Terms(entries[0].job, agreement)
        if terms.kind != GBDT:
            raise UsageError(
                f"this run learned a {terms.kind}, whose sums are no cells to draw from",
                remedy="audit a run of boosted trees; a party's own folder is computed again by `tallystick replay`",
            )
        notes = [Note.parse(note) for _, note in sorted(logs[party].checkpoints.items(), reverse=True)]
        head = next((note for note in notes if any(line.name.endswith(_WITNESS) for line in note.signatures)), None)
        if head is None:
            raise UsageError(f"no head of {party} was cosigned", remedy="audit a finished run")
        return cls(terms, party, entries[: Checkpoint.parse(head.text).size], head)

    @staticmethod
    def agreement_in(bundle: Bundle) -> bytes:
        """The text of the agreement. Raises UsageError for a bundle of another form, or without it."""
        if is_selection(bundle):
            raise selective()
        text = bundle.members.get("artefacts/agreement.json", b"")
        if not text:
            raise UsageError("the bundle lacks artefacts/agreement.json", remedy="ask for the whole bundle")
        return text

    @classmethod
    def require_audited(cls, agreement: Agreement, party: str) -> None:
        """Raise UsageError unless a party of that name has this kind of record."""
        raise NotImplementedError

    @property
    def names(self) -> tuple[str, ...]:
        """The party's features as agreed."""
        return self.terms.agreement.member(self.party).features

    @property
    def checkpoint(self) -> Checkpoint:
        """The party's last cosigned head: what fixes the cells that can be drawn."""
        return Checkpoint.parse(self.head.text)

    def digest(self, slot: str) -> str:
        """Of the message at `slot`, hex. Raises UsageError where there is none."""
        for entry in self.entries:
            if entry.slot == slot and entry.payload is not None:
                return entry.payload.digest
        raise UsageError(f"the log of {self.party} has no message {slot}")

    def has_committed(self, kind: str) -> bool:
        """Whether the party committed to something as `kind` before training."""
        return kind in self._committed

    def commitment(self, kind: str) -> Commitment:
        """What it committed to as `kind`. Raises UsageError where it did not."""
        if kind not in self._committed:
            raise UsageError(f"{self.party} did not commit to {kind} in this run")
        return self._committed[kind]

    @cached_property
    def _committed(self) -> dict[str, Commitment]:
        made: dict[str, Commitment] = {}
        for entry in self.entries:
            for item in entry.commit if (entry.phase, entry.step) == ("commit", "aligned") else ():
                match dict(item):
                    case {"kind": str(kind), "alg": str(alg), "digest": str(digest), "count": int(count)}:
                        made.setdefault(kind, Commitment(kind, alg, bytes.fromhex(digest), count))
        return made


def selective() -> UsageError:
    """Why a selective bundle is not audited."""
    return UsageError(
        "this bundle is selective: cells are drawn from whole logs, else whoever made it would choose them",
        remedy="ask for the whole bundle: audit.bundle of the run",
    )
