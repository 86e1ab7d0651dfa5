"""Openings on their way: encrypted to one regulator for one audit, and signed by the party that opens.

    {"note":"{...}\\n\\n— telecom ...\\n","sealed":"<base64>"}

note    signed note of the party: one line of canonical JSON with format, run, party, nonce, head and the SHA-256 of
        `sealed`
sealed  HPKE base mode, X25519, HKDF-SHA256, ChaCha20-Poly1305 (RFC 9180); its `info` is the same line without the
        digest, so that it opens for this run, party and nonce alone
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

from ledger.canonical import Json, decode, encode
from ledger.errors import LedgerError
from ledger.keys import Identity, Signer, VerifyingKey, auditor_name
from ledger.note import Note, sign_note
from vfl.errors import UsageError
from vfl.files import read_json, write_private
from vfl.randomness import SEED_BYTES, Randomness, fresh_seed

FORMAT = "tallystick-openings-v1"
KEY_FORMAT = "tallystick-auditor-v1"
_SUITE = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.CHACHA20_POLY1305)


@dataclass(frozen=True)
class Purpose:
    """What openings are for. `head`: root of the party's head that the cells were drawn from."""

    run: str
    party: str
    nonce: bytes
    head: bytes

    def to_json(self) -> dict[str, Json]:
        return {
            "format": FORMAT,
            "run": self.run,
            "party": self.party,
            "nonce": self.nonce.hex(),
            "head": self.head.hex(),
        }


class AuditorKey:
    """A regulator's key file: one seed, for the key that openings are encrypted to and the one that signs findings."""

    def __init__(self, name: str, seed: bytes) -> None:
        """Raises ledger.errors.BadKey where `name` is no party's name."""
        rng = Randomness(seed)
        self.name = name
        own = Identity(name, rng.child("auditor/identity").bytes(32)).identity
        # Named as an auditor's: whoever keeps a log may not find against others (`ledger.policy`).
        self.signer = Signer(auditor_name(name), own.kind, own.key)
        self._private = X25519PrivateKey.from_private_bytes(rng.child("auditor/openings").bytes(32))

    @property
    def public(self) -> str:
        """What parties encrypt to, hex."""
        return self._private.public_key().public_bytes_raw().hex()

    @classmethod
    def make(cls, path: Path, name: str) -> AuditorKey:
        """A new key in a new file that only its owner may read."""
        seed = fresh_seed()
        made = cls(name, seed)
        write_private(path, json.dumps({"format": KEY_FORMAT, "name": name, "seed": seed.hex()}) + "\n")
        return made

    @classmethod
    def read(cls, path: Path) -> AuditorKey:
        """Raises UsageError unless `path` is such a file."""
        body = read_json(path, "a key file made by `tallystick audit key`")
        try:
            seed = bytes.fromhex(str(body["seed"]))
            if body["format"] == KEY_FORMAT and len(seed) == SEED_BYTES:
                return cls(str(body["name"]), seed)
        except (KeyError, ValueError, LedgerError):
            pass
        raise UsageError(f"{path} is no auditor's key", remedy="make one: tallystick audit key")

    def open(self, sealed: bytes, purpose: Purpose) -> bytes:
        """Raises UsageError where this was not encrypted to us for this purpose."""
        try:
            return bytes(_SUITE.decrypt(sealed, self._private, info=encode(purpose.to_json())))
        except (InvalidTag, ValueError):
            raise UsageError(
                "the openings do not decrypt: they are for another key, run, party or nonce, or were altered",
                remedy="ask the party for openings to this key and nonce",
            ) from None


def seal_to(public: str, content: bytes, purpose: Purpose, signer: Signer) -> bytes:
    """The file of openings. `public`: the regulator's key, hex. Raises UsageError for another kind of key."""
    try:
        key = X25519PublicKey.from_public_bytes(bytes.fromhex(public))
        sealed = _SUITE.encrypt(content, key, info=encode(purpose.to_json()))
    except ValueError:
        raise UsageError("the regulator's key is not 32 bytes in hex", remedy="ask for its line `openings`") from None
    line = {**purpose.to_json(), "sealed": hashlib.sha256(sealed).hexdigest()}
    note = sign_note(encode(line).decode() + "\n", [signer])
    return json.dumps({"note": str(note), "sealed": base64.b64encode(sealed).decode()}).encode() + b"\n"


@dataclass(frozen=True)
class SealedFile:
    """A file of openings as read. `digest`: SHA-256 of `sealed`, hex, which the party signed."""

    purpose: Purpose
    sealed: bytes
    digest: str
    note: Note

    @classmethod
    def read(cls, path: Path) -> SealedFile:
        """Raises UsageError for anything else."""
        body = read_json(path, "a file made by `tallystick audit open`")
        try:
            note, sealed = Note.parse(str(body["note"])), base64.b64decode(str(body["sealed"]), validate=True)
            line = decode(note.text.removesuffix("\n").encode())
            digest = hashlib.sha256(sealed).hexdigest()
            match line:
                case {"run": str(run), "party": str(party), "nonce": str(nonce), "head": str(head)}:
                    purpose = Purpose(run, party, bytes.fromhex(nonce), bytes.fromhex(head))
                    if line == {**purpose.to_json(), "sealed": digest}:
                        return cls(purpose, sealed, digest, note)
        except (KeyError, ValueError, binascii.Error, LedgerError):
            pass
        raise UsageError(f"{path} is no file of openings, or was altered", remedy="ask the party for it again")

    def require_signed(self, key: VerifyingKey) -> None:
        """Raise UsageError unless the party signed the file."""
        try:
            if self.note.verified([key]):
                return
        except LedgerError:
            pass
        raise UsageError(f"the openings are not signed by {key.name}", remedy="ask the party for the file again")
