"""The second pair of eyes: sign a head of another log only if it continues the head signed before.

Source: c2sp.org/tlog-witness, add-checkpoint, as a call instead of a request. One store serves any number of logs.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from ledger.checkpoint import Checkpoint, SignedCheckpoint, cosign, open_checkpoint
from ledger.clock import Clock
from ledger.errors import BadNote, BadProof, BadSignature, NotConsistent, StoreDamaged, StoreError
from ledger.keys import Identity, VerifyingKey
from ledger.merkle import EMPTY_ROOT, verify_consistency
from ledger.note import Note
from ledger.store import Head, PeerAdvance, Store
from ledger.witness_key import WitnessKey

MAX_PROOF_HASHES = 63


class Witness:
    """Cosigns heads with a party's witness key and remembers the newest one of each log."""

    def __init__(self, identity: Identity | WitnessKey, store: Store, clock: Clock) -> None:
        self._signer, self._store, self._clock = identity.witness, store, clock

    @property
    def key(self) -> VerifyingKey:
        """The key a policy lists for this witness (type 0x04)."""
        return self._signer.verifying

    def size(self, origin: str) -> int:
        """The size of the newest head cosigned for `origin`: where the next consistency proof must start."""
        head = self._remembered(origin)
        return head.size if head else 0

    def _remembered(self, origin: str) -> Head | None:
        # A log must not be accused because our own memory of it is damaged.
        head = self._store.peer_head(origin)
        with suppress(BadNote):
            if head is None or Checkpoint.parse(Note.parse(head.note).text) == Checkpoint(origin, head.size, head.root):
                return head
        raise StoreDamaged(
            f"{origin}: the head that was cosigned last was read back differently from how it was kept",
            remedy="Restore the store from a backup, and ask the log for the note that was cosigned.",
        )

    def cosign(self, note_text: str, proof: Sequence[bytes], log_key: VerifyingKey) -> str:
        """Check a signed head and return the cosignature line (with newline).

        `proof` is the consistency proof from `size(origin)`, empty from 0. Raises BadNote or BadSignature for a note
        not signed by `log_key`, BadProof for an old head or a proof that does not start where it must, NotConsistent
        with both notes when two signed heads contradict each other.
        """
        signed = open_checkpoint(note_text, log_key)
        party, _, run = signed.head.origin.partition("/")
        if party != log_key.name or not run:
            raise BadSignature(f"{log_key.name} signs heads of {log_key.name}/<run>, not of {signed.head.origin}")
        line, advance = self.prepare(signed, proof)
        # The check and this write must be one step, or two requests could roll the head back (tlog-witness).
        if not self._store.write(peers=[advance]):
            raise StoreError(
                f"{signed.head.origin}: another head was cosigned while {signed.head.size} was being checked",
                remedy="Ask for the new size and send the head again with a proof from there.",
            )
        return line

    def prepare(self, signed: SignedCheckpoint, proof: Sequence[bytes]) -> tuple[str, PeerAdvance]:
        """The cosignature of a head that was opened with the right key, and what must be durable before it leaves."""
        head = signed.head
        if len(proof) > MAX_PROOF_HASHES:
            raise BadProof(
                f"{head.origin}: a consistency proof has at most {MAX_PROOF_HASHES} hashes, not {len(proof)}"
            )
        moment = self._clock.now()
        before = self._remembered(head.origin)
        _check_continues(before, signed, proof)
        advance = PeerAdvance(head.origin, before, Head(head.size, head.root, str(signed)))
        return str(cosign(head, self._signer, moment)), advance


def _check_continues(before: Head | None, signed: SignedCheckpoint, proof: Sequence[bytes]) -> None:
    head = signed.head
    old = before or Head(0, EMPTY_ROOT, "")
    if head.size < old.size:
        raise BadProof(f"{head.origin}: a head of size {old.size} was cosigned already, {head.size} is older")
    if head.size == old.size and head.root != old.root:
        raise NotConsistent(
            f"{head.origin}: two roots were signed for size {head.size}, {old.root.hex()} and {head.root.hex()}",
            first=old.note,
            second=str(signed),
            remedy="The log has been forked by its own key. Stop, and hand both notes to the regulator.",
        )
    try:
        verify_consistency(old.size, head.size, old.root, head.root, proof)
    except BadProof as error:
        if before is None:
            raise
        raise NotConsistent(
            f"{head.origin}: the head of size {head.size} does not continue the cosigned head of {old.size}: {error}",
            first=old.note,
            second=str(signed),
            remedy=f"Send a consistency proof from {old.size}; without one the log must count as forked.",
        ) from error
