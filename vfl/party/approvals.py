"""The rule of two: what two persons of a party must both have approved before it happens.

    tallystick-approval-v1
    party bank
    action pins
    subject <SHA-256 of what is approved, or the name of a run>
    time 2026-01-31T12:00:00.000000Z

    — risk O9Ty9M5WzN+aVYu...

An approval is for one thing, once, within a week. A party that has named no approvers asks the person at the keyboard
alone: a first trial has one person, and a rule that must be bypassed on the first day is none. Once it has named two,
only two can change the list.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

from ledger.clock import format_time, parse_time
from ledger.errors import LedgerError
from ledger.keys import Signer, VerifyingKey
from ledger.note import Note, sign_note
from vfl.errors import UsageError
from vfl.files import refusals, write_data
from vfl.party.actions import ACTIONS, NEEDED
from vfl.party.approvers import approvers
from vfl.party.card import Card
from vfl.party.state import APPROVALS, CARD, RUNS, own_card
from vfl.seat import RunFile

LABEL = "tallystick-approval-v1"
VALID = timedelta(days=7)
_USED = "used"


@dataclass(frozen=True)
class Deed:
    """What is approved: one of ACTIONS, and upon what."""

    action: str
    subject: str

    @classmethod
    def promoting(cls, version: str) -> Deed:
        """Have the model of this version decide, about all applicants or a share of them."""
        return cls("promote", version)

    @classmethod
    def trusting(cls, card: Card) -> Deed:
        return cls("pins", sha256(card.note.encode()).hexdigest())

    @classmethod
    def listing(cls, key: VerifyingKey, *, add: bool) -> Deed:
        return cls("approver", sha256(f"{'add' if add else 'remove'} {key.vkey}".encode()).hexdigest())


def approve(state: Path, deed: Deed, signer: Signer, now: datetime) -> Path:
    """A person's word for a deed. Raises UsageError if the person is no approver of the party."""
    own = own_card(state)
    if approvers(state, own.identity).get(signer.name) != signer.verifying:
        raise UsageError(
            f"{signer.name} is no approver of {own.name}",
            remedy="name one with `tallystick party approver add NAME KEYFILE`",
        )
    lines = [LABEL, f"party {own.name}", f"action {deed.action}", f"subject {deed.subject}"]
    note = sign_note("\n".join([*lines, f"time {format_time(now)}", ""]), [signer])
    digest = sha256(str(note).encode()).hexdigest()
    path = state / APPROVALS / f"{deed.action}-{digest[:16]}.txt"
    with refusals(path, "make the folder writable"):
        write_data(path, str(note).encode())
    return path


def approvals_so_far(state: Path, deed: Deed, now: datetime) -> tuple[str, ...] | None:
    """Whose approvals of a deed there are; None where nobody's word is needed."""
    persons, found = _persons(state, deed, now)
    return tuple(found) if len(persons) >= NEEDED else None


@contextmanager
def approved(state: Path, deed: Deed, now: datetime) -> Iterator[tuple[str, ...]]:
    """Do a deed that two persons approved; their names. Raises UsageError if they did not. The approvals are then used.

    Nobody's word is needed, and the names are none, where the party has named no approvers.
    """
    persons, found = _persons(state, deed, now)
    if len(persons) >= NEEDED and len(found) < NEEDED:
        so_far = f"{' and '.join(found)} alone did" if found else "nobody did"
        raise UsageError(
            f"{ACTIONS[deed.action]} must be approved by {NEEDED} of {', '.join(persons)}, and {so_far}",
            remedy=f"each: tallystick party approve {deed.action} WHAT --key FILE; that holds for {VALID.days} days",
        )
    yield tuple(found)
    used = state / APPROVALS / _USED
    with refusals(used, "make the folder writable"):
        used.mkdir(mode=0o700, exist_ok=True)
        for path in found.values():
            path.replace(used / sha256(path.read_bytes()).hexdigest())


@contextmanager
def approved_of_run(directory: Path, action: str, now: datetime) -> Iterator[None]:
    """Do a deed upon a run that two persons of the party approved, if it is one of a party with approvers."""
    state = directory.absolute().parent.parent
    if directory.absolute().parent.name != RUNS or not (state / CARD).exists():
        yield  # a run of one desk, where all parties are at hand
        return
    with approved(state, Deed(action, RunFile.read(directory, needs=()).run), now):
        yield


def _persons(state: Path, deed: Deed, now: datetime) -> tuple[Mapping[str, VerifyingKey], dict[str, Path]]:
    """Who may approve, and the approvals that count: none where the party has named too few."""
    own = own_card(state)
    persons = approvers(state, own.identity)
    return persons, {} if len(persons) < NEEDED else _approvals(state, own.name, deed, persons, now)


def _approvals(
    state: Path, party: str, deed: Deed, persons: Mapping[str, VerifyingKey], now: datetime
) -> dict[str, Path]:
    """The approvals of this deed that count, by person."""
    wanted = [LABEL, f"party {party}", f"action {deed.action}", f"subject {deed.subject}"]
    found: dict[str, Path] = {}
    for path in sorted((state / APPROVALS).glob(f"{deed.action}-*.txt")):
        data = path.read_bytes()
        if (state / APPROVALS / _USED / sha256(data).hexdigest()).exists():
            continue
        try:
            note = Note.parse(data)
            *lines, time = note.text.splitlines()
            age = now.astimezone(UTC) - parse_time(time.removeprefix("time "))
            by = note.verified(persons.values())
        except (LedgerError, ValueError) as error:
            raise UsageError(f"{path} was altered: {error}"[:300], remedy="remove it, and approve again") from None
        if len(note.signatures) == 1 and lines == wanted and timedelta(minutes=-5) <= age <= VALID:
            found |= {key.name: path for key in by}
    return found
