"""A bank and two partners under one contract: keys, signatures, and a job that is open."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from typing import Any

from chain_kit import Chain, Contract

from ledger.keys import Identity, SigningKey
from vfl.settle.contract.artefact import load
from vfl.settle.keys import ChainKey

RESPONSE, DISPUTE = 3_600, 86_400
JOB = sha256(b"agreement").digest()
RUN = "run-7"
STAKE = 1_001  # odd, so that halves and thirds leave remainders
ZERO = bytes(32)
ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141


def account(label: str) -> ChainKey:
    return ChainKey(sha256(b"chain/" + label.encode()).digest())


def ascending(accounts: Iterable[ChainKey]) -> list[ChainKey]:
    return sorted(accounts, key=lambda one: int(one.address, 16))


@dataclass
class Party:
    """A party's chain key and its ledger identity."""

    name: str
    chain: ChainKey = field(init=False)
    ledger: Identity = field(init=False)

    def __post_init__(self) -> None:
        self.chain = account(self.name)
        self.ledger = Identity(self.name, sha256(b"ledger/" + self.name.encode()).digest())

    @property
    def address(self) -> str:
        return self.chain.address

    def run_key(self, run: str = RUN) -> SigningKey:
        return self.ledger.entry_key(run)


MEMBERS = ascending(account(f"member {n}") for n in range(3))
OPERATOR = account("operator")
STRANGER = account("stranger")
BANK, TELECOM, SHOP = parties = [Party(name) for name in ("bank", "telecom", "shop")]
PARTIES: Sequence[Party] = tuple(parties)


@dataclass
class World:
    """A deployed contract; the methods are what people do with it."""

    chain: Chain = field(default_factory=Chain)

    @cached_property
    def signatures(self) -> Contract:
        return self.chain.deploy(load("ledger_signatures"))

    @cached_property
    def contract(self) -> Contract:
        members = [one.address for one in MEMBERS]
        arguments = (members, 2, OPERATOR.address, RESPONSE, DISPUTE, self.signatures.address)
        return self.chain.deploy(load("consortium"), *arguments)

    def sign(self, by: ChainKey, kind: str, **message: Any) -> bytes:
        return by.sign(kind, message, self.chain.chain_id, self.contract.address)

    def signed(self, by: Iterable[ChainKey], kind: str, **message: Any) -> list[bytes]:
        return [self.sign(one, kind, **message) for one in ascending(by)]

    def register(self, party: Party, by: Sequence[ChainKey] = MEMBERS[:2], version: int = 1) -> None:
        ledger, entity = party.ledger.identity.key.public, sha256(party.name.encode()).digest()
        terms = {"party": party.address, "name": party.name, "ledgerKey": ledger, "entity": entity}
        sigs = self.signed(by, "Register", **terms, version=version)
        self.contract.register(*terms.values(), sigs)

    def deposit(self, party: Party, amount: int, reference: str) -> None:
        self.contract.deposit(party.address, amount, sha256(reference.encode()).digest(), sender=OPERATOR.address)

    def job_terms(self, job: bytes = JOB, run: str = RUN, **other: Any) -> dict[str, Any]:
        keys = other.get("runKeys") or [one.run_key(run).public for one in PARTIES]
        return {
            "job": job,
            "run": run,
            "parties": [one.address for one in PARTIES],
            "runKeys": keys,
            "stake": STAKE,
            "payer": BANK.address,
            "quorum": 2,
            "deadline": self.chain.now + 10_000,
        } | other

    def open_job(self, signers: Iterable[Party] = PARTIES, **terms: Any) -> None:
        full = self.job_terms(**terms)
        self.contract.openJob(*full.values(), self.signed((one.chain for one in signers), "OpenJob", **full))

    def statement(self, party: Party, slot: str, digest: bytes, job: bytes = JOB) -> bytes:
        return self.sign(party.chain, "Statement", job=job, slot=slot, digest=digest)

    def head(self, party: Party, origin: str, size: int, root: bytes, job: bytes = JOB) -> bytes:
        return self.sign(party.chain, "Head", job=job, origin=origin, size=size, root=root)

    def credits(self) -> list[int]:
        return [self.contract.credit(one.address) for one in PARTIES]

    def stakes(self, job: bytes = JOB) -> list[int]:
        return [self.contract.seats(job, one.address)[1] for one in PARTIES]

    def balanced(self, *jobs: bytes) -> bool:
        held = sum(self.credits()) + sum(sum(self.stakes(job)) for job in jobs or (JOB,))
        return held == self.contract.deposited() - self.contract.withdrawn()


def opened() -> World:
    """Three registered parties with 10,000 each, and an open job."""
    world = World()
    for party in PARTIES:
        world.register(party)
        world.deposit(party, 10_000, f"transfer of {party.name}")
    world.open_job()
    return world


def high_s(signature: bytes) -> bytes:
    """The other signature that the same key and message have: it recovers the same signer."""
    s = ORDER - int.from_bytes(signature[32:64], "big")
    return signature[:32] + s.to_bytes(32, "big") + bytes([55 - signature[64]])


def other_v(signature: bytes) -> bytes:
    return signature[:64] + bytes([55 - signature[64]])
