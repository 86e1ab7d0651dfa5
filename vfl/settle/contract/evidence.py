"""From a file of evidence to the call that slashes: only what the contract can check by itself, without a judge.

    fork                 two signed heads of one log and size       -> slashNotes
    slot, equivocation   two envelopes of one sender and slot       -> slashEnvelopes

Everything else the ledger can prove needs more than two signatures over short texts: entries under heads, accounts,
payloads, a regulator's clock, an auditor's word. Such evidence is for the members or a court, not for the contract.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ledger.canonical import Json
from ledger.checkpoint import Checkpoint
from ledger.envelope import Env, Envelope
from ledger.evidence import KINDS, check_evidence, equivocation, fork
from ledger.evidence.entries import head_of, log_key
from ledger.evidence.proven import read
from ledger.note import Note
from ledger.policy import Policy
from vfl.errors import UsageError

Halves = tuple[bytes, bytes]  # r and s of an Ed25519 signature


@dataclass(frozen=True, slots=True)
class Penalty:
    """A call of the contract against `party` of `run`; `said` are its arguments after job and the accused's address."""

    function: str
    party: str
    run: str
    said: tuple[Any, ...]

    def arguments(self, job: bytes, accused: str) -> tuple[Any, ...]:
        """All arguments in the order of the ABI; `job` is 32 bytes, `accused` the chain address of `party`."""
        return (job, accused, *self.said)


def penalty(data: bytes, policy: Policy) -> Penalty:
    """The call for an evidence file; raises a LedgerError when it proves nothing, UsageError when a judge is needed."""
    proven = check_evidence(data, policy)
    value = read(data)
    if proven.kind == fork.KIND:
        return Penalty("slashNotes", proven.party, proven.run, _notes(value["notes"], policy))
    statements = value.get("statements")
    if proven.kind in (equivocation.KIND, equivocation.SLOT_KIND) and isinstance(statements, list):
        both = [one for one in statements if isinstance(one, dict) and "envelope" in one]
        if len(both) == 2:
            said = (*_envelope(both[0]), *_envelope(both[1]))
            return Penalty("slashEnvelopes", proven.party, proven.run, said)
    raise UsageError(
        f"the evidence proves that {proven.party} {proven.text}, but the contract cannot check its kind, {proven.kind}",
        remedy="the contract takes two signed heads of one size, or two envelopes of one slot; "
        f"of the {len(KINDS)} kinds the others are for the consortium's members to decide on",
    )


def _notes(notes: Json, policy: Policy) -> tuple[Any, ...]:
    assert isinstance(notes, list), "checked before"
    (first, r1), (second, r2) = (_note(str(note), policy) for note in notes)
    return first.size, first.root, r1, second.root, r2


def _note(text: str, policy: Policy) -> tuple[Checkpoint, Halves]:
    signed = head_of(text, policy)
    key = log_key(signed.head.origin.partition("/")[0], policy)
    line = next(line for line in Note.parse(text).signatures if line.by(key))
    return signed.head, _halves(line.blob)


def _envelope(statement: dict[str, Json]) -> tuple[tuple[str, str, str, str, int], Halves]:
    said, env = Envelope.from_json(statement["envelope"]), Env.from_json(statement["env"])
    return (said.slot, said.receiver, said.kind, said.digest, said.size), _halves(bytes.fromhex(env.sig))


def _halves(signature: bytes) -> Halves:
    return signature[:32], signature[32:]
