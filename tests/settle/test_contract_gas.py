"""One story of every function on py-evm and on revm: the same events and balances, and the gas that the guide tells."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from chain_kit import Chain, Transactions
from consortium_kit import BANK, DISPUTE, MEMBERS, OPERATOR, PARTIES, RESPONSE, SHOP, TELECOM, World
from evm_kit import PyEvm, anvil

from ledger.checkpoint import Checkpoint
from ledger.envelope import Envelope
from vfl.settle.contract.artefact import CONTRACTS, load

GUIDE = Path(__file__).parents[2] / "docs/guide/contract.md"
D1, D2 = sha256(b"one").digest(), sha256(b"two").digest()
SENDERS = (OPERATOR, *(party.chain for party in PARTIES))
PPM = [500_000, 333_333, 166_667]
SLOT = "train/0/NodeHistograms/telecom>bank/3"


@dataclass
class Story:
    """The steps of a few jobs; `gas` by function, the dearest where one is called several times."""

    world: World
    gas: dict[str, int] = field(default_factory=dict)
    events: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    jobs: list[bytes] = field(default_factory=list)

    def noted(self, what: str) -> None:
        self.gas[what] = max(self.world.contract.gas, self.gas.get(what, 0))
        self.events += self.world.contract.events

    def call(self, function: str, *arguments: Any, sender: str, told: str = "") -> None:
        getattr(self.world.contract, function)(*arguments, sender=sender)
        self.noted(told or function)

    def job(self, number: int) -> tuple[bytes, str]:
        job, run = sha256(f"job {number}".encode()).digest(), f"run-{number}"
        self.world.open_job(job=job, run=run, deadline=1_900_000_000)
        self.noted("openJob")
        self.jobs.append(job)
        return job, run

    def tell(self) -> None:
        self.begin()
        self.slash_chain_keys()
        self.slash_ledger_keys()
        self.ask()
        self.pay()

    def begin(self) -> None:
        self.gas["deploy ledger_signatures"] = self.world.signatures.gas
        self.gas["deploy consortium"] = self.world.contract.gas
        for party in PARTIES:
            self.world.register(party)
            self.noted("register")
            self.world.deposit(party, 100_000, party.name)
            self.noted("deposit")
        job, run = self.job(1)
        for size in (5, 9):
            heads = {"origin": f"bank/{run}", "size": size, "root": D1}
            sigs = self.world.signed((one.chain for one in PARTIES), "Head", job=job, **heads)
            self.call("anchor", job, *heads.values(), sigs, sender=BANK.address)

    def slash_chain_keys(self) -> None:
        job, _ = self.job(2)
        two = [self.world.statement(TELECOM, SLOT, digest, job) for digest in (D1, D2)]
        self.call("slashConflict", job, SLOT, D1, two[0], D2, two[1], sender=BANK.address)
        job, run = self.job(3)
        two = [self.world.head(TELECOM, f"bank/{run}", 9, root, job) for root in (D1, D2)]
        self.call("slashFork", job, f"bank/{run}", 9, D1, two[0], D2, two[1], sender=SHOP.address)

    def slash_ledger_keys(self) -> None:
        job, run = self.job(4)
        key = TELECOM.ledger.identity.key
        notes = [key.sign(Checkpoint(f"telecom/{run}", 1_234, root).text.encode()) for root in (D1, D2)]
        halves = [(one[:32], one[32:]) for one in notes]
        arguments = (1_234, D1, halves[0], D2, halves[1])
        self.call("slashNotes", job, TELECOM.address, *arguments, sender=BANK.address)
        longest = {"slot": "s" * 200, "receiver": "r" * 200, "kind": "k" * 200, "size": 2**53 - 1}
        usual = {"slot": SLOT, "receiver": "bank", "kind": "NodeHistograms", "size": 12_345}
        for number, fields, length, told in ((5, usual, 32, ""), (6, longest, 64, "slashEnvelopes, longest fields")):
            job, run = self.job(number)
            said: list[Any] = []
            for digest in (b"1" * length, b"2" * length):
                one = Envelope(run=run, sender="telecom", digest=digest.hex(), **fields)
                signature = TELECOM.run_key(run).sign(one.message())
                said += [(one.slot, one.receiver, one.kind, one.digest, one.size), (signature[:32], signature[32:])]
            self.call("slashEnvelopes", job, TELECOM.address, *said, sender=BANK.address, told=told)

    def ask(self) -> None:
        job, run = self.job(7)
        self.call("challenge", job, SLOT, TELECOM.address, sender=BANK.address)
        answer = self.world.statement(TELECOM, SLOT, D1, job)
        self.call("respond", job, SLOT, TELECOM.address, D1, answer, sender=TELECOM.address)
        said = Envelope(run, SLOT, "telecom", "bank", "NodeHistograms", D2.hex(), 12_345)
        signature = TELECOM.run_key(run).sign(said.message())
        fields = (said.slot, said.receiver, said.kind, said.digest, said.size)
        halves = (signature[:32], signature[32:])
        self.call("slashAnswer", job, TELECOM.address, fields, halves, sender=BANK.address)
        job, _ = self.job(8)
        self.call("challenge", job, SLOT, TELECOM.address, sender=SHOP.address)
        self.world.chain.at(self.world.chain.now + RESPONSE + 1_000)
        self.call("timeout", job, SLOT, TELECOM.address, sender=BANK.address)

    def pay(self) -> None:
        job, _ = self.job(9)
        for period in (1, 2):
            self.call("proposeShares", job, period, PPM, D1, sender=BANK.address)
        self.call("dispute", job, 2, sender=SHOP.address)
        terms = {"job": job, "period": 2, "ppm": PPM, "digest": D1}
        self.call("uphold", job, 2, self.world.signed(MEMBERS[:2], "Uphold", **terms), sender=BANK.address)
        terms["period"] = 3
        sigs = self.world.signed((one.chain for one in PARTIES), "Shares", **terms)
        self.call("agreeShares", *terms.values(), sigs, sender=BANK.address)
        self.world.chain.at(self.world.chain.now + DISPUTE + 1_000)
        self.call("finalise", job, 1, sender=BANK.address)
        for period in (1, 2, 3):
            self.call("distribute", job, period, 10_001, sender=BANK.address)
        for party in PARTIES:
            self.call("withdraw", 1_000, sender=party.address)
        self.world.chain.at(1_900_001_000)
        self.call("closeJob", job, sender=BANK.address)


def told(chain: Chain) -> Story:
    story = Story(World(chain))
    story.tell()
    return story


def timeless(event: tuple[str, dict[str, Any]]) -> tuple[str, dict[str, Any]]:
    """Without what follows from the block's time: py-evm adds a second with every block."""
    return event[0], {name: value for name, value in event[1].items() if name not in ("due", "until")}


