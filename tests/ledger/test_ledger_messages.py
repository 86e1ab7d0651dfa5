"""Messages that are put on record quickly and written out later are the entries that `append` makes."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ledger_kit import RUN, TickClock, identity, open_log

from ledger import (
    BadEntry,
    Entry,
    Envelope,
    Log,
    MemoryStore,
    Payload,
    SlotTaken,
    StoreError,
    sign_envelope,
    slot_name,
    verify_envelope,
)

PEER_KEY = identity("telecom").entry_key(RUN)


def said(number: int, sender: str = "bank", receiver: str = "telecom", **changed: object) -> Envelope:
    slot = slot_name("train", number, "Hist", sender, receiver)
    return Envelope(RUN, slot, sender, receiver, "Hist", f"{number:064x}", number)._replace(**changed)


def appended(log: Log, message: Envelope, env=None) -> Entry:
    sent = message.sender == "bank"
    return log.append(
        phase="train", round=7, step=message.kind, slot=message.slot, dir="send" if sent else "recv",
        peer=message.receiver if sent else message.sender, env=env,
        payload=Payload("sha256", message.digest, message.size, message.kind),
    )  # fmt: skip


@pytest.mark.parametrize("signed", [False, True])
@given(ways=st.lists(st.booleans(), max_size=12), commits=st.sets(st.integers(0, 12)))
def test_the_entries_are_those_of_append(signed, ways, commits):
    quick, plain = (open_log("bank", MemoryStore(), TickClock(), sign_messages=signed) for _ in range(2))
    for number, sent in enumerate(ways):
        message = said(number) if sent else said(number, "telecom", "bank")
        env = sign_envelope(PEER_KEY, message) if signed and not sent else None
        told = quick.message(message, "train", 7, env)
        assert told == appended(plain, message, env).env
        if signed:
            verify_envelope(quick.certificate.key if sent else PEER_KEY.public, message, told)
        assert len(quick) == number + 2
        assert quick.slot_digest(message.slot) == message.digest
        if number in commits:
            quick.commit()
    quick.commit()
    plain.commit()
    one, two = list(quick.entries()), list(plain.entries())
    assert [replace(entry, prev="", ts="", mono=0) for entry in one] == [
        replace(entry, prev="", ts="", mono=0) for entry in two
    ]
    assert [entry.mono for entry in one] == sorted(entry.mono for entry in one)
    assert all(row.body == Entry.from_bytes(row.body).to_bytes() for row in quick.rows())
    assert all(row.leaf == entry.leaf() for row, entry in zip(quick.rows(), one, strict=True))
    assert [entry.prev for entry in one[1:]] == [row.leaf.hex() for row in quick.rows()][:-1]


def test_a_slot_is_taken_from_the_moment_that_the_message_is_on_record():
    log = open_log("bank", MemoryStore(), sign_messages=True)
    first = log.message(said(1), "train", 0)
    assert log.message(said(1), "train", 0) == first, "never signed twice"
    assert len(log) == 2
    for other in (said(1, digest="ff" * 32), said(1, size=9), said(1, kind="Gist")):
        with pytest.raises(SlotTaken, match="slot train/1/Hist/bank>telecom/0 holds send telecom"):
            log.message(other, "train", 0)
        with pytest.raises(SlotTaken):
            appended(log, other)
    log.commit()
    assert log.message(said(1), "train", 0) == first
    assert [entry.slot for entry in log.entries()][1:] == [said(1).slot]


def test_it_mixes_with_other_entries():
    log = open_log("bank", MemoryStore(), sign_messages=False)
    log.message(said(0), "train", 0)
    log.append(phase="train", round=0, step="seed", slot="seed", dir="local", refs=[1, said(0).slot])
    log.message(said(1), "train", 0)
    note = log.checkpoint()
    assert [entry.step for entry in log.entries()] == ["open", "Hist", "seed", "Hist"]
    assert f"{log.origin}\n4\n" in note
    assert log.root() == open_log("bank", log._store, sign_messages=False).root()


WRONG = {
    "another run": {"run": "run-8"},
    "other people": {"sender": "telecom", "receiver": "bureau"},
    "a message to itself": {"receiver": "bank"},
    "a slot with a space": {"slot": "train 1"},
    "a slot that JSON escapes": {"slot": 'train"1'},
    "a kind that is no word": {"kind": "Hißt"},
    "no kind": {"kind": ""},
    "a digest in capitals": {"digest": "AB" * 32},
    "a size below zero": {"size": -1},
    "a size beyond what JSON holds": {"size": 2**53},
    "a size that is no number": {"size": True},
    "a peer with a slash": {"receiver": "tele/com"},
}


@pytest.mark.parametrize("name", WRONG)
def test_what_no_entry_could_hold_is_refused_at_once(name):
    log = open_log("bank", MemoryStore(), sign_messages=False)
    with pytest.raises(BadEntry):
        log.message(said(1, **WRONG[name]), "train", 0)
    with pytest.raises(BadEntry):
        log.message(said(1), "tr ain", 0)
    with pytest.raises(BadEntry):
        log.message(said(1), "train", -1)
    assert len(log) == 1
    log.message(said(1), "train", 0)
    log.commit()
    assert len(list(log.entries())) == 2


words = st.text(max_size=6) | st.sampled_from(["bank", "telecom", "Hist", "a/b", RUN])


@settings(max_examples=300)
@given(st.builds(Envelope, st.just(RUN), words, words, words, words, words | st.just("ab" * 32), st.integers()), words)
def test_whatever_is_taken_can_be_written_out(message, phase):
    log = open_log("bank", MemoryStore(), sign_messages=False)
    try:
        log.message(message, phase, 0)
    except BadEntry:
        assert len(log) == 1
        return
    log.commit()
    assert list(log.entries())[1].envelope() == message


def test_a_store_that_refuses_keeps_what_was_said():
    class Full(MemoryStore):
        refuses = False

        def write(self, *what, **more):
            if self.refuses:
                raise StoreError("the disk is full")
            return super().write(*what, **more)

    store = Full()
    log = open_log("bank", store, sign_messages=False)
    store.refuses = True
    for number in range(3):
        log.message(said(number), "train", 0)
        with pytest.raises(StoreError):
            log.commit()
    store.refuses = False
    log.checkpoint()
    assert [entry.slot for entry in log.entries()][1:] == [said(number).slot for number in range(3)]
