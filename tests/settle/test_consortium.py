"""The contract's rules, function by function: what happens, and for each `require` a call that it refuses."""

from __future__ import annotations

from hashlib import sha256

import pytest
from chain_kit import NOBODY, Chain, Reverted
from consortium_kit import (
    BANK,
    DISPUTE,
    JOB,
    MEMBERS,
    OPERATOR,
    PARTIES,
    RESPONSE,
    RUN,
    SHOP,
    STAKE,
    STRANGER,
    TELECOM,
    ZERO,
    Party,
    World,
    opened,
)

from vfl.settle.contract.artefact import load

ROOT = sha256(b"root").digest()
OTHER = sha256(b"another job").digest()
DIGEST = sha256(b"evaluation").digest()
PPM = [500_000, 333_333, 166_667]
PERIOD = 202_611


def refused(reason: str):
    return pytest.raises(Reverted, match=f"^{reason}")


@pytest.fixture
def world() -> World:
    return opened()


def names(world: World) -> list[str]:
    return [name for name, _ in world.contract.events]


# Deployment and registration


@pytest.mark.parametrize(
    ("members", "threshold", "operator", "windows", "reason"),
    [
        (2, 0, True, (1, 1), "threshold"),
        (2, 3, True, (1, 1), "threshold"),
        (0, 1, True, (1, 1), "threshold"),
        (2, 1, False, (1, 1), "operator"),
        (2, 1, True, (0, 1), "windows"),
        (2, 1, True, (1, 0), "windows"),
        (-2, 1, True, (1, 1), "members: not in ascending order"),
    ],
)
def test_deployments_that_are_refused(members, threshold, operator, windows, reason):
    world = World()
    addresses = [one.address for one in MEMBERS[: abs(members)]][:: 1 if members >= 0 else -1]
    bank = OPERATOR.address if operator else NOBODY
    with refused(reason):
        world.chain.deploy(load("consortium"), addresses, threshold, bank, *windows, world.signatures.address)


def test_the_checker_must_be_a_contract():
    with refused("operator or signatures"):
        Chain().deploy(load("consortium"), [MEMBERS[0].address], 1, OPERATOR.address, 1, 1, STRANGER.address)


def test_register_by_quorum_and_again_with_another_key():
    world = World()
    world.register(BANK)
    assert world.contract.events[0][1] | {"entity": b""} == {
        "party": BANK.address.lower(),
        "name": "bank",
        "ledgerKey": BANK.ledger.identity.key.public,
        "entity": b"",
        "version": 1,
    }
    with refused("signatures: not"):  # the same signatures say version 1: they recover somebody else
        world.register(BANK)
    world.register(BANK, version=2)
    assert world.contract.parties(BANK.address)[3] == 2


def test_registrations_that_are_refused(world):
    key, entity = BANK.ledger.identity.key.public, ZERO
    with refused("signatures: too few members"):
        world.register(Party("new"), MEMBERS[:1])
    with refused("signatures: not of a member"):
        world.register(Party("new"), [MEMBERS[0], STRANGER])
    for bad in ("", "-bank", "bank/run", "b nk", "bänk", 'b"nk'):
        with refused("name: not that of a party"):
            world.contract.register(STRANGER.address, bad, key, entity, [])
    with refused("ledgerKey"):
        world.contract.register(STRANGER.address, "new", (1).to_bytes(32, "little"), entity, [])
    with refused("name: taken"):
        world.contract.register(STRANGER.address, "bank", key, entity, [])
    with refused("name: the party has another"):
        world.contract.register(BANK.address, "banque", key, entity, [])
    with refused("party: the zero address"):
        world.contract.register(NOBODY, "new", key, entity, [])


# Money


def test_deposit_once_by_the_operator(world):
    with refused("reference: booked before"):
        world.deposit(BANK, 5, "transfer of bank")
    with refused("sender: not the operator"):
        world.contract.deposit(BANK.address, 5, ROOT, sender=BANK.address)
    with refused("party: not registered"):
        world.contract.deposit(STRANGER.address, 5, ROOT, sender=OPERATOR.address)
    for amount in (0, 2**128):
        with refused("amount"):
            world.deposit(BANK, amount, "other")
    world.deposit(BANK, 2**128 - 1, "other")
    assert world.balanced()


