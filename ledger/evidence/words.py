"""Proof that a party said or heard one message, in any of the three forms in which a party gives its word.

    {"certificate":{..},"env":{..},"envelope":{..}}     the sender's envelope, by a key that its identity certified
    {"account":..,"before":..,"head":..,"path":..,..}    an account under a signed head (`ledger.told`)
    {"entry":..,"head":..,"path":..}                     a `send` or `recv` entry under its log's signed head

`seq` is the place in the party's own log that covers the message: that of the account or the entry. An envelope has
none, so it says nothing about when; nor does it name the digest of the `agreement`, as entries do.
"""

from __future__ import annotations

from dataclasses import dataclass

from ledger.canonical import Json
from ledger.entry import Entry
from ledger.envelope import Env, Envelope, verify_envelope
from ledger.errors import BadProof, BadSignature
from ledger.evidence.entries import head_of, held, log_key
from ledger.evidence.proven import fields
from ledger.keys import Certificate
from ledger.policy import Policy
from ledger.told import Told


@dataclass(frozen=True, slots=True)
class Word:
    """`party` vouches for `message`, as its sender or as its receiver."""

    party: str
    message: Envelope
    seq: int | None
    form: str
    by_account: bool = False
    agreement: str = ""

    @property
    def said(self) -> bool:
        """Whether the party speaks of its own message."""
        return self.party == self.message.sender

    def __str__(self) -> str:
        verb = "said" if self.said else "heard"
        m = self.message
        return f"{verb} in {self.form}: {m.kind} of {m.size} bytes to {m.receiver}, digest {m.digest}"


def envelope_proof(envelope: Envelope, env: Env, certificate: Certificate) -> dict[str, Json]:
    """The object that proves what a sender said by the envelope it signed."""
    return {"envelope": envelope.to_json(), "env": env.to_json(), "certificate": certificate.to_json()}


def word(value: Json, policy: Policy) -> Word:
    """Check a proof of one message; raises a LedgerError unless a key of the policy vouches for it."""
    if isinstance(value, dict) and "envelope" in value:
        return _by_envelope(value, policy)
    if isinstance(value, dict) and "entry" in value:
        return _by_entry(value, policy)
    told = Told.from_json(value)
    key = log_key(head_of(told.head, policy).head.origin.partition("/")[0], policy)
    message = told.verify(key)
    entry = Entry.from_bytes(told.account.encode())
    form = f"its account in entry {entry.seq} of {key.name}/{message.run}"
    return Word(key.name, message, entry.seq, form, by_account=True, agreement=entry.agreement)


def said(value: Json, policy: Policy) -> Word:
    """Like `word`, for a message of which the sender itself vouches; else raises BadProof."""
    found = word(value, policy)
    if not found.said:
        raise BadProof(f"{found.party} vouches for having heard {found.message.slot}; its sender's word is needed")
    return found


def _by_envelope(value: Json, policy: Policy) -> Word:
    parts = fields(value, "envelope", "env", "certificate")
    envelope, env = Envelope.from_json(parts["envelope"]), Env.from_json(parts["env"])
    certificate = Certificate.from_json(parts["certificate"])
    certificate.verify(log_key(certificate.party, policy))
    if (envelope.sender, envelope.run) != (certificate.party, certificate.run):
        raise BadSignature(f"the envelope is by {envelope.sender} in {envelope.run}, the certificate is for another")
    verify_envelope(certificate.key, envelope, env)
    return Word(envelope.sender, envelope, None, "a signed envelope")


def _by_entry(value: Json, policy: Policy) -> Word:
    place = held(value, policy)
    entry = place.entry
    return Word(entry.actor, entry.envelope(), entry.seq, str(place), agreement=entry.agreement)
