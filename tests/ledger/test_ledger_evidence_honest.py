"""Nobody is accused: 1,000 small conversations over a bad network, and every accusation that can be built from them.

Messages are dropped, doubled, delayed past each other, or cut off; accounts fall where they fall. The logs are the
real ones. Out of all entries, accounts and statements an accuser picks at random, under whatever heads exist.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import pytest
from evidence_kit import POLICY, REGULATOR, signed
from ledger_kit import TickClock, identity, open_log

from ledger import Account, Entry, Envelope, LedgerError, Log, MemoryStore, NotConsistent, Payload, slot_name
from ledger import evidence as ev
from ledger.checkpoint import Checkpoint, cosign, sign_checkpoint
from ledger.told import told_by

NAMES = ("bank", "telecom")


class Talk:
    """Two honest logs, their messages over a network with faults, and the accounts at both ends."""

    def __init__(self, rng: random.Random) -> None:
        self.rng, self.clock = rng, TickClock()
        self.logs = {name: open_log(name, MemoryStore(), self.clock) for name in NAMES}
        self.accounts = {"bank": Account("telecom"), "telecom": Account("bank")}
        self.wire: list[Entry] = []
        for number in range(rng.randrange(2, 6)):
            sender, receiver = rng.sample(NAMES, 2)
            self.wire.append(self.enter(sender, "send", receiver, number, Payload.of(rng.randbytes(3), "Hist")))
            self.network()
            if rng.random() < 0.4:
                self.account(rng.choice(NAMES))
        for name in NAMES:
            self.account(name)
            self.logs[name].commit()
        self.entries = {name: list(self.logs[name].entries()) for name in NAMES}

    def enter(self, name: str, way: str, peer: str, number: int, payload: Payload, env=None) -> Entry:
        sender, receiver = (name, peer) if way == "send" else (peer, name)
        slot, log = slot_name("train", 0, "Hist", sender, receiver, n=number), self.logs[name]
        again = log.slot_digest(slot) is not None
        entry = log.append(
            phase="train", round=0, step="Hist", slot=slot, dir=way, peer=peer, payload=payload, env=env,
            refs=[len(log) - 1] if not again else [],
        )  # fmt: skip
        if not again:
            self.accounts[name] = self.accounts[name].with_messages([entry.envelope()])
        return entry

    def network(self) -> None:
        fault = self.rng.choice(["none", "none", "drop", "double", "reorder", "truncate"])
        if fault == "reorder":
            self.rng.shuffle(self.wire)
        if fault == "truncate":
            return
        arrived, self.wire = self.wire, []
        for sent in [] if fault == "drop" else arrived * (2 if fault == "double" else 1):
            number = int(sent.slot.rpartition("/")[2])
            self.enter(str(sent.peer), "recv", sent.actor, number, sent.payload, env=sent.env)

    def account(self, name: str) -> None:
        log, account = self.logs[name], self.accounts[name]
        slot = slot_name("account", 0, "account", name, account.peer, n=len(log))
        log.append(phase="account", round=0, step="account", slot=slot, dir="local", params=account.to_json())

    def head(self, log: Log, size: int) -> str:
        head = Checkpoint(log.origin, size, log.root(size))
        note = sign_checkpoint(head, identity(log.party).identity)
        return str(note.with_lines([cosign(head, REGULATOR.witness, self.clock.now())]))

    def proof(self, entry: Entry) -> object:
        log = self.logs[entry.actor]
        size = self.rng.randrange(entry.seq + 1, len(log) + 1)
        return ev.entry_proof(entry.to_bytes(), self.head(log, size), log.inclusion_proof(entry.seq, size))

    def pick(self, *names: str, step: str = "") -> Entry:
        return self.rng.choice([e for name in names or NAMES for e in self.entries[name] if step in ("", e.step)])

    def statement(self) -> object:
        entry = self.pick(step="Hist")
        forms = [lambda: signed(entry.envelope()), lambda: self.proof(entry), lambda: self.told(entry)]
        return self.rng.choice(forms)()

    def told(self, entry: Entry) -> object:
        account = self.entries[entry.actor][-1]
        log = self.logs[entry.actor]
        path = log.inclusion_proof(account.seq)
        other = [e for e in self.entries[entry.actor] if e.peer is not None]
        own = [_turned(e) for e in other]
        return told_by(self.head(log, len(log)), account.to_bytes().decode(), path, own, entry.slot).to_json()

    def conversation(self, account: Entry) -> object:
        kept = [e for e in self.entries[account.actor][: account.seq] if e.peer is not None]
        said, heard = ([e.envelope() for e in kept if e.dir == way] for way in ("send", "recv"))
        return ev.conversation_proof(self.proof(account), said, heard)

    def contradiction(self, first: int, second: int) -> NotConsistent:
        log = self.logs["bank"]
        return NotConsistent("", first=self.head(log, first), second=self.head(log, second))

    def accusations(self) -> list[bytes]:
        """Three of the accusations that could be made."""
        a, b = self.pick(), self.pick()
        first, second = sorted((self.pick("bank"), self.pick("bank")), key=lambda e: e.seq)
        account = self.pick(step="account")
        heads = [first.seq + 1, second.seq + 1]
        tail = self.entries[account.actor][account.seq + 1 :]
        accounts = [e for e in self.entries["bank"] if e.step == "account"]
        made: list[Callable[[], bytes]] = [
            lambda: ev.equivocation_evidence(self.statement(), self.statement()),
            lambda: ev.fork_evidence(self.contradiction(*heads)),
            lambda: ev.tampering_evidence(self.proof(a), self.proof(b)),
            lambda: ev.tampering_evidence(self.proof(a), self.proof(a)),
            lambda: ev.backdating_evidence(self.proof(a)),
            lambda: ev.backdating_evidence(self.proof(a), opening=self.proof(self.entries[a.actor][0])),
            lambda: ev.backdating_evidence(self.proof(second), earlier=self.proof(first)),
            lambda: ev.replay_evidence(self.proof(self.pick(step="Hist")), signed(self.pick(step="Hist").envelope())),
            lambda: ev.order_evidence(self.proof(a)),
            lambda: ev.order_evidence(self.proof(first), self.proof(second)),
            lambda: ev.wrong_digest_evidence(self.statement(), b"abc", self.statement()),
            lambda: ev.denial_evidence(self.statement(), self.conversation(account)),
            lambda: ev.denial_evidence(
                self.statement(), self.conversation(account), later=self.proof(a), seen=self.proof(b)
            ),
            lambda: ev.dropping_out_evidence(self.proof(a), self.conversation(account), list(map(self.proof, tail))),
            lambda: ev.selective_abort_evidence(self.proof(a), self.conversation(account)),
        ]
        made += [lambda x=x, y=y: ev.shrunk_evidence(self.proof(x), self.proof(y)) for x, y in pairwise(accounts)]
        return [build() for build in self.rng.sample(made, 3)]


def _turned(entry: Entry) -> Entry:
    """The message as the peer's log would hold it: `told_by` reads the log of whoever shows the proof."""
    way = "recv" if entry.dir == "send" else "send"
    return replace(entry, actor=entry.peer, peer=entry.actor, dir=way)


@pytest.mark.parametrize("conversations", [200, pytest.param(1000, marks=pytest.mark.slow)])
def test_honest_conversations_accuse_nobody(conversations: int):
    tried = 0
    for seed in range(conversations):
        for data in Talk(random.Random(seed)).accusations():
            tried += 1
            with pytest.raises(LedgerError):
                raise AssertionError(f"seed {seed}: {ev.check_evidence(data, POLICY)}\n{data.decode():.2000}")
    assert tried == 3 * conversations


def test_the_accuser_is_able():
    """The same tools do accuse where there is something: a party that says another thing at a slot."""
    talk = Talk(random.Random(1))
    entry = talk.pick(step="Hist")
    message = entry.envelope()
    other = Envelope(message.run, message.slot, message.sender, message.receiver, message.kind, "00" * 32, message.size)
    assert ev.check_evidence(ev.equivocation_evidence(signed(message), signed(other)), POLICY).party == message.sender