def test_withdrawals_are_numbered_and_bounded_by_credit(world):
    for number, amount in enumerate((1, 8_998), 1):
        world.contract.withdraw(amount, sender=TELECOM.address)
        entity = sha256(b"telecom").digest()
        line = {"number": number, "party": TELECOM.address.lower(), "entity": entity, "amount": amount}
        assert world.contract.events == [("Withdrawn", line)]
    assert world.contract.credit(TELECOM.address) == 0
    assert world.balanced()
    for sender in (TELECOM.address, STRANGER.address):
        with refused("credit: too small"):
            world.contract.withdraw(1, sender=sender)
    with refused("amount: nothing"):
        world.contract.withdraw(0, sender=BANK.address)


# Jobs


def test_open_job_locks_the_stake_of_each(world):
    assert world.credits() == [10_000 - STAKE] * 3
    assert world.stakes() == [STAKE] * 3
    assert names(world) == ["JobOpened"]
    assert world.contract.jobs(JOB)[:4] == (
        RUN,
        tuple(one.address.lower() for one in PARTIES),
        BANK.address.lower(),
        STAKE,
    )


def test_jobs_that_are_refused(world):
    addresses = [one.address for one in PARTIES]
    keys = [one.run_key("run-8").public for one in PARTIES]
    fine = {"job": OTHER, "run": "run-8"}
    cases = [
        ({"job": JOB}, "job: opened before"),
        ({"run": RUN}, "run: a party took part before"),
        ({"run": "run/8", "runKeys": keys}, "run: not the name of a run"),
        ({"parties": addresses[:1], "runKeys": keys[:1]}, "parties: too few"),
        ({"runKeys": keys[:2]}, "parties: too few, or not a key each"),
        ({"parties": [*addresses[:2], addresses[0]]}, "parties: one is named twice"),
        ({"parties": [*addresses[:2], STRANGER.address]}, "parties: one is not registered"),
        ({"runKeys": [*keys[:2], ZERO]}, "runKeys"),
        ({"quorum": 0}, "quorum"),
        ({"quorum": 4}, "quorum"),
        ({"deadline": world.chain.now}, "deadline: past"),
        ({"payer": STRANGER.address}, "payer: not a party"),
        ({"stake": 9_000}, "credit: too small"),
    ]
    for change, reason in cases:
        with refused(reason):
            world.open_job(**(fine | change))
    with refused("signatures: not of all parties"):
        world.open_job(PARTIES[:2], **fine)
    with refused("signatures: not of a party of the job"):
        world.open_job([*PARTIES[:2], Party("new")], **fine)
    terms = world.job_terms(**fine)
    sigs = world.signed((one.chain for one in PARTIES), "OpenJob", **terms)
    for change in ({"stake": STAKE - 1}, {"quorum": 1}, {"payer": SHOP.address}, {"deadline": terms["deadline"] + 1}):
        with refused("signatures"):
            world.contract.openJob(*(terms | change).values(), sigs)
    world.open_job(**fine)
    assert world.balanced(JOB, OTHER)


def test_close_returns_the_stakes_after_the_deadline(world):
    with refused("job: its deadline has not passed"):
        world.contract.closeJob(JOB)
    world.chain.at(world.chain.now + 10_001)
    world.contract.closeJob(JOB)
    assert world.credits() == [10_000] * 3
    assert world.balanced()
    with refused("job: closed"):
        world.contract.closeJob(JOB)
    with refused("job: unknown"):
        world.contract.closeJob(OTHER)
    with refused("job: closed"):
        world.contract.challenge(JOB, "r/1", BANK.address, sender=SHOP.address)


# Anchors


def test_anchors_grow_and_need_a_quorum(world):
    def anchor(size: int, *signers: Party, origin: str = "bank/run-7", job: bytes = JOB) -> None:
        sigs = world.signed((one.chain for one in signers), "Head", job=job, origin=origin, size=size, root=ROOT)
        world.contract.anchor(job, origin, size, ROOT, sigs)

    anchor(5, BANK, TELECOM)
    assert world.contract.events[0][1]["signers"] == 2
    anchor(6, *PARTIES)
    assert world.contract.heads(JOB, "bank/run-7") == (6, ROOT)
    for size in (6, 5):
        with refused("size: does not grow"):
            anchor(size, BANK, TELECOM)
    with refused("signatures: less than the quorum"):
        anchor(7, BANK)
    with refused("signatures: not of a party of the job"):
        anchor(7, BANK, Party("new"))
    with refused("job: unknown"):
        anchor(7, BANK, TELECOM, job=OTHER)
    anchor(1, BANK, SHOP, origin="shop/run-7")
    with refused("size: does not grow"):
        anchor(0, BANK, SHOP, origin="telecom/run-7")


