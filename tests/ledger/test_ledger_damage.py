"""Bits that flip in a ledger's file, and power that fails while it is written: refused, or nothing is lost."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from ledger_kit import RUN, TickClock, identity, open_log

from ledger import MemoryStore, Payload, SQLiteStore, StoreError, Witness, slot_name
from ledger.checkpoint import Checkpoint
from ledger.errors import StoreDamaged
from ledger.note import Note
from ledger.store import Head, Row
from ledger.wal import require_whole

ROUNDS, ENTRIES = 3, 4
HEADER, FRAME, PAGE = 32, 24, 4096  # bytes in a write-ahead log
Found = tuple[list[Row], list[Head], Checkpoint | None]


class Written(NamedTuple):
    """Files of a ledger as a process left them that was killed, and what it had been told is kept."""

    base: bytes
    log: bytes
    states: list[Found]


def state(store: SQLiteStore) -> Found:
    """Entries, heads with their cosignatures, and the head that was cosigned of another log. Raises StoreError."""
    log, witness = open_log("bank", store), Witness(identity("bank"), store, TickClock())
    witness.size(f"telecom/{RUN}")
    other = store.peer_head(f"telecom/{RUN}")
    return list(log.rows()), log.checkpoints(), other and Checkpoint.parse(Note.parse(other.note).text)


def session(store: SQLiteStore) -> Iterator[None]:
    """Rounds with entries, heads, cosignatures given and taken; yields after every write."""
    log = open_log("bank", store)
    yield
    partner = Witness(identity("telecom"), MemoryStore(), TickClock())
    other, mine = open_log("telecom", MemoryStore()), Witness(identity("bank"), store, TickClock())
    for round in range(ROUNDS):
        for n in range(ENTRIES):
            slot = slot_name("train", round, f"hist-{n}", "bank", "telecom")
            place = {"phase": "train", "round": round, "step": f"hist-{n}", "slot": slot}
            log.append(dir="send", peer="telecom", payload=Payload.of(b"%d" % n, "H"), **place)
        note = log.checkpoint()
        yield
        line = partner.cosign(note, log.consistency_proof(partner.size(log.origin), len(log)), log.key)
        log.add_cosignatures(len(log), [line], [partner.key])
        log.commit()
        yield
        slot = slot_name("train", round, "note", "telecom", "telecom")
        other.append(phase="train", round=round, step="note", slot=slot, dir="local")
        theirs = other.checkpoint()
        mine.cosign(theirs, other.consistency_proof(mine.size(other.origin), len(other)), other.key)
        yield


def copied(path: Path, place: Path) -> tuple[bytes, bytes]:
    """What another process would find now."""
    log = path.with_name(path.name + "-wal")
    return path.read_bytes(), log.read_bytes() if log.exists() else b""


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Written:
    """Files of a process that was killed after its last write: all of it is in the write-ahead log."""
    place = tmp_path_factory.mktemp("killed")
    path, states = place / "bank.db", []
    store = SQLiteStore(path)
    for _ in session(store):
        again = place / "copy.db"
        base, log = copied(path, again)
        states.append(opened(again, base, log))
    base, log = copied(path, place)
    store.close()
    assert len(log) > 20 * (FRAME + PAGE)
    return Written(base, log, states)


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Written:
    """The file of a process that ended well: all of it is in the database."""
    path = tmp_path_factory.mktemp("closed") / "bank.db"
    store = SQLiteStore(path)
    for _ in session(store):
        pass
    found = state(store)
    store.close()
    return Written(path.read_bytes(), b"", [found])


def opened(path: Path, base: bytes, log: bytes = b"") -> Found:
    """What a store with these bytes holds. Raises StoreError."""
    for end in ("-wal", "-shm"):
        path.with_name(path.name + end).unlink(missing_ok=True)
    path.write_bytes(base)
    if log:
        path.with_name(path.name + "-wal").write_bytes(log)
    store = SQLiteStore(path)
    try:
        return state(store)
    finally:
        store.close()


def refusal_or_state(path: Path, base: bytes, log: bytes = b"") -> StoreError | Found:
    """Which of both comes of these bytes."""
    try:
        return opened(path, base, log)
    except StoreError as error:
        return error


def flipped(data: bytes, at: int, chance: random.Random) -> bytes:
    return data[:at] + bytes([data[at] ^ 1 << chance.randrange(8)]) + data[at + 1 :]


@pytest.mark.parametrize("flips", [8, pytest.param(400, marks=pytest.mark.slow)])
def test_a_flipped_bit_in_any_page_is_refused_or_changes_nothing(tmp_path: Path, closed: Written, flips: int) -> None:
    chance, refused, whole = random.Random(flips), 0, closed.base
    for page in range(len(whole) // PAGE):
        used = [at for at in range(page * PAGE, (page + 1) * PAGE) if whole[at]]
        for _ in range(flips):
            at = chance.choice([chance.choice(used), page * PAGE + chance.randrange(PAGE)])
            found = refusal_or_state(tmp_path / "bank.db", flipped(whole, at, chance))
            if isinstance(found, StoreError):
                assert isinstance(found, StoreDamaged) or "store format" in str(found), (at, str(found))
                refused += 1
            else:
                assert found == closed.states[0], f"byte {at} of page {page}"
    assert refused > flips


@pytest.mark.parametrize("flips", [60, pytest.param(4000, marks=pytest.mark.slow)])
def test_a_flipped_bit_in_the_write_ahead_log_is_refused(tmp_path: Path, written: Written, flips: int) -> None:
    """All but the last transaction: damage to that cannot be told from power that failed, and is a whole step back."""
    chance, refused, log = random.Random(flips), 0, written.log
    tail = last_transaction(log)
    for _ in range(flips):
        at = chance.choice([chance.randrange(len(log)), chance.randrange(HEADER), frame(chance, log)])
        found = refusal_or_state(tmp_path / "bank.db", written.base, flipped(log, at, chance))
        if isinstance(found, StoreError):
            assert isinstance(found, StoreDamaged)
            assert "backup" in found.remedy
            refused += 1
        else:
            assert found == written.states[-1] or (at >= tail and found == written.states[-2]), at
    assert refused > flips // 2


def frame(chance: random.Random, log: bytes) -> int:
    """A byte in the header of a frame."""
    return HEADER + chance.randrange((len(log) - HEADER) // (FRAME + PAGE)) * (FRAME + PAGE) + chance.randrange(FRAME)


def last_transaction(log: bytes) -> int:
    """Where the frames of the last transaction start."""
    starts = range(HEADER, len(log), FRAME + PAGE)
    ends = [start for start in starts if any(log[start + 4 : start + 8])]
    return ends[-2] + FRAME + PAGE


def test_power_may_fail_at_any_byte_of_the_write_ahead_log(tmp_path: Path, written: Written) -> None:
    """Cut at the end of every frame and inside it: the store opens with some state that was kept, and goes on."""
    seen, log, inside = [], written.log, random.Random(3)
    for start in range(HEADER, len(log) + 1, FRAME + PAGE):
        for end in (start, min(start + inside.randrange(1, FRAME + PAGE), len(log))):
            found = opened(tmp_path / "bank.db", written.base, log[:end])
            if found in written.states:
                seen.append(written.states.index(found))
            else:
                assert end < first_entry(log), "a state that never was"
    assert sorted(set(seen)) == list(range(len(written.states)))
    assert found == written.states[-1], "the whole log has everything"
    add_one(SQLiteStore(tmp_path / "bank.db"), found)


def add_one(store: SQLiteStore, before: Found) -> None:
    """The log goes on."""
    log = open_log("bank", store)
    slot = slot_name("train", 9, "note", "bank", "bank")
    log.append(phase="train", round=9, step="note", slot=slot, dir="local")
    log.checkpoint()
    rows, heads, _ = state(store)
    assert (rows[:-1], heads[:-1]) == (before[0], before[1])
    store.close()


def first_entry(log: bytes) -> int:
    """Where the transaction that begins the ledger has ended: before it, opening the store begins it."""
    starts = range(HEADER, len(log), FRAME + PAGE)
    ends = [start + FRAME + PAGE for start in starts if any(log[start + 4 : start + 8])]
    return ends[2]


def test_power_that_fails_may_leave_any_part_of_the_last_transaction(tmp_path: Path, written: Written) -> None:
    chance, log = random.Random(5), written.log
    tail = last_transaction(log)
    for _ in range(12):
        torn = bytearray(log)
        for sector in range(tail, len(log), 512):
            if chance.random() < 0.5:
                torn[sector : sector + 512] = bytes(len(torn[sector : sector + 512]))
        found = opened(tmp_path / "bank.db", written.base, bytes(torn))
        assert found in written.states[-2:]


def test_what_is_left_of_an_earlier_log_is_no_damage(tmp_path: Path) -> None:
    """SQLite begins its log again from the start; old frames, with other salts, stay behind the new ones."""
    path = tmp_path / "bank.db"
    store = SQLiteStore(path)
    for _ in session(store):
        pass
    store._db.execute("PRAGMA wal_checkpoint(RESTART)")
    before = state(store)
    log = open_log("bank", store)
    slot = slot_name("train", 9, "note", "bank", "bank")
    log.append(phase="train", round=9, step="note", slot=slot, dir="local")
    log.commit()
    for end in ("", "-wal"):
        shutil.copyfile(f"{path}{end}", tmp_path / f"copy.db{end}")
    store.close()
    require_whole(tmp_path / "copy.db")
    copy = SQLiteStore(tmp_path / "copy.db")
    assert len(state(copy)[0]) == len(before[0]) + 1
    copy.close()


@pytest.mark.parametrize("content", [b"", b"x", bytes(HEADER), bytes(10_000), b"\xff" * 200_000])
def test_any_bytes_beside_the_file_are_no_traceback(tmp_path: Path, closed: Written, content: bytes) -> None:
    found = refusal_or_state(tmp_path / "bank.db", closed.base, content)
    assert isinstance(found, StoreDamaged) or found == closed.states[0]


def test_a_witness_with_a_damaged_memory_accuses_nobody() -> None:
    store, log = MemoryStore(), open_log("telecom", MemoryStore())
    witness = Witness(identity("bank"), store, TickClock())
    witness.cosign(log.checkpoint(), [], log.key)
    head = store._heads[log.origin]
    store._heads[log.origin] = head._replace(root=bytes(32))
    with pytest.raises(StoreDamaged, match="read back differently"):
        witness.cosign(log.checkpoint(), [], log.key)
    store._heads[log.origin] = head._replace(note=head.note.replace("telecom", "Telecom", 1))
    with pytest.raises(StoreDamaged, match="read back differently"):
        witness.size(log.origin)
