"""One attack for every misbehaviour: the file names the right party, slot and objects, and no change of it accuses
another.

In each case the accused is telecom, in run-7; `CASES` gives the dishonest file, `INNOCENT` the same from honest logs.
"""

from __future__ import annotations

import random
from hashlib import sha256

import pytest
from evidence_kit import AUDITOR, BANK, PAYROLL, POLICY, REGULATOR, TELECOM, Chronicle, envelope, minute, sign, signed
from ledger_kit import RUN, identity

from ledger import Env, Envelope, LedgerError, NotConsistent, Policy, issue_certificate, verify_envelope
from ledger import evidence as ev
from ledger.canonical import encode
from ledger.clock import format_time
from ledger.errors import BadSignature
from ledger.keys import KeyType, Signer, auditor_name, derive_key
from ledger.note import sign_note

SAID = envelope("telecom", "bank", b"one")
OTHER = envelope("telecom", "bank", b"two")
SLOT = SAID.slot
ZERO = bytes(32)


def told(message: Envelope) -> object:
    log = Chronicle("telecom")
    log.say("bank", b"one" if message == SAID else b"two")
    return log.told(log.account("bank"), ZERO, [message])


def entered(message: Envelope) -> object:
    log = Chronicle("telecom")
    return log.proof(log.say("bank", b"one" if message == SAID else b"two"))


def two_logs() -> tuple[Chronicle, Chronicle]:
    logs = Chronicle("telecom"), Chronicle("telecom")
    for log, data in zip(logs, (b"one", b"two"), strict=True):
        log.say("bank", data)
    return logs


def fork(honest: bool = False) -> bytes:
    a, b = two_logs()
    return ev.fork_evidence(NotConsistent("", first=a.head(), second=a.head(1) if honest else b.head()))


def tampering(honest: bool = False) -> bytes:
    a, b = two_logs()
    b.add("more")
    other = a if honest else b
    return ev.tampering_evidence(a.proof(a.entries[1]), other.proof(other.entries[1]))


def ahead(honest: bool = False) -> bytes:
    log = Chronicle("telecom")
    entry = log.say("bank", b"one", at=4 if honest else 60)
    return ev.backdating_evidence(log.proof(entry, seen=minute(2)))


def outside(honest: bool = False) -> bytes:
    log = Chronicle("telecom")
    entry = log.say("bank", b"one", at=60 if honest else 2 * 24 * 60)
    return ev.backdating_evidence(log.proof(entry), opening=log.proof(log.entries[0]))


def before(honest: bool = False) -> bytes:
    log = Chronicle("telecom")
    early = log.add("early", at=30)
    entry = log.say("bank", b"one", at=26 if honest else 20)
    return ev.backdating_evidence(log.proof(entry), earlier=log.proof(early))


def mono(honest: bool = False) -> bytes:
    log = Chronicle("telecom")
    early = log.add("early", mono=7)
    entry = log.say("bank", b"one", mono=7 if honest else 6)
    return ev.backdating_evidence(log.proof(entry), earlier=log.proof(early))


def replay(honest: bool = False) -> bytes:
    old, new = envelope("bank", "telecom", b"old", run="run-6"), envelope("bank", "telecom", b"old")
    log = Chronicle("telecom")
    entry = log.hear(new, env=sign(new) if honest else sign(old))
    return ev.replay_evidence(log.proof(entry), signed(old))


def by_number(honest: bool = False) -> bytes:
    log = Chronicle("telecom")
    entry = log.say("bank", b"one", refs=[0 if honest else 5])
    return ev.order_evidence(log.proof(entry))


def by_slot(honest: bool = False) -> bytes:
    log = Chronicle("telecom")
    entry = log.say("bank", b"one", refs=[] if honest else ["later"])
    later = log.add("later", slot="later", refs=[entry.slot])
    return ev.order_evidence(log.proof(entry), log.proof(later))


def shrunk(honest: bool = False) -> bytes:
    log = Chronicle("telecom")
    log.say("bank", b"one")
    first = log.account("bank")
    second = log.account("bank", None if honest else [])
    return ev.shrunk_evidence(log.proof(first), log.proof(second))


def length(honest: bool = False) -> bytes:
    return ev.wrong_digest_evidence(signed(SAID if honest else Envelope(**_fields(SAID, size=9))), b"one")


def delivered(honest: bool = False) -> bytes:
    return ev.wrong_digest_evidence(told(SAID), b"one" if honest else b"two", signed(SAID if honest else OTHER))


