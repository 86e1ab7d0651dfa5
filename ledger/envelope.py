"""Envelopes: what a sender states of each message, and signs where every message is signed.

envelope  = Ed25519(entry key, "tallystick-envelope-v1" || 0x0A || canonical {run, slot, from, to, kind, digest, bytes})
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from ledger.canonical import Json
from ledger.errors import BadEntry, BadKey, BadSignature
from ledger.fields import DIGEST, FIVE_WORDS, HEX32, HEX64, fields_of, matching, number, word
from ledger.keys import SigningKey, check_party, verify_signature

ENVELOPE_LABEL = b"tallystick-envelope-v1\n"


@dataclass(frozen=True, slots=True)
class Env:
    """A sender's envelope signature and the entry key it was made with, both lowercase hex."""

    key: str
    sig: str

    def to_json(self) -> dict[str, Json]:
        """The object under `env`."""
        return {"key": self.key, "sig": self.sig}

    @classmethod
    def from_json(cls, value: Json) -> Env:
        """Read the object under `env`; raises BadEntry. Proves nothing."""
        fields = fields_of(value, {"key", "sig"}, "env")
        return cls(matching(HEX32, fields["key"], "env.key"), matching(HEX64, fields["sig"], "env.sig"))


class Envelope(NamedTuple):
    """What a sender signs for each message: `digest` (hex) and `size` (bytes) of a message `kind` at one `slot`."""

    run: str
    slot: str
    sender: str
    receiver: str
    kind: str
    digest: str
    size: int

    def to_json(self) -> dict[str, Json]:
        """The statement as an object."""
        return {
            "run": self.run,
            "slot": self.slot,
            "from": self.sender,
            "to": self.receiver,
            "kind": self.kind,
            "digest": self.digest,
            "bytes": self.size,
        }

    @classmethod
    def from_json(cls, value: Json) -> Envelope:
        """Read the statement; raises BadEntry."""
        fields = fields_of(value, {"run", "slot", "from", "to", "kind", "digest", "bytes"}, "envelope")
        return cls(
            run=word(fields["run"], "run"),
            slot=word(fields["slot"], "slot"),
            sender=word(fields["from"], "from"),
            receiver=word(fields["to"], "to"),
            kind=word(fields["kind"], "kind"),
            digest=matching(DIGEST, fields["digest"], "digest"),
            size=number(fields["bytes"], "bytes"),
        )

    def message(self) -> bytes:
        """The bytes that are signed. Raises BadEntry for a field that no reader would take."""
        if not FIVE_WORDS.fullmatch(f"{self.run} {self.slot} {self.sender} {self.receiver} {self.kind}"):
            raise BadEntry(f"an envelope holds a word of the wrong form: {self!r:.300}")
        matching(DIGEST, self.digest, "digest")
        # Written out, for this is made three times a message; words need no escapes, so it is what `encode` gives.
        text = (
            f'{{"bytes":{self.size},"digest":"{self.digest}","from":"{self.sender}","kind":"{self.kind}",'
            f'"run":"{self.run}","slot":"{self.slot}","to":"{self.receiver}"}}'
        )
        return ENVELOPE_LABEL + text.encode("ascii")


def check_message(said: Envelope, phase: str, round_: int) -> None:
    """Raise BadEntry for a message that no entry could hold."""
    if not FIVE_WORDS.fullmatch(f"{phase} {said.slot} {said.sender} {said.receiver} {said.kind}"):
        raise BadEntry(f"slot {said.slot!a:.200}: a word of the wrong form in {said!r:.600} of phase {phase!a:.200}")
    matching(DIGEST, said.digest, "digest")
    number(round_, "round")
    number(said.size, "bytes")
    if said.sender == said.receiver:
        raise BadEntry(f"slot {said.slot}: {said.sender} exchanges a message with itself; use a local entry")
    try:
        check_party(said.sender)
        check_party(said.receiver)
    except BadKey as error:
        raise BadEntry(str(error)) from None


def sign_envelope(key: SigningKey, envelope: Envelope) -> Env:
    """Sign a statement with the sender's entry key. Ask the log first: it refuses a second digest for one slot."""
    return Env(key.public.hex(), key.sign(envelope.message()).hex())


def verify_envelope(public: bytes, envelope: Envelope, env: Env) -> None:
    """Raise BadSignature unless `env` was made over `envelope` by the entry key `public` (32 bytes)."""
    if env.key != public.hex():
        raise BadSignature(f"slot {envelope.slot}: the envelope names key {env.key:.16}.., not {public.hex():.16}..")
    if not verify_signature(public, bytes.fromhex(env.sig), envelope.message()):
        raise BadSignature(f"slot {envelope.slot}: the envelope signature of {envelope.sender} does not fit")
