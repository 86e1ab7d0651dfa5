"""Keys, their C2SP names, and the certificate that lets a run's key speak for a party.

    example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k
    name          + key id  + base64(type || Ed25519 public key)

Source: c2sp.org/signed-note (key strings, type 0x01) and c2sp.org/tlog-cosignature (type 0x04). Keys are Ed25519 (RFC
8032), 32 bytes; signatures are 64 bytes.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass, field
from datetime import datetime
from enum import IntEnum
from functools import lru_cache
from hashlib import sha256
from typing import NoReturn

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from ledger.canonical import Json, encode
from ledger.clock import format_time, parse_time
from ledger.errors import BadEntry, BadKey, BadSignature

KEY_BYTES = 32
SIGNATURE_BYTES = 64
_FIELD = 2**255 - 19
_OF_ORDER_8 = 0x5FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826
# y of the points of order 1, 2, 4 and 8 (two of them differ in the sign of x alone).
_SMALL_ORDER = frozenset({1, _FIELD - 1, 0, _OF_ORDER_8, _FIELD - _OF_ORDER_8})
_PARTY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}", re.ASCII)
_HEX_KEY = re.compile(r"[0-9a-f]{64}", re.ASCII)
_HEX_SIGNATURE = re.compile(r"[0-9a-f]{128}", re.ASCII)
_PURPOSE = re.compile(r"[a-z][a-z-]{0,31}", re.ASCII)
ENTRIES = "entries"  # the purpose of a key that signs entries and envelopes of one run
# Types of c2sp.org/signed-note that this program does not check, for errors that a person can act on.
_OTHER_TYPES = {0x02: "ECDSA", 0x05: "RFC 6962 tree heads", 0x06: "ML-DSA-44 cosignatures", 0xFF: "no assigned type"}
_CERTIFICATE_LABEL = b"tallystick-certificate-v1\n"
_CERTIFICATE_FIELDS = {"v", "party", "run", "purpose", "key", "not_before", "not_after", "sig"}


class KeyType(IntEnum):
    """C2SP signature types in use here: plain note signatures and timestamped checkpoint cosignatures."""

    NOTE = 0x01
    COSIGNATURE = 0x04


class SigningKey:
    """An Ed25519 private key from a 32-byte seed; it signs and shows its public half, nothing else."""

    __slots__ = ("_key", "public")

    def __init__(self, seed: bytes) -> None:
        if len(seed) != KEY_BYTES:
            raise BadKey(f"a signing key needs a seed of {KEY_BYTES} bytes, this one has {len(seed)}")
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        self.public: bytes = self._key.public_key().public_bytes_raw()

    def sign(self, message: bytes) -> bytes:
        """The 64-byte Ed25519 signature over `message`."""
        return self._key.sign(message)

    def __repr__(self) -> str:
        return f"SigningKey(public={self.public.hex()})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a private key is not to be copied or pickled; keep its seed where keys are kept")


def verify_signature(public: bytes, signature: bytes, message: bytes) -> bool:
    """Whether `signature` (64 bytes) by the Ed25519 key `public` (32 bytes) fits `message`; False for any bad form.

    RFC 8032, section 5.1.7, without the cofactor, and as strict where it leaves a choice as W3C's "Secure Curves in the
    Web Cryptography API": no key and no R of small order, for one signature fits many messages then, and no point in
    two forms. So what is accepted here can be proven to the contract of a consortium, which is as strict.
    """
    if not (_strict(public) and _strict(signature[:KEY_BYTES])):
        return False
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def _strict(point: bytes) -> bool:
    """Whether the 32 bytes are the one form of a point's y, and not that of one of the eight points of small order."""
    y = int.from_bytes(point, "little") & (1 << 255) - 1  # the bit above is the sign of x
    return y < _FIELD and y not in _SMALL_ORDER


def key_id(name: str, kind: KeyType, public: bytes) -> bytes:
    """SHA-256(name || 0x0A || type || public key)[:4] (c2sp.org/signed-note)."""
    return sha256(name.encode() + b"\n" + bytes([kind]) + public).digest()[:4]


def check_key_name(name: str) -> str:
    """Return `name` when it may name a key: not empty, no Unicode space, no plus, no control; else raise BadKey."""
    if not name or len(name) > 255 or any(c.isspace() or c == "+" or not c.isprintable() for c in name):
        raise BadKey(f"{name!r:.80} is no key name: it must be 1 to 255 characters without spaces, plus and controls")
    return name


def _key_type(name: str, code: int) -> KeyType:
    if code not in (KeyType.NOTE, KeyType.COSIGNATURE):
        what = _OTHER_TYPES.get(code, "unknown")
        raise BadKey(
            f"the key of {name!r:.80} is of type 0x{code:02x} ({what}), which is not supported; "
            "use an Ed25519 key: 0x01 for a log, 0x04 for a witness"
        )
    return KeyType(code)