def _fields(message: Envelope, **changed: object) -> dict[str, object]:
    return {name: getattr(message, name) for name in Envelope._fields} | changed


def by_earlier_account(honest: bool = False) -> bytes:
    log = Chronicle("telecom")
    log.say("bank", b"one")
    proof = log.told(log.account("bank"), ZERO, [SAID])
    log.say("bank", b"three", n=1)
    messages = log.messages("bank", "send")
    said = messages if honest else messages[1:]
    return ev.denial_evidence(proof, log.conversation(log.account("bank", said), said, []))


def by_own_entry(honest: bool = False, heard: bool = False) -> bytes:
    log = Chronicle("telecom")
    if heard:
        first, later = (log.hear(envelope("bank", "telecom", b"q", n)) for n in (0, 1))
    else:
        first, later = log.say("bank", b"one"), log.say("bank", b"three", n=1)
    kept = [first.envelope(), later.envelope()] if honest else [later.envelope()]
    said, heard_ = ([], kept) if heard else (kept, [])
    account = log.conversation(log.account("bank", kept), said, heard_)
    return ev.denial_evidence(log.proof(first), account, later=log.proof(later))


def denied_hearing(honest: bool = False) -> bytes:
    return by_own_entry(honest, heard=True)


def by_envelope(honest: bool = False) -> bytes:
    log, bank = Chronicle("telecom"), Chronicle("bank")
    record = bank.hear(SAID, env=sign(SAID))
    log.say("bank", b"one") if honest else None
    later = log.say("bank", b"three", n=1, at=30)
    messages = log.messages("bank", "send")
    account = log.conversation(log.account("bank", at=31), messages, [])
    seen = bank.proof(record, seen=minute(2))
    return ev.denial_evidence(signed(SAID), account, later=log.proof(later), seen=seen)


QUESTION = envelope("bank", "telecom", b"question")
ANSWER = SLOT


def challenged(deadline: float = 20, asked: float = 2) -> tuple[object, list[Envelope]]:
    bank = Chronicle("bank")
    due = format_time(minute(deadline))
    params = {"answer": ANSWER, "deadline": due, "peer": "telecom", "question": QUESTION.slot}
    entry = bank.add("challenge", params=params)
    challenge = Envelope(**_fields(envelope("bank", "telecom", b"", n=7), digest=sha256(encode(params)).hexdigest()))
    return bank.proof(entry, seen=minute(asked)), [QUESTION, challenge]


def silent(honest: bool = False, late: float = 40) -> bytes:
    challenge, heard = challenged()
    log = Chronicle("telecom")
    for one in heard:
        log.hear(one)
    account = log.account("bank", at=4)
    tail = [log.say("bank", b"one") if honest else log.add("other"), log.add("end")]
    proofs = [log.proof(entry, seen=minute(late)) for entry in tail]
    shown = log.conversation(account, [], heard, seen=minute(late))
    return ev.dropping_out_evidence(challenge, shown, proofs)


def withheld(honest: bool = False, dated: float = 40) -> bytes:
    challenge, heard = challenged()
    log = Chronicle("telecom")
    for one in heard:
        log.hear(one)
    log.say("bank", b"one" if honest else b"something else", n=0 if honest else 3)
    account = log.account("bank", at=dated)
    return ev.selective_abort_evidence(challenge, log.conversation(account, log.messages("bank", "send"), heard))


def reexecuted(honest: bool = False, by=AUDITOR) -> bytes:
    finding = {
        "party": "telecom",
        "run": RUN,
        "slot": SLOT,
        "claimed_digest": SAID.digest,
        "recomputed_digest": SAID.digest if honest else OTHER.digest,
        "openings_digest": "ab" * 32,
        "reason": "bins 3 and 4 are swapped",
    }
    return ev.reexecution_evidence(str(sign_note(encode(finding).decode() + "\n", [by])), told(SAID))


def equivocation(first: object, second: object):
    return lambda honest=False: ev.equivocation_evidence(first(SAID), second(SAID if honest else OTHER))


