"""The notary at a party's desk: every message becomes a signed ledger entry, every round a countersigned checkpoint.

It taps the channel, so no protocol can forget it. It sees steps, sizes and digests, never contents.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from ledger.canonical import decode, encode
from ledger.checkpoint import open_checkpoint
from ledger.entry import Env, Payload, slot_name, verify_envelope
from ledger.entry import Envelope as Statement
from ledger.errors import LedgerError, SlotTaken, StoreError
from ledger.keys import Certificate, Identity, VerifyingKey
from ledger.log import Log
from ledger.store import SQLiteStore, Store
from ledger.witness import Witness
from vfl.channel import Step
from vfl.clock import Clock
from vfl.errors import BrokenPromise, ProtocolError, UsageError

CERTIFIED_FOR = timedelta(days=30)  # a run's key speaks for its party this long


@dataclass(frozen=True)
class PeerKeys:
    """The long-term keys expected of a peer: `identity` signs its log, `witness` cosigns ours."""

    identity: VerifyingKey
    witness: VerifyingKey


@contextmanager
def own_ledger() -> Iterator[None]:
    """What a party's own ledger refuses is for its keeper to mend."""
    try:
        yield
    except LedgerError as error:
        remedy = error.remedy or "see whether the disk is full, or the file damaged"
        raise UsageError(f"the ledger refuses: {error}", remedy=remedy) from error


def open_store(path: Path) -> SQLiteStore:
    """The ledger file at `path`, new or old. Raises UsageError if it cannot be opened or is none."""
    with own_ledger():
        return SQLiteStore(path)


class LedgerNotary:
    """Keeps one party's log of one run, and witnesses the logs of its peers (`vfl.channel.Notary`)."""

    def __init__(
        self, store: Store, identity: Identity, run: str, agreement: str, peers: Mapping[str, PeerKeys], clock: Clock
    ) -> None:
        """Open or begin the log of `identity` for `run`. `agreement`: its digest, hex."""
        self.cpu_seconds = 0.0
        self._run, self._peers = run, peers
        self._keys: dict[str, bytes] = {}  # of this run, by peer
        self._shown: dict[str, int] = {}  # size of the head each peer saw last
        with self._measured():
            now = clock.now()
            certificate = identity.certify(run, now - timedelta(minutes=5), now + CERTIFIED_FOR)
            self.log = Log(
                store, identity, identity.name, run, clock,
                entry_key=identity.entry_key(run), certificate=certificate, agreement=agreement,
            )  # fmt: skip
            self._witness = Witness(identity, store, clock)

    def credential(self) -> bytes:
        return encode(self.log.certificate.to_json())

    def introduce(self, peer: str, credential: bytes) -> None:
        with self._measured(), _blame(peer):
            certificate = Certificate.from_json(decode(credential))
            certificate.verify(self._peers[peer].identity)
            if certificate.run != self._run:
                raise BrokenPromise(f"shows a credential for the run {certificate.run}", peer=peer)
            self._keys[peer] = certificate.key
            slot = slot_name("open", 0, "introduce", peer, self.log.party)
            shown = {"certificate": certificate.to_json()}  # so that this log can be checked without the peer's
            self.log.append(phase="open", round=0, step="introduce", slot=slot, dir="local", params=shown)

    def sending(self, step: Step, digest: bytes, size: int) -> bytes:
        with self._measured():
            entry = self.log.append(
                phase=step.phase, round=step.round, step=step.kind, slot=step.slot, dir="send", peer=step.receiver,
                payload=Payload("sha256", digest.hex(), size, step.kind),
            )  # fmt: skip
        assert entry.env is not None
        return bytes.fromhex(entry.env.sig)

    def received(self, step: Step, digest: bytes, size: int, signature: bytes) -> None:
        with self._measured(), _blame(step.sender, step.slot):
            key = self._keys[step.sender]
            env = Env(key.hex(), signature.hex())
            statement = Statement(self._run, step.slot, step.sender, step.receiver, step.kind, digest.hex(), size)
            verify_envelope(key, statement, env)
            self.log.append(
                phase=step.phase, round=step.round, step=step.kind, slot=step.slot, dir="recv", peer=step.sender,
                payload=Payload("sha256", digest.hex(), size, step.kind), env=env,
            )  # fmt: skip

    def commit(self, phase: str, step: str, digests: Mapping[str, bytes]) -> None:
        """Put named salted digests on record, outside any message."""
        with self._measured():
            me = self.log.party
            commitments = [{"kind": k, "alg": "hmac-sha256", "digest": d.hex()} for k, d in digests.items()]
            slot = slot_name(phase, 0, step, me, me)
            try:
                self.log.append(phase=phase, round=0, step=step, slot=slot, dir="local", commit=commitments)
            except SlotTaken as error:
                raise ProtocolError(
                    "did not commit to this: the digests computed from data and seed differ from the record",
                    peer=me,
                    step=slot,
                    remedy="the data, the seed or the parameters changed since the run",
                ) from error

    def head(self, peer: str) -> bytes:
        with self._measured():
            # After a restart nobody knows which of the earlier heads the peer kept, so it gets a proof from each.
            earlier = [head.size for head in self.log.checkpoints()] if peer not in self._shown else [self._shown[peer]]
            note, size = self.log.checkpoint(), len(self.log)
            proofs = {str(old): [n.hex() for n in self.log.consistency_proof(old, size)] for old in {*earlier, size}}
            self._shown[peer] = size
        return json.dumps({"note": note, "proofs": proofs}).encode()

    def countersign(self, peer: str, head: bytes) -> bytes:
        with self._measured(), _blame(peer, "checkpoint"):
            note, proofs = _read_head(head)
            key = self._peers[peer].identity
            origin = open_checkpoint(note, key).head.origin
            if origin != f"{peer}/{self._run}":
                raise BrokenPromise(f"shows the head of another log, {origin[:80]}", peer=peer, step="checkpoint")
            return self._witness.cosign(note, proofs.get(str(self._witness.size(origin)), []), key).encode()

    def countersigned(self, peer: str, cosignature: bytes) -> None:
        with self._measured(), _blame(peer, "checkpoint"):
            self.log.add_cosignatures(len(self.log), [cosignature.decode()], [self._peers[peer].witness])

    def finish(self) -> None:
        """Make everything durable."""
        with self._measured():
            self.log.commit()

    @contextmanager
    def _measured(self) -> Iterator[None]:
        start = time.thread_time()
        try:
            with own_ledger():
                yield
        finally:
            self.cpu_seconds += time.thread_time() - start


def _read_head(head: bytes) -> tuple[str, dict[str, list[bytes]]]:
    body = json.loads(head)
    proofs = {str(size): [bytes.fromhex(node) for node in nodes] for size, nodes in body["proofs"].items()}
    return str(body["note"]), proofs


@contextmanager
def _blame(peer: str, step: str = "credential") -> Iterator[None]:
    """Whatever is wrong with bytes from `peer` is its fault, whichever way it shows."""
    try:
        yield
    except StoreError:
        raise
    except (LedgerError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise BrokenPromise(str(error), peer=peer, step=step) from error
