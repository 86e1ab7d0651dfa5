import sqlite3
from datetime import timedelta
from hashlib import sha256
from itertools import pairwise

import pytest
from ledger_kit import AGREEMENT, RUN, START, TickClock, identity, open_log

from ledger import (
    BadBundle,
    BadEntry,
    BadKey,
    BadNote,
    BadProof,
    BadSignature,
    Entry,
    Envelope,
    Log,
    MemoryStore,
    NotCanonical,
    NotConsistent,
    Payload,
    SlotTaken,
    SQLiteStore,
    StoreDamaged,
    StoreError,
    Witness,
    leaf_hash,
    open_checkpoint,
    sign_envelope,
    slot_name,
    verify_consistency,
    verify_envelope,
    verify_inclusion,
    write_bundle,
)
from ledger.policy import Policy
from ledger.store import Head, PeerAdvance, Row

PEER_KEY = identity("telecom").entry_key(RUN)


@pytest.fixture(params=["memory", "sqlite"])
def store(request, tmp_path):
    made = MemoryStore() if request.param == "memory" else SQLiteStore(tmp_path / "bank.db")
    yield made
    made.close()


def place(n, step="hist", sender="bank", receiver="telecom"):
    return {"phase": "train", "round": n, "step": step, "slot": slot_name("train", n, step, sender, receiver)}


def send(log, n, data=b"x", peer="telecom", **more):
    return log.append(dir="send", peer=peer, payload=Payload.of(data, "Hist"), **place(n), **more)


def recv(log, n, data=b"y", key=PEER_KEY):
    payload, where = Payload.of(data, "Hist"), place(n, sender="telecom", receiver="bank")
    envelope = Envelope(RUN, where["slot"], "telecom", "bank", "Hist", payload.digest, payload.size)
    return log.append(dir="recv", peer="telecom", payload=payload, env=sign_envelope(key, envelope), **where)


def test_first_entry_carries_the_certificate(store):
    log = open_log("bank", store)
    (first,) = log.entries()
    assert (first.seq, first.dir, first.step, first.prev) == (0, "local", "open", "00" * 32)
    assert first.params == {"certificate": log.certificate.to_json()}


def test_entries_are_chained_signed_and_provable(store):
    log = open_log("bank", store)
    for n in range(5):
        entry = send(log, n, refs=[n], params={"tree": n}, commit=[{"kind": "seed", "digest": "ab" * 32}])
        verify_envelope(log.certificate.key, entry.envelope(), entry.env)
    recv(log, 5)
    log.commit()
    rows = list(log.rows())
    assert [row.seq for row in rows] == list(range(7)) == [entry.seq for entry in log.entries()]
    for before, row in pairwise(rows):
        entry = Entry.from_bytes(row.body)
        assert (entry.prev, entry.to_bytes(), entry.leaf()) == (before.leaf.hex(), row.body, row.leaf)
        verify_inclusion(row.leaf, row.seq, 7, log.inclusion_proof(row.seq), log.root())
        verify_consistency(row.seq, 7, log.root(row.seq), log.root(), log.consistency_proof(row.seq))
    assert log.slot_digest(place(2)["slot"]) == sha256(b"x").hexdigest()
    assert log.slot_digest("train/99/hist/bank>telecom/0") is None


def test_checkpoint_commits_and_is_reused(store):
    log = open_log("bank", store)
    send(log, 0)
    note = log.checkpoint()
    assert open_checkpoint(note, log.key).head.size == len(list(log.rows())) == 2
    assert log.checkpoint() == note
    send(log, 1)
    assert open_checkpoint(log.checkpoint(), log.key).head.root == log.root()
    assert [head.size for head in log.checkpoints()] == [2, 3]


def test_cosignatures_are_kept_with_their_checkpoint(store):
    log, witness = open_log("bank", store), Witness(identity("telecom"), MemoryStore(), TickClock())
    line = witness.cosign(log.checkpoint(), [], log.key)
    log.add_cosignatures(1, [line, line], [witness.key])
    log.add_cosignatures(1, [line])
    assert log.checkpoint().count("telecom/witness") == 1 == log.checkpoints()[0].note.count("telecom/witness")
    with pytest.raises(BadNote):
        log.add_cosignatures(1, ["— x y\n"])
    with pytest.raises(BadSignature, match="none of the expected"):
        log.add_cosignatures(1, [line], [identity("bureau").witness.verifying])
    send(log, 0)
    log.checkpoint()
    with pytest.raises(BadSignature):
        log.add_cosignatures(2, [line], [witness.key])
    with pytest.raises(StoreError):
        log.add_cosignatures(7, [line])


