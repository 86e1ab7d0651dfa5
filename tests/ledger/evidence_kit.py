"""Logs written by hand, honest or not, their entries under signed heads, and a regulator that cosigns when asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from functools import lru_cache

from ledger_kit import AGREEMENT, RUN, START, identity

from ledger import Account, Entry, Env, Envelope, Payload, Policy, sign_envelope, slot_name
from ledger.canonical import Json
from ledger.checkpoint import Checkpoint, cosign, sign_checkpoint
from ledger.clock import format_time
from ledger.evidence import conversation_proof, entry_proof, envelope_proof
from ledger.keys import Certificate, KeyType, Signer, auditor_name, derive_key
from ledger.merkle import ZERO_HASH, Tree, leaf_hash
from ledger.told import Told

BANK, TELECOM, PAYROLL, REGULATOR = (identity(name) for name in ("bank", "telecom", "payroll", "regulator"))
AUDITOR = Signer(auditor_name("regulator"), KeyType.NOTE, derive_key(bytes(32), "auditor"))
POLICY = Policy.of([BANK, TELECOM, PAYROLL], [REGULATOR], auditors=[AUDITOR.verifying])


def minute(number: float) -> datetime:
    return START + timedelta(minutes=number)


@lru_cache
def certificate(name: str, run: str = RUN) -> Certificate:
    return identity(name).certify(run, START - timedelta(days=1), START + timedelta(days=1))


class Chronicle:
    """A log whose keeper writes what it likes; one minute passes with every entry unless `at` says otherwise."""

    def __init__(self, name: str, run: str = RUN) -> None:
        self.name, self.run = name, run
        self.entries: list[Entry] = []
        self.tree = Tree()
        self.add("open", params={"certificate": certificate(name, run).to_json()})

    def copy(self) -> Chronicle:
        twin = Chronicle(self.name, self.run)
        for entry in self.entries[1:]:
            twin.take(entry)
        return twin

    def add(
        self,
        step: str,
        *,
        slot: str | None = None,
        dir: str = "local",
        peer: str | None = None,
        payload: Payload | None = None,
        at: float | None = None,
        mono: int | None = None,
        refs: Sequence[int | str] = (),
        params: Mapping[str, Json] | None = None,
        env: Env | None = None,
    ) -> Entry:
        seq = len(self.entries)
        entry = Entry(
            log=f"{self.name}/{self.run}",
            seq=seq,
            prev=(self.tree.leaf(seq - 1) if seq else ZERO_HASH).hex(),
            ts=format_time(minute(seq if at is None else at)),
            mono=seq if mono is None else mono,
            job=self.run,
            agreement=AGREEMENT,
            phase="train",
            round=0,
            step=step,
            slot=slot or slot_name("train", 0, step, self.name, self.name, n=seq),
            actor=self.name,
            peer=peer,
            dir=dir,
            payload=payload,
            refs=tuple(refs),
            commit=(),
            params=params or {},
            env=env,
        )
        return self.take(entry)

    def take(self, entry: Entry) -> Entry:
        self.entries.append(Entry.from_json(entry.to_json()))
        self.tree.append(leaf_hash(entry.to_bytes()))
        return entry

    def say(self, peer: str, data: bytes, n: int = 0, **more: object) -> Entry:
        slot = slot_name("train", 0, "Hist", self.name, peer, n=n)
        return self.add("Hist", slot=slot, dir="send", peer=peer, payload=Payload.of(data, "Hist"), **more)

    def hear(self, said: Envelope, env: Env | None = None, **more: object) -> Entry:
        payload = Payload("sha256", said.digest, said.size, said.kind)
        return self.add("Hist", slot=said.slot, dir="recv", peer=said.sender, payload=payload, env=env, **more)

    def messages(self, peer: str, way: str) -> list[Envelope]:
        return [entry.envelope() for entry in self.entries if (entry.peer, entry.dir) == (peer, way)]

    def account(self, peer: str, messages: Sequence[Envelope] | None = None, **more: object) -> Entry:
        """An account of all messages of the log so far, or of those given."""
        told = Account(peer)
        for one in messages if messages is not None else self.messages(peer, "send") + self.messages(peer, "recv"):
            told = told.with_messages([one])
        return self.add("account", params=told.to_json(), **more)

    def head(self, size: int | None = None, seen: datetime | None = None, by=REGULATOR) -> str:
        size = len(self.entries) if size is None else size
        head = Checkpoint(f"{self.name}/{self.run}", size, self.tree.root(size))
        note = sign_checkpoint(head, identity(self.name).identity)
        return str(note.with_lines([cosign(head, by.witness, seen)]) if seen else note)

    def proof(self, entry: Entry, size: int | None = None, seen: datetime | None = None, by=REGULATOR) -> Json:
        size = len(self.entries) if size is None else size
        return entry_proof(entry.to_bytes(), self.head(size, seen, by), self.tree.inclusion_proof(entry.seq, size))

    def told(self, account: Entry, before: bytes, statements: Sequence[Envelope]) -> Json:
        path = self.tree.inclusion_proof(account.seq, len(self.entries))
        return Told(self.head(), account.to_bytes().decode(), path, before, statements).to_json()

    def conversation(self, account: Entry, said: Sequence[Envelope], heard: Sequence[Envelope], **more: object) -> Json:
        return conversation_proof(self.proof(account, **more), said, heard)


def envelope(sender: str, receiver: str, data: bytes, n: int = 0, run: str = RUN) -> Envelope:
    payload = Payload.of(data, "Hist")
    slot = slot_name("train", 0, "Hist", sender, receiver, n=n)
    return Envelope(run, slot, sender, receiver, "Hist", payload.digest, payload.size)


def sign(message: Envelope) -> Env:
    return sign_envelope(identity(message.sender).entry_key(message.run), message)


def signed(message: Envelope) -> Json:
    return envelope_proof(message, sign(message), certificate(message.sender, message.run))
