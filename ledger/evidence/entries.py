"""An entry under its log's signed head, and when an independent witness saw that head.

    {"entry":"{..}","head":"bank/run-7\\n12\\n..","path":["0a..",..]}

The head is the word of the log's key in the policy. A witness is independent when it keeps no log in the policy, like
a regulator: a party could date its cosignature as it likes to accuse another.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from ledger.canonical import Json
from ledger.checkpoint import Checkpoint, SignedCheckpoint, open_checkpoint, verify_cosignature
from ledger.clock import parse_time
from ledger.entry import Entry
from ledger.errors import BadProof, BadSignature
from ledger.evidence.proven import fields, text
from ledger.keys import VerifyingKey, witness_name
from ledger.merkle import leaf_hash, proof_from_hex, verify_inclusion
from ledger.note import Note
from ledger.policy import Policy

CLOCK_ERROR = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Held:
    """An entry that its log's signed head covers; made by `held`, so both are checked."""

    entry: Entry
    body: bytes
    signed: SignedCheckpoint

    @property
    def moment(self) -> datetime:
        """The entry's own date."""
        return parse_time(self.entry.ts)

    def __str__(self) -> str:
        head = self.signed.head
        return f"entry {self.entry.seq} of {self.entry.log} (slot {self.entry.slot}) under its head of {head.size}"


def entry_proof(entry: bytes, head: str, path: Sequence[bytes]) -> dict[str, Json]:
    """The object that shows `entry` (its bytes) under the note `head` by its inclusion proof."""
    return {"entry": entry.decode(), "head": head, "path": [node.hex() for node in path]}


def held(value: Json, policy: Policy) -> Held:
    """Check what `entry_proof` gives; raises a LedgerError unless the log's key in the policy vouches for the entry."""
    parts = fields(value, "entry", "head", "path")
    body = text(parts["entry"], "entry").encode()
    signed = head_of(text(parts["head"], "head"), policy)
    path = proof_from_hex(parts["path"])
    entry = Entry.from_bytes(body)
    if entry.log != signed.head.origin:
        raise BadProof(f"the entry is of {entry.log}, the head of {signed.head.origin}")
    verify_inclusion(leaf_hash(body), entry.seq, signed.head.size, path, signed.head.root)
    return Held(entry, body, signed)


def head_of(note: str, policy: Policy) -> SignedCheckpoint:
    """A head signed by its log's key in the policy; raises BadNote or BadSignature."""
    origin = Checkpoint.parse(Note.parse(note).text).origin
    return open_checkpoint(note, log_key(origin.partition("/")[0], policy))


def log_key(party: str, policy: Policy) -> VerifyingKey:
    """The party's key in the policy; raises BadSignature."""
    key = policy.log_key(party)
    if key is None:
        raise BadSignature(f"the policy has no key for the log of {party}")
    return key


def seen(signed: SignedCheckpoint, policy: Policy) -> list[datetime]:
    """When independent witnesses cosigned the head, oldest first; raises BadSignature when one's line is wrong.

    Cosignatures have whole seconds, rounded down.
    """
    parties = {witness_name(party) for party in policy.parties}
    keys = [key for key in policy.witnesses.values() if key.name not in parties]
    lines = [(line, key) for line in signed.note.signatures for key in keys if line.by(key)]
    moments = [verify_cosignature(signed.note.text, line, key) for line, key in lines]
    last = int(datetime.max.replace(tzinfo=UTC).timestamp())
    return sorted(datetime.fromtimestamp(min(moment, last), UTC) for moment in moments)