def test_a_slot_is_said_once(store):
    log = open_log("bank", store)
    first = send(log, 0)
    assert send(log, 0) == first
    assert send(log, 0, params={"ignored": 1}) == first
    for wrong in (
        lambda: send(log, 0, b"other"),
        lambda: send(log, 0, peer="bureau"),
        lambda: log.append(dir="send", peer="telecom", payload=Payload.of(b"x", "Other"), **place(0)),
        lambda: log.append(dir="local", payload=Payload.of(b"x", "Hist"), **place(0)),
    ):
        with pytest.raises(SlotTaken, match="train/0/hist/bank>telecom/0") as error:
            wrong()
        assert "slot of its own" in error.value.diagnostics()
    log.commit()
    assert send(log, 0) == first
    local = log.append(dir="local", params={"rows": 5}, **place(1))
    assert log.append(dir="local", params={"rows": 5}, **place(1)) == local
    with pytest.raises(SlotTaken):
        log.append(dir="local", params={"rows": 6}, **place(1))
    assert len(log) == 3


def test_a_log_resumes(store):
    log = open_log("bank", store)
    entries = [send(log, 0), recv(log, 1)]
    note = log.checkpoint()
    send(log, 2)  # never committed: the process dies
    again = open_log("bank", store)
    assert [send(again, 0), recv(again, 1)] == entries
    assert again.checkpoint() == note
    assert send(again, 2).seq == 3
    again.commit()
    monos = [entry.mono for entry in again.entries()]
    assert monos == sorted(monos)


@pytest.mark.parametrize(
    ("more", "error"),
    [
        ({"dir": "sideways"}, BadEntry),
        ({"peer": None}, BadEntry),
        ({"peer": "bank"}, BadEntry),
        ({"peer": "a b"}, BadEntry),
        ({"payload": None}, BadEntry),
        ({"payload": Payload("sha256", "XY", 1, "Hist")}, BadEntry),
        ({"payload": Payload("sha256", "ab" * 32, -1, "Hist")}, BadEntry),
        ({"slot": ""}, BadEntry),
        ({"slot": "a b"}, BadEntry),
        ({"round": -1}, BadEntry),
        ({"round": True}, BadEntry),
        ({"refs": [1]}, BadEntry),
        ({"refs": ["nowhere"]}, BadEntry),
        ({"refs": [True]}, BadEntry),
        ({"commit": [{"kind": "seed"}]}, BadEntry),
        ({"commit": ["x"]}, BadEntry),
        ({"params": [1]}, BadEntry),
        ({"params": {"auc": 0.75}}, NotCanonical),
        ({"params": {"big": "x" * 70_000}}, NotCanonical),
    ],
)
def test_impossible_entries_leave_the_log_unchanged(more, error):
    log = open_log("bank", MemoryStore())
    fields = {**place(0), "dir": "send", "peer": "telecom", "payload": Payload.of(b"x", "Hist"), **more}
    with pytest.raises(error):
        log.append(**fields)
    assert len(log) == 1
    assert send(log, 0).seq == 1
    log.commit()


@pytest.mark.parametrize(
    "change",
    [
        {"v": 2},
        {"v": True},
        {"extra": 1},
        {"agreement": "zz"},
        {"ts": "2026-01-31"},
        {"ts": "2026-02-31T10:00:00.000000Z"},
        {"log": "bank/run-8"},
        {"actor": "telecom"},
        {"job": "../x", "log": "bank/../x"},
        {"env": {"key": "00", "sig": "00"}},
        {"payload": []},
        {"refs": {}},
        {"commit": {}},
        {"params": []},
        {"dir": 1},
        {"dir": "local"},
    ],
)
def test_impossible_entry_objects_are_refused(change):
    log = open_log("bank", MemoryStore())
    value = send(log, 0).to_json()
    assert Entry.from_json(value).to_json() == value
    with pytest.raises(BadEntry):
        Entry.from_json(value | change)
    with pytest.raises(BadEntry):
        Entry.from_json({k: v for k, v in value.items() if k != "seq"})
    with pytest.raises(BadEntry):
        Entry.from_json([])