CASES = {
    "equivocation, envelopes": ("equivocation", equivocation(signed, signed), SLOT),
    "equivocation, envelope and account": ("equivocation", equivocation(signed, told), SLOT),
    "equivocation, account and entry": ("equivocation", equivocation(told, entered), SLOT),
    "fork": ("fork", fork, ""),
    "tampering": ("tampering", tampering, SLOT),
    "dated after its witness": ("back-dating", ahead, SLOT),
    "dated outside its certificate": ("back-dating", outside, SLOT),
    "dated before an earlier entry": ("back-dating", before, SLOT),
    "mono runs back": ("back-dating", mono, SLOT),
    "replay": ("replay", replay, QUESTION.slot),
    "refers to a later number": ("out-of-order", by_number, SLOT),
    "refers to a later slot": ("out-of-order", by_slot, SLOT),
    "account shrinks": ("out-of-order", shrunk, "train/0/account/telecom>telecom/3"),
    "payload of another length": ("wrong-digest", length, SLOT),
    "payload under another delivery": ("wrong-digest", delivered, SLOT),
    "denial of an earlier account": ("denial", by_earlier_account, SLOT),
    "denial of its own entry": ("denial", by_own_entry, SLOT),
    "denial of having heard": ("denial", denied_hearing, QUESTION.slot),
    "denial of its envelope": ("denial", by_envelope, SLOT),
    "dropping out": ("dropping-out", silent, ANSWER),
    "selective abort": ("selective-abort", withheld, ANSWER),
    "swapped bins, recomputed": ("reexecution", reexecuted, SLOT),
}


def test_every_kind_has_an_attack():
    assert {kind for kind, *_ in CASES.values()} | {"slot"} <= set(ev.KINDS)
    assert {"back-dating", "denial", "dropping-out", "selective-abort"} <= {kind for kind, *_ in CASES.values()}


@pytest.mark.parametrize("case", CASES)
def test_the_attack_is_proven(case):
    kind, build, slot = CASES[case]
    proven = ev.check_evidence(build(), POLICY)
    assert (proven.party, proven.run, proven.slot, proven.kind) == ("telecom", RUN, slot, kind)
    assert proven.text
    assert proven.first
    assert proven.second
    assert proven.first != proven.second


@pytest.mark.parametrize("case", CASES)
def test_the_same_from_an_honest_party_proves_nothing(case):
    with pytest.raises(LedgerError):
        ev.check_evidence(CASES[case][1](honest=True), POLICY)


@pytest.mark.parametrize("case", CASES)
def test_no_change_of_the_file_accuses_another(case):
    kind, build, slot = CASES[case]
    data, rng = build(), random.Random(case)
    for _ in range(150):
        place = rng.randrange(len(data))
        change = rng.choice(
            [bytes([data[place] ^ 1 << rng.randrange(7)]), b"", bytes([data[place]]) * 2, b"0", b"telecom"]
        )
        changed = data[:place] + change + data[place + 1 :]
        try:
            proven = ev.check_evidence(changed, POLICY)
        except LedgerError:
            continue
        assert (proven.party, proven.run, proven.slot, proven.kind) == ("telecom", RUN, slot, kind), changed


def test_every_byte_of_a_fork_counts():
    data = fork()
    for place in range(len(data)):
        changed = data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]
        try:
            assert ev.check_evidence(changed, POLICY).party == "telecom"
        except LedgerError:
            continue
        pytest.fail(f"byte {place} may be changed")


def test_a_witness_that_keeps_a_log_cannot_date_another_out_of_its_time():
    log = Chronicle("telecom")
    entry = log.say("bank", b"one", at=60)
    with pytest.raises(LedgerError, match="no independent witness"):
        ev.check_evidence(ev.backdating_evidence(log.proof(entry, seen=minute(2), by=BANK)), POLICY)


def test_a_receiver_does_not_speak_for_a_sender():
    log = Chronicle("bank")
    heard = log.proof(log.hear(OTHER))
    with pytest.raises(LedgerError, match="its sender's word is needed"):
        ev.check_evidence(ev.equivocation_evidence(signed(SAID), heard), POLICY)


@pytest.mark.parametrize(
    "by",
    [
        TELECOM.identity,  # the accused
        BANK.identity,  # who asked it
        PAYROLL.identity,  # another partner
        identity("stranger").identity,
        Signer(auditor_name("stranger"), KeyType.NOTE, derive_key(bytes(32), "stranger")),
        Signer(auditor_name("bank"), KeyType.NOTE, BANK.identity.key),
    ],
)
def test_nobody_but_an_auditor_of_the_policy_finds_against_others(by):
    with pytest.raises(LedgerError, match="calls an auditor"):
        ev.check_evidence(reexecuted(by=by), POLICY)


