"""Tampering: an entry under one signed head of a log is another one, at the same place, under another head of it.

    {"first":ENTRY,"kind":"tampering","second":ENTRY}

Anyone with the policy can check it; witnesses are not needed. It is also how a fork is shown between heads of
different sizes. Not provable: that an entry was left out before the first head was signed.
"""

from __future__ import annotations

from ledger.canonical import Json
from ledger.errors import BadProof
from ledger.evidence.entries import held
from ledger.evidence.proven import Proven, fields, write
from ledger.policy import Policy

KIND = "tampering"


def tampering_evidence(first: Json, second: Json) -> bytes:
    """Two `entry_proof`s of one place in one log as an evidence file."""
    return write(KIND, {"first": first, "second": second})


def check(value: dict[str, Json], policy: Policy) -> Proven:
    """Who changed an entry after a head was signed; raises a LedgerError when the entries do not show it."""
    parts = fields(value, "first", "kind", "second")
    a, b = held(parts["first"], policy), held(parts["second"], policy)
    if (a.entry.log, a.entry.seq) != (b.entry.log, b.entry.seq) or a.body == b.body:
        raise BadProof("the two entries do not contradict each other: that needs one log, one place and two contents")
    text = f"changed entry {a.entry.seq} between two signed heads"
    return Proven(a.entry.actor, a.entry.job, text, a.entry.slot, KIND, str(a), str(b))
