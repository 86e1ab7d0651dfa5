"""A message proven by its sender's or receiver's signed account."""

from dataclasses import replace

import pytest
from ledger_kit import RUN, World, identity

from ledger import Account, Entry, Envelope, Payload, slot_name
from ledger.errors import LedgerError
from ledger.told import Told, told_by

KEYS = {name: identity(name).identity.verifying for name in ("bank", "telecom")}


class Conversation:
    """Two logs whose messages carry no envelope, and their accounts."""

    def __init__(self, messages: int = 5) -> None:
        self.world = World()
        self.logs = self.world.logs
        for log in self.logs.values():
            log._sign_messages = False
        self.accounts = {"bank": Account("telecom"), "telecom": Account("bank")}
        for number in range(messages):
            self.say("bank", "telecom", number)
            if number % 2:
                self.say("telecom", "bank", number)
        self.shown = {name: self.show(name) for name in self.logs}

    def say(self, sender: str, receiver: str, number: int) -> None:
        slot = slot_name("train", 0, "Hist", sender, receiver, n=number)
        place = {"phase": "train", "round": 0, "step": "Hist", "slot": slot}
        payload = Payload.of(b"%d" % number, "Hist")
        for name, way, peer in ((sender, "send", receiver), (receiver, "recv", sender)):
            entry = self.logs[name].append(dir=way, peer=peer, payload=payload, **place)
            self.accounts[name] = self.accounts[name].with_messages([entry.envelope()])

    def show(self, name: str) -> tuple[str, str, list[bytes]]:
        log, account = self.logs[name], self.accounts[name]
        slot = slot_name("account", 0, "account", name, account.peer)
        entry = log.append(phase="account", round=0, step="account", slot=slot, dir="local", params=account.to_json())
        note = log.checkpoint()
        return note, entry.to_bytes().decode(), log.inclusion_proof(entry.seq)

    def prove(self, accused: str, slot: str) -> Told:
        (other,) = self.logs.keys() - {accused}
        return told_by(*self.shown[accused], self.logs[other].entries(), slot)


@pytest.fixture(scope="module")
def talk() -> Conversation:
    return Conversation()


SLOTS = [slot_name("train", 0, "Hist", "bank", "telecom", n=n) for n in range(5)]
SLOTS += [slot_name("train", 0, "Hist", "telecom", "bank", n=n) for n in (1, 3)]


@pytest.mark.parametrize("accused", ["bank", "telecom"])
@pytest.mark.parametrize("slot", SLOTS)
def test_every_message_is_proven_said_or_heard(talk: Conversation, accused: str, slot: str) -> None:
    proof = Told.from_json(talk.prove(accused, slot).to_json())
    proven = proof.verify(KEYS[accused])
    entry = next(entry for entry in talk.logs[accused].entries() if entry.slot == slot)
    assert proven == entry.envelope()
    (other,) = KEYS.keys() - {accused}
    with pytest.raises(LedgerError):
        proof.verify(KEYS[other])


CHANGES = {
    "another digest": lambda p: replace(p, statements=[p.statements[0]._replace(digest="00" * 32), *p.statements[1:]]),
    "another slot": lambda p: replace(p, statements=[p.statements[0]._replace(slot="x"), *p.statements[1:]]),
    "one less": lambda p: replace(p, statements=p.statements[:-1]),
    "one more": lambda p: replace(p, statements=[*p.statements, p.statements[-1]]),
    "none": lambda p: replace(p, statements=[]),
    "another order": lambda p: replace(p, statements=p.statements[::-1]),
    "another start": lambda p: replace(p, before=bytes(32)),
    "another run": lambda p: replace(p, statements=[one._replace(run="run-8") for one in p.statements]),
    "another peer": lambda p: replace(p, statements=[one._replace(receiver="payroll") for one in p.statements]),
    "the other direction": lambda p: replace(
        p, statements=[one._replace(sender=one.receiver, receiver=one.sender) for one in p.statements]
    ),
    "another path": lambda p: replace(p, path=[bytes(32), *p.path[1:]]),
    "another account": lambda p: replace(p, account=p.account.replace('"said":5', '"said":6')),
    "no account": lambda p: replace(p, account=p.account.replace('"step":"account"', '"step":"accounts"')),
    "another head": lambda p: replace(p, head=p.head.replace(f"bank/{RUN}", f"bank/{RUN}8")),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_proof_proves_nothing(talk: Conversation, change: str) -> None:
    proof = talk.prove("bank", SLOTS[1])
    changed = CHANGES[change](proof)
    assert changed != proof
    with pytest.raises(LedgerError):
        changed.verify(KEYS["bank"])


@pytest.mark.parametrize("value", [{}, [], None, {"head": "x"}, {"before": "zz"}, {"path": [1]}, {"statements": [{}]}])
def test_what_is_no_proof_is_refused(talk: Conversation, value: object) -> None:
    good = talk.prove("bank", SLOTS[1]).to_json()
    with pytest.raises(LedgerError):
        Told.from_json(good | value if isinstance(value, dict) and value else value).verify(KEYS["bank"])
    with pytest.raises(LedgerError):
        Told.from_json(good | {"more": 1})


def test_what_came_after_the_account_is_not_proven_by_it() -> None:
    talk = Conversation(2)
    talk.say("bank", "telecom", 9)
    late = slot_name("train", 0, "Hist", "bank", "telecom", n=9)
    talk.logs["telecom"].commit()
    with pytest.raises(LedgerError, match="ends with 2"):
        talk.prove("bank", late)
    with pytest.raises(LedgerError, match="holds no message"):
        talk.prove("bank", "nowhere")
    entry = next(talk.logs["bank"].entries())
    with pytest.raises(LedgerError, match="no account"):
        told_by(talk.shown["bank"][0], entry.to_bytes().decode(), [], [], late)
    assert isinstance(Entry.from_bytes(entry.to_bytes()), Entry)
    assert isinstance(talk.prove("bank", SLOTS[0]).statements[0], Envelope)
