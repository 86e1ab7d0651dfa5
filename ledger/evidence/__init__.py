"""Self-contained proofs that a party signed what cannot be true: files that accuse a key's holder, and nobody else.

    {"kind":"fork","notes":["bank/run-7\\n12\\n...","bank/run-7\\n12\\n..."]}

Each kind has a module with a builder and a `check`. A file is canonical JSON of at most 64 MiB, names party, run, slot
and the two contradicting objects, and is checked from its own bytes and the policy's keys alone. Such files travel in
a bundle under `artefacts/evidence/`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ledger.canonical import Json
from ledger.errors import BadEntry
from ledger.evidence import equivocation, fork, tampering
from ledger.evidence.entries import entry_proof
from ledger.evidence.equivocation import equivocation_evidence, slot_evidence
from ledger.evidence.fork import fork_evidence, signed_heads
from ledger.evidence.proven import MAX_EVIDENCE, Proven, read
from ledger.evidence.tampering import tampering_evidence
from ledger.evidence.words import envelope_proof
from ledger.policy import Policy

KINDS: Mapping[str, Callable[[dict[str, Json], Policy], Proven]] = {
    equivocation.KIND: equivocation.check,
    equivocation.SLOT_KIND: equivocation.check_slot,
    fork.KIND: fork.check,
    tampering.KIND: tampering.check,
}

__all__ = [
    "KINDS",
    "MAX_EVIDENCE",
    "Proven",
    "check_evidence",
    "entry_proof",
    "envelope_proof",
    "equivocation_evidence",
    "fork_evidence",
    "signed_heads",
    "slot_evidence",
    "tampering_evidence",
]


def check_evidence(data: bytes, policy: Policy) -> Proven:
    """Say what the file proves; raises a LedgerError when it proves nothing."""
    value = read(data)
    check = KINDS.get(str(value["kind"]))
    if check is None:
        raise BadEntry(f"evidence of the kind {value['kind']!r:.60} is unknown; there are {', '.join(sorted(KINDS))}")
    return check(value, policy)
