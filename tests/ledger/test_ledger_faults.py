"""Every write of a session fails once; clocks jump back: the log opens again, verifies, and goes on."""

import sqlite3
from datetime import timedelta
from unittest import mock

import postgres_kit
import pytest
from ledger_kit import START, TickClock, World, identity, open_log
from postgres_kit import data_folder

from ledger import Code, MemoryStore, Payload, SQLiteStore, StoreError, Witness, slot_name, verify_bytes
from ledger.checkpoint import open_checkpoint
from ledger.envelope import Envelope
from ledger.errors import BadClock

BEFORE, AFTER = "before", "after"
WHOLE = [(0, 0, 0), (1, 0, 0), (3, 0, 0), (3, 1, 0), (5, 2, 1), (5, 2, 2)]  # what a store holds after each write


class FailingConnection:
    """A connection whose kth statement fails: before it is done, or after, when only the answer is lost."""

    def __init__(self, db, k, when):
        self._db, self._left, self._when = db, k, when

    def __getattr__(self, name):
        return getattr(self._db, name)

    def _do(self, method, *words):
        self._left -= 1
        if self._left == 0 and self._when == BEFORE:
            raise sqlite3.OperationalError("disk I/O error")
        done = method(*words)
        if self._left == 0:
            raise sqlite3.OperationalError("disk I/O error")
        return done

    def execute(self, *words):
        return self._do(self._db.execute, *words)

    def executemany(self, *words):
        return self._do(self._db.executemany, *words)


class FailingStore:
    """A store whose kth write fails, before it is done or after."""

    def __init__(self, store, k, when):
        self._store, self._left, self._when = store, k, when

    def __getattr__(self, name):
        return getattr(self._store, name)

    def write(self, *words):
        self._left -= 1
        if self._left == 0 and self._when == BEFORE:
            raise StoreError("out of memory")
        done = self._store.write(*words)
        if self._left == 0:
            raise StoreError("out of memory")
        return done


def session(log, witness, acknowledged):
    """Two rounds as a role plays them, again after a crash; every head that is given out is kept in `acknowledged`."""
    for round in range(2):
        for n in range(2):
            slot = slot_name("train", round, f"hist-{n}", "bank", "telecom")
            place = {"phase": "train", "round": round, "step": f"hist-{n}", "slot": slot}
            log.append(dir="send", peer="telecom", payload=Payload.of(b"%d" % n, "H"), **place)
        if not round:
            log.commit()
        note = log.checkpoint()  # in the second round with entries and a cosignature, in one write
        acknowledged.append(note)
        line = witness.cosign(note, log.consistency_proof(witness.size(log.origin), len(log)), log.key)
        log.add_cosignatures(len(log), [line], [witness.key])
    log.commit()


def state(store):
    """Entries, heads and cosignatures, in numbers."""
    heads = store.checkpoints()
    return len(list(store.rows())), len(heads), sum(len(store.cosignatures(head.size)) for head in heads)


def check(store, log, acknowledged):
    """What was given out is a prefix of what is there, and all of it is there once."""
    assert len({entry.slot for entry in log.entries()}) == len(log) == len(list(store.rows()))
    for note in acknowledged:
        head = open_checkpoint(note, log.key).head
        assert head.root == log.root(head.size)
        assert head.size in [kept.size for kept in log.checkpoints()]


def quick(file):
    """A file that need not outlive the machine: no power fails here."""
    store = SQLiteStore(file)
    store._db.execute("PRAGMA synchronous=OFF")
    return store


def fails_at(k, when, kind, place):
    """One session whose kth write fails, and what comes after; False if it has no kth write."""
    file = place / f"{kind}-{when}-{k}.db"
    whole = MemoryStore() if kind == "memory" else quick(file)
    witness, acknowledged = Witness(identity("telecom"), MemoryStore(), TickClock()), []
    faulty = whole
    if kind == "memory":
        faulty = FailingStore(whole, k, when)
    else:
        whole._db = FailingConnection(whole._db, k, when)
    try:
        session(open_log("bank", faulty), witness, acknowledged)
    except StoreError:
        failed = True
    else:
        failed = False
    if kind != "memory":
        whole.close()
        whole = quick(file)
    assert state(whole) in WHOLE, "a write is kept whole or not at all"
    log = open_log("bank", whole)
    check(whole, log, acknowledged)
    session(log, witness, acknowledged)
    check(whole, log, acknowledged)
    assert len(log) == 5
    assert [len(note.note.splitlines()) for note in log.checkpoints()] == [6, 6], "both heads are cosigned"
    whole.close()
    return failed


