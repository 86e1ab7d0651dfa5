"""Back-dating: a party signed an entry with a date that cannot be true within `CLOCK_ERROR` (five minutes).

    {"entry":ENTRY,"kind":"back-dating"}                       dated after an independent witness cosigned its head
    {"entry":ENTRY,"kind":"back-dating","opening":ENTRY}       dated outside the certificate in the log's own entry 0
    {"earlier":ENTRY,"entry":ENTRY,"kind":"back-dating"}       dated, or by `mono`, before an entry that precedes it

Anyone with the policy can check it. It shows that the date is false, not why: a clock that was off by more than five
minutes gives the same proof. Not provable: a date that is wrong by less, one that lies between two witnessed heads
without breaking the order, and anything by the times of witnesses that keep a log themselves.
"""

from __future__ import annotations

from ledger.canonical import Json
from ledger.errors import BadProof
from ledger.evidence.entries import CLOCK_ERROR, Held, held, log_key, seen
from ledger.evidence.proven import Proven, fields, write
from ledger.keys import Certificate
from ledger.policy import Policy

KIND = "back-dating"


def backdating_evidence(entry: Json, *, opening: Json = None, earlier: Json = None) -> bytes:
    """An `entry_proof`, with the log's opening or with an earlier entry of the log where one of them contradicts."""
    more = {"opening": opening} if opening else {"earlier": earlier} if earlier else {}
    return write(KIND, {"entry": entry, **more})


def check(value: dict[str, Json], policy: Policy) -> Proven:
    """Who signed a false date; raises a LedgerError when the file does not show it."""
    parts = fields(value, "entry", "kind", optional=("opening",) if "opening" in value else ("earlier",))
    entry = held(parts["entry"], policy)
    if "opening" in parts:
        other = _outside(entry, held(parts["opening"], policy), policy)
    elif "earlier" in parts:
        other = _before(entry, held(parts["earlier"], policy))
    else:
        other = _ahead(entry, policy)
    dated = f"{entry}, dated {entry.entry.ts}"
    told = f"signed a date that cannot be true: {entry.entry.ts}, but {other}"
    return Proven(entry.entry.actor, entry.entry.job, told, entry.entry.slot, KIND, dated, other)


def _ahead(entry: Held, policy: Policy) -> str:
    moments = seen(entry.signed, policy)
    if not moments or entry.moment <= moments[0] + CLOCK_ERROR:
        raise BadProof("no independent witness cosigned the entry's head clearly before the entry's date")
    return f"an independent witness cosigned its head of {entry.signed.head.size} at {moments[0].isoformat()}"


def _outside(entry: Held, opening: Held, policy: Policy) -> str:
    if opening.entry.log != entry.entry.log or opening.entry.seq != 0:
        raise BadProof("the opening is not entry 0 of the same log")
    certificate = Certificate.from_json(opening.entry.params.get("certificate"))
    certificate.verify(log_key(entry.entry.actor, policy))
    if certificate.run != entry.entry.job or certificate.covers(entry.entry.ts):
        raise BadProof("the entry is dated within the certificate of its run")
    return f"its certificate for the run is valid from {certificate.not_before} to {certificate.not_after}"


def _before(entry: Held, earlier: Held) -> str:
    a, b = earlier.entry, entry.entry
    if a.log != b.log or a.seq >= b.seq:
        raise BadProof("the other entry does not precede this one in the same log")
    if earlier.moment <= entry.moment + CLOCK_ERROR and a.mono <= b.mono:
        raise BadProof("the two entries are dated in order, within the error of clocks")
    return f"the earlier {earlier} is dated {a.ts} (mono {a.mono}; later entry: {b.mono})"
