"""Re-execution: an auditor computed again what a party said, from what the party opened, and got something else.

    {"kind":"reexecution","note":NOTE,"statement":PROOF}
    {"kind":"flipped-labels","note":NOTE,"statement":PROOF}

NOTE is signed by a key that the policy calls an auditor's (`NAME/auditor`). Its text is one line of canonical JSON:

    {"claimed_digest":"..","openings_digest":"..","party":"..","reason":"..","recomputed_digest":"..","run":"..","slot":".."}

The former covers swapped bins and substituted columns: of what a party answered. The latter is of what the holder of
labels sent as their encrypted gradients; its reason begins with the kind, so that the auditor signed that too. The
statement is the accused's own word; the finding is
the auditor's, and as good as the auditor: whoever holds the openings can compute again, all others take its word. So
the policy must name the auditor as one; the key of a party's log does not do, or partners could convict each other.
Not provable: data that were false before they were committed to.
"""

from __future__ import annotations

import re

from ledger.canonical import Json, decode
from ledger.errors import BadEntry, BadProof, BadSignature
from ledger.evidence.proven import Proven, fields, text, write
from ledger.evidence.words import said
from ledger.keys import auditor_name
from ledger.note import Note
from ledger.policy import Policy

KIND, LABELS = "reexecution", "flipped-labels"
_FIELDS = ("claimed_digest", "openings_digest", "party", "reason", "recomputed_digest", "run", "slot")
_DIGEST = re.compile(r"(?:[0-9a-f]{2}){16,64}", re.ASCII)


def reexecution_evidence(note: str, statement: Json, kind: str = KIND) -> bytes:
    """An auditor's signed finding and the proof (`words`) of what the accused said."""
    return write(kind, {"note": note, "statement": statement})


def check(value: dict[str, Json], policy: Policy) -> Proven:
    """Whose statement was recomputed otherwise, and by whom; raises a LedgerError when the file does not show it."""
    parts = fields(value, "kind", "note", "statement")
    kind, note = text(parts["kind"], "kind"), Note.parse(text(parts["note"], "note"))
    found = _finding(note.text)
    if (kind == LABELS) != found["reason"].startswith(f"{LABELS}: "):
        raise BadProof(f"the finding is not one of {kind}")
    statement = said(parts["statement"], policy)
    message = statement.message
    auditors = note.verified(key for key in policy.auditors if key.name != auditor_name(message.sender))
    if not auditors:
        raise BadSignature("none whom the policy calls an auditor, other than the accused, signed the finding")
    claimed = (found["party"], found["run"], found["slot"], found["claimed_digest"])
    if claimed != (message.sender, message.run, message.slot, message.digest):
        raise BadProof("the finding is not about the statement")
    recomputed, openings = found["recomputed_digest"], found["openings_digest"]
    if recomputed == message.digest:
        raise BadProof("the finding confirms the statement")
    names = ", ".join(key.name for key in auditors)
    told = f"said digest {message.digest}; {names} recomputed {recomputed}: {found['reason']}"
    second = f"finding of {names}: digest {recomputed} from openings {openings}"
    return Proven(message.sender, message.run, told, message.slot, kind, str(statement), second)


def _finding(line: str) -> dict[str, str]:
    found = {
        name: text(item, name) for name, item in fields(decode(line.removesuffix("\n").encode()), *_FIELDS).items()
    }
    for name in ("claimed_digest", "openings_digest", "recomputed_digest"):
        if not _DIGEST.fullmatch(found[name]):
            raise BadEntry(f"{name} of a finding is a digest in lowercase hex, not {found[name]!r:.80}")
    return found
