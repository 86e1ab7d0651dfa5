"""A witness that others reach over HTTP (c2sp.org/tlog-witness, add-checkpoint).

    POST <prefix>/add-checkpoint
    old 20852014                                        size of the head it cosigned last
    PlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=        consistency proof from there, at most 63 lines
                                                        (an empty line, then the signed checkpoint)
    example.com/behind-the-sofa
    20852163
    CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=

    — example.com/behind-the-sofa Az3grlgtzPICa5OS...

200 the cosignature line · 400 no such request, or the head is older than `old` · 403 not signed by the log's key · 404
no known log · 409 another size was cosigned last; the body says which · 422 the head does not continue that one.

The check and the write are one step (`Store`), and nothing is answered before it is durable. Two roots signed for one
size are kept as an evidence file.
"""

from __future__ import annotations

import base64
import binascii
import os
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

from ledger.checkpoint import Checkpoint
from ledger.errors import BadNote, BadProof, BadSignature, LedgerError, NotConsistent, StoreError
from ledger.evidence import fork_evidence
from ledger.keys import VerifyingKey
from ledger.merkle import HASH_BYTES
from ledger.note import Note
from ledger.store import Head, Store
from ledger.witness import MAX_PROOF_HASHES, Witness

TEXT = "text/plain; charset=utf-8"
TLOG_SIZE = "text/x.tlog.size"
ADD_CHECKPOINT = "add-checkpoint"
MAX_SIZE_DIGITS = 19


@dataclass(frozen=True, slots=True)
class Reply:
    """An HTTP answer; `origin` and `size` say for the operator's record what it is about, when that was readable."""

    status: HTTPStatus
    body: str
    content_type: str = TEXT
    origin: str = ""
    size: int | None = None


@dataclass(frozen=True, slots=True)
class AddCheckpoint:
    """A parsed request: size the proof starts from, proof (32 bytes each), signed note."""

    old: int
    proof: tuple[bytes, ...]
    note: Note

    def __str__(self) -> str:
        lines = [f"old {self.old}", *(base64.b64encode(item).decode() for item in self.proof)]
        return "\n".join([*lines, "", str(self.note)])

    @classmethod
    def parse(cls, data: bytes) -> AddCheckpoint:
        """Read a request body strictly; raises BadNote or BadProof."""
        try:
            head, separator, note = data.decode("utf-8").partition("\n\n")
        except UnicodeDecodeError:
            raise BadNote("the request is not UTF-8") from None
        first, *lines = head.split("\n")
        word, _, number = first.partition(" ")
        size = int(number) if number.isascii() and number.isdigit() and len(number) <= MAX_SIZE_DIGITS else -1
        if word != "old" or str(size) != number or not separator:
            raise BadNote("a request begins with a line `old SIZE` and has an empty line before the checkpoint")
        if len(lines) > MAX_PROOF_HASHES:
            raise BadProof(f"a consistency proof has at most {MAX_PROOF_HASHES} hashes, not {len(lines)}")
        return cls(size, tuple(map(_hash, lines)), Note.parse(note))


class WitnessService:
    """Answers add-checkpoint for the logs whose keys it was given; any number of threads and processes may share it."""

    def __init__(self, witness: Witness, logs: Iterable[VerifyingKey], store: Store, evidence: Path) -> None:
        """`store` is the witness's own; `evidence` is a folder, made when it is needed."""
        self._witness, self._store, self.evidence = witness, store, evidence
        self._logs = {key.name: key for key in logs}
        self._lock = threading.Lock()

    @property
    def key(self) -> VerifyingKey:
        """The key a policy lists for this witness."""
        return self._witness.key

    def add_checkpoint(self, data: bytes) -> Reply:
        """Answer one request body; never raises for what it may hold."""
        try:
            request = AddCheckpoint.parse(data)
        except LedgerError as error:
            return _refusal(HTTPStatus.BAD_REQUEST, error)
        origin = request.note.text.partition("\n")[0]
        party, _, run = origin.partition("/")
        key = self._logs.get(party)
        if key is None or not run:
            return _refusal(HTTPStatus.NOT_FOUND, f"the log {origin!r:.200} is not known here")
        try:
            if not request.note.verified([key]):
                raise BadSignature(f"the checkpoint of {origin} is not signed by {key.vkey}")
        except BadSignature as error:
            return _refusal(HTTPStatus.FORBIDDEN, error, origin)
        try:
            head = _head(request.note.text)
        except BadNote as error:
            return _refusal(HTTPStatus.BAD_REQUEST, error, origin)
        if request.old > head.size:
            text = f"{origin}: old size {request.old} is larger than the checkpoint's {head.size}"
            return _refusal(HTTPStatus.BAD_REQUEST, text, origin, head.size)
        with self._lock:
            return self._cosign(request, head, key)

    def _cosign(self, request: AddCheckpoint, head: Checkpoint, key: VerifyingKey) -> Reply:
        before = self._store.peer_head(head.origin)
        if before is not None and (before.size, before.root) != (head.size, head.root) and before.size == head.size:
            self._keep_fork(before, head, request.note, key)
        held = before.size if before else 0
        if request.old != held:
            return _conflict(held, head)
        note = str(_only(request.note, key))
        try:
            return Reply(HTTPStatus.OK, self._witness.cosign(note, request.proof, key), TEXT, head.origin, head.size)
        except (BadNote, BadProof, NotConsistent, StoreError) as error:
            # Another process on this store may have been faster: then the request is stale, whatever else went wrong.
            now = self._store.peer_head(head.origin)
            if now is not None and now.size != held:
                return _conflict(now.size, head)
            refused = HTTPStatus.SERVICE_UNAVAILABLE if isinstance(error, StoreError) else None
            return _refusal(refused or HTTPStatus.UNPROCESSABLE_ENTITY, error, head.origin, head.size)

    def _keep_fork(self, before: Head, head: Checkpoint, note: Note, key: VerifyingKey) -> None:
        # One file per size is enough to prove the fork, and nobody can fill the disk with more.
        path = self.evidence.joinpath(*head.origin.split("/")) / f"fork-{head.size}.json"
        if path.exists():
            return
        error = NotConsistent("", first=str(_only(Note.parse(before.note), key)), second=str(_only(note, key)))
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(f".{os.getpid()}.part")
        with part.open("wb") as file:
            file.write(fork_evidence(error))
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)


def _only(note: Note, key: VerifyingKey) -> Note:
    # What strangers added below the log's own signature is neither kept nor repeated.
    return Note(note.text, tuple(line for line in note.signatures if line.by(key)))


def _head(text: str) -> Checkpoint:
    """The checkpoint of a note; an empty tree may claim a wrong root here, which is answered with 422, not 400."""
    try:
        return Checkpoint.parse(text)
    except BadNote:
        origin, size, root, *_ = [*text.split("\n"), "", ""]
        if size == "0" and (claimed := Checkpoint(origin, 0, _hash(root))).text == text:
            return claimed
        raise


def _hash(line: str) -> bytes:
    try:
        found = base64.b64decode(line, validate=True)
    except (binascii.Error, ValueError):
        found = b""
    if len(found) != HASH_BYTES or base64.b64encode(found).decode() != line:
        raise BadNote(f"{line!r:.60} is no base64 of {HASH_BYTES} bytes")
    return found


def _refusal(status: HTTPStatus, why: object, origin: str = "", size: int | None = None) -> Reply:
    return Reply(status, f"{why}\n", TEXT, origin, size)


def _conflict(held: int, head: Checkpoint) -> Reply:
    return Reply(HTTPStatus.CONFLICT, f"{held}\n", TLOG_SIZE, head.origin, head.size)
