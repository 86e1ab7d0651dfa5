"""The end of a run without a result, on record: one entry, which every party that remains signs for itself.

    end/0/end/bank>bank/0   local; params {"attempts": 3, "by": "telecom", "state": "cancelled", "why": "..."}

It stands under a signed head, and it is the last one: over a ledger that has it no role begins, whatever other files of
the run may say.
"""

from __future__ import annotations

from dataclasses import dataclass

from ledger.entry import Entry, slot_name
from ledger.log import Log

PHASE = STEP = "end"
LONGEST = 300  # characters of a reason


@dataclass(frozen=True)
class Ended:
    """How a run ended at a party.   state: `aborted` or `cancelled`.   by: from whom it heard so.   at: ISO time.

    attempts: that were begun until then.   seq: the place of the entry in the party's log.
    """

    state: str
    by: str
    why: str
    attempts: int
    at: str
    seq: int


def sign_end(log: Log, state: str, *, by: str, why: str, attempts: int) -> Ended:
    """Put the end on record, durable and under a signed head. One that is there already stays as it is."""
    if (before := ended(log)) is None:
        params = {"attempts": attempts, "by": by, "state": state, "why": why[:LONGEST]}
        entry = log.append(phase=PHASE, round=0, step=STEP, slot=end_slot(log.party), dir="local", params=params)
        before = _read(entry)
    log.checkpoint()
    return before


def ended(log: Log) -> Ended | None:
    """What a log says about the end of its run; None while it goes on, and after a run that gave a model."""
    slot = end_slot(log.party)
    if log.slot_digest(slot) is None:
        return None
    return _read(next(entry for entry in log.entries() if entry.slot == slot))


def end_slot(party: str) -> str:
    """Where a party's log says that its run has ended."""
    return slot_name(PHASE, 0, STEP, party, party)


def _read(entry: Entry) -> Ended:
    said = entry.params
    return Ended(
        state=str(said["state"]),
        by=str(said["by"]),
        why=str(said["why"]),
        attempts=int(str(said["attempts"])),
        at=entry.ts,
        seq=entry.seq,
    )