def test_every_function_that_changes_something_is_in_the_story():
    functions = [part for part in load("consortium").abi if part["type"] == "function"]
    changing = {part["name"] for part in functions if part["stateMutability"] == "nonpayable"}
    assert changing == {name for name in told(Chain()).gas if " " not in name}


def assert_one_story(one: Story, other: Story) -> None:
    assert len(one.events) == len(other.events) > 50
    for event, same in zip(one.events, other.events, strict=True):
        assert timeless(event) == timeless(same)
    assert one.world.credits() == other.world.credits()
    assert one.world.balanced(*one.jobs)


@pytest.mark.slow
def test_py_evm_and_revm_tell_one_story_and_the_guide_its_gas():
    slow = told(Transactions(PyEvm(Chain.deployer, *SENDERS), *SENDERS))
    assert_one_story(slow, told(Chain()))
    table = [f"| `{name}` | {gas:,} |" for name, gas in slow.gas.items()]
    print("\n".join(table))
    text = GUIDE.read_text(encoding="utf-8")
    shown = re.search(r"<!-- gas -->\n\n\| call \| gas \|\n\| --- \| ---: \|\n(.*)\n\n<!-- end of gas -->", text, re.S)
    assert shown is not None
    assert shown[1].split("\n") == table
    for name in CONTRACTS:
        assert f"{load(name).runtime_bytes:,} bytes" in text


@pytest.mark.slow
def test_a_real_node_tells_the_same_story_at_the_same_price():
    with anvil(Chain.deployer, *SENDERS) as node:
        there = told(Transactions(node, *SENDERS))
        here = told(Transactions(PyEvm(Chain.deployer, *SENDERS), *SENDERS))
        assert_one_story(there, here)
        assert there.gas == here.gas
