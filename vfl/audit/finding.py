"""What the auditor puts its name to when an answer comes out otherwise: evidence that third parties can weigh.

    {"kind":"reexecution","note":"{...}\\n\\n— regulator ...\\n","statement":{...}}

note       signed by the auditor: one line of canonical JSON with party, run, slot, the digest that the party claimed,
           the one that came out, the digest of the openings that the party signed, and the reason
statement  {"entry":..,"head":..,"path":[..]}: the party's own entry under its signed head
"""

from __future__ import annotations

from ledger.canonical import Json, encode
from ledger.evidence import entry_proof, reexecution_evidence
from ledger.evidence.reexecution import KIND, LABELS
from ledger.keys import Signer
from ledger.merkle import Tree
from ledger.note import sign_note
from vfl.audit.log_record import LogRecord
from vfl.audit.reexecute import Verdict

BY_KIND = {
    KIND: "computed again from what the party committed to before training, this message is another one",
    LABELS: f"{LABELS}: these are not the encrypted gradients of the labels committed to, at the scores so far",
}


def finding(record: LogRecord, verdict: Verdict, openings: str, auditor: Signer, kind: str = KIND) -> bytes:
    """The evidence file, of either kind. `openings`: digest of the signed file of openings, hex."""
    line = {
        "party": record.party,
        "run": record.terms.run,
        "slot": verdict.slot,
        "claimed_digest": verdict.claimed,
        "recomputed_digest": verdict.recomputed,
        "openings_digest": openings,
        "reason": BY_KIND[kind],
    }
    note = sign_note(encode(line).decode() + "\n", [auditor])
    return reexecution_evidence(str(note), statement(record, verdict.slot), kind)


def statement(record: LogRecord, slot: str) -> dict[str, Json]:
    """That the party said what its log has at `slot`: the entry, under the head that it signed."""
    entry = next(one for one in record.entries if one.slot == slot)
    path = Tree(one.leaf() for one in record.entries).inclusion_proof(entry.seq)
    return entry_proof(entry.to_bytes(), str(record.head), path)
