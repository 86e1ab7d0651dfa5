"""Settlement ledgers: one per party, in which everything about value and money of a run is put on record.

PARTY/settlement/book.sqlite     log PARTY/settle-<first 12 hex digits of SHA-256(run)>, local entries of phase `settle`

    genesis   of the label owner: the contract's code by digest, its members and windows, every party's address
    value     of the label owner: digests of contribution.json and shares.json, seed, shares
    monitor   of the label owner: masked shares (`vfl.settle.monitoring`)
    usage     of the label owner: decisions of a period, and what they cost
    call      of whoever calls the contract: function, and the call's data in hex
    order     of the label owner: which calls come next, each by party and entry
    state     of everybody: how many calls were played so far, and the digest of what came of them

Heads are cosigned by all others after each round, so that the order of calls is everybody's. Whoever disagrees about
what came of them has signed so.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

from ledger.entry import Entry, slot_name
from ledger.keys import Identity
from ledger.log import Log
from ledger.witness import Witness
from vfl.clock import Clock
from vfl.errors import UsageError
from vfl.notary import SET_BACK
from vfl.own_ledger import open_store, own_ledger
from vfl.seat import RunFile, identity_of, read_seed

FOLDER, FILE, PHASE = "settlement", "book.sqlite", "settle"
GENESIS, VALUE, USAGE, CALL, ORDER, STATE = "genesis", "value", "usage", "call", "order", "state"
MONITOR = "monitor"
_YEARS = timedelta(days=3650)  # that a book may be written in: payments go on as long as the model is used


def job_of(run: str) -> str:
    """The name under which the parties of a run keep their settlement ledgers."""
    return f"settle-{sha256(run.encode()).hexdigest()[:12]}"


class Book:
    """One party's."""

    def __init__(self, seat: Path, identity: Identity, run: str, agreement: str, clock: Clock) -> None:
        """`seat`: the party's folder. Raises UsageError where the file is damaged."""
        self.party, job, now = identity.name, job_of(run), clock.now()
        (seat / FOLDER).mkdir(parents=True, exist_ok=True)
        self.store = open_store(seat / FOLDER / FILE, f"{identity.name}/{job}")
        with own_ledger():
            self.log = Log(
                self.store, identity, identity.name, job, clock, entry_key=identity.entry_key(job),
                certificate=identity.certify(job, now - SET_BACK, now + _YEARS), agreement=agreement,
                sign_messages=False,
            )  # fmt: skip
        self.witness = Witness(identity, self.store, clock)

    def note(self, step: str, params: Mapping[str, object], commit: Sequence[Mapping[str, object]] = ()) -> Entry:
        """Put something on record; durable at the next countersigning."""
        me, log = self.party, self.log
        with own_ledger():
            slot = slot_name(PHASE, 0, step, me, me, n=len(log))
            return log.append(
                phase=PHASE, round=0, step=step, slot=slot, dir="local", commit=list(commit), params=params
            )  # fmt: skip

    def entries(self, *steps: str) -> Iterator[Entry]:
        """Those of these steps, in their order."""
        with own_ledger():
            found = [entry for entry in self.log.entries() if entry.phase == PHASE and entry.step in steps]
        return iter(found)


class Books:
    """The books of all parties of a run on one desk. `leader`: of the label owner, who says what comes when."""

    def __init__(self, books: Mapping[str, Book], leader: str) -> None:
        self.by_party, self.leader = books, books[leader]

    def __getitem__(self, party: str) -> Book:
        return self.by_party[party]

    def commit(self) -> None:
        """What was noted is durable, and among the entries, when this returns."""
        with own_ledger():
            for book in self.by_party.values():
                book.log.commit()

    @property
    def countersigned(self) -> bool:
        """Whether all that is on record was signed and cosigned; not so after a kill."""
        with own_ledger():
            for book in self.by_party.values():
                for other in (each.witness.key for each in self.by_party.values() if each is not book):
                    head = book.log.last_cosigned_by(other)
                    if head is None or head.size < len(book.log):
                        return False
        return True

    def countersign(self) -> None:
        """Every party signs its head, and all others cosign it. Raises UsageError where a book was changed."""
        with own_ledger():
            for book in self.by_party.values():
                log, text = book.log, book.log.checkpoint()
                others = [each.witness for each in self.by_party.values() if each is not book]
                lines = [w.cosign(text, log.consistency_proof(w.size(log.origin), len(log)), log.key) for w in others]
                log.add_cosignatures(len(log), lines, [witness.key for witness in others])
                log.commit()


@contextmanager
def open_books(directory: Path, file: RunFile, clock: Clock) -> Iterator[Books]:
    """The books of a run whose parties are all on this machine. Raises UsageError where one is elsewhere."""
    for name in file.keys:
        if not (directory / name / "seed").exists():
            raise UsageError(
                f"{directory} has no seed of {name}",
                remedy="name the directory of a simulated run whose seeds were not purged",
            )
    with ExitStack() as ends:
        books: dict[str, Book] = {}
        for name in file.keys:
            identity = identity_of(name, read_seed(directory / name))
            books[name] = Book(directory / name, identity, file.run, file.agreement.digest, clock)
            ends.callback(books[name].store.close)
        yield Books(books, file.agreement.active.name)


def item(kind: str, name: str, digest: str) -> dict[str, Any]:
    """A commitment of an entry to a file of the bundle."""
    return {"kind": kind, "name": name, "alg": "sha256", "digest": digest}
