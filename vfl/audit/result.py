"""What an audit found, signed by the auditor: a note of one line of canonical JSON, for a report on the run.

tallystick audit result v1
{"nonce":"..","parties":[{"party":"..","cells":4,"answers":9,"openings":"<SHA-256>","verdicts":[..]}],"run":".."}

— regulator ...
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from ledger.canonical import decode, encode
from ledger.errors import LedgerError
from ledger.keys import Signer, auditor_name
from ledger.note import Note, sign_note
from ledger.policy import Policy
from vfl.errors import UsageError

HEAD = "tallystick audit result v1"


class Compared(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One message computed again; digests in hex."""

    slot: str
    claimed: str
    recomputed: str
    fits: bool


class Audited(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One party: how many of its answers were drawn, the digest of its openings, what came out."""

    party: str
    cells: int
    answers: int
    openings: str
    verdicts: list[Compared]


class AuditResult(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An audit of one run."""

    run: str
    nonce: str
    parties: list[Audited]

    @classmethod
    def of(cls, run: str, nonce: str, parties: Sequence[dict[str, Any]]) -> AuditResult:
        """From what `tallystick audit check` says of each party."""
        kept = [{name: one[name] for name in Audited.__struct_fields__} for one in parties]
        return msgspec.convert({"run": run, "nonce": nonce, "parties": kept}, cls)

    def signed(self, auditor: Signer) -> bytes:
        """The file. Raises UsageError where it would be too long for a note."""
        try:
            return str(sign_note(f"{HEAD}\n{encode(msgspec.to_builtins(self)).decode()}\n", [auditor])).encode()
        except LedgerError as error:
            raise UsageError(f"the result cannot be signed: {error}", remedy="audit fewer --cells at a time") from None


def read_result(path: Path, policy: Policy) -> tuple[str, AuditResult]:
    """Who audited, and what it found. Raises UsageError for anything that no auditor of the policy signed."""
    try:
        note = Note.parse(path.read_bytes())
        signers = note.verified(policy.auditors)
        head, _, line = note.text.partition("\n")
        if not signers or head != HEAD:
            raise UsageError(
                f"{path} is no audit result that an auditor of the policy signed",
                remedy="add the auditor's log line to a policy file of your own, and name that with --policy",
            )
        result = msgspec.convert(decode(line.removesuffix("\n").encode()), AuditResult)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from None
    except (LedgerError, msgspec.ValidationError, ValueError) as error:
        raise UsageError(f"{path} is no audit result: {error}", remedy="write it with `audit check --out`") from None
    return signers[0].name.removesuffix(auditor_name("")), result
