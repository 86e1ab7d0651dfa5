"""From evidence to a penalty: a file that the ledger proves, as the call of the contract that takes the stake.

The contract checks the same two signatures again, by itself (Ed25519 on chain), and asks no judge. So only evidence is
taken that consists of two signed things which cannot both be true:

    fork                  two heads of the run's log, one size, two roots          slashNotes
    slot, equivocation    two envelopes of one sender for one slot                 slashEnvelopes

Everything else that the ledger proves needs more than that: the plaintext of a sum, an opening, a log as a whole. Its
place is with the regulator and the parties, not with a contract.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ledger.checkpoint import open_checkpoint
from ledger.envelope import Env, Envelope
from ledger.errors import LedgerError
from ledger.evidence import check_evidence
from ledger.evidence.proven import Proven, read
from ledger.policy import Policy
from vfl.errors import UsageError

_NOTES, _ENVELOPES = ("fork",), ("slot", "equivocation")


@dataclass(frozen=True)
class Penalty:
    """What is to be called: `function` with the job, the accused's address, and `values`."""

    proven: Proven
    function: str
    values: tuple[Any, ...]


def penalty_of(data: bytes, policy: Policy, run: str) -> Penalty:
    """The penalty that an evidence file justifies. `run`: whose stakes are meant.

    Raises UsageError where it proves nothing, is of another run, or is not objective.
    """
    try:
        proven = check_evidence(data, policy)
        value: dict[str, Any] = read(data)
    except LedgerError as error:
        raise UsageError(f"the evidence proves nothing: {error}", remedy="nobody is punished for it") from None
    if proven.run != run:
        raise UsageError(f"the evidence is of {proven.run}, not of {run}", remedy="bring it to the contract of its run")
    if proven.kind in _NOTES:
        return Penalty(proven, "slashNotes", _notes(value["notes"], policy, proven.party))
    if proven.kind in _ENVELOPES and all(_is_envelope(one) for one in value["statements"]):
        return Penalty(proven, "slashEnvelopes", _envelopes(value["statements"]))
    kinds = ", ".join((*_NOTES, *_ENVELOPES))
    raise UsageError(
        f"evidence of the kind {proven.kind!r} against {proven.party} is not objective: two signatures do not show it",
        remedy=f"a contract takes {kinds} of signed envelopes; bring this to the regulator or the parties",
    )


def _notes(notes: list[str], policy: Policy, party: str) -> tuple[Any, ...]:
    (key,) = [key for key in policy.logs if key.name == party]
    two = []
    for note in notes:
        signed = open_checkpoint(note, key)
        (line,) = [line for line in signed.note.signatures if line.by(key)]
        two.append((signed.head, (line.blob[:32], line.blob[32:])))
    (first, one), (second, other) = two
    return first.size, first.root, one, second.root, other


def _is_envelope(statement: Any) -> bool:
    return isinstance(statement, dict) and "envelope" in statement


def _envelopes(statements: list[dict[str, Any]]) -> tuple[Any, ...]:
    found: list[Any] = []
    for one in statements:
        said, env = Envelope.from_json(one["envelope"]), Env.from_json(one["env"])
        signature = bytes.fromhex(env.sig)
        found += [(said.slot, said.receiver, said.kind, said.digest, said.size), (signature[:32], signature[32:])]
    return tuple(found)
