"""Which entry keys speak for a party, from where to where: certificates and revocations as entries of its log.

    seq 0     params.certificate                           key A signs envelopes from here on
    seq 40    params.certificate, local, in its own log    rotation: A until here, B from the next entry on
    seq 41    params.revoked                               from now on nothing by A counts

    revoked = {"from":time,"key":hex,"party":..,"reason":..,"run":..,"sig":hex,"v":1}
    sig     = identity key over "tallystick-revocation-v1" || 0x0A || canonical JSON without `sig`

In the party's own log position decides. Where only others recorded a message, time does: what they received from `from`
on by a revoked key does not count.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from ledger.canonical import Json, encode
from ledger.clock import format_time, parse_time
from ledger.entry import Entry
from ledger.errors import BadEntry, BadKey, LedgerError
from ledger.keys import Certificate, Signer, VerifyingKey

_LABEL = b"tallystick-revocation-v1\n"
_FIELDS = {"v", "party", "run", "key", "from", "reason", "sig"}
_HEX_KEY = re.compile(r"[0-9a-f]{64}", re.ASCII)
_HEX_SIG = re.compile(r"[0-9a-f]{128}", re.ASCII)
_REASON = re.compile(r"[ -~]{1,200}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Revocation:
    """A party's statement: in this run, nothing signed with `key` (hex) from `since` (UTC text) on is mine."""

    party: str
    run: str
    key: str
    since: str
    reason: str
    sig: str

    def to_json(self) -> dict[str, Json]:
        """The object under `params.revoked`."""
        return {**self._statement(), "sig": self.sig}

    def _statement(self) -> dict[str, Json]:
        return {
            "v": 1,
            "party": self.party,
            "run": self.run,
            "key": self.key,
            "from": self.since,
            "reason": self.reason,
        }

    @classmethod
    def from_json(cls, value: object) -> Revocation:
        """Read what `to_json` gives; raises BadKey for anything else. Proves nothing: call `verify`."""
        if not isinstance(value, dict) or set(value) != _FIELDS or (type(v := value["v"]), v) != (int, 1):
            raise BadKey(f"a revocation has version 1 and the fields {', '.join(sorted(_FIELDS))}")
        texts = [value[name] for name in ("party", "run", "key", "from", "reason", "sig")]
        if not all(isinstance(text, str) for text in texts):
            raise BadKey("a revocation's fields are texts")
        read = cls(*texts)
        if not (_HEX_KEY.fullmatch(read.key) and _HEX_SIG.fullmatch(read.sig) and _REASON.fullmatch(read.reason)):
            raise BadKey(
                "a revocation has key and signature in lowercase hex and a reason of 1 to 200 ASCII characters"
            )
        try:
            parse_time(read.since)
        except BadEntry as error:
            raise BadKey(f"a revocation's time is malformed: {error}") from None
        return read

    def verify(self, identity: VerifyingKey) -> None:
        """Raise BadSignature unless `identity` (the party's 0x01 key) signed this, BadKey when it is another party."""
        if identity.name != self.party:
            raise BadKey(f"a revocation of {self.party} cannot be signed by {identity.name}")
        identity.verify(bytes.fromhex(self.sig), _LABEL + encode(self._statement()))


def issue_revocation(identity: Signer, run: str, key: bytes, since: datetime, reason: str) -> Revocation:
    """Sign a revocation of the public entry key `key`; raises BadKey for an empty or non-ASCII reason."""
    bare = Revocation(identity.name, run, key.hex(), format_time(since), reason, "")
    sig = identity.key.sign(_LABEL + encode(bare._statement())).hex()
    return Revocation.from_json({**bare._statement(), "sig": sig})


class KeyHistory:
    """A party's entry keys in one run, read from entries; only what `identity` signed is believed."""

    def __init__(self, identity: VerifyingKey, run: str) -> None:
        self.party, self._identity, self._run = identity.name, identity, run
        self._spans: list[tuple[int, Certificate]] = []  # first position at which a certificate is in force
        self._revoked: dict[str, tuple[int | None, Revocation]] = {}

    def read(self, entries: Iterable[tuple[int, Entry]]) -> list[tuple[int, str]]:
        """Take in certificates and revocations from a log, its own or a peer's; returns (seq, fault) for bad ones."""
        faults: list[tuple[int, str]] = []
        for seq, entry in entries:
            own = entry.actor == self.party and entry.dir == "local"
            try:
                if own and "certificate" in entry.params:
                    self._rotate(seq, Certificate.from_json(entry.params["certificate"]))
                if "revoked" in entry.params:
                    self._revoke(seq if own else None, Revocation.from_json(entry.params["revoked"]))
            except LedgerError as error:
                faults += [(seq, str(error))] if own else []
        return faults

    def _rotate(self, seq: int, certificate: Certificate) -> None:
        if certificate.party != self.party:
            return  # a peer's, which it recorded
        if certificate.run != self._run:
            raise BadKey(f"the certificate is for run {certificate.run}")
        certificate.verify(self._identity)
        if any(certificate.key == before.key for _, before in self._spans):
            raise BadKey(f"the key {certificate.key.hex():.16}.. was in use before; a rotation takes a new one")
        self._spans.append((seq + 1 if seq else 0, certificate))

    def _revoke(self, seq: int | None, revocation: Revocation) -> None:
        if (revocation.party, revocation.run) != (self.party, self._run):
            return
        revocation.verify(self._identity)
        held = self._revoked.get(revocation.key)
        if held is None or held[0] is None:
            self._revoked[revocation.key] = (seq, revocation)

    def ever_held(self, key: bytes) -> bool:
        """Whether this entry key is or was in force at some position."""
        return any(certificate.key == key for _, certificate in self._spans)

    def certificate_at(self, seq: int) -> Certificate | None:
        """The certificate in force at a position of the party's own log."""
        return next((found for first, found in reversed(self._spans) if first <= seq), None)

    def refusal_at(self, key: str, seq: int) -> str:
        """Why an envelope by `key` (hex) at this position of the party's own log does not count; empty if it does."""
        revoked_at, revocation = self._revoked.get(key, (None, None))
        if revocation and revoked_at is not None and seq > revoked_at:
            return f"is by a key that {self.party} revoked in entry {revoked_at} ({revocation.reason})"
        current = self.certificate_at(seq)
        if current is not None and current.key.hex() != key:
            return f"is by another key than the one that {self.party} has in force there, {current.key.hex():.16}.."
        return ""

    def refusal_on(self, key: str, moment: str) -> str:
        """Why a message that another party received at `moment` by `key` does not count; empty if it does."""
        _, revocation = self._revoked.get(key, (None, None))
        if revocation and moment >= revocation.since:
            return f"is by a key that {self.party} revoked from {revocation.since} on ({revocation.reason})"
        return ""