# Challenges


def test_answered_in_time_or_late_but_before_timeout(world):
    contract = world.contract
    for seconds in (RESPONSE, RESPONSE + 1):
        slot = f"round/{seconds}"
        contract.challenge(JOB, slot, TELECOM.address, sender=BANK.address)
        assert contract.events[0][1]["due"] == world.chain.now + RESPONSE
        with refused("challenge: another is open"):
            contract.challenge(JOB, "round/2", TELECOM.address, sender=BANK.address)
        world.chain.at(world.chain.now + seconds)
        if seconds == RESPONSE:
            with refused("challenge: may still be answered"):
                contract.timeout(JOB, slot, TELECOM.address)
        contract.respond(JOB, slot, TELECOM.address, DIGEST, world.statement(TELECOM, slot, DIGEST))
        assert contract.challenges(JOB, TELECOM.address, slot)[2:] == (False, DIGEST)
        with refused("challenge: none is open"):
            contract.timeout(JOB, slot, TELECOM.address)
        with refused("challenge: made before"):
            contract.challenge(JOB, slot, TELECOM.address, sender=SHOP.address)
    assert world.stakes() == [STAKE] * 3


def test_silence_costs_the_stake_and_the_challenger_is_the_reporter(world):
    contract = world.contract
    contract.challenge(JOB, "r/1", TELECOM.address, sender=SHOP.address)
    world.chain.at(world.chain.now + 20_000)
    with refused("job: a challenge is open"):
        contract.closeJob(JOB)
    contract.timeout(JOB, "r/1", TELECOM.address, sender=STRANGER.address)
    assert contract.events[0][1] | {"job": 0} == {
        "job": 0,
        "accused": TELECOM.address.lower(),
        "reporter": SHOP.address.lower(),
        "ground": "silence",
        "amount": STAKE,
    }
    assert world.stakes() == [STAKE, 0, STAKE]
    assert world.credits() == [10_000 - STAKE + 251, 10_000 - STAKE, 10_000 - STAKE + 500 + 250]
    assert world.balanced()
    contract.closeJob(JOB)
    assert world.credits() == [10_251, 8_999, 10_750]


def test_nobody_is_punished_twice_but_challenges_end(world):
    contract = world.contract
    contract.challenge(JOB, "r/1", TELECOM.address, sender=SHOP.address)
    contract.challenge(JOB, "r/2", TELECOM.address, sender=BANK.address)
    world.chain.at(world.chain.now + 20_000)
    contract.timeout(JOB, "r/1", TELECOM.address)
    contract.timeout(JOB, "r/2", TELECOM.address)
    assert contract.events == []
    with refused("challenge: none is open"):
        contract.timeout(JOB, "r/2", TELECOM.address)
    contract.closeJob(JOB)
    assert world.balanced()


def test_challenges_that_are_refused(world):
    contract = world.contract
    for sender, accused, reason in (
        (STRANGER.address, BANK.address, "sender: not a party"),
        (BANK.address, BANK.address, "accused: the sender"),
        (BANK.address, STRANGER.address, "accused: not a party"),
    ):
        with refused(reason):
            contract.challenge(JOB, "r/1", accused, sender=sender)
    with refused("challenge: none is open"):
        contract.respond(JOB, "r/1", TELECOM.address, DIGEST, world.statement(TELECOM, "r/1", DIGEST))
    contract.challenge(JOB, "r/1", TELECOM.address, sender=BANK.address)
    with refused("signature: not of the accused"):
        contract.respond(JOB, "r/1", TELECOM.address, DIGEST, world.statement(SHOP, "r/1", DIGEST))
    with refused("signature: not of the accused"):
        contract.respond(JOB, "r/1", TELECOM.address, DIGEST, world.statement(TELECOM, "r/2", DIGEST))
    world.chain.at(world.chain.now + 10_000)
    with refused("job: its deadline has passed"):
        contract.challenge(JOB, "r/2", TELECOM.address, sender=SHOP.address)
    contract.timeout(JOB, "r/1", TELECOM.address)
    world = opened()
    two = (ROOT, world.statement(TELECOM, "r", ROOT), DIGEST, world.statement(TELECOM, "r", DIGEST))
    world.contract.slashConflict(JOB, "r", *two)
    with refused("sender: punished before"):
        world.contract.challenge(JOB, "r/1", BANK.address, sender=TELECOM.address)
    with refused("accused: punished before"):
        world.contract.challenge(JOB, "r/1", TELECOM.address, sender=BANK.address)


