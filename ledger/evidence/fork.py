"""Fork: two heads of one log, signed by its key, with one size and two roots.

    {"kind":"fork","notes":["bank/run-7\\n12\\n...","bank/run-7\\n12\\n..."]}

Not provable from two heads of different sizes alone, for the missing consistency proof is not their signer's word;
show an entry that differs under the two (tampering), or the log itself (`python -m ledger verify`).
"""

from __future__ import annotations

from ledger.canonical import Json
from ledger.checkpoint import Checkpoint
from ledger.errors import BadProof, LedgerError, NotConsistent
from ledger.evidence.entries import head_of
from ledger.evidence.proven import Proven, fields, items, read, text, write
from ledger.policy import Policy

KIND = "fork"


def fork_evidence(error: NotConsistent) -> bytes:
    """The two notes of a fork as an evidence file; they prove it alone when their sizes are equal."""
    return write(KIND, {"notes": [error.first, error.second]})


def check(value: dict[str, Json], policy: Policy) -> Proven:
    """Who forked its log; raises a LedgerError when the notes do not show it."""
    notes = items(fields(value, "kind", "notes")["notes"], "notes")
    if len(notes) != 2:
        raise BadProof(f"a fork is two notes, not {len(notes)}")
    a, b = (head_of(text(note, "a note"), policy).head for note in notes)
    if a.origin != b.origin or a.size != b.size or a.root == b.root:
        raise BadProof("the two heads do not contradict each other: that needs one log, one size and two roots")
    party, _, run = a.origin.partition("/")
    first, second = (f"signed head of {head.origin}, size {head.size}, root {head.root.hex()}" for head in (a, b))
    said = f"signed two roots for size {a.size}: {a.root.hex()} and {b.root.hex()}"
    return Proven(party, run, said, kind=KIND, first=first, second=second)


def signed_heads(data: bytes, policy: Policy) -> list[Checkpoint]:
    """The heads in a fork's notes that carry their log's valid signature; empty for other files."""
    try:
        notes = read(data).get("notes")
        return (
            [head_of(note, policy).head for note in notes if isinstance(note, str)] if isinstance(notes, list) else []
        )
    except LedgerError:
        return []