def test_the_accused_does_not_audit_itself_and_an_auditor_keeps_no_log():
    own = Signer(auditor_name("telecom"), KeyType.NOTE, derive_key(bytes(32), "own"))
    policy = Policy.of([BANK, TELECOM], [REGULATOR], auditors=[own.verifying, AUDITOR.verifying])
    assert Policy.parse(str(policy)) == policy
    assert policy.parties == ("bank", "telecom")
    assert policy.log_key(AUDITOR.name) is None
    with pytest.raises(LedgerError, match="calls an auditor"):
        ev.check_evidence(reexecuted(by=own), policy)
    assert ev.check_evidence(reexecuted(), policy).party == "telecom"
    assert ev.check_evidence(silent(), policy).party == "telecom"  # the regulator is auditor and independent witness


@pytest.mark.parametrize(
    "build",
    [
        lambda: silent(late=24),  # cosigned after the deadline, within the error of clocks
        lambda: withheld(dated=24),
        lambda: withheld(dated=19),
    ],
)
def test_before_the_deadline_nobody_is_late(build):
    with pytest.raises(LedgerError, match="clearly after the deadline"):
        ev.check_evidence(build(), POLICY)


def test_a_deadline_without_a_witness_binds_nobody():
    challenge, heard = challenged(deadline=20, asked=16)
    log = Chronicle("telecom")
    for one in heard:
        log.hear(one)
    shown = log.conversation(log.account("bank", at=40), [], heard)
    with pytest.raises(LedgerError, match="at least five minutes before"):
        ev.check_evidence(ev.selective_abort_evidence(challenge, shown), POLICY)


def test_a_tail_must_be_whole():
    challenge, heard = challenged()
    log = Chronicle("telecom")
    for one in heard:
        log.hear(one)
    account = log.account("bank", at=4)
    log.say("bank", b"one")
    shown = log.conversation(account, [], heard, seen=minute(40))
    with pytest.raises(LedgerError, match="the tail is not all entries"):
        ev.check_evidence(ev.dropping_out_evidence(challenge, shown, []), POLICY)


def test_an_envelope_alone_does_not_say_when():
    log = Chronicle("telecom")
    later = log.say("bank", b"three", n=1, at=30)
    account = log.conversation(log.account("bank", at=31), [later.envelope()], [])
    with pytest.raises(LedgerError, match="nothing shows that the message came before"):
        ev.check_evidence(ev.denial_evidence(signed(SAID), account, later=log.proof(later)), POLICY)


def test_large_files_are_read_and_too_large_ones_refused(monkeypatch):
    payload = bytes(200_000)
    said = Envelope(**_fields(SAID, digest=sha256(payload).hexdigest(), size=1))
    assert ev.check_evidence(ev.wrong_digest_evidence(signed(said), payload), POLICY).party == "telecom"
    data = ev.wrong_digest_evidence(signed(said), payload)
    monkeypatch.setattr("ledger.evidence.proven.MAX_EVIDENCE", 100_000)
    with pytest.raises(LedgerError, match="the limit is 100000"):
        ev.check_evidence(data, POLICY)


def test_an_accuser_cannot_leave_messages_out_of_an_account():
    log = Chronicle("telecom")
    log.say("bank", b"one")
    proof = log.told(log.account("bank"), ZERO, [SAID])
    log.say("bank", b"three", n=1)
    kept = log.messages("bank", "send")[1:]
    with pytest.raises(LedgerError, match="do not give the account"):
        ev.check_evidence(ev.denial_evidence(proof, log.conversation(log.account("bank"), kept, [])), POLICY)


def test_a_sender_with_a_key_that_fits_everything_does_not_accuse_its_receiver():
    """Nobody takes what is signed with it; and a receiver that did is not convicted by its sender."""
    neutral = b"\x01" + bytes(31)  # the curve's neutral point: to RFC 8032 its signature below fits every message
    env = Env(neutral.hex(), (neutral + bytes(32)).hex())
    old, new = envelope("bank", "telecom", b"old", run="run-6"), envelope("bank", "telecom", b"old")
    with pytest.raises(BadSignature, match="does not fit"):
        verify_envelope(neutral, old, env)
    weak = issue_certificate(BANK.identity, "run-6", neutral, minute(0), minute(9))
    log = Chronicle("telecom")
    data = ev.replay_evidence(log.proof(log.hear(new, env=env)), ev.envelope_proof(old, env, weak))
    with pytest.raises(BadSignature, match="does not fit"):
        ev.check_evidence(data, POLICY)