# Shares


def propose(world: World, sender: Party = BANK, ppm: list[int] = PPM) -> None:
    world.contract.proposeShares(JOB, PERIOD, ppm, DIGEST, sender=sender.address)


def agreed(world: World, ppm: list[int] = PPM) -> None:
    terms = {"job": JOB, "period": PERIOD, "ppm": ppm, "digest": DIGEST}
    sigs = world.signed((one.chain for one in PARTIES), "Shares", **terms)
    world.contract.agreeShares(*terms.values(), sigs)


def uphold(world: World, *members: int, ppm: list[int] = PPM, kind: str = "Uphold") -> None:
    by = [MEMBERS[n] for n in members]
    sigs = world.signed(by, kind, job=JOB, period=PERIOD, ppm=ppm, digest=DIGEST)
    world.contract.uphold(JOB, PERIOD, sigs)


def test_undisputed_shares_become_final_after_the_window(world):
    propose(world)
    with refused("shares: proposed before"):
        propose(world, SHOP)
    world.chain.at(world.chain.now + DISPUTE)
    with refused("shares: may still be disputed"):
        world.contract.finalise(JOB, PERIOD)
    world.chain.at(world.chain.now + 1)
    with refused("shares: too late to dispute"):
        world.contract.dispute(JOB, PERIOD, sender=SHOP.address)
    world.contract.finalise(JOB, PERIOD)
    assert world.contract.events[0][1]["ppm"] == tuple(PPM)
    for refuse in (lambda: world.contract.finalise(JOB, PERIOD), lambda: agreed(world), lambda: propose(world)):
        with refused("shares: (none stand|final|proposed before)"):
            refuse()


def test_shares_that_all_signed_are_final_at_once(world):
    propose(world)
    world.contract.dispute(JOB, PERIOD, sender=TELECOM.address)
    agreed(world)
    assert names(world) == ["SharesFinal"]
    assert world.contract.proposals(JOB, PERIOD)[0] == 4  # the flag's third bit


def test_disputed_shares_fall_unless_upheld_in_time(world):
    propose(world)
    world.contract.dispute(JOB, PERIOD, sender=SHOP.address)
    with refused("shares: nothing to dispute"):
        world.contract.dispute(JOB, PERIOD, sender=SHOP.address)
    with refused("shares: none stand"):
        world.contract.finalise(JOB, PERIOD)
    with refused("shares: proposed before"):
        propose(world)
    for members, change, reason in (
        ([0], {}, "signatures: too few members"),
        ([0, 1], {"ppm": [1, 2, 999_997]}, "signatures: not"),
        ([0, 1], {"kind": "Shares"}, "signatures: not"),
    ):
        with refused(reason):
            uphold(world, *members, **change)
    world.chain.at(world.chain.now + DISPUTE + 1)
    with refused("shares: fallen"):
        uphold(world, 0, 1)
    propose(world, SHOP, [200_000, 300_000, 500_000])
    world.contract.dispute(JOB, PERIOD, sender=BANK.address)
    uphold(world, 0, 2, ppm=[200_000, 300_000, 500_000])
    assert names(world) == ["SharesFinal"]
    with refused("shares: not disputed"):
        uphold(world, 0, 1)


def test_shares_that_are_refused(world):
    for ppm, reason in (
        ([500_000, 500_000], "shares: not one for each party"),
        ([], "shares: not one for each party"),
        ([500_000, 500_000, 1], "shares: do not sum"),
        ([999_999, 0, 0], "shares: do not sum"),
    ):
        with refused(reason):
            propose(world, ppm=ppm)
        with refused(reason):
            agreed(world, ppm)
    with refused("sender: not a party of the job"):
        world.contract.proposeShares(JOB, PERIOD, PPM, DIGEST, sender=STRANGER.address)
    with refused("sender: not a party of the job"):
        world.contract.dispute(JOB, PERIOD, sender=STRANGER.address)
    terms = {"job": JOB, "period": PERIOD, "ppm": PPM, "digest": DIGEST}
    with refused("signatures: not of all parties"):
        sigs = world.signed([BANK.chain, SHOP.chain], "Shares", **terms)
        world.contract.agreeShares(*terms.values(), sigs)
    with pytest.raises(Reverted):  # the sum must not wrap around
        propose(world, ppm=[2**256 - 1, 1_000_001, 0])