def test_envelopes_refuse_other_keys_and_statements():
    log = open_log("bank", MemoryStore())
    entry = send(log, 0)
    with pytest.raises(BadSignature, match="names key"):
        verify_envelope(PEER_KEY.public, entry.envelope(), entry.env)
    with pytest.raises(BadSignature, match="does not fit"):
        verify_envelope(
            log.certificate.key, Envelope.from_json(entry.envelope().to_json() | {"to": "bureau"}), entry.env
        )
    with pytest.raises(BadEntry):
        next(log.entries()).envelope()


def test_a_log_refuses_foreign_keys_and_agreements(store):
    who = identity("bank")
    certificate = who.certify(RUN, START, START + timedelta(1))
    arguments = {"entry_key": who.entry_key(RUN), "certificate": certificate, "agreement": AGREEMENT}

    def opened(**change):
        return Log(store, who, change.pop("party", "bank"), change.pop("run", RUN), TickClock(), **arguments | change)

    foreign = identity("telecom").certify(RUN, START, START + timedelta(1))
    for wrong in ({"party": "telecom"}, {"run": "run-8"}, {"entry_key": PEER_KEY}, {"certificate": foreign}):
        with pytest.raises((BadKey, BadSignature)):
            opened(**wrong)
    opened()
    for wrong in ({"entry_key": PEER_KEY}, {"agreement": "00" * 32}):
        with pytest.raises(BadKey, match="begun"):
            opened(**wrong)
    with pytest.raises(StoreDamaged):
        opened(run="run-8")
    later = who.certify(RUN, START, START + timedelta(9))
    assert opened(certificate=later).certificate == certificate


# -- SQLite ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "bank.db"
    store = SQLiteStore(path)
    log = open_log("bank", store)
    for n in range(4):
        send(log, n)
    line = Witness(identity("telecom"), store, TickClock()).cosign(log.checkpoint(), [], log.key)
    log.add_cosignatures(5, [line])
    log.commit()
    store.close()
    return path


@pytest.mark.parametrize("table", ["entry", "checkpoint", "cosignature", "peer_head"])
def test_triggers_refuse_changes(file, table):
    db = sqlite3.connect(file)
    statements = [f"DELETE FROM {table}"]
    statements += [f"UPDATE {table} SET size = size - 1" if table != "entry" else "UPDATE entry SET body = x'00'"]
    statements += ["UPDATE peer_head SET root = x'00'"] if table == "peer_head" else []
    for statement in statements:
        with pytest.raises(sqlite3.IntegrityError, match=r"append-only|forgotten|shrink"):
            db.execute(statement)
    with pytest.raises(sqlite3.IntegrityError, match="continue"):
        db.execute("INSERT INTO entry VALUES (9, x'00', x'00')")
    db.close()


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        ("UPDATE entry SET body = x'7b7d' WHERE seq = 2", "entry 2"),
        ("UPDATE entry SET leaf = zeroblob(32) WHERE seq = 3", "entry 3"),
        ("UPDATE entry SET body = replace(body, 'Hist', 'Mist') WHERE seq = 4", "entry 4"),
        ("DELETE FROM entry WHERE seq = 1", "entry 1"),
        ("DELETE FROM entry WHERE seq = 4", "4 are stored"),
        ("DELETE FROM entry", "0 are stored"),
        ("UPDATE checkpoint SET root = zeroblob(32)", "root of size 5"),
        ("UPDATE checkpoint SET note = 'x'", "checkpoint of 5"),
        ("UPDATE checkpoint SET size = 4", "size 4"),
    ],
)
def test_damage_is_refused_on_opening(file, damage, says):
    db = sqlite3.connect(file)
    names = [f"{table}_{verb}" for table in ("entry", "checkpoint") for verb in ("UPDATE", "DELETE")]
    query = "SELECT sql FROM sqlite_master WHERE name = ?"
    triggers = [db.execute(query, (name,)).fetchone()[0] for name in names]
    for name in names:
        db.execute(f"DROP TRIGGER {name}")
    damage = damage.replace(
        "replace(body, 'Hist', 'Mist')", "cast(replace(cast(body AS TEXT), 'Hist', 'Mist') AS BLOB)"
    )
    db.execute(damage)
    for trigger in triggers:
        db.execute(trigger)
    db.commit()
    db.close()
    store = SQLiteStore(file)
    with pytest.raises(StoreDamaged, match=says):
        open_log("bank", store)
    store.close()