@pytest.mark.parametrize("when", [BEFORE, AFTER])
@pytest.mark.parametrize("kind", ["memory", "sqlite"])
def test_every_write_of_a_session_may_fail(tmp_path, kind, when):
    k = 1
    while fails_at(k, when, kind, tmp_path):
        k += 1
    # Opening, and per round entries, head and cosignature; each a transaction of several statements in SQLite.
    assert k - 1 >= {"memory": 5, "sqlite": 15}[kind]


@pytest.mark.parametrize("k", range(1, 6))
def test_a_write_that_failed_before_it_was_done_may_be_tried_again(k):
    """By the same log: what was appended is still in its buffer."""
    store = FailingStore(MemoryStore(), k, BEFORE)
    witness, acknowledged = Witness(identity("telecom"), MemoryStore(), TickClock()), []
    if k == 1:
        with pytest.raises(StoreError):
            open_log("bank", store)
        log = open_log("bank", store)
    else:
        log = open_log("bank", store)
        with pytest.raises(StoreError):
            session(log, witness, acknowledged)
    session(log, witness, acknowledged)
    check(store, log, acknowledged)
    assert len(log) == 5


class JumpingClock(TickClock):
    """Between any two readings it may go back: by hours of the day, and to zero, as when a machine starts anew."""

    def __init__(self):
        super().__init__()
        self.hours = iter([0, 5, -7, 3, -20, 9] * 200)
        self.nanoseconds = iter([10**12, 0, 5 * 10**11, 3] * 200)

    def now(self):
        return START + timedelta(hours=next(self.hours))

    def monotonic_ns(self):
        return next(self.nanoseconds)


def test_clocks_may_jump_back(tmp_path):
    world = World()
    jumping = JumpingClock()
    stores = {name: SQLiteStore(tmp_path / f"{name}.db") for name in world.people}
    for number in range(4):
        # Opened anew each round, as after a restart.
        world.logs = {name: open_log(name, store, jumping) for name, store in stores.items()}
        world.say("bank", "telecom", "gradients", b"g%d" % number, number)
        world.say("telecom", "bank", "histogram", b"h%d" % number, number)
        world.end_round()
        for log in world.logs.values():
            log.commit()
    for log in world.logs.values():
        monos = [entry.mono for entry in log.entries()]
        assert monos == sorted(monos)
        assert len({entry.ts for entry in log.entries()}) > 2
    result = verify_bytes(world.write(tmp_path / "run.bundle").read_bytes(), world.policy)
    assert result.code is Code.VALID, result.as_text()
    for store in stores.values():
        store.close()


@pytest.mark.parametrize("years", [-10, 10])
def test_a_clock_that_no_verifier_would_believe_writes_nothing(years):
    """A date outside the certificate's validity would spoil the log for ever; set right, the clock goes on."""
    store, clock = MemoryStore(), TickClock()
    log = open_log("bank", store, clock)
    slot = slot_name("train", 0, "note", "bank", "bank")
    place = {"phase": "train", "round": 0, "step": "note", "slot": slot, "dir": "local"}
    said = Envelope("run-7", "train/0/Hist/bank>telecom/0", "bank", "telecom", "Hist", "ab" * 32, 9)
    with mock.patch.object(clock, "now", return_value=START + timedelta(days=365 * years)):
        for write in (lambda: log.append(**place), lambda: log.message(said, "train", 0)):
            with pytest.raises(BadClock, match=r"the clock says 20[1-3]6-.* its key is valid") as caught:
                write()
            assert "Set the clock" in caught.value.remedy
        assert len(log) == 1
        log.checkpoint()  # what is there may be signed: a head has no date
    log.append(**place)
    log.message(said, "train", 0)
    assert len(log) == 3


@pytest.mark.slow
def test_a_database_server_that_is_started_again_and_again():
    with data_folder() as folder:
        for start in range(12):
            server = postgres_kit.start(folder, "stop")
            try:
                store = keeps_on(server.get_uri(), start)
                if start % 2:
                    store.close()
            finally:
                server.cleanup()
            store.close()  # after the server: every second time it stops under an open connection


def keeps_on(address, start):
    """The log is there after `start` starts of its server, and takes one more entry and head; its store."""
    import psycopg

    from ledger.postgres import PostgresStore, setup

    if not start:
        with psycopg.connect(address) as db:
            db.execute("CREATE ROLE writer LOGIN")
        setup(address, "writer")
    store = PostgresStore(address.replace("postgres:@", "writer@"), "bank/run-7")
    log = open_log("bank", store)
    assert len(log) == 1 + start
    slot = slot_name("train", start, "note", "bank", "bank")
    log.append(phase="train", round=start, step="note", slot=slot, dir="local", params={"start": start})
    log.checkpoint()
    assert [head.size for head in log.checkpoints()] == list(range(2, 3 + start))
    return store
