"""What slashes and what does not: the ledger's own files, chain-key statements, and every trick with signatures."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import evidence_kit
import pytest
from chain_kit import Chain, Reverted
from consortium_kit import (
    BANK,
    JOB,
    PARTIES,
    RUN,
    SHOP,
    STAKE,
    STRANGER,
    TELECOM,
    Party,
    World,
    high_s,
    opened,
    other_v,
)

from ledger.checkpoint import Checkpoint, sign_checkpoint
from ledger.envelope import Envelope, sign_envelope
from ledger.errors import NotConsistent
from ledger.evidence import (
    backdating_evidence,
    check_evidence,
    envelope_proof,
    equivocation_evidence,
    fork_evidence,
    slot_evidence,
)
from ledger.evidence.proven import write
from ledger.policy import Policy
from vfl.errors import UsageError
from vfl.settle.penalties import penalty_of

D1, D2 = sha256(b"one").digest(), sha256(b"two").digest()
SLOT = "train/0/histograms/telecom/bank/3"
OTHER = sha256(b"another job").digest()
POLICY = Policy.of([one.ledger for one in PARTIES])
START, END = datetime(2026, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)


def refused(reason: str):
    return pytest.raises(Reverted, match=f"^{reason}")


@pytest.fixture
def world() -> World:
    return opened()


def conflict(world: World, signature: Callable[[bytes], bytes] = bytes, **change: object) -> None:
    call = {
        "job": JOB,
        "slot": SLOT,
        "digest1": D1,
        "signature1": world.statement(TELECOM, SLOT, D1),
        "digest2": D2,
        "signature2": signature(world.statement(TELECOM, SLOT, D2)),
    } | change
    world.contract.slashConflict(*call.values(), sender=SHOP.address)


# Statements under chain keys


def test_a_conflict_pays_half_to_the_reporter_and_the_rest_to_all_others(world):
    conflict(world)
    assert [name for name, _ in world.contract.events] == ["Slashed", "Compensated", "Compensated"]
    assert world.stakes() == [STAKE, 0, STAKE]
    assert world.credits() == [8_999 + 251, 8_999, 8_999 + 500 + 250]
    assert world.balanced()


@pytest.mark.parametrize("reporter", [TELECOM.address, STRANGER.address])
def test_the_accused_and_strangers_earn_nothing_by_reporting(world, reporter):
    args = (JOB, SLOT, D1, world.statement(TELECOM, SLOT, D1), D2, world.statement(TELECOM, SLOT, D2))
    world.contract.slashConflict(*args, sender=reporter)
    assert world.credits() == [8_999 + 501, 8_999, 8_999 + 500]
    assert world.contract.credit(STRANGER.address) == 0


def test_evidence_counts_once(world):
    conflict(world)
    with refused("accused: punished before"):
        conflict(world)
    digest = sha256(b"three").digest()
    with refused("accused: punished before"):
        conflict(world, digest2=digest, signature2=world.statement(TELECOM, SLOT, digest))
    assert world.balanced()


def test_statements_that_prove_nothing(world):
    with refused("evidence: one digest twice"):
        conflict(world, digest2=D1, signature2=world.statement(TELECOM, SLOT, D1))
    with refused("evidence: two signers"):
        conflict(world, signature2=world.statement(BANK, SLOT, D2))
    with refused("evidence: two signers"):  # of another slot, thus of another text
        conflict(world, signature2=world.statement(TELECOM, SLOT + "1", D2))
    with refused("accused: not a party of the job"):
        signatures = [world.statement(Party("new"), SLOT, digest) for digest in (D1, D2)]
        conflict(world, signature1=signatures[0], signature2=signatures[1])
    with refused("evidence: two signers"):  # forged: a real signature over another digest
        conflict(world, digest2=sha256(b"three").digest())
    assert world.stakes() == [STAKE] * 3


@pytest.mark.parametrize(
    ("trick", "reason"),
    [
        (high_s, "signature: high s"),
        (other_v, "evidence: two signers|signature: by nobody"),
        (lambda s: s[:64] + b"\x00", "signature: v is not 27 or 28"),
        (lambda s: s[:64] + b"\x01", "signature: v is not 27 or 28"),
        (lambda s: s[:64] + b"\x1d", "signature: v is not 27 or 28"),
        (lambda s: s[:64] + b"\xff", "signature: v is not 27 or 28"),
        (lambda s: s[:64], "signature: not 65 bytes"),
        (lambda s: b"", "signature: not 65 bytes"),
        (lambda s: bytes(64) + b"\x1b", "signature: by nobody"),  # ecrecover gives the zero address
        (lambda s: b"\xff" * 32 + s[32:], "signature: by nobody"),  # r is not below the order
        (lambda s: s[:32] + bytes(32) + s[64:], "signature: by nobody"),
        (lambda s: s[:31] + bytes([s[31] ^ 1]) + s[32:], "evidence: two signers|signature: by nobody"),
    ],
)
def test_traps_of_ecrecover(world, trick, reason):
    with refused(f"({reason})"):
        conflict(world, trick)
    assert world.stakes() == [STAKE] * 3


def test_nobody_signs_for_the_zero_address(world):
    """Two failures to recover are not one signer."""
    nothing = bytes(64) + b"\x1b"
    with refused("signature: by nobody"):
        conflict(world, signature1=nothing, signature2=nothing)


def test_signatures_are_for_one_chain_one_contract_and_one_job(world):
    elsewhere = opened()
    assert elsewhere.contract.address == world.contract.address
    other_chain = World(Chain(chain_id=1))
    same = other_chain.contract.address == world.contract.address
    assert same  # so that only the chain's number differs
    with refused("accused: not a party|evidence: two signers"):
        conflict(world, *(), **two(other_chain))
    other_contract = World(world.chain)
    other_contract.__dict__["signatures"] = world.signatures
    assert other_contract.contract.address != world.contract.address
    with refused("(accused: not a party|evidence: two signers)"):
        conflict(world, **two(other_contract))
    with refused("(accused: not a party|evidence: two signers)"):
        conflict(world, **two(world, job=OTHER))
    with refused("job: unknown"):
        conflict(world, job=OTHER, **two(world, job=OTHER))
    conflict(world, **two(elsewhere))  # the same chain and address: the same words


def two(world: World, **change: bytes) -> dict[str, bytes]:
    first, second = (world.statement(TELECOM, SLOT, digest, **change) for digest in (D1, D2))
    return {"signature1": first, "signature2": second}


def test_the_order_of_signers_and_doubled_signers(world):
    heads = {"origin": "bank/run-7", "size": 5, "root": D1}
    sigs = world.signed((one.chain for one in PARTIES), "Head", job=JOB, **heads)
    for wrong in (sigs[::-1], [sigs[0], sigs[0]], [sigs[1], sigs[0]], [sigs[0], sigs[1], sigs[1]]):
        with refused("signatures: not in ascending order"):
            world.contract.anchor(JOB, *heads.values(), wrong)
    with refused("signature: high s"):
        world.contract.anchor(JOB, *heads.values(), [high_s(sigs[0]), sigs[1]])
    world.contract.anchor(JOB, *heads.values(), sigs)


def test_a_fork_of_signed_heads(world):
    def fork(origin: str, size: int, root: bytes = D2, by: Party = BANK, said: str = "bank/run-7") -> None:
        first = world.head(BANK, origin, size, D1)
        second = world.head(by, said, size, root)
        world.contract.slashFork(JOB, origin, size, D1, first, root, second, sender=TELECOM.address)

    with refused("evidence: one root twice"):
        fork("bank/run-7", 9, D1)
    with refused("evidence: two signers"):
        fork("bank/run-7", 9, by=SHOP)
    with refused("evidence: two signers"):
        fork("bank/run-7", 9, said="bank/run-8")
    fork("bank/run-7", 9)
    assert world.stakes() == [0, STAKE, STAKE]
    assert world.balanced()


# Files of evidence of the ledger, under Ed25519 keys


def note(size: int, root: bytes, party: Party = TELECOM, run: str = RUN) -> str:
    return str(sign_checkpoint(Checkpoint(f"{party.name}/{run}", size, root), party.ledger.identity))


def forked(first: str, second: str) -> bytes:
    return fork_evidence(NotConsistent("", first=first, second=second))


def said(message: bytes, party: Party = TELECOM, run: str = RUN, **change: str) -> Envelope:
    fields = {"slot": SLOT, "receiver": "bank", "kind": "NodeHistograms", "digest": message.hex()} | change
    return Envelope(run=run, sender=party.name, size=77, **fields)


def slot_file(first: Envelope, second: Envelope, party: Party = TELECOM) -> bytes:
    key = party.run_key(first.run)
    certificate = party.ledger.certify(first.run, START, END)
    return slot_evidence(certificate, *((one, sign_envelope(key, one)) for one in (first, second)))


def slash(world: World, data: bytes, job: bytes = JOB, run: str = RUN, reporter: Party = BANK) -> None:
    call = penalty_of(data, POLICY, run)
    accused = world.contract.named(call.proven.party)
    getattr(world.contract, call.function)(job, accused, *call.values, sender=reporter.address)


def test_two_notes_slash(world):
    slash(world, forked(note(12, D1), note(12, D2)))
    assert world.contract.events[0][1]["ground"] == "notes"
    assert world.stakes() == [STAKE, 0, STAKE]
    assert world.balanced()
    with refused("accused: punished before"):
        slash(world, forked(note(12, D2), note(12, D1)))


@pytest.mark.parametrize("change", [{"digest": D2.hex()}, {"receiver": "shop"}, {"kind": "FeatureBins"}])
def test_two_envelopes_slash(world, change):
    slash(world, slot_file(said(D1), said(D1, **change)))
    assert world.contract.events[0][1]["ground"] == "envelopes"
    assert world.stakes() == [STAKE, 0, STAKE]
    assert world.balanced()


def test_equivocation_shown_by_envelopes_slashes(world):
    key, certificate = TELECOM.run_key(), TELECOM.ledger.certify(RUN, START, END)
    proofs = [envelope_proof(one, sign_envelope(key, one), certificate) for one in (said(D1), said(D2))]
    slash(world, equivocation_evidence(*proofs))
    assert world.stakes() == [STAKE, 0, STAKE]


def test_what_the_ledger_refuses_never_reaches_the_contract():
    for data in (
        forked(note(12, D1), note(12, D1)),
        forked(note(12, D1), note(13, D2)),
        forked(note(12, D1), note(12, D2, BANK)),
        slot_file(said(D1), said(D1)),
        slot_file(said(D1), said(D2, slot=SLOT + "1")),
        write("gossip", {}),
    ):
        with pytest.raises(UsageError, match="the evidence proves nothing"):
            penalty_of(data, POLICY, RUN)


def test_the_guides_example_makes_the_call(tmp_path, monkeypatch, capsys):
    guide = Path(__file__).parents[2] / "docs/guide/contract.md"
    (source,) = re.findall(r"^```python\n(.*?)^```$", guide.read_text("utf-8"), re.S | re.M)
    (tmp_path / "fork-1.json").write_bytes(forked(note(12, D1), note(12, D2)))
    (tmp_path / "policy.txt").write_text(str(POLICY), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    exec(source, {})
    assert f"# {capsys.readouterr().out}" in source


def by_entries() -> bytes:
    logs = evidence_kit.Chronicle("telecom"), evidence_kit.Chronicle("telecom")
    entries = [log.say("bank", data) for log, data in zip(logs, (b"one", b"two"), strict=True)]
    return equivocation_evidence(*(log.proof(entry) for log, entry in zip(logs, entries, strict=True)))


def back_dated() -> bytes:
    log = evidence_kit.Chronicle("telecom")
    early, late = log.add("early", at=30), log.say("bank", b"one", at=20)
    return backdating_evidence(log.proof(late), earlier=log.proof(early))


@pytest.mark.parametrize(("made", "kind"), [(by_entries, "equivocation"), (back_dated, "back-dating")])
def test_evidence_that_needs_a_judge_is_refused_with_its_kind(made, kind):
    """The ledger proves it from entries under heads; a contract would have to read JSON and Merkle paths for that."""
    data = made()
    proven = check_evidence(data, evidence_kit.POLICY)
    assert proven.party == "telecom"
    with pytest.raises(UsageError, match=f"{kind}' against telecom is not objective") as error:
        penalty_of(data, evidence_kit.POLICY, proven.run)
    assert "the regulator or the parties" in error.value.remedy


def signature_of(text: bytes, party: Party, *, identity: bool = False) -> tuple[bytes, bytes]:
    key = party.ledger.identity.key if identity else party.run_key()
    signature = key.sign(text)
    return signature[:32], signature[32:]


def head_of(size: int, root: bytes, party: Party = TELECOM, run: str = RUN, **key: bool) -> tuple[bytes, bytes]:
    text = Checkpoint(f"{party.name}/{run}", size, root).text.encode()
    return signature_of(text, party, **({"identity": True} | key))


def test_notes_that_prove_nothing(world):
    def notes(size: int, root2: bytes, first: tuple[bytes, bytes], second: tuple[bytes, bytes], job=JOB) -> None:
        world.contract.slashNotes(job, TELECOM.address, size, D1, first, root2, second, sender=BANK.address)

    fine = head_of(12, D1)
    unfit = "evidence: a signature does not fit"
    with refused("evidence: one root twice"):
        notes(12, D1, fine, fine)
    for second in (
        head_of(13, D2),  # another size: no contradiction
        head_of(12, D2, run="run-8"),  # another run
        head_of(12, D2, party=BANK),  # of another log, by another party
        signature_of(Checkpoint("telecom/run-7", 12, D2).text.encode(), BANK, identity=True),
        head_of(12, D2, identity=False),  # by the run's key
        fine,  # replayed for the other root
        (fine[1], fine[0]),
        (bytes(32), bytes(32)),
        ((1).to_bytes(32, "little"), bytes(32)),
    ):
        with refused(unfit):
            notes(12, D2, fine, second)
        with refused(unfit):
            world.contract.slashNotes(JOB, TELECOM.address, 12, D2, second, D1, fine)
    with refused("job: unknown"):
        notes(12, D2, fine, head_of(12, D2), OTHER)
    for size in (0, 10**19):
        with refused("size"):
            notes(size, D2, fine, fine)
    with refused(unfit):  # the bank did not sign them
        world.contract.slashNotes(JOB, BANK.address, 12, D1, fine, D2, head_of(12, D2))
    with refused("accused: not a party of the job"):
        world.contract.slashNotes(JOB, STRANGER.address, 12, D1, fine, D2, head_of(12, D2))
    assert world.stakes() == [STAKE] * 3


def test_evidence_of_another_job_is_refused(world):
    """The same parties under another agreement: its run has another name, and that is in what they signed."""
    world.open_job(job=OTHER, run="run-8")
    with refused("evidence: a signature does not fit"):
        slash(world, forked(note(12, D1), note(12, D2)), OTHER)
    with refused("evidence: a signature does not fit"):
        slash(world, slot_file(said(D1), said(D2)), OTHER)
    with pytest.raises(UsageError, match="the evidence is of run-7, not of run-8"):
        slash(world, slot_file(said(D1), said(D2)), OTHER, "run-8")
    slash(world, slot_file(said(D1, run="run-8"), said(D2, run="run-8")), OTHER, "run-8")
    assert world.stakes(OTHER) == [STAKE, 0, STAKE]
    assert world.stakes() == [STAKE] * 3
    assert world.balanced(JOB, OTHER)


def test_envelopes_that_prove_nothing(world):
    first, second = said(D1), said(D2)

    def args(one: Envelope) -> tuple[str, str, str, str, int]:
        return one.slot, one.receiver, one.kind, one.digest, one.size

    def envelopes(
        two: tuple[str, str, str, str, int], signature: tuple[bytes, bytes], accused: Party = TELECOM
    ) -> None:
        mine = signature_of(first.message(), TELECOM)
        world.contract.slashEnvelopes(JOB, accused.address, args(first), mine, two, signature, sender=BANK.address)

    unfit = "evidence: a signature does not fit"
    fits = signature_of(second.message(), TELECOM)
    with refused("evidence: one envelope twice"):
        envelopes(args(first), signature_of(first.message(), TELECOM))
    other_slot = said(D2, slot=SLOT + "1")
    with refused("evidence: two slots"):
        envelopes(args(other_slot), signature_of(other_slot.message(), TELECOM))
    for other in (said(D2, run="run-8"), said(D2, party=SHOP)):
        with refused(unfit):
            envelopes(args(second), signature_of(other.message(), TELECOM))
    with refused(unfit):
        envelopes(args(second), signature_of(second.message(), SHOP))
    with refused(unfit):
        envelopes(args(second), signature_of(second.message(), TELECOM, identity=True))
    with refused(unfit):
        envelopes(args(second), fits, SHOP)
    # Ed25519 has one signature for a message, not two
    more = int.from_bytes(fits[1], "little") + 2**252 + 27742317777372353535851937790883648493
    with refused(unfit):
        envelopes(args(second), (fits[0], more.to_bytes(32, "little")))
    assert world.stakes() == [STAKE] * 3


def answered(world: World, digest: bytes) -> None:
    world.contract.challenge(JOB, SLOT, TELECOM.address, sender=BANK.address)
    world.contract.respond(JOB, SLOT, TELECOM.address, digest, world.statement(TELECOM, SLOT, digest))


def against_answer(world: World, said: Envelope) -> None:
    fields = (said.slot, said.receiver, said.kind, said.digest, said.size)
    signature = signature_of(said.message(), TELECOM)
    world.contract.slashAnswer(JOB, TELECOM.address, fields, signature, sender=SHOP.address)


@pytest.mark.parametrize("answer", [D2, bytes(32), bytes(31) + b"\x01"])
def test_an_answer_must_be_what_was_said(world, answer):
    answered(world, answer)
    against_answer(world, said(D1))
    assert world.contract.events[0][1]["ground"] == "answer"
    assert world.stakes() == [STAKE, 0, STAKE]
    assert world.balanced()


def test_answers_that_prove_nothing(world):
    with refused("challenge: not answered"):
        against_answer(world, said(D1))
    world.contract.challenge(JOB, SLOT, TELECOM.address, sender=BANK.address)
    with refused("challenge: not answered"):
        against_answer(world, said(D1))
    world.contract.respond(JOB, SLOT, TELECOM.address, D1, world.statement(TELECOM, SLOT, D1))
    with refused("evidence: answered as said"):
        against_answer(world, said(D1))
    with refused("evidence: not a digest to answer with"):
        against_answer(world, said(D1 + D2))
    with refused("evidence: a signature does not fit"):
        against_answer(world, said(D2, run="run-8"))
    with refused("challenge: not answered"):
        against_answer(world, said(D2, slot=SLOT + "1"))
    assert world.stakes() == [STAKE] * 3


def test_digests_as_envelopes_write_them(world):
    for digest in (D1, bytes(32), b"\xff" * 32, bytes(range(32))):
        assert world.signatures.hexadecimal(digest) == digest.hex()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"kind": 'x","run":"run-8'}, "kind: not a word"),
        ({"kind": ""}, "kind: not a word"),
        ({"receiver": "b ank"}, "receiver: not a word"),
        ({"receiver": "b\\u0061nk"}, "receiver: not a word"),
        ({"receiver": "bänk"}, "receiver: not a word"),
        ({"slot": "a\n"}, "slot: not a word"),
        ({"digest": "AB" * 32}, "digest"),
        ({"digest": "ab" * 15}, "digest"),
        ({"digest": "abc" * 11}, "digest"),
        ({"digest": 'ab"' * 12}, "digest"),
        ({"size": 2**53}, "size"),
    ],
)
def test_no_field_passes_for_the_text_around_it(world, change, reason):
    fields = {"slot": "a", "receiver": "bank", "kind": "k", "digest": "ab" * 32, "size": 1} | change
    zero = (bytes(32), bytes(32))
    with refused(reason):
        world.signatures.signedEnvelope(TELECOM.run_key().public, "telecom", RUN, tuple(fields.values()), *zero)


def test_the_largest_envelope_and_the_smallest(world):
    key = TELECOM.run_key()
    for one in (
        Envelope(RUN, "s" * 200, "telecom", "r" * 200, "~" * 200, "0f" * 64, 2**53 - 1),
        Envelope(RUN, "!", "telecom", "#", "[", "0f" * 16, 0),
    ):
        signature = key.sign(one.message())
        fields = (one.slot, one.receiver, one.kind, one.digest, one.size)
        assert world.signatures.signedEnvelope(key.public, "telecom", RUN, fields, signature[:32], signature[32:])


@pytest.mark.parametrize("size", [1, 9, 10, 2**53 - 1, 10**19 - 1])
def test_heads_of_any_size_and_root(world, size):
    key = TELECOM.ledger.identity.key
    for root in (bytes(32), b"\xff" * 32, bytes(range(32)), D1):
        signature = key.sign(Checkpoint("telecom/run-7", size, root).text.encode())
        assert world.signatures.signedHead(key.public, "telecom", RUN, size, root, signature[:32], signature[32:])
