"""Checkpoints: the signed head of a log, and cosignatures on it (c2sp.org/tlog-checkpoint, c2sp.org/tlog-cosignature).

bank/run-7                                        origin: party / run
12                                                number of entries
CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=      RFC 6962 root

— bank Az3grlgtzPICa5OS8npVmf1Myq/5...            the log: Ed25519 over the three lines
— telecom/witness jWbPPwAAAABkGFDLEZMHwSRa...     a cosigner: time (8 bytes) || Ed25519 over
                                                  "cosignature/v1\\ntime 1679315147\\n" || the three lines
"""

from __future__ import annotations

import base64
import binascii
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from ledger.errors import BadKey, BadNote, BadSignature
from ledger.keys import SIGNATURE_BYTES, KeyType, Signer, VerifyingKey, check_key_name
from ledger.merkle import EMPTY_ROOT, HASH_BYTES
from ledger.note import Note, SignatureLine, sign_note

MAX_TIMESTAMP = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """`origin` is `party/run`, `size` the number of entries, `root` 32 bytes."""

    origin: str
    size: int
    root: bytes

    @property
    def text(self) -> str:
        """The three lines that are signed."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"

    @classmethod
    def parse(cls, text: str) -> Checkpoint:
        """Read three lines; raises BadNote for 007, +7, extension lines, a missing newline, a short root."""
        lines = text.split("\n")
        if len(lines) != 4 or lines[3]:
            raise BadNote(f"a checkpoint is three lines each ending in a newline: {text!r:.120}")
        try:
            check_key_name(lines[0])
            size = int(lines[1]) if lines[1].isascii() and lines[1].isdigit() and len(lines[1]) < 20 else -1
            parsed = cls(lines[0], size, base64.b64decode(lines[2], validate=True))
        except (BadKey, binascii.Error, ValueError):
            raise BadNote(f"origin or root of the checkpoint are malformed: {text!r:.120}") from None
        if size < 0 or parsed.text != text or len(parsed.root) != HASH_BYTES:
            raise BadNote(f"the checkpoint is not in its one form: {text!r:.120}")
        if size == 0 and parsed.root != EMPTY_ROOT:
            raise BadNote(f"the checkpoint of {lines[0]} has size 0 but not the root of the empty tree")
        return parsed


@dataclass(frozen=True, slots=True)
class SignedCheckpoint:
    """A checkpoint and the note that carries it; made by `open_checkpoint`, so the log's signature is checked."""

    head: Checkpoint
    note: Note

    def __str__(self) -> str:
        return str(self.note)


def sign_checkpoint(head: Checkpoint, log: Signer) -> Note:
    """The checkpoint as a note signed by the log's 0x01 key."""
    return sign_note(head.text, [log])


def open_checkpoint(data: str | bytes, log_key: VerifyingKey) -> SignedCheckpoint:
    """Read a checkpoint note that must be signed by `log_key`; raises BadNote or BadSignature."""
    note = Note.parse(data)
    head = Checkpoint.parse(note.text)
    if not note.verified([log_key]):
        raise BadSignature(f"the checkpoint {head.origin} {head.size} is not signed by {log_key.vkey}")
    return SignedCheckpoint(head, note)


def cosign(head: Checkpoint, cosigner: Signer, moment: datetime) -> SignatureLine:
    """A cosignature/v1 line: `cosigner` saw this consistent head at `moment` (whole seconds)."""
    if cosigner.kind is not KeyType.COSIGNATURE:
        raise BadSignature(f"{cosigner.name} is not a cosigner's key (type 0x04)")
    seconds = int(moment.timestamp())
    if not 0 < seconds <= MAX_TIMESTAMP:
        raise BadSignature(f"a cosignature cannot be dated {moment.isoformat()}")
    signature = cosigner.key.sign(_cosigned(head.text, seconds))
    return SignatureLine(cosigner.name, cosigner.verifying.id, struct.pack(">Q", seconds) + signature)


def verify_cosignature(text: str, line: SignatureLine, key: VerifyingKey) -> int:
    """Check one cosignature on the checkpoint `text`; returns its POSIX time in seconds, raises BadSignature."""
    if key.kind is not KeyType.COSIGNATURE or not line.by(key):
        raise BadSignature(f"the line by {line.name} is no cosignature by {key.vkey}")
    if len(line.blob) != 8 + SIGNATURE_BYTES:
        raise BadSignature(f"the cosignature by {line.name} has {len(line.blob)} bytes, not 72")
    (seconds,) = struct.unpack(">Q", line.blob[:8])
    if not 0 < seconds <= MAX_TIMESTAMP:
        raise BadSignature(f"the cosignature by {line.name} has the impossible time {seconds}")
    key.verify(line.blob[8:], _cosigned(text, seconds))
    return int(seconds)


def cosigners(note: Note, keys: Iterable[VerifyingKey]) -> list[VerifyingKey]:
    """The 0x04 keys among `keys` with a valid cosignature on the note; raises BadSignature when one's line is wrong."""
    found: list[VerifyingKey] = []
    known = [key for key in keys if key.kind is KeyType.COSIGNATURE]
    for line in note.signatures:
        for key in known:
            if line.by(key):
                verify_cosignature(note.text, line, key)
                if key not in found:
                    found.append(key)
    return found


def _cosigned(text: str, seconds: int) -> bytes:
    return f"cosignature/v1\ntime {seconds}\n{text}".encode()
