"""Self-contained proofs that a party signed two things that cannot both be true.

    {"kind":"fork","notes":["bank/run-7\\n12\\n...","bank/run-7\\n12\\n..."]}
    {"certificate":{...},"kind":"slot","statements":[{"env":{...},"envelope":{...}},{"env":{...},"envelope":{...}}]}

Such files travel in a bundle under `artefacts/evidence/`. They accuse the holder of a key, and nobody else: each is
checked from its own bytes and the policy's keys alone.
"""

from __future__ import annotations

from dataclasses import dataclass

from ledger.canonical import Json, decode, encode
from ledger.checkpoint import Checkpoint, open_checkpoint
from ledger.entry import Env, Envelope, verify_envelope
from ledger.errors import BadEntry, BadProof, BadSignature, LedgerError, NotConsistent
from ledger.keys import Certificate
from ledger.note import Note
from ledger.policy import Policy


@dataclass(frozen=True, slots=True)
class Proven:
    """What an evidence file proves: `party` signed two contradicting statements in `run`."""

    party: str
    run: str
    text: str
    slot: str = ""


def fork_evidence(error: NotConsistent) -> bytes:
    """The two notes of a fork as an evidence file; they prove it alone when their sizes are equal."""
    return encode({"kind": "fork", "notes": [error.first, error.second]})


def slot_evidence(certificate: Certificate, first: tuple[Envelope, Env], second: tuple[Envelope, Env]) -> bytes:
    """Two envelopes of one sender for one slot as an evidence file."""
    statements = [{"envelope": envelope.to_json(), "env": env.to_json()} for envelope, env in (first, second)]
    return encode({"kind": "slot", "certificate": certificate.to_json(), "statements": statements})


def check_evidence(data: bytes, policy: Policy) -> Proven:
    """Say what the file proves; raises a LedgerError when it proves nothing."""
    match decode(data):
        case {"kind": "fork", "notes": [str(first), str(second)], **rest} if not rest:
            return _fork(first, second, policy)
        case {"kind": "slot", "certificate": certificate, "statements": [first, second], **rest} if not rest:
            return _slot(Certificate.from_json(certificate), first, second, policy)
    raise BadEntry("evidence is a fork with two notes, or a slot with a certificate and two statements")


def signed_heads(data: bytes, policy: Policy) -> list[Checkpoint]:
    """The heads in a fork's notes that carry their log's valid signature; empty for other files."""
    try:
        value = decode(data)
        notes = value.get("notes") if isinstance(value, dict) else None
        return [_head(text, policy) for text in notes if isinstance(text, str)] if isinstance(notes, list) else []
    except LedgerError:
        return []


def _head(text: str, policy: Policy) -> Checkpoint:
    origin = Checkpoint.parse(Note.parse(text).text).origin
    key = policy.log_key(origin.partition("/")[0])
    if key is None:
        raise BadSignature(f"the policy has no key for the log {origin}")
    return open_checkpoint(text, key).head


def _fork(first: str, second: str, policy: Policy) -> Proven:
    a, b = _head(first, policy), _head(second, policy)
    if a.origin != b.origin or a.size != b.size or a.root == b.root:
        raise BadProof("the two heads do not contradict each other: that needs one log, one size and two roots")
    party, _, run = a.origin.partition("/")
    return Proven(party, run, f"signed two roots for size {a.size}: {a.root.hex()} and {b.root.hex()}")


def _slot(certificate: Certificate, first: Json, second: Json, policy: Policy) -> Proven:
    identity = policy.log_key(certificate.party)
    if identity is None:
        raise BadSignature(f"the policy has no key for {certificate.party}")
    certificate.verify(identity)
    a, b = (_statement(value, certificate) for value in (first, second))
    if a.slot != b.slot or a == b:
        raise BadProof("the two envelopes do not contradict each other: that needs one slot and two statements")
    return Proven(a.sender, a.run, f"signed two statements for it: digests {a.digest} and {b.digest}", a.slot)


def _statement(value: Json, certificate: Certificate) -> Envelope:
    if not isinstance(value, dict) or value.keys() != {"envelope", "env"}:
        raise BadEntry("a statement has the fields `envelope` and `env`")
    envelope = Envelope.from_json(value["envelope"])
    if (envelope.sender, envelope.run) != (certificate.party, certificate.run):
        raise BadSignature(f"the envelope is by {envelope.sender} in {envelope.run}, the certificate is for another")
    verify_envelope(certificate.key, envelope, Env.from_json(value["env"]))
    return envelope
