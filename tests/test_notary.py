"""The notary: what it signs, what it refuses, and whom it blames."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ledger.keys import Identity
from ledger.store import MemoryStore, SQLiteStore
from ledger.witness import Witness
from vfl.channel import Step
from vfl.clock import FixedClock, SystemClock
from vfl.commitments import COLUMN, Commitment
from vfl.errors import BrokenPromise, ProtocolError, UsageError
from vfl.notary import LedgerNotary, PeerKeys
from vfl.own_ledger import open_store

AGREEMENT = "ab" * 32
BANK, TELECOM, PAYROLL = (Identity(name, bytes([n]) * 32) for n, name in enumerate(("bank", "telecom", "payroll"), 1))


def keys_of(*people: Identity) -> dict[str, PeerKeys]:
    return {one.name: PeerKeys(one.identity.verifying, one.witness.verifying) for one in people}


def notary(
    who: Identity,
    *peers: Identity,
    run: str = "run-1",
    store: MemoryStore | SQLiteStore | None = None,
    others: tuple[Identity, ...] = (),
    sign_messages: bool = True,
) -> LedgerNotary:
    clock = FixedClock(datetime(2026, 1, 1, tzinfo=UTC))
    return LedgerNotary(
        store or MemoryStore(),
        who,
        run,
        AGREEMENT,
        keys_of(*peers),
        clock,
        keys_of(*others),
        sign_messages=sign_messages,
    )


@pytest.fixture
def two() -> tuple[LedgerNotary, LedgerNotary]:
    bank, telecom = notary(BANK, TELECOM), notary(TELECOM, BANK)
    bank.introduce("telecom", telecom.credential())
    telecom.introduce("bank", bank.credential())
    return bank, telecom


def step(number: int = 0, kind: str = "Hello") -> Step:
    return Step("handshake", 0, kind, "bank", "telecom", number)


def exchange(bank: LedgerNotary, telecom: LedgerNotary, number: int = 0) -> bytes:
    digest = bytes([number]) * 32
    signature = bank.sending(step(number), digest, 9)
    telecom.received(step(number), digest, 9, signature)
    return signature


def meet(leader: LedgerNotary, *answering: LedgerNotary) -> dict[str, bytes]:
    """A round boundary: the leader shows its head to all, who answer with theirs. What it showed."""
    me, heads = leader.log.party, {party.log.party: leader.head(party.log.party) for party in answering}
    answers = {party.log.party: party.answer(me, heads[party.log.party]) for party in answering}
    lines = leader.countersign({name: head for name, (head, _) in answers.items()})
    for party in answering:
        leader.countersigned(party.log.party, answers[party.log.party][1])
        party.countersigned(me, lines[party.log.party])
    return heads


def cosign(witness: LedgerNotary, peer: str, head: bytes) -> bytes:
    return witness.countersign({peer: head})[peer]


def test_a_message_stands_in_both_logs_with_the_senders_signature(two: tuple[LedgerNotary, LedgerNotary]) -> None:
    exchange(*two)
    for party in two:
        party.finish()
    sent, received = (list(party.log.entries())[-1] for party in two)
    assert (sent.dir, received.dir) == ("send", "recv")
    assert sent.slot == received.slot == step().slot
    assert sent.payload == received.payload
    assert sent.env == received.env
    assert all(party.cpu_seconds > 0 for party in two)


@pytest.mark.parametrize("change", ["digest", "size", "slot", "signature", "kind"])
def test_a_signature_for_anything_else_is_refused(two: tuple[LedgerNotary, LedgerNotary], change: str) -> None:
    bank, telecom = two
    signature, digest, size, at = bank.sending(step(), bytes(32), 9), bytes(32), 9, step()
    match change:
        case "digest":
            digest = b"\1" * 32
        case "size":
            size = 10
        case "slot":
            at = step(1)
        case "kind":
            at = step(0, "Declare")
        case "signature":
            signature = signature[:-1] + bytes([signature[-1] ^ 1])
    before = len(telecom.log)
    with pytest.raises(BrokenPromise) as caught:
        telecom.received(at, digest, size, signature)
    assert caught.value.peer == "bank"
    assert caught.value.step == at.slot
    assert len(telecom.log) == before


@pytest.mark.parametrize("signature", [b"", b"x" * 63, b"x" * 65, bytes(64)])
def test_a_signature_of_any_bytes_is_refused(two: tuple[LedgerNotary, LedgerNotary], signature: bytes) -> None:
    with pytest.raises(BrokenPromise):
        two[1].received(step(), bytes(32), 9, signature)


def test_the_same_is_signed_again_after_a_crash_and_nothing_else(two: tuple[LedgerNotary, LedgerNotary]) -> None:
    bank, _ = two
    first = bank.sending(step(), bytes(32), 9)
    assert bank.sending(step(), bytes(32), 9) == first
    with pytest.raises(UsageError, match=r"slot handshake/0/Hello/bank>telecom/0"):
        bank.sending(step(), b"\1" * 32, 9)


@pytest.mark.parametrize("credential", [b"", b"{}", b"[]", b"null", b"\xff", b'{"run":5}', b"[" * 5000])
def test_a_credential_of_any_bytes_is_the_peers_fault(credential: bytes) -> None:
    with pytest.raises(BrokenPromise) as caught:
        notary(BANK, TELECOM).introduce("telecom", credential)
    assert caught.value.peer == "telecom"


def test_the_credential_of_another_party_or_run_is_refused() -> None:
    bank = notary(BANK, TELECOM)
    with pytest.raises(BrokenPromise):
        bank.introduce("telecom", notary(PAYROLL, BANK).credential())
    with pytest.raises(BrokenPromise):
        bank.introduce("telecom", notary(TELECOM, BANK, run="run-2").credential())
    with pytest.raises(BrokenPromise):
        bank.received(Step("psi", 0, "Declare", "telecom", "bank", 0), bytes(32), 1, bytes(64))


def test_heads_are_countersigned_in_turn(two: tuple[LedgerNotary, LedgerNotary]) -> None:
    bank, telecom = two
    for number in range(3):
        exchange(bank, telecom, number)
        meet(bank, telecom)
    assert len(bank.log.checkpoints()) == len(telecom.log.checkpoints()) == 3
    for head in bank.log.checkpoints():
        assert "telecom/witness" in head.note


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"{}",
        b"null",
        b"\xff\xfe",
        b'{"note": 5, "proofs": {}}',
        b'{"note": "", "proofs": []}',
        b"[" * 100_000,
        json.dumps({"note": "bank/run-1\n1\nAAAA\n\n", "proofs": {"0": ["zz"]}}).encode(),
    ],
)
def test_a_head_of_any_bytes_is_the_peers_fault(two: tuple[LedgerNotary, LedgerNotary], head: bytes) -> None:
    with pytest.raises(BrokenPromise) as caught:
        cosign(two[1], "bank", head)
    assert (caught.value.peer, caught.value.step) == ("bank", "checkpoint")


def test_the_head_of_another_log_is_refused(two: tuple[LedgerNotary, LedgerNotary]) -> None:
    _, telecom = two
    other = notary(BANK, TELECOM, run="run-2")
    with pytest.raises(BrokenPromise, match="another log"):
        cosign(telecom, "bank", other.head("telecom"))


def test_two_histories_are_not_both_countersigned(two: tuple[LedgerNotary, LedgerNotary]) -> None:
    bank, telecom = two
    exchange(bank, telecom)
    cosign(telecom, "bank", bank.head("telecom"))
    forked = notary(BANK, TELECOM)
    forked.sending(step(), b"\7" * 32, 9)
    with pytest.raises(BrokenPromise) as caught:
        cosign(telecom, "bank", forked.head("telecom"))
    assert caught.value.peer == "bank"


@pytest.mark.parametrize("line", [b"", b"\xff", b"no line", b"\xe2\x80\x94 telecom/witness AAAA\n"])
def test_a_cosignature_of_any_bytes_is_the_peers_fault(two: tuple[LedgerNotary, LedgerNotary], line: bytes) -> None:
    bank, _ = two
    bank.head("telecom")
    with pytest.raises(BrokenPromise) as caught:
        bank.countersigned("telecom", line)
    assert caught.value.peer == "telecom"


def test_the_cosignature_of_somebody_else_is_refused() -> None:
    bank = notary(BANK, TELECOM)
    note = json.loads(bank.head("telecom"))["note"]
    line = Witness(PAYROLL, MemoryStore(), SystemClock()).cosign(note, [], BANK.identity.verifying).encode()
    with pytest.raises(BrokenPromise, match="none of the expected witnesses"):
        bank.countersigned("telecom", line)


def test_a_log_goes_on_after_a_restart_with_the_same_credential(tmp_path: Path) -> None:
    first_store = SQLiteStore(tmp_path / "bank.sqlite")
    first = notary(BANK, TELECOM, store=first_store)
    telecom = notary(TELECOM, BANK)
    telecom.introduce("bank", first.credential())
    sent = exchange(first, telecom)
    line = cosign(telecom, "bank", first.head("telecom"))
    credential, entries = first.credential(), len(first.log)
    store = open_store(tmp_path / "bank.sqlite", "bank/run-1")
    again = notary(BANK, TELECOM, store=store)
    assert again.credential() == credential
    assert len(again.log) == entries
    assert again.sending(step(0), bytes(32), 9) == sent
    again.head("telecom")
    again.countersigned("telecom", line)
    exchange(again, telecom, 1)
    cosign(telecom, "bank", again.head("telecom"))
    store.close()
    first_store.close()


def test_what_ones_own_ledger_refuses_is_ones_own_to_mend(tmp_path: Path) -> None:
    (tmp_path / "ledger.sqlite").write_bytes(b"no database, but long enough to be taken for one" * 50)
    with pytest.raises(UsageError, match=r"ledger\.sqlite") as caught:
        open_store(tmp_path / "ledger.sqlite", "bank/run-1")
    assert caught.value.remedy
    with pytest.raises(UsageError, match=r"cannot|could not") as caught:
        open_store(tmp_path / "no folder" / "ledger.sqlite", "bank/run-1")
    assert caught.value.remedy
    store = MemoryStore()
    notary(BANK, store=store)
    with pytest.raises(UsageError, match="ledger refuses"):
        LedgerNotary(store, BANK, "run-1", "cd" * 32, {}, FixedClock(datetime(2026, 1, 1, tzinfo=UTC)))


def made(**digests: bytes) -> list[Commitment]:
    return [Commitment(kind, COLUMN, digest, 7) for kind, digest in digests.items()]


def test_a_table_of_many_columns_is_committed_to_in_several_entries() -> None:
    bank = notary(BANK)
    many = [Commitment(f"column/{'x' * 150}{number}", COLUMN, bytes(32), 7) for number in range(450)]
    bank.commit("commit", "aligned", many)
    bank.finish()
    kinds = [item["kind"] for entry in bank.log.entries() for item in entry.commit]
    assert kinds == [one.kind for one in many]


def test_commitments_stand_in_the_log_as_digests() -> None:
    bank = notary(BANK)
    bank.commit("commit", "aligned", made(columns=bytes(32), labels=b"\1" * 32))
    bank.finish()
    entry = list(bank.log.entries())[-1]
    assert (entry.slot, entry.dir) == ("commit/0/aligned/bank>bank/0", "local")
    assert [(item["kind"], item["digest"]) for item in entry.commit] == [("columns", "00" * 32), ("labels", "01" * 32)]
    bank.commit("commit", "aligned", made(columns=bytes(32), labels=b"\1" * 32))
    with pytest.raises(ProtocolError, match="did not commit to this") as caught:
        bank.commit("commit", "aligned", made(columns=bytes(32), labels=b"\2" * 32))
    assert (caught.value.peer, caught.value.step) == ("bank", entry.slot)


# -- accounts of conversations, and what others were shown -----------------------------------------------------------


def unsigned() -> tuple[LedgerNotary, LedgerNotary]:
    bank = notary(BANK, TELECOM, sign_messages=False)
    telecom = notary(TELECOM, BANK, sign_messages=False)
    bank.introduce("telecom", telecom.credential())
    telecom.introduce("bank", bank.credential())
    return bank, telecom


def test_a_rounds_messages_are_signed_together() -> None:
    bank, telecom = unsigned()
    for number in range(3):
        exchange(bank, telecom, number)
    meet(bank, telecom)
    assert all(entry.env is None for party in (bank, telecom) for entry in party.log.entries())
    told = [entry.params for party in (bank, telecom) for entry in party.log.entries() if entry.step == "account"]
    assert [(one["peer"], one["said"], one["heard"]) for one in told] == [("telecom", 3, 0), ("bank", 0, 3)]
    assert told[0]["said_digest"] == told[1]["heard_digest"]
    meet(bank, telecom)
    assert len(bank.log) == len(telecom.log) == 6, "where nothing was said there is no further account"


def test_a_signature_where_none_was_agreed_on_is_refused() -> None:
    with pytest.raises(BrokenPromise, match="not agreed on"):
        unsigned()[1].received(step(), bytes(32), 9, bytes(64))


def test_a_message_before_the_credential_is_refused() -> None:
    with pytest.raises(BrokenPromise, match="before it showed its credential"):
        notary(TELECOM, BANK, sign_messages=False).received(step(), bytes(32), 9, b"")


@pytest.mark.parametrize("lie", ["digest", "size", "kind", "one less", "one more", "order"])
def test_whoever_tells_the_messages_otherwise_is_refused_at_the_checkpoint(lie: str) -> None:
    bank, telecom = unsigned()
    said = [(step(n), bytes([n]) * 32, 9) for n in range(3)]
    heard = list(said)
    match lie:
        case "digest":
            heard[1] = (step(1), b"\7" * 32, 9)
        case "size":
            heard[1] = (step(1), bytes([1]) * 32, 10)
        case "kind":
            heard[1] = (step(1, "Declare"), bytes([1]) * 32, 9)
        case "one less":
            heard.pop()
        case "one more":
            heard.append((step(3), bytes(32), 9))
        case "order":
            heard[1:] = heard[:0:-1]
    for message in said:
        bank.sending(*message)
    for message in heard:
        telecom.received(*message, b"")
    with pytest.raises(BrokenPromise, match="tells our messages otherwise") as caught:
        telecom.answer("bank", bank.head("telecom"))
    assert (caught.value.peer, caught.value.step) == ("bank", "checkpoint")
    assert not telecom.log.checkpoints()


@pytest.mark.parametrize("change", ["none", "another entry", "another proof", "of another peer"])
def test_an_account_that_the_head_does_not_cover_is_refused(change: str) -> None:
    bank, telecom = unsigned()
    exchange(bank, telecom)
    shown = json.loads(bank.head("telecom"))
    entry = json.loads(shown["account"]["entry"])
    match change:
        case "none":
            del shown["account"]
        case "another entry":
            shown["account"]["entry"] = list(bank.log.entries())[1].to_bytes().decode()
            shown["account"]["proof"] = [node.hex() for node in bank.log.inclusion_proof(1)]
        case "another proof":
            shown["account"]["entry"] = json.dumps(entry | {"ts": "2026-01-01T00:00:01.000000Z"})
        case "of another peer":
            shown["account"]["entry"] = json.dumps(entry | {"params": entry["params"] | {"peer": "payroll"}})
    with pytest.raises(BrokenPromise) as caught:
        telecom.answer("bank", json.dumps(shown).encode())
    assert caught.value.peer == "bank"


def three(*stores: MemoryStore) -> tuple[LedgerNotary, LedgerNotary, LedgerNotary]:
    first, second, third = stores or (None, None, None)
    bank = notary(BANK, TELECOM, PAYROLL, store=first)
    telecom = notary(TELECOM, BANK, others=(PAYROLL,), store=second)
    payroll = notary(PAYROLL, BANK, others=(TELECOM,), store=third)
    for one in (telecom, payroll):
        one.introduce("bank", bank.credential())
        bank.introduce(one.log.party, one.credential())
    return bank, telecom, payroll


def test_each_peer_sees_what_the_others_cosigned() -> None:
    bank, telecom, payroll = three()
    for number in range(4):
        exchange(bank, telecom, number)
        meet(bank, telecom, payroll)
    gossip = json.loads(bank.head("payroll"))["gossip"]
    assert "telecom/witness" in gossip["telecom"]["note"]


@pytest.mark.parametrize("days", [-2, 31])
def test_a_clock_set_wrong_is_the_keepers_to_mend_and_not_the_peers_fault(days: int) -> None:
    clock = FixedClock(datetime(2026, 1, 1, tzinfo=UTC))
    bank = notary(BANK, TELECOM)
    telecom = LedgerNotary(MemoryStore(), TELECOM, "run-1", AGREEMENT, keys_of(BANK), clock)
    telecom.introduce("bank", bank.credential())
    signature = bank.sending(step(), bytes(32), 9)
    clock._start += timedelta(days=days)
    with pytest.raises(UsageError, match=r"the ledger refuses: .* the clock says") as caught:
        telecom.received(step(), bytes(32), 9, signature)
    assert "Set the clock" in caught.value.remedy


@pytest.mark.parametrize("met", [0, 1])
def test_a_leader_that_starts_again_is_not_asked_for_what_others_have_not_yet_cosigned(met: int) -> None:
    """It may have been stopped when one peer had countersigned two rounds, and the other none of them."""
    stores = [MemoryStore() for _ in range(3)]
    bank, telecom, payroll = three(*stores)
    for number in range(met):
        exchange(bank, telecom, number)
        meet(bank, telecom, payroll)
    for number in range(met, met + 2):
        exchange(bank, telecom, number)
        meet(bank, telecom)
    bank, telecom, payroll = three(*stores)
    for number in range(met):
        exchange(bank, telecom, number)
        meet(bank, telecom, payroll)
    for number in range(met, met + 2):
        exchange(bank, telecom, number)
        meet(bank, telecom)
    meet(bank, payroll)
    for number in range(met + 2, met + 4):
        exchange(bank, telecom, number)
        meet(bank, telecom)
    with pytest.raises(BrokenPromise, match="shows an old head"):
        meet(bank, telecom)  # in the long run it is


def test_a_log_split_between_two_peers_shows_in_the_next_round() -> None:
    bank, telecom, payroll = three()
    exchange(bank, telecom)
    meet(bank, telecom, payroll)
    other, _, _ = three()  # the bank keeps a second log, for the payroll
    other.commit("commit", "aligned", made(columns=bytes(32)))
    meet(bank, telecom)
    shown = json.loads(bank.head("payroll"))
    forked = json.loads(other.head("payroll"))
    with pytest.raises(BrokenPromise, match=r"another log than us|does not continue|otherwise"):
        payroll.answer("bank", json.dumps(forked | {"gossip": shown["gossip"]}).encode())


@pytest.mark.parametrize("change", ["withheld", "old", "not cosigned", "of another log", "inconsistent"])
def test_gossip_that_does_not_show_the_same_log_is_refused(change: str) -> None:
    bank, telecom, payroll = three()
    shown = []
    for number in range(3):
        exchange(bank, telecom, number)
        shown.append(json.loads(meet(bank, telecom, payroll)["payroll"]))
    latest = json.loads(bank.head("payroll"))
    match change:
        case "withheld":
            latest["gossip"] = {}
        case "old":
            latest["gossip"] = shown[1]["gossip"]
        case "not cosigned":
            note = latest["gossip"]["telecom"]["note"]
            latest["gossip"]["telecom"]["note"] = note[: note.index("— telecom")]
        case "of another log":
            latest["gossip"]["telecom"]["note"] = telecom.log.checkpoints()[-1].note
        case "inconsistent":
            latest["gossip"]["telecom"]["proof"] = [bytes(32).hex()]
    with pytest.raises(BrokenPromise) as caught:
        payroll.answer("bank", json.dumps(latest).encode())
    assert (caught.value.peer, caught.value.step) == ("bank", "checkpoint")


def test_a_countersignature_of_what_was_not_shown_is_refused() -> None:
    bank, _ = unsigned()
    with pytest.raises(BrokenPromise, match="not shown"):
        bank.countersigned("telecom", b"")
