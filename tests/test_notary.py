"""The notary: what it signs, what it refuses, and whom it blames."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ledger.keys import Identity
from ledger.store import MemoryStore, SQLiteStore
from vfl.channel import Step
from vfl.clock import FixedClock
from vfl.errors import BrokenPromise, ProtocolError, UsageError
from vfl.notary import LedgerNotary, PeerKeys, open_store

AGREEMENT = "ab" * 32
BANK, TELECOM, PAYROLL = (Identity(name, bytes([n]) * 32) for n, name in enumerate(("bank", "telecom", "payroll"), 1))


def notary(
    who: Identity, *peers: Identity, run: str = "run-1", store: MemoryStore | SQLiteStore | None = None
) -> LedgerNotary:
    keys = {peer.name: PeerKeys(peer.identity.verifying, peer.witness.verifying) for peer in peers}
    clock = FixedClock(datetime(2026, 1, 1, tzinfo=UTC))
    return LedgerNotary(store or MemoryStore(), who, run, AGREEMENT, keys, clock)


@pytest.fixture
def two() -> tuple[LedgerNotary, LedgerNotary]:
    bank, telecom = notary(BANK, TELECOM), notary(TELECOM, BANK)
    bank.introduce("telecom", telecom.credential())
    telecom.introduce("bank", bank.credential())
    return bank, telecom


def step(number: int = 0, kind: str = "Hello") -> Step:
    return Step("handshake", 0, kind, "bank", "telecom", number)


def exchange(bank: LedgerNotary, telecom: LedgerNotary, number: int = 0) -> None:
    digest = bytes([number]) * 32
    signature = bank.sending(step(number), digest, 9)
    telecom.received(step(number), digest, 9, signature)


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
        for mine, theirs, name, me in ((bank, telecom, "telecom", "bank"), (telecom, bank, "bank", "telecom")):
            mine.countersigned(name, theirs.countersign(me, mine.head(name)))
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
        two[1].countersign("bank", head)
    assert (caught.value.peer, caught.value.step) == ("bank", "checkpoint")


def test_the_head_of_another_log_is_refused(two: tuple[LedgerNotary, LedgerNotary]) -> None:
    _, telecom = two
    other = notary(BANK, TELECOM, run="run-2")
    with pytest.raises(BrokenPromise, match="another log"):
        telecom.countersign("bank", other.head("telecom"))


def test_two_histories_are_not_both_countersigned(two: tuple[LedgerNotary, LedgerNotary]) -> None:
    bank, telecom = two
    exchange(bank, telecom)
    telecom.countersign("bank", bank.head("telecom"))
    forked = notary(BANK, TELECOM)
    forked.sending(step(), b"\7" * 32, 9)
    with pytest.raises(BrokenPromise) as caught:
        telecom.countersign("bank", forked.head("telecom"))
    assert caught.value.peer == "bank"


@pytest.mark.parametrize("line", [b"", b"\xff", b"no line", b"\xe2\x80\x94 telecom/witness AAAA\n"])
def test_a_cosignature_of_any_bytes_is_the_peers_fault(two: tuple[LedgerNotary, LedgerNotary], line: bytes) -> None:
    bank, _ = two
    bank.head("telecom")
    with pytest.raises(BrokenPromise) as caught:
        bank.countersigned("telecom", line)
    assert caught.value.peer == "telecom"


def test_the_cosignature_of_somebody_else_is_refused() -> None:
    bank, payroll = notary(BANK, TELECOM), notary(PAYROLL, BANK)
    line = payroll.countersign("bank", bank.head("telecom"))
    with pytest.raises(BrokenPromise, match="none of the expected witnesses"):
        bank.countersigned("telecom", line)


def test_a_log_goes_on_after_a_restart_with_the_same_credential(tmp_path: Path) -> None:
    first_store = SQLiteStore(tmp_path / "bank.sqlite")
    first = notary(BANK, TELECOM, store=first_store)
    telecom = notary(TELECOM, BANK)
    telecom.introduce("bank", first.credential())
    exchange(first, telecom)
    line = telecom.countersign("bank", first.head("telecom"))
    credential, entries = first.credential(), len(first.log)
    store = open_store(tmp_path / "bank.sqlite")
    again = notary(BANK, TELECOM, store=store)
    assert again.credential() == credential
    assert len(again.log) == entries
    again.countersigned("telecom", line)
    exchange(again, telecom, 1)
    telecom.countersign("bank", again.head("telecom"))
    store.close()
    first_store.close()


def test_what_ones_own_ledger_refuses_is_ones_own_to_mend(tmp_path: Path) -> None:
    (tmp_path / "ledger.sqlite").write_bytes(b"no database, but long enough to be taken for one" * 50)
    with pytest.raises(UsageError, match=r"ledger\.sqlite") as caught:
        open_store(tmp_path / "ledger.sqlite")
    assert caught.value.remedy
    with pytest.raises(UsageError, match=r"cannot|could not") as caught:
        open_store(tmp_path / "no folder" / "ledger.sqlite")
    assert caught.value.remedy
    store = MemoryStore()
    notary(BANK, store=store)
    with pytest.raises(UsageError, match="ledger refuses"):
        LedgerNotary(store, BANK, "run-1", "cd" * 32, {}, FixedClock(datetime(2026, 1, 1, tzinfo=UTC)))


def test_commitments_stand_in_the_log_as_digests() -> None:
    bank = notary(BANK)
    bank.commit("commit", "aligned", {"columns": bytes(32), "labels": b"\1" * 32})
    bank.finish()
    entry = list(bank.log.entries())[-1]
    assert (entry.slot, entry.dir) == ("commit/0/aligned/bank>bank/0", "local")
    assert [(item["kind"], item["digest"]) for item in entry.commit] == [("columns", "00" * 32), ("labels", "01" * 32)]
    bank.commit("commit", "aligned", {"columns": bytes(32), "labels": b"\1" * 32})
    with pytest.raises(ProtocolError, match="did not commit to this") as caught:
        bank.commit("commit", "aligned", {"columns": bytes(32), "labels": b"\2" * 32})
    assert (caught.value.peer, caught.value.step) == ("bank", entry.slot)
