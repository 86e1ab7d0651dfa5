"""A party's log of one run: buffered appends, durable group commits, signed heads, proofs.

    log = Log(store, identity, "bank", "run-7", clock, entry_key=key, certificate=certificate, agreement=digest)
    entry = log.append(phase="train", round=4, step="hist", slot=slot, dir="send", peer="telecom", payload=payload)
    log.commit()                       # durable; at once for a party that could not say the same bytes again
    note = log.checkpoint()            # at the end of a round: entries and signed head in one transaction

Opening an existing store continues the log. A role that runs again after a crash repeats its appends; a slot that is
there already with the same content gives back the entry that is there, another content raises SlotTaken.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

from ledger.chain import Said
from ledger.checkpoint import Checkpoint, sign_checkpoint, verify_cosignature
from ledger.clock import Clock, format_time
from ledger.cosignatures import Cosignatures
from ledger.entry import Direction, Entry, Payload, content_of, mapping, slot_name
from ledger.envelope import Env, Envelope, check_message, sign_envelope
from ledger.errors import BadClock, BadEntry, BadKey, BadSignature, SlotTaken, StoreDamaged, StoreError
from ledger.key_history import KeyHistory, issue_revocation
from ledger.keys import Certificate, Identity, SigningKey, VerifyingKey
from ledger.merkle import ZERO_HASH, Tree, leaf_hash
from ledger.note import SignatureLine
from ledger.reopening import stored_entries, stored_heads
from ledger.store import Head, PeerAdvance, Row, Store
from ledger.waiting import Waiting


class Log:
    """One party's append-only log of one run; the only writer of its store.

    `origin` is `party/run`.
    """

    def __init__(
        self,
        store: Store,
        identity: Identity,
        party: str,
        run: str,
        clock: Clock,
        *,
        entry_key: SigningKey,
        certificate: Certificate,
        agreement: str,
        sign_messages: bool = True,
    ) -> None:
        """Open or begin the log. `agreement` is the agreement's SHA-256 in hex.

        `sign_messages`: every `send` gets an envelope; else the accounts of conversations are all that is signed.

        Raises StoreDamaged when what is stored does not fit its digests, BadKey when party, run or entry key are not
        those of the store or of the certificate.
        """
        if identity.name != party:
            raise BadKey(f"the log of {party} cannot be kept with the identity of {identity.name}")
        self.party, self.run, self.origin = party, run, f"{party}/{run}"
        self.agreement = agreement
        self.certificate = certificate
        self._store, self._identity, self._clock, self._key = store, identity, clock, entry_key
        self._sign_messages = sign_messages
        self._history = KeyHistory(self.key, run)
        self._leaves = Tree()  # of the entries written out; `_tree` has them all
        self._waiting = Waiting(party, run, agreement)
        self._slots: dict[str, Said] = {}
        self._pending: list[Row] = []
        self._heads: list[Head] = []
        self._cosignatures = Cosignatures()
        self._fresh: list[tuple[int, str]] = []  # those not yet in the store
        self._mono = 0
        self._lock = threading.RLock()
        self._reload()
        self._mono_zero = clock.monotonic_ns() - self._mono
        if not len(self._tree):
            self._begin()

    # -- reading ------------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        """Entries appended, committed or not."""
        return len(self._leaves) + len(self._waiting)

    @property
    def key(self) -> VerifyingKey:
        """The key that checks this log's checkpoints."""
        return self._identity.identity.verifying

    def entries(self) -> Iterator[Entry]:
        """All committed entries in order."""
        return (Entry.from_bytes(row.body) for row in self._store.rows())

    def rows(self) -> Iterator[Row]:
        """All committed entries as stored: position, bytes, leaf, signature."""
        return self._store.rows()

    def slot_digest(self, slot: str) -> str | None:
        """The content digest (hex) this log holds for `slot`, or None."""
        held = self._slots.get(slot)
        return held.digest if held else None

    def checkpoints(self) -> list[Head]:
        """All checkpoints by size, each note with the cosignatures collected so far."""
        return [head._replace(note=self._cosigned(head)) for head in self._heads]

    def last_cosigned_by(self, key: VerifyingKey) -> Head | None:
        """The newest checkpoint with a line by `key`, its note with all cosignatures collected so far."""
        size = self._cosignatures.newest_by(key)
        head = next((head for head in reversed(self._heads) if head.size == size), None)
        return head and head._replace(note=self._cosigned(head))

    def root(self, size: int | None = None) -> bytes:
        """The RFC 6962 root of the first `size` entries (all by default)."""
        return self._tree.root(size)

    def inclusion_proof(self, seq: int, size: int | None = None) -> list[bytes]:
        """The hashes that show entry `seq` under the root of `size` entries; raises BadProof."""
        return self._tree.inclusion_proof(seq, size)

    def consistency_proof(self, old: int, new: int | None = None) -> list[bytes]:
        """The hashes that show the first `old` entries unchanged among `new`; raises BadProof."""
        return self._tree.consistency_proof(old, new)

    # -- writing ------------------------------------------------------------------------------------------------

    def append(
        self,
        *,
        phase: str,
        round: int,
        step: str,
        slot: str,
        dir: Direction,
        peer: str | None = None,
        payload: Payload | None = None,
        commit: Sequence[Mapping[str, object]] = (),
        params: Mapping[str, object] | None = None,
        env: Env | None = None,
        refs: Sequence[int | str] = (),
    ) -> Entry:
        """Add an entry to the buffer and return it; `commit()` makes it durable.

        For `recv`, `env` is the sender's envelope, which the caller has verified; for `send` it is signed here, never
        twice for one slot, and found in the returned entry. `refs` are earlier positions or slots of this log.
        Raises SlotTaken, BadEntry, BadClock or NotCanonical; the log is then unchanged.
        """
        with self._lock:
            digest = content_of(payload, commit, params or {})
            if (held := self._slots.get(slot)) is not None:
                return self._again(slot, held, Said(held.seq, dir, peer, payload, digest))
            seq = len(self._tree)
            if dir == "send" and self._sign_messages and env is None and peer is not None and payload is not None:
                p = payload
                env = sign_envelope(self._key, Envelope(self.run, slot, self.party, peer, p.schema, p.digest, p.size))
            entry = Entry(
                log=self.origin,
                seq=seq,
                prev=(self._tree.leaf(seq - 1) if seq else ZERO_HASH).hex(),
                ts=format_time(self._moment()),
                mono=max(self._mono, self._clock.monotonic_ns() - self._mono_zero),
                job=self.run,
                agreement=self.agreement,
                phase=phase,
                round=round,
                step=step,
                slot=slot,
                actor=self.party,
                peer=peer,
                dir=dir,
                payload=payload,
                refs=tuple(refs),
                commit=tuple(mapping(item, "a commitment") for item in commit),
                params=mapping(params or {}, "params"),
                env=env,
            )
            return self._add(entry, digest)

    def message(self, message: Envelope, phase: str, round: int, env: Env | None = None) -> Env | None:
        """Add a message that this party sends or received; its envelope's signature, if messages are signed.

        What `append` does, for the busiest path: entries are written out together when the log is next asked for
        anything. The caller has verified a received `env`. Raises SlotTaken, BadEntry or BadClock, and changes nothing.
        """
        with self._lock:
            if message.run != self.run or self.party not in (message.sender, message.receiver):
                raise BadEntry(f"{self.origin}: {message.slot} is no message of {self.party} in the run {self.run}")
            dir, peer = self._waiting.way(message)
            payload = Payload("sha256", message.digest, message.size, message.kind)
            said = Said(len(self), dir, peer, payload, message.digest)
            if (held := self._slots.get(message.slot)) is not None:
                return self._again(message.slot, held, said._replace(seq=held.seq)).env
            check_message(message, phase, round)
            now = self._moment()
            if dir == "send" and self._sign_messages:
                env = sign_envelope(self._key, message)
            self._mono = max(self._mono, self._clock.monotonic_ns() - self._mono_zero)
            self._waiting.add(message, phase, round, now, self._mono, env)
            self._slots[message.slot] = said
            return env

    def commit(self) -> None:
        """Keep everything appended so far, in one transaction; raises StoreError and keeps the buffer."""
        with self._lock:
            self._write(None)

    def checkpoint(self, peers: Sequence[PeerAdvance] = ()) -> str:
        """Commit, and return the signed note of the current head; the stored one when nothing was added since.

        What was added since the last checkpoint is read back and hashed again before the note is given out: a bit that
        flipped on its way to the disk must not be vouched for. Raises StoreDamaged in that case. `peers`: heads of
        other logs about to be cosigned, kept in the same transaction; StoreError where one was overtaken.
        """
        with self._lock:
            size = len(self)
            if self._heads and self._heads[-1].size == size:
                if peers:
                    self._write(None, peers)
                return self._cosigned(self._heads[-1])
            committed = len(self._tree) - len(self._pending)
            self._read_back(self._heads[-1].size if self._heads else 0, committed)
            head = Checkpoint(self.origin, size, self._tree.root())
            note = str(sign_checkpoint(head, self._identity.identity))
            self._write(Head(size, head.root, note), peers)
            self._read_back(committed, size)
            self._heads.append(Head(size, head.root, note))
            return note

    def add_cosignatures(self, size: int, lines: Sequence[str], keys: Sequence[VerifyingKey] = ()) -> None:
        """Keep signature lines of witnesses for the checkpoint of `size`; durable with what is written next.

        With `keys`, each line must be a valid cosignature by one of them (BadSignature); else only the form is checked
        (BadNote). Raises StoreError when there is no such checkpoint.
        """
        with self._lock:
            parsed = [SignatureLine.parse(line) for line in lines]
            if all(head.size != size for head in reversed(self._heads)):
                raise StoreError(f"{self.origin}: there is no checkpoint of size {size} to cosign")
            for line in parsed if keys else ():
                key = next((key for key in keys if line.by(key)), None)
                if key is None:
                    raise BadSignature(f"{self.origin}: {line.name} is none of the expected witnesses")
                verify_cosignature(Checkpoint(self.origin, size, self._tree.root(size)).text, line, key)
            self._fresh += self._cosignatures.add(size, parsed)

    # -- inside -------------------------------------------------------------------------------------------------

    @property
    def _tree(self) -> Tree:
        self._write_out()
        return self._leaves

    def _write_out(self) -> None:
        with self._lock:
            if self._waiting:
                seq = len(self._leaves)
                for row in self._waiting.write_out(seq, self._leaves.leaf(seq - 1)):
                    self._enter(row)

    def _moment(self) -> datetime:
        now, valid = self._clock.now(), self.certificate
        if not valid.covers(stamp := format_time(now)):
            raise BadClock(
                f"{self.origin}: the clock says {stamp}; its key is valid {valid.not_before} to {valid.not_after}",
                remedy="Set the clock of this machine, then go on with the run; when its time is over, begin another.",
            )
        return now

    def _enter(self, row: Row) -> None:
        self._leaves.append(row.leaf)
        self._pending.append(row)

    def _begin(self) -> None:
        if self.certificate.key != self._key.public or self.certificate.run != self.run:
            raise BadKey(f"{self.origin}: the certificate binds another entry key or another run")
        self.certificate.verify(self.key)
        slot = slot_name("open", 0, "open", self.party, self.party)
        params = {"certificate": self.certificate.to_json()}
        opening = self.append(phase="open", round=0, step="open", slot=slot, dir="local", params=params)
        self._history.read([(0, opening)])
        self.commit()

    def _write(self, head: Head | None, peers: Sequence[PeerAdvance] = ()) -> None:
        self._write_out()
        if not (self._pending or head or self._fresh or peers):
            return
        if not self._store.write(self._pending, head, self._fresh, peers):
            raise StoreError(
                f"{self.origin}: another head of {' or '.join(peer.origin for peer in peers)} was cosigned meanwhile",
                remedy="Let only one process keep this log.",
            )
        self._pending, self._fresh = [], []

    def _read_back(self, start: int, end: int) -> None:
        rows = self._store.rows(start) if start < end else iter(())
        for seq in range(start, end):
            row = next(rows, None)
            if row is None or row.seq != seq or leaf_hash(row.body) != self._tree.leaf(seq):
                raise StoreDamaged(f"{self.origin}: entry {seq} was read back differently from how it was kept")

    def _again(self, slot: str, held: Said, said: Said) -> Entry:
        if held != said:
            raise SlotTaken(
                f"{self.origin}: slot {slot} holds {held} at seq {held.seq}; {said} is not signed",
                remedy="A role that runs again must say the same; give a new statement a slot of its own.",
            )
        first = len(self._tree) - len(self._pending)
        row = self._pending[held.seq - first] if held.seq >= first else self._store.row(held.seq)
        return Entry.from_bytes(row.body)

    def _add(self, entry: Entry, digest: str) -> Entry:
        # Nothing is added that a verifier would refuse to read.
        if entry.dir == "local" or entry.refs or entry.commit or entry.params:
            entry = Entry.from_json(entry.to_json())
            body = entry.to_bytes()
        else:
            body = entry.message_bytes()
        self._check_refs(entry)
        self._enter(Row(entry.seq, body, leaf_hash(body)))
        self._slots[entry.slot] = Said(entry.seq, entry.dir, entry.peer, entry.payload, digest)
        self._mono = entry.mono
        return entry

    def _check_refs(self, entry: Entry) -> None:
        for ref in entry.refs:
            if not (ref < entry.seq if isinstance(ref, int) else ref in self._slots):
                raise BadEntry(f"{self.origin}: slot {entry.slot} refers to {ref}, which this log does not hold yet")

    def _reload(self) -> None:
        for entry, row in stored_entries(self._store, self.origin):
            if not entry.seq:
                self._resume(entry)
            self._leaves.append(row.leaf)
            self._slots[entry.slot] = Said(entry.seq, entry.dir, entry.peer, entry.payload, entry.content())
            self._mono = entry.mono
            if "certificate" in entry.params or "revoked" in entry.params:
                self._history.read([(entry.seq, entry)])
        self._check_entry_key()
        self._heads = stored_heads(self._store, self.origin, self.key, self._leaves)
        for head in self._heads:
            self._cosignatures.add(head.size, map(SignatureLine.parse, self._store.cosignatures(head.size)))

    def _resume(self, opening: Entry) -> None:
        stored = Certificate.from_json(opening.params.get("certificate"))
        stored.verify(self.key)
        if opening.agreement != self.agreement:
            raise BadKey(
                f"{self.origin}: the store was begun under agreement {opening.agreement}, not {self.agreement}"
            )
        self.certificate = stored

    def _cosigned(self, head: Head) -> str:
        return head.note + self._cosignatures.under(head.size)

    # -- keys ---------------------------------------------------------------------------------------------------

    def rotate(self, new_key: SigningKey, certificate: Certificate) -> Entry:
        """Sign envelopes with `new_key` from the next entry on; `certificate` binds it to the identity.

        The entry that says so is still made under the old key, and durable. Raises BadKey or BadSignature.
        """
        with self._lock:
            certificate.verify(self.key)
            if (certificate.key, certificate.run) != (new_key.public, self.run):
                raise BadKey(f"{self.origin}: the certificate binds another entry key or another run")
            if self._history.ever_held(certificate.key):
                raise BadKey(f"{self.origin}: a rotation takes a key that was never in use")
            entry = self._note_keys("rotate", new_key.public, {"certificate": certificate.to_json()})
            self._key, self.certificate = new_key, certificate
            return entry

    def revoke(self, key: bytes, reason: str) -> Entry:
        """Declare that nothing by the former entry key `key` counts from now on; raises BadKey for the one in use."""
        with self._lock:
            if key == self._key.public:
                raise BadKey(f"{self.origin}: the key in use cannot be revoked", remedy="Rotate to a new key first.")
            if not self._history.ever_held(key):
                raise BadKey(f"{self.origin}: {key.hex():.16}.. never was an entry key of this log")
            revocation = issue_revocation(self._identity.identity, self.run, key, self._clock.now(), reason)
            return self._note_keys("revoke", key, {"revoked": revocation.to_json()})

    def _note_keys(self, step: str, key: bytes, params: Mapping[str, object]) -> Entry:
        slot = slot_name("keys", 0, f"{step}-{key.hex()[:16]}", self.party, self.party)
        entry = self.append(phase="keys", round=0, step=step, slot=slot, dir="local", params=params)
        self.commit()
        self._history.read([(entry.seq, entry)])
        return entry

    def _check_entry_key(self) -> None:
        current = self._history.certificate_at(len(self._tree)) if len(self._tree) else None
        if current is None:
            return
        if current.key != self._key.public:
            raise BadKey(
                f"{self.origin}: the store was begun, or goes on, with entry key {current.key.hex()}; open it with it"
            )
        self.certificate = current