THIRDS = [333_334, 333_333, 333_333]


@pytest.mark.parametrize(
    ("ppm", "amount", "payments"),
    [
        (PPM, 1_000_000, [500_000, 333_333, 166_667]),
        (PPM, 7, [4, 2, 1]),
        (PPM, 1, [1, 0, 0]),
        (PPM, 2, [1, 1, 0]),
        (PPM, 0, [0, 0, 0]),
        (THIRDS, 2, [1, 1, 0]),  # two units remain, and the first of equal remainders comes first
        (THIRDS[::-1], 1, [0, 0, 1]),
        ([0, 0, 1_000_000], 5, [0, 0, 5]),
    ],
)
def test_distribute_once_to_the_last_unit(world, ppm, amount, payments):
    world.deposit(BANK, 1_000_000, "more")
    with refused("shares: not final"):
        world.contract.distribute(JOB, PERIOD, amount, sender=BANK.address)
    agreed(world, ppm)
    before = world.credits()
    with refused("sender: not the payer"):
        world.contract.distribute(JOB, PERIOD, amount, sender=SHOP.address)
    world.contract.distribute(JOB, PERIOD, amount, sender=BANK.address)
    assert [event["amount"] for name, event in world.contract.events if name == "Paid"] == payments
    assert sum(payments) == amount
    gained = [after - old for after, old in zip(world.credits(), before, strict=True)]
    assert gained == [payments[0] - amount, *payments[1:]]
    assert world.balanced()
    with refused("period: paid before"):
        world.contract.distribute(JOB, PERIOD, amount, sender=BANK.address)


def test_payments_end_with_the_payers_credit(world):
    agreed(world)
    with refused("credit: too small"):
        world.contract.distribute(JOB, PERIOD, 9_000, sender=BANK.address)
    world.contract.distribute(JOB, PERIOD, 8_999, sender=BANK.address)


def test_shares_outlive_the_job(world):
    """Revenue comes from a model long after its training ended."""
    world.chain.at(world.chain.now + 10_001)
    world.contract.closeJob(JOB)
    agreed(world)
    world.contract.distribute(JOB, PERIOD, 10_000, sender=BANK.address)
    assert world.credits() == [5_000, 13_333, 11_667]


def test_sixteen_parties_fit_a_block():
    world, job = World(), OTHER
    crowd = [Party(f"party-{n}") for n in range(16)]
    for one in crowd:
        world.register(one)
        world.deposit(one, 10_000, one.name)
    keys, addresses = [one.run_key().public for one in crowd], [one.address for one in crowd]
    terms = world.job_terms(job=job, parties=addresses, runKeys=keys, payer=crowd[0].address)
    signatures = world.signed((one.chain for one in crowd), "OpenJob", **terms)
    world.contract.openJob(*terms.values(), signatures)
    assert world.contract.gas < 4_000_000
    ppm = [62_500] * 16
    shares = {"job": job, "period": PERIOD, "ppm": ppm, "digest": DIGEST}
    signatures = world.signed((one.chain for one in crowd), "Shares", **shares)
    world.contract.agreeShares(*shares.values(), signatures)
    world.contract.distribute(job, PERIOD, 15, sender=crowd[0].address)
    assert world.contract.gas < 1_000_000
    two = [world.statement(crowd[3], "slot", digest, job) for digest in (ROOT, DIGEST)]
    world.contract.slashConflict(job, "slot", ROOT, two[0], DIGEST, two[1], sender=crowd[15].address)
    credits = [world.contract.credit(one.address) for one in crowd]
    assert sum(credits) == 16 * 10_000 - 15 * STAKE
    assert credits[1] == 10_000 - STAKE + 1 + 34  # 501 in fifteen parts: 33, and one more for the first six
    assert credits[14] == 10_000 - STAKE + 1 + 33
    assert credits[15] == 10_000 - STAKE + 500 + 33
