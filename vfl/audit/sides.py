"""What is audited of which party: of a partner its answers, of the active party the encrypted rows that it sent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ledger.bundle import Bundle, read_bundle
from ledger.errors import LedgerError
from ledger.evidence.reexecution import KIND, LABELS
from vfl.agreement import Agreement
from vfl.audit.drawing import draw
from vfl.audit.label_openings import LabelOpenings, open_labels
from vfl.audit.label_record import LabelRecord
from vfl.audit.labels_again import relabel
from vfl.audit.log_record import BUNDLE, LogRecord
from vfl.audit.openings import Openings, open_cells
from vfl.audit.record import PartyRecord
from vfl.audit.reexecute import Verdict, reexecute
from vfl.errors import AgreementError, UsageError


@dataclass(frozen=True)
class Computed:
    """What came out again.

    verdicts: of every message computed.   cells: how many of them were drawn.   left_out: drawn, of trees that the
    model does not keep.   total: all that could be drawn.
    """

    verdicts: Sequence[Verdict]
    cells: int
    left_out: int
    total: int


@dataclass(frozen=True)
class Answers:
    """A partner: its bins, and drawn answers."""

    record: PartyRecord
    kind: str = KIND
    what: str = "answers"

    def slots(self, nonce: bytes, count: int) -> list[str]:
        """The drawn cells."""
        return [cell.slot for cell in draw(self.record, nonce, count)]

    def open(self, folder: Path, nonce: bytes, count: int) -> bytes:
        """The openings of the drawn cells from the party's own folder."""
        return open_cells(folder, self.record, draw(self.record, nonce, count)).encode()

    def compute(self, content: bytes, nonce: bytes, count: int) -> Computed:
        """The drawn cells again. Raises BrokenPromise for openings that do not fit the ledger."""
        cells = draw(self.record, nonce, count)
        verdicts = reexecute(self.record, Openings.decode(content, self.record.party), cells)
        return Computed(verdicts, len(cells), 0, len(self.record.cells))


@dataclass(frozen=True)
class Labels:
    """The active party: drawn blocks of encrypted rows. `agreed`: rows that partners were shown, 0 if not known."""

    record: LabelRecord
    agreed: int
    kind: str = LABELS
    what: str = "blocks of encrypted rows"

    def slots(self, nonce: bytes, count: int) -> list[str]:
        """The drawn cells."""
        return [cell.slot for cell in draw(self.record, nonce, count)]

    def open(self, folder: Path, nonce: bytes, count: int) -> bytes:
        """The openings of the drawn cells from the party's own folder."""
        return open_labels(folder, self.record, draw(self.record, nonce, count), self.agreed).encode()

    def compute(self, content: bytes, nonce: bytes, count: int) -> Computed:
        """The drawn cells again. Raises BrokenPromise for openings that do not fit the ledger."""
        cells = draw(self.record, nonce, count)
        verdicts = relabel(self.record, LabelOpenings.decode(content, self.record.party), cells)
        return Computed(verdicts, len(verdicts), len(cells) - len(verdicts), len(self.record.cells))


def side_of(path: Path, party: str) -> Answers | Labels:
    """What is audited of `party` by the bundle at `path`, or in the run directory `path`.

    Raises UsageError where there is nothing to audit.
    """
    try:
        bundle = read_bundle(path / BUNDLE if path.is_dir() else path)
        return _side(bundle, party)
    except (LedgerError, AgreementError) as error:
        raise UsageError(str(error), remedy=error.remedy or "name an audit bundle or a run directory") from None


def _side(bundle: Bundle, party: str) -> Answers | Labels:
    agreement = Agreement.decode(LogRecord.agreement_in(bundle))
    names = [member.name for member in agreement.members]
    if party not in names:
        raise UsageError(f"no party {party!r} in this run", remedy=f"name one of {', '.join(names)}")
    if party != agreement.active.name:
        return Answers(PartyRecord.of(bundle, party))
    record, partner = LabelRecord.of(bundle, party), agreement.passives[0]
    theirs = PartyRecord.of(bundle, partner.name) if partner.name in bundle.logs() else None
    agreed = theirs.commitment(f"column/{partner.features[0]}").count if theirs and partner.features else 0
    return Labels(record, agreed)
