"""One entry's proof, as a file that stands alone (c2sp.org/tlog-proof).

    c2sp.org/tlog-proof@v1
    extra eyJhY3RvciI6ImJhbmsiLC...          the entry's canonical bytes, base64
    index 1
    gSKyXoYZUgZ6jduWYrkDOARinOMGJveXjgMkBTcdPlQ=
                                             (an empty line, then the log's checkpoint as it is)
    bank/run-7
    3
    w0N1/quWb4ylEex0bM4IX/LHqQqQ9TIbKa4DaJpvtJM=

    — bank rmNzswyZDb10YHeB...
    — telecom/witness Oeg7GgAAAABpfdKgz47H...

The format leaves open what the leaf is. Ours is the entry itself, which `extra` carries: the file then needs nothing
but the verifier's policy. Without `extra`, the verifier brings the entry. Parsing is strict: what the printer would not
have written in the same way is refused.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from ledger.checkpoint import SignedCheckpoint, cosigners, open_checkpoint
from ledger.entry import Entry
from ledger.errors import BadNote, BadProof, BadSignature
from ledger.keys import VerifyingKey
from ledger.merkle import HASH_BYTES, Tree, leaf_hash, verify_inclusion
from ledger.note import Note
from ledger.policy import Policy

HEADER = "c2sp.org/tlog-proof@v1"
MAX_HASHES = 63
MAX_PROOF_BYTES = 1_200_000


class ProvingLog(Protocol):
    """What a proof is made from: signed heads and the tree below them."""

    def checkpoints(self) -> Sequence[tuple[int, bytes, str]]:
        """Size, root and note of all checkpoints by size."""
        ...

    def inclusion_proof(self, seq: int, size: int | None = None) -> list[bytes]:
        """The hashes from entry `seq` to the root of `size` entries."""
        ...


@dataclass(frozen=True, slots=True)
class Proven:
    """What a verified proof shows: this entry, under this head, cosigned by these witnesses."""

    entry: Entry
    signed: SignedCheckpoint
    cosigners: tuple[VerifyingKey, ...]


@dataclass(frozen=True, slots=True)
class EntryProof:
    """`index` is the entry's seq, `hashes` (32 bytes each) lead from its leaf to the root of the checkpoint `note`."""

    index: int
    hashes: tuple[bytes, ...]
    note: str
    extra: bytes = b""

    def __str__(self) -> str:
        lines = [HEADER, *([f"extra {_b64(self.extra)}"] if self.extra else []), f"index {self.index}"]
        return "\n".join([*lines, *map(_b64, self.hashes), "", self.note])

    @classmethod
    def parse(cls, data: str | bytes) -> EntryProof:
        """Read a proof file; raises BadProof naming the line for anything that `str(proof)` would not give back."""
        text = _text(data)
        head, _, note = text.partition("\n\n")
        lines = head.split("\n")
        if lines.pop(0) != HEADER:
            raise BadProof(f"line 1 of a proof must read {HEADER}")
        extra = _decoded(lines.pop(0)[6:]) if lines and lines[0].startswith("extra ") else b""
        word, _, number = (lines.pop(0) if lines else "").partition(" ")
        if word != "index" or not (number.isascii() and number.isdigit() and len(number) < 17):
            raise BadProof("a proof needs a line `index N` after its header and its optional `extra` line")
        if len(lines) > MAX_HASHES:
            raise BadProof(f"a proof has at most {MAX_HASHES} hashes, not {len(lines)}")
        proof = cls(int(number), tuple(map(_hash, lines)), note, extra)
        if str(proof) != text:
            raise BadProof("the proof is not in its one form")
        Note.parse(note)
        return proof

    def verify(self, policy: Policy, entry: bytes | None = None) -> Proven:
        """Say what the proof shows about `entry` (canonical bytes; by default those that it carries).

        Raises BadProof, BadNote, BadEntry or NotCanonical, and BadSignature when the log's key or the policy's quorum
        is missing. The entry is the log's own word: the head of the log of the entry's actor covers it.
        """
        body = entry or self.extra
        if not body:
            raise BadProof("the proof carries no entry", remedy="Give the entry's canonical bytes beside it.")
        read = Entry.from_bytes(body)
        key = policy.log_key(read.actor)
        if key is None:
            raise BadSignature(f"the policy has no log key for {read.actor}")
        signed = open_checkpoint(self.note, key)
        if signed.head.origin != read.log or read.seq != self.index:
            raise BadProof(
                f"the proof is for position {self.index} of {signed.head.origin}, the entry is {read.seq} of {read.log}"
            )
        seen = cosigners(signed.note, policy.witnesses.values())
        if not policy.quorum_met(seen, read.actor):
            names = ", ".join(witness.name for witness in seen) or "nobody"
            raise BadSignature(
                f"{read.log}: the head of size {signed.head.size} is cosigned by {names}; "
                f"the quorum {policy.quorum} is not met"
            )
        verify_inclusion(leaf_hash(body), self.index, signed.head.size, self.hashes, signed.head.root)
        return Proven(read, signed, tuple(seen))