@pytest.mark.parametrize("change", ["DROP TRIGGER entry_UPDATE", "ALTER TABLE entry RENAME COLUMN leaf TO hash"])
def test_a_store_whose_tables_were_changed_is_refused(file, change):
    db = sqlite3.connect(file)
    db.execute(change)
    db.commit()
    db.close()
    with pytest.raises(StoreDamaged, match="its tables"):
        SQLiteStore(file)


def test_a_file_that_is_no_database_is_refused(tmp_path):
    (tmp_path / "x.db").write_bytes(b"no database at all, but some text" * 100)
    with pytest.raises(StoreDamaged, match="not a database"):
        SQLiteStore(tmp_path / "x.db")
    with pytest.raises(StoreError, match="unable to open"):
        SQLiteStore(tmp_path / "missing" / "x.db")
    db = sqlite3.connect(tmp_path / "new.db")
    db.execute("PRAGMA user_version = 9")
    db.close()
    with pytest.raises(StoreError, match="format 9"):
        SQLiteStore(tmp_path / "new.db")


def test_two_writers_are_refused(file):
    one, two = SQLiteStore(file), SQLiteStore(file)
    first, second = open_log("bank", one), open_log("bank", two)
    send(first, 10)
    send(second, 11)
    first.commit()
    with pytest.raises(StoreError, match="continue the log") as error:
        second.commit()
    assert "only one" in error.value.remedy
    assert len(list(one.rows())) == 6
    one.close()
    two.close()
    with pytest.raises(StoreError):
        one.row(0)


def test_a_full_disk_keeps_the_buffer_and_the_log(file):
    store = SQLiteStore(file)
    log = open_log("bank", store)
    (pages,) = store._db.execute("PRAGMA page_count").fetchone()
    store._db.execute(f"PRAGMA max_page_count = {pages}")
    for n in range(10, 200):
        send(log, n)
    with pytest.raises(StoreError, match="full") as error:
        log.commit()
    assert "Free disk space" in error.value.diagnostics()
    assert len(list(store.rows())) == 5
    store._db.execute("PRAGMA max_page_count = 1000000")
    log.commit()
    assert len(list(store.rows())) == 195 == len(log)
    store.close()


def test_a_flip_between_disk_and_checkpoint_is_not_signed():
    store = MemoryStore()
    log = open_log("bank", store)
    send(log, 0)
    log.commit()
    store._rows[1] = store._rows[1]._replace(body=store._rows[1].body.replace(b"Hist", b"Mist"))
    with pytest.raises(StoreDamaged, match="entry 1"):
        log.checkpoint()
    store._rows.pop()
    with pytest.raises(StoreDamaged):
        log.checkpoint()


def test_stores_agree(store):
    rows = [Row(seq, b"%d" % seq, bytes(32)) for seq in range(2500)]
    assert store.write(rows[:1200])
    assert store.write(rows[1200:])
    assert store.write()
    assert list(store.rows()) == rows
    assert list(store.rows(2400)) == rows[2400:]
    assert store.row(7) == rows[7]
    wrong = [rows[:1], [rows[0], rows[0]]]
    for call in (lambda: store.row(9999), *(lambda rows=rows: store.write(rows) for rows in wrong)):
        with pytest.raises(StoreError):
            call()
    head, later = Head(1, bytes(32), "note"), Head(2, bytes(32), "later")
    store.write(checkpoint=head, cosignatures=[(1, "x"), (1, "y"), (1, "x")])
    assert (store.checkpoints(), store.cosignatures(1)) == ([head], ["x", "y"])
    with pytest.raises(StoreError):
        store.write(checkpoint=Head(1, bytes(32), "other"))
    with pytest.raises(StoreError):
        store.write(cosignatures=[(5, "x")])
    assert store.peer_head("a/b") is None
    assert store.write(peers=[PeerAdvance("a/b", None, head)])
    assert not store.write(peers=[PeerAdvance("a/b", None, later)])
    assert store.write(peers=[PeerAdvance("a/b", head, later)])
    assert store.peer_head("a/b") == later


