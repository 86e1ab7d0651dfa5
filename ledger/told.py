"""Proof that a party said, or heard, one message, from a head that it signed: what an account is good for.

    {"account":"{..}","before":"e3..","head":"bank/run-7\\n12\\n..","path":["0a..",..],"statements":[{"bytes":..},..]}

head        a checkpoint note signed by the party
account     the account entry under it, as text, and its inclusion `path`
before      running digest before the message that is proven
statements  of that message and of those that followed it in the same direction, up to the account

Whoever has the party's identity key checks it alone; nothing is learned but the statements in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256

from ledger.account import Account, account_of
from ledger.canonical import Json
from ledger.checkpoint import open_checkpoint
from ledger.entry import Entry
from ledger.envelope import Envelope
from ledger.errors import BadProof, BadSignature
from ledger.keys import VerifyingKey
from ledger.merkle import leaf_hash, proof_from_hex, verify_inclusion

_FIELDS = {"account", "before", "head", "path", "statements"}


@dataclass(frozen=True, slots=True)
class Told:
    """An account under a signed head, and the statements that lead to one of its two digests."""

    head: str
    account: str
    path: Sequence[bytes]
    before: bytes
    statements: Sequence[Envelope]

    def verify(self, party: VerifyingKey) -> Envelope:
        """The proven statement: the first one. Raises a LedgerError unless `party`, the log's key, vouches for it."""
        signed = open_checkpoint(self.head, party)
        entry = Entry.from_bytes(self.account.encode())
        if signed.head.origin != entry.log or entry.actor != party.name:
            raise BadSignature(f"the account is of {entry.log}, the head of {signed.head.origin}")
        verify_inclusion(leaf_hash(self.account.encode()), entry.seq, signed.head.size, self.path, signed.head.root)
        account = account_of(entry)
        if account is None or not self.statements:
            raise BadProof(f"entry {entry.seq} of {entry.log} is no account, or nothing is stated")
        ends = {(one.run, one.sender, one.receiver) for one in self.statements}
        if len(ends) != 1 or {account.peer, entry.actor} != {self.statements[0].sender, self.statements[0].receiver}:
            raise BadProof("the statements are not of one direction of the conversation that the account is about")
        if self.statements[0].run != entry.job:
            raise BadProof(f"the statements are of run {self.statements[0].run}, the account of {entry.job}")
        said = self.statements[0].sender == entry.actor
        if _running(self.before, self.statements) != (account.said_digest if said else account.heard_digest):
            raise BadProof(f"the statements do not lead to the digest in entry {entry.seq} of {entry.log}")
        return self.statements[0]

    def to_json(self) -> dict[str, Json]:
        """The object of an evidence file."""
        return {
            "head": self.head,
            "account": self.account,
            "path": [node.hex() for node in self.path],
            "before": self.before.hex(),
            "statements": [one.to_json() for one in self.statements],
        }

    @classmethod
    def from_json(cls, value: Json) -> Told:
        """Read what `to_json` gives; raises BadProof or BadEntry. Proves nothing: call `verify`."""
        if isinstance(value, dict) and value.keys() == _FIELDS:
            head, account, path = value["head"], value["account"], value["path"]
            statements, before = value["statements"], value["before"]
            if isinstance(head, str) and isinstance(account, str) and isinstance(statements, list):
                (digest,) = proof_from_hex([before])
                nodes = proof_from_hex(path)
                return cls(head, account, nodes, digest, [Envelope.from_json(one) for one in statements])
        raise BadProof(f"a proof of a message has the fields {', '.join(sorted(_FIELDS))}")


def told_by(head: str, account: str, path: Sequence[bytes], own: Iterable[Entry], slot: str) -> Told:
    """Prove the message at `slot` by a peer's head and account; `own`: the entries of the log that also holds it.

    Raises BadProof when the message is not among those of the account.
    """
    entry = Entry.from_bytes(account.encode())
    told = account_of(entry)
    if told is None:
        raise BadProof(f"entry {entry.seq} of {entry.log} is no account")
    messages = [one.envelope() for one in own if one.peer == entry.actor]
    here = next((one for one in messages if one.slot == slot), None)
    if here is None:
        raise BadProof(f"this log holds no message {slot} with {entry.actor}")
    alike = [one for one in messages if one.sender == here.sender]
    count = told.said if here.sender == entry.actor else told.heard
    place = alike.index(here)
    before = _running(Account("").said_digest, alike[:place])
    if place >= count:
        raise BadProof(f"{slot} is message {place + 1}, the account of {entry.actor} ends with {count}")
    return Told(head, account, path, before, alike[place:count])


def _running(digest: bytes, statements: Iterable[Envelope]) -> bytes:
    for one in statements:
        digest = sha256(digest + one.message()).digest()
    return digest
