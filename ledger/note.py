"""Signed notes: text that a person can read, with signature lines below it (c2sp.org/signed-note).

    This is an example message.

    — example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=

A signature line is U+2014, space, key name, space, base64(4-byte key id || signature). Parsing is strict: what the
printer would not have written in the same way is refused.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable
from dataclasses import dataclass

from ledger.errors import BadKey, BadNote, BadSignature
from ledger.keys import KeyType, Signer, VerifyingKey, check_key_name

MAX_NOTE_BYTES = 1_000_000
MAX_SIGNATURES = 100
_DASH = "— "
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f]")


@dataclass(frozen=True, slots=True)
class SignatureLine:
    """One line: who signed (`name`, 4-byte `key_id`) and the algorithm's bytes (`blob`)."""

    name: str
    key_id: bytes
    blob: bytes

    def __str__(self) -> str:
        return f"{_DASH}{self.name} {base64.b64encode(self.key_id + self.blob).decode()}\n"

    @classmethod
    def parse(cls, line: str) -> SignatureLine:
        """Read one line with its newline; raises BadNote."""
        name, _, encoded = line.removeprefix(_DASH).removesuffix("\n").partition(" ")
        try:
            blob = base64.b64decode(encoded, validate=True)
            parsed = cls(check_key_name(name), blob[:4], blob[4:])
        except (binascii.Error, ValueError, BadKey):
            raise BadNote(f"{line!r:.100} is no signature line") from None
        if str(parsed) != line or not parsed.blob:
            raise BadNote(f"{line!r:.100} is no signature line in its one form")
        return parsed

    def by(self, key: VerifyingKey) -> bool:
        """Whether the line claims to be by `key` (name and key id)."""
        return self.name == key.name and self.key_id == key.id


@dataclass(frozen=True, slots=True)
class Note:
    """`text` ends in a newline; `signatures` are in file order and not yet checked."""

    text: str
    signatures: tuple[SignatureLine, ...]

    def __str__(self) -> str:
        return f"{self.text}\n{''.join(map(str, self.signatures))}"

    @classmethod
    def parse(cls, data: str | bytes) -> Note:
        """Read a signed note; raises BadNote for anything that `str(note)` would not give back byte for byte."""
        content = _decode(data)
        head, separator, tail = content.rpartition("\n\n")
        if not separator or not tail.endswith("\n"):
            raise BadNote("a note is text, an empty line and at least one signature line, each ending in a newline")
        lines = tail.splitlines(keepends=True)
        if len(lines) > MAX_SIGNATURES:
            raise BadNote(f"the note has {len(lines)} signatures, the limit is {MAX_SIGNATURES}")
        note = cls(head + "\n", tuple(SignatureLine.parse(line) for line in lines))
        if str(note) != content:
            raise BadNote("the note is not in its one form")
        return note

    def verified(self, keys: Iterable[VerifyingKey]) -> list[VerifyingKey]:
        """The 0x01 keys among `keys` that signed this text, each once, in file order.

        Unknown signers are passed over. Raises BadSignature when a known key's line does not verify.
        """
        found: list[VerifyingKey] = []
        notes = [key for key in keys if key.kind is KeyType.NOTE]
        for line in self.signatures:
            for key in notes:
                if line.by(key):
                    key.verify(line.blob, self.text.encode())
                    found.extend([key] if key not in found else [])
        return found

    def with_lines(self, lines: Iterable[SignatureLine]) -> Note:
        """The same text with further signature lines; a line that is already there is not repeated."""
        fresh = dict.fromkeys((*self.signatures, *lines))
        return Note(self.text, tuple(fresh))


def sign_note(text: str, signers: Iterable[Signer]) -> Note:
    """Sign `text` (ends in a newline, no other control characters) with 0x01 keys; raises BadNote or BadSignature."""
    lines: list[SignatureLine] = []
    for signer in signers:
        if signer.kind is not KeyType.NOTE:
            raise BadSignature(f"{signer.name} is a cosigner's key and may sign checkpoints only")
        lines.append(SignatureLine(signer.name, signer.verifying.id, signer.key.sign(text.encode())))
    return Note.parse(str(Note(text, tuple(lines))))


def _decode(data: str | bytes) -> str:
    try:
        raw = data.encode() if isinstance(data, str) else data
        text = raw.decode("utf-8")
    except UnicodeError:
        raise BadNote("a note must be UTF-8") from None
    if len(raw) > MAX_NOTE_BYTES:
        raise BadNote(f"the note has {len(raw)} bytes, the limit is {MAX_NOTE_BYTES}")
    if _CONTROL.search(text):
        raise BadNote("a note must not hold control characters other than the newline")
    return text