def prove(log: ProvingLog, entry: Entry) -> EntryProof:
    """The proof of one entry under the checkpoint that covers it and carries most signatures, the earliest of those.

    Raises BadProof when no checkpoint covers it yet.
    """
    heads = [(size, note) for size, _, note in log.checkpoints() if size > entry.seq]
    if not heads:
        raise BadProof(
            f"{entry.log}: no checkpoint covers entry {entry.seq} yet", remedy="Ask again after the next checkpoint."
        )
    size, note = max(heads, key=lambda head: (len(Note.parse(head[1]).signatures), -head[0]))
    return EntryProof(entry.seq, tuple(log.inclusion_proof(entry.seq, size)), note, entry.to_bytes())


class WrittenLog:
    """A log as a bundle holds it, for making proofs; `notes` are its checkpoints by size. Checks nothing."""

    def __init__(self, bodies: Sequence[bytes], notes: dict[int, bytes]) -> None:
        self.bodies = bodies
        self._tree = Tree(map(leaf_hash, bodies))
        self._notes = notes

    def checkpoints(self) -> list[tuple[int, bytes, str]]:
        """Size, root (from the entries) and note of the checkpoints that the entries reach."""
        found: list[tuple[int, bytes, str]] = []
        for size, data in sorted(self._notes.items()):
            if size <= len(self.bodies):
                try:
                    found.append((size, self._tree.root(size), data.decode()))
                except UnicodeDecodeError:
                    raise BadNote(f"the checkpoint of size {size} is not UTF-8") from None
        return found

    def inclusion_proof(self, seq: int, size: int | None = None) -> list[bytes]:
        """The hashes from entry `seq` to the root of `size` entries; raises BadProof."""
        return self._tree.inclusion_proof(seq, size)

    def consistency_proof(self, old: int, new: int | None = None) -> list[bytes]:
        """The hashes that show the first `old` entries unchanged among `new`; raises BadProof."""
        return self._tree.consistency_proof(old, new)


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise BadProof(f"{text!r:.60} in the proof is not base64") from None


def _hash(line: str) -> bytes:
    found = _decoded(line)
    if len(found) != HASH_BYTES:
        raise BadProof(f"a hash of the proof has {len(found)} bytes, not {HASH_BYTES}: {line!r:.60}")
    return found


def _text(data: str | bytes) -> str:
    if len(data) > MAX_PROOF_BYTES:
        raise BadProof(f"the proof has {len(data)} bytes, the limit is {MAX_PROOF_BYTES}")
    try:
        return data if isinstance(data, str) else data.decode("utf-8")
    except UnicodeDecodeError:
        raise BadProof("the proof is not UTF-8") from None