@lru_cache(maxsize=1024)  # a log asks for the same few names with every entry
def check_party(name: str, what: str = "party") -> str:
    """Return `name` when it may name a party or a run (letters, digits, `._-`, at most 63); else raise BadKey."""
    if not _PARTY.fullmatch(name):
        raise BadKey(f"{name!r:.80} is no {what} name: use letters, digits, dot, dash and underscore, at most 63")
    return name


@dataclass(frozen=True, slots=True)
class VerifyingKey:
    """A named public key: what a policy file lists and what checks notes and cosignatures."""

    name: str
    kind: KeyType
    public: bytes
    id: bytes = field(init=False)

    def __post_init__(self) -> None:
        check_key_name(self.name)
        if len(self.public) != KEY_BYTES:
            raise BadKey(f"the public key of {self.name} has {len(self.public)} bytes, not {KEY_BYTES}")
        object.__setattr__(self, "id", key_id(self.name, self.kind, self.public))

    @classmethod
    def parse(cls, text: str) -> VerifyingKey:
        """Read `name+hash+base64`; raises BadKey, also when the hash does not fit name and key."""
        parts = text.split("+", 2)
        if len(parts) != 3:
            raise BadKey(f"{text!r:.120} is no key: it must read name+hash+base64")
        name, digest, encoded = parts
        try:
            blob = base64.b64decode(encoded, validate=True)
            code = blob[0]
        except (binascii.Error, ValueError, IndexError):
            raise BadKey(f"the key of {name!r:.80} is not base64 of a type and a key") from None
        kind = _key_type(name, code)
        key = cls(name, kind, blob[1:])
        if key.vkey != text:
            raise BadKey(f"the key of {name} says hash {digest:.20}, but name and key give {key.id.hex()}")
        return key

    @property
    def vkey(self) -> str:
        """The C2SP key string `name+hash+base64(type || public key)`."""
        return f"{self.name}+{self.id.hex()}+{base64.b64encode(bytes([self.kind]) + self.public).decode()}"

    def verify(self, signature: bytes, message: bytes) -> None:
        """Raise BadSignature unless `signature` by this key fits `message`."""
        if not verify_signature(self.public, signature, message):
            raise BadSignature(f"the signature by {self.name} ({self.id.hex()}) does not fit")

    def __str__(self) -> str:
        return self.vkey


@dataclass(frozen=True, slots=True)
class Signer:
    """A signing key under its public name and type."""

    name: str
    kind: KeyType
    key: SigningKey

    @property
    def verifying(self) -> VerifyingKey:
        """The public half, as a policy file lists it."""
        return VerifyingKey(self.name, self.kind, self.key.public)


def derive_key(seed: bytes, label: str) -> SigningKey:
    """The signing key SHA-256("tallystick-key-v1" || 0x0A || label || 0x0A || seed) for one use of a party's seed."""
    if len(seed) != KEY_BYTES:
        raise BadKey(f"a party's seed has {KEY_BYTES} bytes, this one has {len(seed)}")
    return SigningKey(sha256(b"tallystick-key-v1\n" + label.encode() + b"\n" + seed).digest())


class Identity:
    """A party's long-term keys, derived from one 32-byte seed by labelled hashing, each for one use only.

    `identity` signs checkpoints, certificates and bundles (0x01, named after the party); `witness` cosigns the logs of
    others (0x04, named `party/witness`); `entry_key(run)` signs entries and envelopes of one run.
    """

    __slots__ = ("_seed", "identity", "name", "witness")

    def __init__(self, name: str, seed: bytes) -> None:
        self.name = check_party(name)
        self.identity = Signer(name, KeyType.NOTE, derive_key(seed, f"identity/{name}"))
        self.witness = Signer(witness_name(name), KeyType.COSIGNATURE, derive_key(seed, f"witness/{name}"))
        self._seed = seed

    def entry_key(self, run: str, generation: int = 0) -> SigningKey:
        """The key of this party for one run; the same one after a restart. A rotated key is the next generation."""
        suffix = f"/{generation}" if generation else ""
        return derive_key(self._seed, f"entries/{self.name}/{check_party(run, 'run')}{suffix}")

    def certify(self, run: str, not_before: datetime, not_after: datetime, generation: int = 0) -> Certificate:
        """Certificate of `entry_key(run, generation)`, signed by the identity key."""
        return issue_certificate(self.identity, run, self.entry_key(run, generation).public, not_before, not_after)

    @property
    def public(self) -> PublicIdentity:
        """What others know of this party."""
        return PublicIdentity(self.name, self.identity.verifying, self.witness.verifying)

    def __repr__(self) -> str:
        return f"Identity({self.name!r}, {self.identity.verifying.vkey})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("an identity is not to be copied or pickled; keep its seed where keys are kept")


