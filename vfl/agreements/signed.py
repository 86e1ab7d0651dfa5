"""An agreement with its signatures: the file that companies pass around.

    {"format": "tallystick-agreement-v1", "agreement": {...}, "signatures": ["— bank O9Ty..", "— telecom iIx3.."]}

Every signature is a line of a signed note (c2sp.org/signed-note) over the text

    tallystick-agreement-v1
    SHA-256 of the agreement's canonical bytes, hex

The file has one form: what the program would not have written in the same way is refused, so that nobody reads another
text than was signed.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from pathlib import Path

from ledger.errors import LedgerError
from ledger.keys import KeyType, PublicIdentity, Signer, VerifyingKey, witness_name
from ledger.note import SignatureLine, sign_note
from vfl.agreement import Agreement, require_same
from vfl.agreements.leakage import require_allowed
from vfl.agreements.soundness import require_sound
from vfl.clauses import Contract
from vfl.errors import AgreementError
from vfl.files import refusals, write_data

FORMAT = "tallystick-agreement-v1"
MOST_BYTES = 2_000_000


@dataclass(frozen=True)
class SignedAgreement:
    """An agreement and who has signed it so far; nothing is believed before `verify`."""

    agreement: Agreement
    signatures: tuple[SignatureLine, ...] = ()

    @classmethod
    def decode(cls, data: bytes) -> SignedAgreement:
        """Read a file. Raises AgreementError unless it is whole, in its one form, and a run can follow it."""
        try:
            body = json.loads(data) if len(data) <= MOST_BYTES else {}
            text = json.dumps(body["agreement"], sort_keys=True, separators=(",", ":"), ensure_ascii=False)
            lines = tuple(SignatureLine.parse(f"{line}\n") for line in body["signatures"])
            found = cls(Agreement.decode(text.encode()), lines)
            same = found.encode() == data
        except AgreementError:
            raise
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError, LedgerError) as error:
            raise AgreementError(f"not a file of `tallystick agreement`: {error!r}"[:300]) from None
        if not same:
            raise AgreementError(
                "the agreement is not written as this program writes it: it was edited, or a line was added",
                remedy="draft and sign with `tallystick agreement`, and pass the file on as it is",
            )
        found.contract.check()
        require_sound(found.agreement)
        found._require_parties()
        return found

    @classmethod
    def read(cls, path: Path) -> SignedAgreement:
        """The file at `path`. Raises AgreementError."""
        try:
            data = path.read_bytes()
        except OSError as error:
            raise AgreementError(f"{path} cannot be read: {error.strerror}") from None
        try:
            return cls.decode(data)
        except AgreementError as error:
            raise AgreementError(f"{path}: {error}", remedy=error.remedy) from None

    def encode(self) -> bytes:
        """The bytes of the file."""
        body = {
            "format": FORMAT,
            "agreement": json.loads(self.agreement.encode()),
            "signatures": [str(line).removesuffix("\n") for line in self.signatures],
        }
        return (json.dumps(body, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode()

    def write(self, path: Path) -> None:
        """Into a file, whole or not at all."""
        with refusals(path, "name another file"):
            write_data(path, self.encode())

    @property
    def contract(self) -> Contract:
        """What the companies agreed on beyond the mathematics."""
        if self.agreement.contract is None:
            raise AgreementError("the agreement has no contract: it was not drafted for companies")
        return self.agreement.contract

    @property
    def parties(self) -> Mapping[str, PublicIdentity]:
        """Each party's public keys, by name."""
        return {
            name: PublicIdentity(name, VerifyingKey.parse(identity), VerifyingKey.parse(witness))
            for name, (identity, witness) in self.contract.parties.items()
        }

    def sign(self, signer: Signer) -> SignedAgreement:
        """With one more signature. Raises AgreementError if the signer's key is not that of a party."""
        party = self.parties.get(signer.name)
        if party is None:
            raise AgreementError(f"{signer.name} is not a party of this agreement: {', '.join(self.parties)}")
        if party.identity != signer.verifying:
            raise AgreementError(
                f"the agreement names another key for {signer.name} than its own",
                remedy="have it drafted again with the newest card",
            )
        return self._with(sign_note(self._statement, [signer]).signatures)

    def merged(self, other: SignedAgreement, name: str) -> SignedAgreement:
        """With the signatures of another copy besides its own. `name`: of that copy, for errors.

        Raises AgreementError naming the clauses in which the two differ, or a signature that does not fit.
        """
        require_same(self.agreement.encode(), other.agreement.encode(), name)
        for copy in (self, other):
            copy.signed_by()
        return other._with(self.signatures)

    def _with(self, lines: Iterable[SignatureLine]) -> SignedAgreement:
        """With these signatures of parties in place of their own of before, in the order of the parties."""
        order = list(self.parties)
        signatures = {line.name: line for line in (*self.signatures, *lines)}
        return replace(self, signatures=tuple(sorted(signatures.values(), key=lambda line: order.index(line.name))))

    def signed_by(self) -> tuple[str, ...]:
        """Who has signed. Raises AgreementError for a signature that does not fit, or is by nobody of the parties."""
        parties, names = self.parties, []
        for line in self.signatures:
            party = parties.get(line.name)
            if party is None or not line.by(party.identity):
                raise AgreementError(
                    f"a signature by {line.name} is by a key that the agreement does not name",
                    remedy="remove it, or draft the agreement with that party's card",
                )
            try:
                party.identity.verify(line.blob, self._statement.encode())
            except LedgerError:
                raise AgreementError(
                    f"the signature of {line.name} is not for these clauses: one of them was altered afterwards",
                    remedy="compare with the copy that was signed: tallystick agreement diff A B",
                ) from None
            names.append(line.name)
        if len(set(names)) != len(names):
            raise AgreementError("a party signed twice")
        return tuple(names)

    def verify(self, now: datetime) -> None:
        """Raise AgreementError unless all have signed what they may sign."""
        signed = self.signed_by()
        if missing := [name for name in self.parties if name not in signed]:
            raise AgreementError(
                f"{', '.join(missing)} {'has' if len(missing) == 1 else 'have'} not signed the agreement",
                remedy="each party signs with `tallystick agreement sign FILE --party DIR`",
            )
        self.require_acceptable(now)

    def require_acceptable(self, now: datetime) -> None:
        """Raise AgreementError if it expired, or a run would show what it does not allow."""
        today, last = now.astimezone(UTC).date(), date.fromisoformat(self.contract.expires)
        if today > last:
            raise AgreementError(
                f"the agreement expired: contract.expires is {last}, and today is {today} (UTC)",
                remedy="draft and sign a new one",
            )
        require_allowed(self.agreement)

    def require_budget(self, begun: int) -> None:
        """Raise AgreementError if `begun` runs under this agreement are as many as it allows."""
        most = self.contract.budgets.get("runs")
        if most is not None and begun >= most:
            raise AgreementError(
                f"contract.budgets.runs is {most}, and {begun} runs have begun", remedy="agree on a larger budget"
            )

    @property
    def _statement(self) -> str:
        return f"{FORMAT}\n{self.agreement.digest}\n"

    def _require_parties(self) -> None:
        """The keys are those of the members, one party one key."""
        members = [member.name for member in self.agreement.members]
        if list(members) != list(dict.fromkeys(members)) or set(members) - self.contract.parties.keys():
            raise AgreementError(f"contract.parties has no keys of all members: {', '.join(members)}")
        try:
            parties = self.parties
        except LedgerError as error:
            raise AgreementError(f"contract.parties: {error}") from None
        for name, keys in parties.items():
            named = keys.identity.name == name and keys.witness.name == witness_name(name)
            if not named or (keys.identity.kind, keys.witness.kind) != (KeyType.NOTE, KeyType.COSIGNATURE):
                raise AgreementError(f"contract.parties.{name} has keys of somebody else")
