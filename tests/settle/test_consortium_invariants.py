"""Thousands of random steps, right and wrong ones, beside a book kept in Python: the two never differ by one unit.

The book says for every step whether the contract must take it, and what everybody owns afterwards. Money neither comes
nor goes but by deposits and withdrawals, and a stake is lost by valid evidence or silence alone.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from hashlib import sha256
from random import Random
from typing import Any

import pytest
from chain_kit import Reverted
from consortium_kit import DISPUTE, MEMBERS, OPERATOR, PARTIES, RESPONSE, STRANGER, Party, World, high_s, other_v

from ledger.checkpoint import Checkpoint
from ledger.envelope import Envelope
from ledger.keys import SigningKey

EVERYBODY = (*PARTIES, Party("payroll"))
MILLION = 1_000_000
KINDS = ("conflict", "fork", "notes", "envelopes", "answer")


def hashed(*words: object) -> bytes:
    return sha256(repr(words).encode()).digest()


@dataclass
class Job:
    """What the book knows of a job."""

    id: bytes
    run: str
    parties: list[Party]
    deadline: int
    stakes: dict[str, int]
    punished: set[str] = field(default_factory=set)
    closed: bool = False
    asked: dict[tuple[str, str], tuple[str, int, bool]] = field(default_factory=dict)  # accused, slot: by, due, open
    shares: dict[int, tuple[str, int, list[int], bool]] = field(default_factory=dict)  # stage, until, ppm, paid

    def seated(self, party: Party) -> bool:
        return party in self.parties

    def answered(self) -> list[str]:
        return [name for (name, slot), (_, _, open_) in self.asked.items() if slot == "slot/0" and not open_]

    def open_challenges(self) -> list[tuple[str, str]]:
        return [key for key, (_, _, open_) in self.asked.items() if open_]


class Book:
    """The contract, and what it must hold."""

    def __init__(self, seed: int) -> None:
        self.random, self.world = Random(seed), World()
        self.credit = {party.name: 0 for party in EVERYBODY}
        self.deposited = self.withdrawn = 0
        self.references: set[str] = set()
        self.jobs: list[Job] = []
        self.taken: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self.by_name = {party.name: party for party in EVERYBODY}
        for party in EVERYBODY:
            self.world.register(party)

    def attempt(self, what: str, allowed: bool, function: str, *arguments: Any, sender: str) -> bool:
        """Call; the contract must take it if and only if the book says so."""
        if not allowed:
            with pytest.raises(Reverted):
                getattr(self.world.contract, function)(*arguments, sender=sender)
            self.refused[what] += 1
            return False
        getattr(self.world.contract, function)(*arguments, sender=sender)
        self.taken[what] += 1
        return True

    def check(self) -> None:
        contract = self.world.contract
        assert {name: contract.credit(party.address) for name, party in self.by_name.items()} == self.credit
        staked = 0
        for job in self.jobs[-4:]:
            for party in job.parties:
                stake, punished = contract.seats(job.id, party.address)[1:3]
                assert (stake, punished) == (job.stakes[party.name], party.name in job.punished)
        staked = sum(sum(job.stakes.values()) for job in self.jobs)
        assert (contract.deposited(), contract.withdrawn()) == (self.deposited, self.withdrawn)
        assert sum(self.credit.values()) + staked == self.deposited - self.withdrawn

    def a_job(self) -> Job:
        return self.random.choice(self.jobs[-4:])

    def a_party(self) -> Party:
        return self.random.choice(EVERYBODY)

    def now(self) -> int:
        return self.world.chain.now

    # Steps

    def wait(self) -> None:
        self.world.chain.at(self.now() + self.random.choice([1, 60, RESPONSE, RESPONSE + 1, DISPUTE + 1]))
        self.taken["wait"] += 1

    def deposit(self) -> None:
        party, amount, reference = self.a_party(), self.random.randrange(5_000), f"ref {self.random.randrange(3_000)}"
        operator = self.random.random() < 0.9
        sender = OPERATOR.address if operator else party.address
        allowed = operator and amount > 0 and reference not in self.references
        if self.attempt("deposit", allowed, "deposit", party.address, amount, hashed(reference), sender=sender):
            self.references.add(reference)
            self.credit[party.name] += amount
            self.deposited += amount

    def withdraw(self) -> None:
        party = self.a_party()
        held = self.credit[party.name]
        amount = self.random.choice([0, held, held + 1, self.random.randrange(held + 1)])
        if self.attempt("withdraw", 0 < amount <= held, "withdraw", amount, sender=party.address):
            self.credit[party.name] -= amount
            self.withdrawn += amount
            if amount == held:  # nobody withdraws twice
                self.attempt("withdraw twice", False, "withdraw", amount, sender=party.address)

    def open_job(self) -> None:
        number = (
            len(self.jobs) if self.random.random() < 0.9 or not self.jobs else self.random.randrange(len(self.jobs))
        )
        fresh = number == len(self.jobs)
        parties = self.random.sample(EVERYBODY, self.random.randint(2, 4))
        stake, deadline = self.random.choice([0, 1, 2, 99, 1_000]), self.now() + self.random.choice([10, 5_000, 90_000])
        run = f"run-{number}"
        terms = self.world.job_terms(
            job=hashed("job", number),
            run=run,
            parties=[one.address for one in parties],
            runKeys=[one.run_key(run).public for one in parties],
            stake=stake,
            payer=parties[0].address,
            deadline=deadline,
        )
        signers = parties if self.random.random() < 0.9 else parties[1:]
        signatures = self.world.signed((one.chain for one in signers), "OpenJob", **terms)
        paid_for = all(self.credit[one.name] >= stake for one in parties)
        allowed = fresh and paid_for and len(signers) == len(parties)
        if self.attempt("open job", allowed, "openJob", *terms.values(), signatures, sender=STRANGER.address):
            for one in parties:
                self.credit[one.name] -= stake
            self.jobs.append(Job(terms["job"], run, parties, deadline, {one.name: stake for one in parties}))

    def close(self) -> None:
        job = self.a_job()
        allowed = not job.closed and self.now() > job.deadline and not job.open_challenges()
        if self.attempt("close", allowed, "closeJob", job.id, sender=STRANGER.address):
            job.closed = True
            for name, stake in job.stakes.items():
                self.credit[name] += stake
                job.stakes[name] = 0

    def punish(self, job: Job, accused: Party, reporter: Party) -> None:
        amount, job.stakes[accused.name] = job.stakes[accused.name], 0
        job.punished.add(accused.name)
        reward = amount // 2 if job.seated(reporter) and reporter != accused else 0
        victims = [one for one in job.parties if one != accused]
        each, left = divmod(amount - reward, len(victims))
        for place, one in enumerate(victims):
            self.credit[one.name] += each + (place < left) + (reward if one == reporter else 0)

    def slash(self) -> None:
        job, accused, reporter = self.a_job(), self.a_party(), self.a_party()
        kind = self.random.choice(KINDS)
        answers = [(one, name) for one in self.jobs[-4:] for name in one.answered() if kind == "answer"]
        if answers and self.random.random() < 0.8:
            job, name = self.random.choice(answers)
            accused = self.by_name[name]
        trick = self.random.choice(["none"] * 3 + ["same", "other job", "other signer", "bent", "forged"])
        function, arguments = getattr(self, f"_{kind}")(job, accused, trick)
        allowed = trick == "none" and job.seated(accused) and accused.name not in job.punished and not job.closed
        if kind == "answer":
            allowed = allowed and not job.asked.get((accused.name, "slot/0"), ("", 0, True))[2]
        if self.attempt(f"{kind}, {trick}", allowed, function, *arguments, sender=reporter.address):
            self.punish(job, accused, reporter)
            self.attempt("evidence again", False, function, *arguments, sender=reporter.address)

    def _words(self, job: Job, accused: Party, trick: str) -> tuple[Job, Party, bytes, bytes]:
        """Whose word on which job the second signature is made of, and two digests."""
        other = Job(hashed("no job"), "run-x", [], 0, {})
        signer = next(one for one in EVERYBODY if one != accused) if trick == "other signer" else accused
        first = hashed("first")
        return other if trick == "other job" else job, signer, first, first if trick == "same" else hashed("second")

    def _ecdsa(self, signature: bytes, trick: str) -> bytes:
        if trick == "bent":
            return self.random.choice([high_s, other_v, lambda s: s[:64] + b"\x00", lambda s: s[:-1]])(signature)
        return signature[:5] + bytes([signature[5] ^ 1]) + signature[6:] if trick == "forged" else signature

    def _conflict(self, job: Job, accused: Party, trick: str) -> tuple[str, tuple[Any, ...]]:
        place, signer, d1, d2 = self._words(job, accused, trick)
        s1, s2 = self.world.statement(accused, "slot", d1, job.id), self.world.statement(signer, "slot", d2, place.id)
        return "slashConflict", (job.id, "slot", d1, s1, d2, self._ecdsa(s2, trick))

    def _fork(self, job: Job, accused: Party, trick: str) -> tuple[str, tuple[Any, ...]]:
        place, signer, d1, d2 = self._words(job, accused, trick)
        s1 = self.world.head(accused, "bank/run", 9, d1, job.id)
        s2 = self.world.head(signer, "bank/run", 9, d2, place.id)
        return "slashFork", (job.id, "bank/run", 9, d1, s1, d2, self._ecdsa(s2, trick))

    def _eddsa(self, signature: bytes, trick: str) -> tuple[bytes, bytes]:
        r, s = signature[:32], signature[32:]
        if trick == "bent":
            order = 2**252 + 27742317777372353535851937790883648493
            s = (int.from_bytes(s, "little") + order).to_bytes(32, "little")
        return (r[::-1], s) if trick == "forged" else (r, s)

    def _notes(self, job: Job, accused: Party, trick: str) -> tuple[str, tuple[Any, ...]]:
        place, signer, d1, d2 = self._words(job, accused, trick)

        def signed(by: Party, run: str, root: bytes) -> bytes:
            return by.ledger.identity.key.sign(Checkpoint(f"{accused.name}/{run}", 9, root).text.encode())

        first = self._eddsa(signed(accused, job.run, d1), "none")
        second = self._eddsa(signed(signer, place.run, d2), trick)
        return "slashNotes", (job.id, accused.address, 9, d1, first, d2, second)

    def _envelopes(self, job: Job, accused: Party, trick: str) -> tuple[str, tuple[Any, ...]]:
        place, signer, d1, d2 = self._words(job, accused, trick)
        one = self._said(job.run, accused, accused.run_key(job.run), d1, "none")
        two = self._said(place.run, accused, signer.run_key(job.run), d2, trick)
        return "slashEnvelopes", (job.id, accused.address, *one, *two)

    def _answer(self, job: Job, accused: Party, trick: str) -> tuple[str, tuple[Any, ...]]:
        place, signer, _, digest = self._words(job, accused, trick)
        digest = hashed("answer") if trick == "same" else digest
        said = self._said(place.run, accused, signer.run_key(job.run), digest, trick)
        return "slashAnswer", (job.id, accused.address, *said)

    def _said(self, run: str, sender: Party, key: SigningKey, digest: bytes, trick: str) -> tuple[Any, ...]:
        said = Envelope(run, "slot/0", sender.name, "bank", "Hist", digest.hex(), 5)
        fields = (said.slot, said.receiver, said.kind, said.digest, said.size)
        return fields, self._eddsa(key.sign(said.message()), trick)

    def challenge(self) -> None:
        job, accused, asker = self.a_job(), self.a_party(), self.a_party()
        slot = f"slot/{self.random.randrange(2)}"
        standing = all(job.seated(one) and one.name not in job.punished for one in (accused, asker))
        busy = any(key[0] == accused.name and job.asked[key][0] == asker.name for key in job.open_challenges())
        allowed = standing and accused != asker and not busy and (accused.name, slot) not in job.asked
        allowed = allowed and not job.closed and self.now() < job.deadline
        if self.attempt("challenge", allowed, "challenge", job.id, slot, accused.address, sender=asker.address):
            job.asked[accused.name, slot] = (asker.name, self.now() + RESPONSE, True)

    def end_challenge(self) -> None:
        job = self.a_job()
        name, slot = self.random.choice(job.open_challenges() or [(self.a_party().name, "slot/0")])
        accused = self.by_name[name]
        by, due, open_ = job.asked.get((name, slot), ("", 0, False))
        if self.random.random() < 0.5:
            signature = self.world.statement(accused, slot, hashed("answer"), job.id)
            arguments = (job.id, slot, accused.address, hashed("answer"), signature)
            done = self.attempt("respond", open_, "respond", *arguments, sender=STRANGER.address)
        else:
            allowed = open_ and self.now() > due
            done = self.attempt("timeout", allowed, "timeout", job.id, slot, accused.address, sender=STRANGER.address)
            if done and name not in job.punished:
                self.punish(job, accused, self.by_name[by])
        if done:
            job.asked[name, slot] = (by, due, False)

    def shares(self) -> None:
        job, sender, period = self.a_job(), self.a_party(), self.random.randrange(3)
        stage, until, ppm, _ = job.shares.get(period, ("none", 0, [], False))
        cuts = sorted(self.random.randrange(MILLION + 1) for _ in job.parties[1:])
        fresh = [b - a for a, b in zip([0, *cuts], [*cuts, MILLION], strict=True)]
        step = self.random.choice(["propose", "agree", "dispute", "uphold", "finalise"])
        terms = {"job": job.id, "period": period, "ppm": ppm if step == "uphold" else fresh, "digest": hashed("why")}
        if step == "propose":
            allowed = job.seated(sender) and (stage == "none" or (stage == "disputed" and self.now() > until))
            arguments, after = tuple(terms.values()), ("standing", self.now() + DISPUTE, fresh, False)
        elif step == "agree":
            signers = job.parties if self.random.random() < 0.5 else job.parties[1:]
            signatures = self.world.signed((one.chain for one in signers), "Shares", **terms)
            allowed, after = len(signers) == len(job.parties) and stage != "final", ("final", 0, fresh, False)
            arguments = (*terms.values(), signatures)
        elif step == "dispute":
            allowed = job.seated(sender) and stage == "standing" and self.now() <= until
            arguments, after = (job.id, period), ("disputed", self.now() + DISPUTE, ppm, False)
        elif step == "uphold":
            signed = self.world.signed(MEMBERS[: self.random.randint(1, 3)], "Uphold", **terms)
            allowed = len(signed) >= 2 and stage == "disputed" and self.now() <= until
            arguments, after = (job.id, period, signed), ("final", 0, ppm, False)
        else:
            allowed, after = stage == "standing" and self.now() > until, ("final", 0, ppm, False)
            arguments = (job.id, period)
        function = {"propose": "proposeShares", "agree": "agreeShares"}.get(step, step)
        if self.attempt(step, allowed, function, *arguments, sender=sender.address):
            job.shares[period] = after

    def distribute(self) -> None:
        job = self.a_job()
        period, sender = self.random.randrange(3), self.random.choice([job.parties[0], self.a_party()])
        stage, _, ppm, paid = job.shares.get(period, ("none", 0, [], False))
        amount = self.random.randrange(self.credit[sender.name] + 2)
        allowed = sender == job.parties[0] and stage == "final" and not paid and amount <= self.credit[sender.name]
        if self.attempt("distribute", allowed, "distribute", job.id, period, amount, sender=sender.address):
            job.shares[period] = (stage, 0, ppm, True)
            self.credit[sender.name] -= amount
            payments = [amount * share // MILLION for share in ppm]
            by_remainder = sorted(range(len(ppm)), key=lambda i: -(amount * ppm[i] % MILLION))
            for i in by_remainder[: amount - sum(payments)]:
                payments[i] += 1
            for one, payment in zip(job.parties, payments, strict=True):
                self.credit[one.name] += payment

    def step(self) -> None:
        steps = [self.slash] * 4 + [self.shares] * 5 + [self.deposit, self.challenge] * 2
        steps += [self.distribute, self.end_challenge] * 2 + [self.withdraw, self.open_job, self.close, self.wait]
        self.random.choice(steps if self.jobs else [self.deposit, self.open_job])()
        self.check()


def play(seed: int, steps: int) -> Book:
    book = Book(seed)
    for _ in range(steps):
        book.step()
    return book


# What must have happened both ways, for a step that is always refused tests nothing.
BOTH_WAYS = {
    "deposit", "withdraw", "open job", "close", "challenge", "respond", "timeout", "propose", "agree", "dispute",
    "uphold", "finalise", "distribute", "conflict, none", "fork, none", "notes, none", "envelopes, none",
    "answer, none",
}  # fmt: skip


def test_the_book_and_the_contract_agree():
    book = play(seed=1, steps=500)
    assert sum(book.taken.values()) > 100


@pytest.mark.slow
def test_the_book_and_the_contract_agree_for_ten_thousand_steps():
    book = play(seed=2, steps=10_000)
    assert not BOTH_WAYS - (book.taken.keys() & book.refused.keys())
    tricks = ("same", "other job", "other signer", "bent", "forged")
    assert not {f"{kind}, {trick}" for kind in KINDS for trick in tricks} - book.refused.keys()
    print("taken", dict(book.taken), "refused", dict(book.refused))
