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
from ledger.evidence import (
    backdating,
    closure,
    denial,
    equivocation,
    fork,
    malformed,
    order,
    reexecution,
    replay,
    silence,
    tampering,
    wrong_digest,
)
from ledger.evidence.backdating import backdating_evidence
from ledger.evidence.closure import closure_evidence
from ledger.evidence.conversation import conversation_proof
from ledger.evidence.denial import denial_evidence
from ledger.evidence.entries import entry_proof
from ledger.evidence.equivocation import equivocation_evidence, slot_evidence
from ledger.evidence.fork import fork_evidence, signed_heads
from ledger.evidence.malformed import malformed_evidence
from ledger.evidence.order import order_evidence, shrunk_evidence
from ledger.evidence.proven import MAX_EVIDENCE, Proven, read
from ledger.evidence.reexecution import reexecution_evidence
from ledger.evidence.replay import replay_evidence
from ledger.evidence.shown import shown_message
from ledger.evidence.silence import dropping_out_evidence, selective_abort_evidence
from ledger.evidence.tampering import tampering_evidence
from ledger.evidence.words import envelope_proof
from ledger.evidence.wrong_digest import wrong_digest_evidence
from ledger.policy import Policy

KINDS: Mapping[str, Callable[[dict[str, Json], Policy], Proven]] = {
    backdating.KIND: backdating.check,
    closure.KIND: closure.check,
    denial.KIND: denial.check,
    equivocation.KIND: equivocation.check,
    equivocation.SLOT_KIND: equivocation.check_slot,
    fork.KIND: fork.check,
    malformed.KIND: malformed.check,
    order.KIND: order.check,
    reexecution.KIND: reexecution.check,
    reexecution.LABELS: reexecution.check,
    replay.KIND: replay.check,
    silence.ABORTED: silence.check_aborted,
    silence.DROPPED: silence.check_dropped,
    tampering.KIND: tampering.check,
    wrong_digest.KIND: wrong_digest.check,
}

__all__ = [
    "KINDS",
    "MAX_EVIDENCE",
    "Proven",
    "backdating_evidence",
    "check_evidence",
    "closure_evidence",
    "conversation_proof",
    "denial_evidence",
    "dropping_out_evidence",
    "entry_proof",
    "envelope_proof",
    "equivocation_evidence",
    "fork_evidence",
    "malformed_evidence",
    "order_evidence",
    "reexecution_evidence",
    "replay_evidence",
    "selective_abort_evidence",
    "shown_message",
    "shrunk_evidence",
    "signed_heads",
    "slot_evidence",
    "tampering_evidence",
    "wrong_digest_evidence",
]


def check_evidence(data: bytes, policy: Policy) -> Proven:
    """Say what the file proves; raises a LedgerError when it proves nothing."""
    value = read(data)
    check = KINDS.get(str(value["kind"]))
    if check is None:
        raise BadEntry(f"evidence of the kind {value['kind']!r:.60} is unknown; there are {', '.join(sorted(KINDS))}")
    return check(value, policy)
