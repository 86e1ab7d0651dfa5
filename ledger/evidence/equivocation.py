"""Equivocation: one sender, one run, one slot, two statements.

    {"kind":"equivocation","statements":[PROOF,PROOF]}           any two of the proofs of `words`
    {"certificate":{..},"kind":"slot","statements":[{"env":{..},"envelope":{..}},{..}]}      two envelopes, one key

Anyone with the policy can check it. A message that only its receiver vouches for is not its sender's word and proves
nothing against the sender.
"""

from __future__ import annotations

from ledger.canonical import Json
from ledger.envelope import Env, Envelope
from ledger.errors import BadProof
from ledger.evidence.proven import Proven, fields, items, write
from ledger.evidence.words import Word, said
from ledger.keys import Certificate
from ledger.policy import Policy

KIND = "equivocation"
SLOT_KIND = "slot"


def equivocation_evidence(first: Json, second: Json) -> bytes:
    """Two proofs (`envelope_proof`, `Told.to_json()` or `entry_proof`) of one sender for one slot as a file."""
    return write(KIND, {"statements": [first, second]})


def slot_evidence(certificate: Certificate, first: tuple[Envelope, Env], second: tuple[Envelope, Env]) -> bytes:
    """Two envelopes of one sender for one slot as an evidence file."""
    statements = [{"envelope": envelope.to_json(), "env": env.to_json()} for envelope, env in (first, second)]
    return write(SLOT_KIND, {"certificate": certificate.to_json(), "statements": statements})


def check(value: dict[str, Json], policy: Policy) -> Proven:
    """Who said two things at one slot; raises a LedgerError when the proofs do not show it."""
    first, second = _two(fields(value, "kind", "statements")["statements"])
    return _contradiction(KIND, said(first, policy), said(second, policy))


def check_slot(value: dict[str, Json], policy: Policy) -> Proven:
    """The same for two envelopes under one certificate."""
    parts = fields(value, "certificate", "kind", "statements")
    both = [fields(one, "env", "envelope") for one in _two(parts["statements"])]
    first, second = (said({**one, "certificate": parts["certificate"]}, policy) for one in both)
    return _contradiction(SLOT_KIND, first, second)


def _two(value: Json) -> tuple[Json, Json]:
    statements = items(value, "statements")
    if len(statements) != 2:
        raise BadProof(f"a contradiction is of two statements, not {len(statements)}")
    return statements[0], statements[1]


def _contradiction(kind: str, first: Word, second: Word) -> Proven:
    a, b = first.message, second.message
    if (a.sender, a.run, a.slot) != (b.sender, b.run, b.slot) or a == b:
        raise BadProof("the two statements do not contradict each other: that needs one sender, run and slot")
    told = f"signed two statements for it: digests {a.digest} and {b.digest}"
    return Proven(a.sender, a.run, told, a.slot, kind, str(first), str(second))
