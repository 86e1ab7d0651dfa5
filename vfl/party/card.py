"""The card of a party: what others are given so that they can know it again. A signed note, fit for a mail.

    tallystick-card-v1
    name bank
    identity bank+3bd4f2f4+AXJ...
    witness bank/witness+0c1d8a52+BGz...
    address bank.example:7443
    created 2026-01-31T12:00:00.000000Z
    pin MrkV3UEZy6Hi1Am2wpLw9wVhfKnnYnbrX5C4Kmpvfrs=
    pin 4F2pXK1cBmuAzIVHtVScqm5hlnBB7T2oZJzUN5kWZ7M=
    -----BEGIN CERTIFICATE-----
    ...                                        one for each pin: the current one, then the next one
    -----END CERTIFICATE-----

    — bank O9Ty9M5WzN+aVYu...

The identity key signs it. The fingerprint is over that key alone and stays for the life of a party: whoever has
compared it over the telephone once believes all later cards with the same.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from ledger.clock import parse_time
from ledger.errors import LedgerError
from ledger.keys import Identity, KeyType, PublicIdentity, VerifyingKey, witness_name
from ledger.note import Note, sign_note
from vfl.config import check_name
from vfl.errors import UsageError
from vfl.net.pins import pin_of
from vfl.party.addresses import parse_address

LABEL = "tallystick-card-v1"
FIELDS = ("name", "identity", "witness", "address", "created")
MOST_BYTES = 20_000
_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----\n(?:[A-Za-z0-9+/=]{1,64}\n)+-----END CERTIFICATE-----\n", re.A)


@dataclass(frozen=True)
class Card:
    """A party as it shows itself. `certificates`: PEM, the current one first; `pins` are of their keys."""

    name: str
    identity: VerifyingKey
    witness: VerifyingKey
    address: str
    created: str
    certificates: tuple[bytes, ...]
    pins: tuple[str, ...]
    note: str  # the whole card as it was signed

    @classmethod
    def make(cls, identity: Identity, address: str, created: str, certificates: tuple[bytes, ...]) -> Card:
        """Write and sign a card."""
        pins = tuple(pin_of(pem) for pem in certificates)
        public = identity.public
        values = (public.name, public.identity.vkey, public.witness.vkey, address, created)
        lines = [f"{key} {value}\n" for key, value in zip(FIELDS, values, strict=True)]
        text = "".join(
            [LABEL + "\n", *lines, *(f"pin {pin}\n" for pin in pins), *(pem.decode() for pem in certificates)]
        )
        note = str(sign_note(text, [identity.identity]))
        return cls(public.name, public.identity, public.witness, address, created, certificates, pins, note)

    @classmethod
    def parse(cls, data: bytes, place: str) -> Card:
        """Read a card and check its signature; mail may have changed line ends. Raises UsageError naming `place`."""
        try:
            return cls._parse(data)
        except (LedgerError, UsageError, UnicodeDecodeError) as error:
            raise UsageError(
                f"{place} is no card: {error}", remedy="ask for the file again, as `tallystick party card` prints it"
            ) from None

    @classmethod
    def read(cls, path: Path) -> Card:
        """The card in a file, as `parse` reads it."""
        try:
            return cls.parse(path.read_bytes(), str(path))
        except OSError as error:
            raise UsageError(f"{path} cannot be read: {error.strerror}") from None

    @classmethod
    def _parse(cls, data: bytes) -> Card:
        if len(data) > MOST_BYTES:
            raise UsageError(f"it has more than {MOST_BYTES} bytes")
        content = data.decode().replace("\r\n", "\n").strip() + "\n"
        note = Note.parse(content)
        head, *blocks = re.split(r"(?=-----BEGIN)", note.text)
        lines = head.splitlines()
        keys = [line.partition(" ")[0] for line in lines[1:]]
        if lines[:1] != [LABEL] or keys != [*FIELDS, *["pin"] * len(blocks)]:
            raise UsageError(f"it must begin with {LABEL} and have {', '.join(FIELDS)} and a pin for each certificate")
        name, identity, witness, address, created, *pins = (line.partition(" ")[2] for line in lines[1:])
        check_name(name, "its name")
        keys_of = VerifyingKey.parse(identity), VerifyingKey.parse(witness)
        _require_keys(name, *keys_of)
        if len(note.signatures) != 1 or note.verified([keys_of[0]]) != [keys_of[0]]:
            raise UsageError(f"{name} has not signed it, or somebody else has as well")
        parse_address(address, "its address")
        parse_time(created)
        certificates = _certificates(name, blocks, pins)
        return cls(name, *keys_of, address, created, certificates, tuple(pins), content)

    @property
    def public(self) -> PublicIdentity:
        """The keys under which the party signs."""
        return PublicIdentity(self.name, self.identity, self.witness)

    @property
    def fingerprint(self) -> str:
        """Eight groups of five digits, 132 bits, to be read out."""
        return fingerprint(self.identity)


def fingerprint(identity: VerifyingKey) -> str:
    """The digits by which people compare an identity key."""
    number = int.from_bytes(sha256(b"tallystick-fingerprint-v1\n" + identity.vkey.encode()).digest())
    digits = f"{number % 10**40:040d}"
    return " ".join(digits[at : at + 5] for at in range(0, 40, 5))


def _require_keys(name: str, identity: VerifyingKey, witness: VerifyingKey) -> None:
    if (identity.name, identity.kind) != (name, KeyType.NOTE):
        raise UsageError(f"its identity key is that of {identity.name}")
    if (witness.name, witness.kind) != (witness_name(name), KeyType.COSIGNATURE):
        raise UsageError(f"its witness key is that of {witness.name}")


def _certificates(name: str, blocks: list[str], pins: list[str]) -> tuple[bytes, ...]:
    if not blocks or len(set(pins)) != len(pins) or len(pins) > 4:
        raise UsageError(f"the card of {name} has no certificate, or two with the same pin, or more than 4")
    for block, pin in zip(blocks, pins, strict=True):
        if not _CERTIFICATE.fullmatch(block) or pin_of(block.encode()) != pin:
            raise UsageError(f"the pin {pin:.50} of {name} is not that of its certificate")
    return tuple(block.encode() for block in blocks)
