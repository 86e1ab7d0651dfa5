"""Asking a witness for its cosignature over HTTP (c2sp.org/tlog-witness), for a log or for anybody who holds its heads.

    client = WitnessClient("https://witness.regulator.example", key)          key: the witness's, from the policy
    cosign_newest(log, client)                                                checkpoint -> witness -> log

The witness remembers the size it cosigned last and says so when it is asked from another one; the client then proves
from there.
"""

from __future__ import annotations

import http.client
from collections.abc import Sequence
from typing import Protocol

from ledger.checkpoint import Checkpoint, verify_cosignature
from ledger.errors import BadKey, BadNote, BadProof, BadSignature, WitnessError, WitnessRefused
from ledger.keys import KeyType, VerifyingKey
from ledger.note import Note, SignatureLine
from ledger.posting import MAX_ANSWER_BYTES, SECONDS, post, web_address
from ledger.witness_service import ADD_CHECKPOINT, MAX_SIZE_DIGITS, TLOG_SIZE, AddCheckpoint

_ATTEMPTS = 4


class WitnessedLog(Protocol):
    """What is asked of a log: heads, consistency proofs, and a place for what the witness says."""

    def checkpoints(self) -> Sequence[tuple[int, bytes, str]]:
        """Size, root and note of all checkpoints by size."""
        ...

    def consistency_proof(self, old: int, new: int | None = None) -> list[bytes]:
        """The hashes that show the first `old` entries unchanged among `new`."""
        ...

    def add_cosignatures(self, size: int, lines: Sequence[str], keys: Sequence[VerifyingKey] = ()) -> None:
        """Keep signature lines for the checkpoint of `size`, checked with `keys`."""
        ...


class ProvesConsistency(Protocol):
    """A tree that can prove one of its heads from an older one."""

    def consistency_proof(self, old: int, new: int | None = None) -> list[bytes]:
        """The hashes that show the first `old` entries unchanged among `new`; raises BadProof."""
        ...


class WitnessClient:
    """One witness: its submission prefix and the key that its answers are checked with."""

    def __init__(self, url: str, key: VerifyingKey, *, seconds: float = SECONDS) -> None:
        """`url` is http or https; `seconds` bounds each step of a request. Raises WitnessError or BadKey."""
        try:
            self.url = web_address(url)
        except ValueError:
            raise WitnessError(
                f"{url!r:.200} is no address of a witness", remedy="Give http://HOST:PORT or https://HOST."
            ) from None
        if key.kind is not KeyType.COSIGNATURE:
            raise BadKey(f"the key of the witness {key.name} is not of type 0x04")
        self.key, self._seconds = key, seconds
        self._sizes: dict[str, int] = {}

    def cosign(self, note: str, tree: ProvesConsistency) -> str:
        """The witness's verified cosignature line on a signed head, with newline.

        `tree` proves the head from whatever size the witness holds. Raises WitnessRefused with the witness's status,
        WitnessError when it cannot be reached or its answer is none, BadSignature when its line does not verify.
        """
        signed = Note.parse(note)
        head = Checkpoint.parse(signed.text)
        for _ in range(_ATTEMPTS):
            old = _held(self._sizes.get(head.origin, 0), head)
            try:
                answer = self.add_checkpoint(AddCheckpoint(old, tuple(_proof(tree, old, head)), signed))
            except WitnessRefused as refusal:
                if refusal.size is None:
                    raise
                self._sizes[head.origin] = refusal.size
                continue
            line = self._own_line(signed, answer)
            self._sizes[head.origin] = head.size
            return line
        raise WitnessError(f"{self.key.name} named another size for {head.origin} {_ATTEMPTS} times")

    def add_checkpoint(self, request: AddCheckpoint) -> str:
        """One request; the body of a 200 answer, unchecked. Raises WitnessRefused or WitnessError."""
        status, kind, body = self._post(str(request).encode())
        if status == http.HTTPStatus.OK:
            return body
        if status == http.HTTPStatus.CONFLICT and kind == TLOG_SIZE:
            number = body.removesuffix("\n")
            if not (number.isascii() and number.isdigit() and len(number) <= MAX_SIZE_DIGITS):
                raise WitnessError(f"{self.key.name} answered 409 with {body!r:.80} instead of a size")
            text = f"{self.key.name} cosigned size {number} last, the request starts from {request.old}"
            raise WitnessRefused(text, status=status, size=int(number))
        said = body.partition("\n")[0]
        raise WitnessRefused(f"{self.key.name} refused with {status}: {said!a:.300}", status=status)

    def _post(self, body: bytes) -> tuple[int, str, str]:
        path = f"{self.url.path.rstrip('/')}/{ADD_CHECKPOINT}"
        try:
            status, kind, data = post(self.url, path, body, "text/plain; charset=utf-8", self._seconds)
        except (OSError, http.client.HTTPException) as error:
            raise WitnessError(
                f"the witness at {self.url.geturl()} cannot be asked: {error or type(error).__name__}",
                remedy="Check the address and that the witness is running; a checkpoint may be sent again at any time.",
            ) from error
        if len(data) > MAX_ANSWER_BYTES:
            raise WitnessError(f"the answer of {self.key.name} has more than {MAX_ANSWER_BYTES} bytes")
        try:
            return status, kind, data.decode("utf-8")
        except UnicodeDecodeError:
            raise WitnessError(f"the answer of {self.key.name} is not UTF-8") from None

    def _own_line(self, note: Note, answer: str) -> str:
        try:
            lines = [SignatureLine.parse(line) for line in answer.splitlines(keepends=True)]
        except BadNote as error:
            raise WitnessError(f"the answer of {self.key.name} is no signature line: {error}") from error
        own = [line for line in lines if line.by(self.key)]
        if not own:
            raise BadSignature(f"the answer of {self.url.geturl()} holds no line by {self.key.vkey}")
        verify_cosignature(note.text, own[0], self.key)
        return str(own[0])


def cosign_newest(log: WitnessedLog, client: WitnessClient) -> int:
    """Have the log's newest checkpoint cosigned and keep the line in the log; returns the checkpoint's size.

    Raises BadProof for a log without a checkpoint, else what `WitnessClient.cosign` raises; the log is then unchanged.
    """
    heads = log.checkpoints()
    if not heads:
        raise BadProof("the log has no checkpoint to be witnessed", remedy="Make one first.")
    size, _, note = heads[-1]
    log.add_cosignatures(size, [client.cosign(note, log)], [client.key])
    return size


def _proof(tree: ProvesConsistency, old: int, head: Checkpoint) -> list[bytes]:
    return [] if old in (0, head.size) else tree.consistency_proof(old, head.size)


def _held(size: int, head: Checkpoint) -> int:
    if size > head.size:
        raise WitnessRefused(
            f"{head.origin}: the witness has cosigned {size} entries, this head has {head.size}",
            status=http.HTTPStatus.CONFLICT,
            size=size,
            remedy="Send the newest head. If this is the newest, the log has been set back or copied: stop and ask.",
        )
    return size