def test_a_write_is_kept_whole_or_not_at_all(store):
    row, head, other = Row(0, b"0", bytes(32)), Head(1, bytes(32), "note"), Head(2, bytes(32), "later")
    store.write(peers=[PeerAdvance("a/b", None, head)])
    assert not store.write([row], head, [(1, "x")], [PeerAdvance("c/d", None, head), PeerAdvance("a/b", None, other)])
    with pytest.raises(StoreError):
        store.write([row], head, [(1, "x"), (7, "y")], [PeerAdvance("c/d", None, head)])
    assert (list(store.rows()), store.checkpoints(), store.cosignatures(1)) == ([], [], [])
    assert store.peer_head("c/d") is None
    assert store.write([row], head, [(1, "x")], [PeerAdvance("c/d", None, head), PeerAdvance("a/b", head, other)])
    assert (list(store.rows()), store.checkpoints(), store.cosignatures(1)) == ([row], [head], ["x"])
    assert (store.peer_head("c/d"), store.peer_head("a/b")) == (head, other)


# -- witness --------------------------------------------------------------------------------------------------------


def test_a_witness_follows_one_history(store):
    log = open_log("bank", MemoryStore())
    witness = Witness(identity("telecom"), store, TickClock())
    assert witness.size(log.origin) == 0
    first = log.checkpoint()
    witness.cosign(first, [], log.key)
    for n in range(6):
        send(log, n)
        note, old = log.checkpoint(), witness.size(log.origin)
        witness.cosign(note, log.consistency_proof(old), log.key)
        witness.cosign(note, [], log.key)
        assert witness.size(log.origin) == len(log)
    with pytest.raises(BadProof, match="older"):
        witness.cosign(first, [], log.key)
    with pytest.raises(BadSignature):
        witness.cosign(first, [], identity("bureau").identity.verifying)
    with pytest.raises(BadProof, match="at most 63"):
        witness.cosign(log.checkpoint(), [bytes(32)] * 64, log.key)
    send(log, 9)
    with pytest.raises(NotConsistent, match="does not continue"):
        witness.cosign(log.checkpoint(), [bytes(32)], log.key)


def test_a_witness_names_a_fork_with_both_notes(store):
    one, two = open_log("bank", MemoryStore()), open_log("bank", MemoryStore())
    send(one, 0, b"to one")
    send(two, 0, b"to two")
    witness = Witness(identity("telecom"), store, TickClock())
    witness.cosign(one.checkpoint(), [], one.key)
    with pytest.raises(NotConsistent, match="two roots were signed for size 2") as error:
        witness.cosign(two.checkpoint(), [], two.key)
    assert (error.value.first, error.value.second) == (one.checkpoint(), two.checkpoint())
    send(two, 1)
    with pytest.raises(NotConsistent):
        witness.cosign(two.checkpoint(), two.consistency_proof(2), two.key)
    assert witness.size("bank/run-7") == 2


def test_a_witness_demands_the_first_tree_whole(store):
    log = open_log("bank", MemoryStore())
    witness = Witness(identity("telecom"), store, TickClock())
    with pytest.raises(BadProof, match="must be empty"):
        witness.cosign(log.checkpoint(), [bytes(32)], log.key)


def test_a_witness_that_lost_the_race_signs_nothing():
    class Racing(MemoryStore):
        def write(self, peers):
            super().write(peers=[peers[0]._replace(head=Head(99, bytes(32), "other"))])
            return super().write(peers=peers)

    log = open_log("bank", MemoryStore())
    with pytest.raises(StoreError, match="another head"):
        Witness(identity("telecom"), Racing(), TickClock()).cosign(log.checkpoint(), [], log.key)


def test_leaves_are_those_of_the_standard():
    assert leaf_hash(b"").hex() == sha256(b"\0").hexdigest()


def test_a_bundle_needs_one_run_and_agreement(tmp_path):
    log = open_log("bank", MemoryStore())
    arguments = {"artefacts": {}, "identities": [identity("bank")], "policy": Policy.of([identity("bank")])}
    for logs, run in ([], RUN), ([log], "run-8"):
        with pytest.raises(BadBundle):
            write_bundle(tmp_path / "x", logs, run, **arguments)
    with pytest.raises(BadBundle, match=r"\.\."):
        write_bundle(tmp_path / "x", [log], RUN, **arguments | {"artefacts": {"../x": b""}})
    with pytest.raises(BadBundle, match="cannot write"):
        write_bundle(tmp_path / "no" / "x", [log], RUN, **arguments)
    assert not list(tmp_path.iterdir())
    one = write_bundle(tmp_path / "x", [log], RUN, **arguments)
    assert one == write_bundle(tmp_path / "y", [log], RUN, **arguments)