@dataclass(frozen=True, slots=True)
class PublicIdentity:
    """A party's public keys: `identity` (0x01) and `witness` (0x04)."""

    name: str
    identity: VerifyingKey
    witness: VerifyingKey


def witness_name(party: str) -> str:
    """The key name under which a party cosigns: `party/witness`."""
    return f"{party}/witness"


def auditor_name(party: str) -> str:
    """The key name under which somebody signs findings about others: `party/auditor`."""
    return f"{party}/auditor"


@dataclass(frozen=True, slots=True)
class Certificate:
    """A party's statement: in this run, from `not_before` to `not_after` (UTC), this key is mine for one purpose.

    JSON: {"key":hex,"not_after":time,"not_before":time,"party":..,"purpose":"entries","run":..,"sig":hex,"v":1};
    `sig` is the identity key's signature over "tallystick-certificate-v1\\n" and the canonical JSON without `sig`.
    A key for one purpose never serves another: `verify` asks which is meant.
    """

    party: str
    run: str
    key: bytes
    not_before: str
    not_after: str
    sig: bytes
    purpose: str = ENTRIES

    def to_json(self) -> dict[str, Json]:
        """The object that entry 0 carries in `params.certificate`."""
        return {**self._statement(), "sig": self.sig.hex()}

    def _statement(self) -> dict[str, Json]:
        return _statement(self.party, self.run, self.key, self.not_before, self.not_after, self.purpose)

    @classmethod
    def from_json(cls, value: object) -> Certificate:
        """Read what `to_json` gives; raises BadKey for anything else. Proves nothing: call `verify`."""
        if not isinstance(value, dict) or set(value) != _CERTIFICATE_FIELDS or (type(v := value["v"]), v) != (int, 1):
            raise BadKey(f"a certificate has version 1 and the fields {', '.join(sorted(_CERTIFICATE_FIELDS))}")
        texts = [value[name] for name in ("party", "run", "purpose", "key", "not_before", "not_after", "sig")]
        if not all(isinstance(text, str) for text in texts) or not _PURPOSE.fullmatch(value["purpose"]):
            raise BadKey("a certificate's fields are texts and its purpose is a word such as `entries`")
        if not _HEX_KEY.fullmatch(value["key"]) or not _HEX_SIGNATURE.fullmatch(value["sig"]):
            raise BadKey("a certificate's key and signature are 32 and 64 bytes in lowercase hex")
        try:
            parse_time(value["not_before"])
            parse_time(value["not_after"])
        except BadEntry as error:
            raise BadKey(f"a certificate's validity is malformed: {error}") from None
        key, sig = bytes.fromhex(value["key"]), bytes.fromhex(value["sig"])
        times = value["not_before"], value["not_after"]
        return cls(value["party"], value["run"], key, *times, sig, value["purpose"])

    def verify(self, identity: VerifyingKey, purpose: str = ENTRIES) -> None:
        """Raise BadSignature unless `identity` (the party's 0x01 key) signed this certificate for this purpose."""
        if self.purpose != purpose:
            raise BadSignature(f"the certificate of {self.party} is for {self.purpose}, not for {purpose}")
        if identity.name != self.party or identity.kind is not KeyType.NOTE:
            raise BadSignature(f"a certificate of {self.party} cannot be signed by {identity.name}")
        identity.verify(self.sig, _CERTIFICATE_LABEL + encode(self._statement()))

    def covers(self, moment: str) -> bool:
        """Whether the time text lies within the validity (same form, so text order is time order)."""
        return self.not_before <= moment <= self.not_after


def issue_certificate(
    identity: Signer, run: str, key: bytes, not_before: datetime, not_after: datetime, purpose: str = ENTRIES
) -> Certificate:
    """Sign a certificate for the public key `key`; raises BadKey when the validity is empty."""
    start, end = format_time(not_before), format_time(not_after)
    if end <= start:
        raise BadKey(f"a certificate from {start} to {end} is never valid")
    if not _PURPOSE.fullmatch(purpose):
        raise BadKey(f"{purpose!r:.40} is no purpose: use lowercase letters and dashes, such as `entries`")
    statement = _statement(identity.name, check_party(run, "run"), key, start, end, purpose)
    sig = identity.key.sign(_CERTIFICATE_LABEL + encode(statement))
    return Certificate(identity.name, run, key, start, end, sig, purpose)


def _statement(party: str, run: str, key: bytes, not_before: str, not_after: str, purpose: str) -> dict[str, Json]:
    return {
        "v": 1,
        "party": party,
        "run": run,
        "purpose": purpose,
        "key": key.hex(),
        "not_before": not_before,
        "not_after": not_after,
    }
