"""Decisions and their ledger lie in one file and one transaction: nothing acknowledged is lost, nothing comes twice."""

from __future__ import annotations

import asyncio
import os
import random
import re
import signal
import sqlite3
import subprocess
import sys
import time
import zlib
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest
from scoring_kit import cosigned_by, policy, predictions, run, table, verify
from writer import group, record, volumes

from ledger.checkpoint import Checkpoint
from ledger.entry import Entry
from ledger.errors import LedgerError
from ledger.merkle import Tree
from ledger.note import Note
from ledger.tables import make_tables
from vfl.decisions import leaf_of
from vfl.errors import UsageError
from vfl.files import alone
from vfl.scoring.answers import Applicant, KeyInUse, KeyReused
from vfl.scoring.policy import RecordRules
from vfl.scoring.scorer import Service
from vfl.scoring.serving import simulated
from vfl.scoring.volumes import Group, Volumes


def decisions(found: Volumes) -> dict[bytes, tuple[int, int]]:
    """Every record with volume and entry; each entry commits to what is beside it, and nothing lies beside none."""
    records: list[tuple[bytes, tuple[int, int]]] = []
    for number in found.numbers():
        volume = found.volume(number)
        assert volume is not None
        entries = list(volume.log.entries())
        stored: Counter[int] = Counter(seq for (seq,) in volume.store._db.execute("SELECT seq FROM record").fetchall())
        assert stored == {entry.seq: 1 for entry in entries if entry.step == "decision"}
        for entry in entries:
            if entry.step == "decision":
                entered = volume.records(entry.seq)
                assert entered is not None
                root = Tree(leaf_of(*each) for each in entered.records).root().hex()
                assert [one["digest"] for one in entry.commit] == [root]
                assert len(entered.records) == entry.params["count"]
                records += [(body, (number, entry.seq)) for _, body in entered.records]
    assert len(dict(records)) == len(records), "a record lies there twice"
    return dict(records)


def chained(found: Volumes) -> None:
    """The second entry of each volume names the head of the one before."""
    for number in found.numbers()[1:]:
        before, volume = found.volume(number - 1), found.volume(number)
        assert before is not None
        assert volume is not None
        entry = list(volume.log.entries())[1]
        assert entry.step == "continues"
        head = Checkpoint.parse(Note.parse(before.log.checkpoints()[-1].note).text)
        assert entry.params == {"log": head.origin, "size": head.size, "root": head.root.hex()}
        assert head.size == len(before.log)


def write(found: Volumes, *numbers: int) -> dict[int, tuple[int, int]]:
    kept = found.write([group(each) for each in numbers])
    return {number: (one.volume, one.entry) for number, one in zip(numbers, kept, strict=True)}


def test_groups_are_entries_of_their_own_in_one_transaction(tmp_path: Path) -> None:
    found = volumes(tmp_path)
    before = found.newest.store._db.total_changes
    statements: list[str] = []
    found.newest.store._db.set_trace_callback(statements.append)
    where = write(found, 1, 2, 3)
    assert [text for text in statements if text in ("BEGIN IMMEDIATE", "COMMIT")] == ["BEGIN IMMEDIATE", "COMMIT"]
    assert found.newest.store._db.total_changes > before
    assert len(set(where.values())) == 3
    assert decisions(found)[record(3, 2)] == where[3]
    found.close()


def test_a_full_volume_is_followed_by_one_that_names_its_head(tmp_path: Path) -> None:
    found = volumes(tmp_path, most=10)
    where: dict[int, tuple[int, int]] = {}
    for number in range(40):
        where |= write(found, number)
    chained(found)
    assert len(found.numbers()) == 5
    assert max(len(list(found.volume(n).log.entries())) for n in found.numbers()) == 10  # type: ignore[union-attr]
    assert {record(n): at for n, at in where.items()}.items() <= decisions(found).items()
    assert [place for _, place in found.latest(4)] == [2, 1, 0, 0]  # 39 is a batch
    newest = [entered.records[place][1] for entered, place in found.latest(12)]
    assert newest[:5] == [record(39, 2), record(39, 1), record(39, 0), record(38), record(37)]
    found.close()
    again = volumes(tmp_path, most=10)
    chained(again)
    assert decisions(again).keys() >= {record(n) for n in range(40)}
    again.close()


def test_what_is_latest_is_not_gone_when_a_volume_has_just_begun(tmp_path: Path) -> None:
    found = volumes(tmp_path, most=10)
    for number in range(1, 11):
        write(found, number)
    assert len(found.numbers()) == 2
    assert [entered.records[place][1] for entered, place in found.latest(3)] == [record(10), record(9, 2), record(9, 1)]
    found.close()


@pytest.mark.parametrize("gone", ["deleted", "damaged", "empty"])
def test_keys_are_found_again_in_the_volumes(tmp_path: Path, gone: str) -> None:
    found = volumes(tmp_path, most=10)
    for number in range(25):
        write(found, number)
    expected = {number: found.keys.find("tests", f"key-{number}") for number in range(25)}
    found.close()
    index = tmp_path / "keys.sqlite"
    for each in tmp_path.glob("keys.sqlite*"):
        each.unlink()
    if gone == "damaged":
        index.write_bytes(b"no database at all" * 400)
    elif gone == "empty":
        index.touch()
    again = volumes(tmp_path, most=10)
    assert {number: again.keys.find("tests", f"key-{number}") for number in range(25)} == expected
    assert again.keys.find("others", "key-1") is None
    again.close()


def test_a_key_that_the_index_could_not_keep_answers_all_the_same(tmp_path: Path) -> None:
    """The decision is on record by then: the answer must stand, and the key be found."""
    found = volumes(tmp_path)
    found.keys._db.execute("CREATE TRIGGER full BEFORE INSERT ON asked BEGIN SELECT raise(ABORT, 'disk full'); END")
    where = write(found, 1)[1]
    assert found.keys.find("tests", "key-1") == (b"%032d" % 1, *where)
    found.keys._db.execute("DROP TRIGGER full")
    found.close()
    again = volumes(tmp_path)
    assert again.keys.find("tests", "key-1") == (b"%032d" % 1, *where)
    again.close()


class Failing:
    """A connection whose kth statement fails, before it is done or after."""

    def __init__(self, db: sqlite3.Connection, k: int, when: str) -> None:
        self._db, self._left, self._when = db, k, when
        self.failed = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._db, name)

    def _do(self, method: Any, *words: Any) -> Any:
        self._left -= 1
        self.failed |= self._left == 0
        if self._left == 0 and self._when == "before":
            raise sqlite3.OperationalError("database or disk is full")
        done = method(*words)
        if self._left == 0:
            raise sqlite3.OperationalError("disk I/O error")
        return done

    def execute(self, *words: Any) -> Any:
        return self._do(self._db.execute, *words)

    def executemany(self, *words: Any) -> Any:
        return self._do(self._db.executemany, *words)


@pytest.mark.parametrize("when", [pytest.param("before", marks=pytest.mark.slow), "after"])
def test_every_write_may_fail_and_the_next_one_works(tmp_path: Path, when: str) -> None:
    """What was answered is there once; what was refused is not there, or, if the disk kept it, its key finds it."""
    for k in range(1, 100):
        folder = tmp_path / f"{k}"
        found = volumes(folder)
        where = write(found, 1, 2)
        found.newest.store._db.execute("PRAGMA synchronous = OFF")  # no power fails here
        found.newest.store._db = faulty = Failing(found.newest.store._db, k, when)  # type: ignore[assignment]
        refused = [number for number in (3, 4) if not try_to(found, number, where)]
        if not faulty.failed:
            break
        where |= write(found, 5, 6)
        there = decisions(found)
        assert {record(n): at for n, at in where.items()}.items() <= there.items()
        for number in refused:
            assert (found.keys.find("tests", f"key-{number}") is not None) == (record(number) in there)
        found.close()
        again = volumes(folder)
        assert decisions(again) == there
        again.close()
    assert k > 8


def try_to(found: Volumes, number: int, where: dict[int, tuple[int, int]]) -> bool:
    """Write, if the disk lets us."""
    with suppress(UsageError):
        where |= write(found, number)
    return number in where


def test_a_volume_stays_refused_while_the_disk_is_full_and_goes_on_when_it_is_not(tmp_path: Path) -> None:
    found = volumes(tmp_path)
    where = write(found, 1)
    pages = found.newest.store._db.execute("PRAGMA page_count").fetchone()[0]
    found.newest.store._db.execute(f"PRAGMA max_page_count = {pages}")
    big = b"x" * 60_000, {"batch": False}, None
    with pytest.raises(UsageError, match="full") as caught:
        found.write([big])
    assert "disk space" in caught.value.remedy
    where |= write(found, 2)  # opened again, without the bound
    assert {record(n): at for n, at in where.items()}.items() <= decisions(found).items()
    found.close()


def test_a_crash_between_a_new_volume_and_its_first_line_breaks_no_chain(tmp_path: Path) -> None:
    """The file is there, the entry that names the last head is not: it is made at the next start."""
    found = volumes(tmp_path, most=10)
    for number in range(1, 8):
        write(found, number)
    found._open(2).store.close()  # what `_turn` does first
    found.close()
    again = volumes(tmp_path, most=10)
    assert again.newest.number == 2
    chained(again)
    write(again, 20)
    chained(again)
    again.close()


@pytest.mark.parametrize("tables", [0, 1])
def test_a_crash_while_a_volume_is_made_does_no_harm(tmp_path: Path, tables: int) -> None:
    """Before any table, or with the tables of a ledger alone."""
    (tmp_path / "volumes").mkdir()
    with sqlite3.connect(tmp_path / "volumes" / "000001.sqlite", isolation_level=None) as db:
        db.execute("PRAGMA journal_mode=WAL")
        if tables:
            make_tables(db)
    db.close()
    found = volumes(tmp_path)
    write(found, 1)
    assert record(1) in decisions(found)
    found.close()


def edit(path: Path, *statements: str) -> None:
    """Past the triggers, as somebody with the file does; the tables look the same afterwards."""
    with sqlite3.connect(path, isolation_level=None) as db:
        triggers = db.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'").fetchall()
        for name, _ in triggers:
            db.execute(f"DROP TRIGGER {name}")
        for one in statements:
            assert db.execute(one).rowcount != 0
        for _, sql in triggers:
            db.execute(sql)
    db.close()


TAMPERED = {
    "a record changed": "UPDATE record SET body = CAST(replace(body, '0', '9') AS BLOB) WHERE seq = 2",
    "a salt changed": "UPDATE record SET salt = zeroblob(32) WHERE seq = 2",
    "a record removed": "DELETE FROM record WHERE seq = 2",
    "a record of another": "UPDATE record SET body = (SELECT body FROM record WHERE seq = 1) WHERE seq = 2",
    "a record more": "INSERT INTO record VALUES (2, 1, zeroblob(32), zeroblob(2))",
}


@pytest.mark.parametrize("how", TAMPERED)
def test_a_record_that_somebody_changed_is_not_shown(tmp_path: Path, how: str) -> None:
    found = volumes(tmp_path)
    write(found, 1, 2)
    found.close()
    edit(tmp_path / "volumes" / "000001.sqlite", TAMPERED[how])
    again = volumes(tmp_path)
    assert again.newest.records(1) is not None
    with pytest.raises(UsageError, match="entry 2 does not commit to the records beside it"):
        again.newest.records(2)
    again.close()


TAMPERED_BATCH = {
    "half of it": "UPDATE record SET body = substr(body, 1, length(body) / 2) WHERE seq = 2",
    "not packed": "UPDATE record SET body = CAST('{}' AS BLOB) WHERE seq = 2",
    "a salt less": "UPDATE record SET salt = substr(salt, 33) WHERE seq = 2",
    "salts in another order": "UPDATE record SET salt = CAST(substr(salt, 33) || substr(salt, 1, 32) AS BLOB)"
    " WHERE seq = 2",
    "two rows": "INSERT INTO record SELECT seq, 1, salt, body FROM record WHERE seq = 2",
}


@pytest.mark.parametrize("how", TAMPERED_BATCH)
def test_a_batch_that_somebody_changed_is_not_shown(tmp_path: Path, how: str) -> None:
    found = volumes(tmp_path)
    write(found, 1, 3)
    assert len(found.newest.records(2).records) == 3  # type: ignore[union-attr]
    found.close()
    edit(tmp_path / "volumes" / "000001.sqlite", TAMPERED_BATCH[how])
    again = volumes(tmp_path)
    with pytest.raises(UsageError, match="entry 2 does not commit to the records beside it"):
        again.newest.records(2)
    again.close()


def test_a_batch_takes_little_room(tmp_path: Path) -> None:
    found, lines = volumes(tmp_path), b"\n".join(record(7, place) + b" " * 600 for place in range(10_000))
    before = (tmp_path / "volumes" / "000001.sqlite-wal").stat().st_size
    found.write([Group(lines, {"batch": True})])
    assert (tmp_path / "volumes" / "000001.sqlite-wal").stat().st_size - before < len(lines) / 5
    entered = found.newest.records(1)
    assert entered is not None
    assert b"\n".join(body for _, body in entered.records) == lines
    assert len({salt for salt, _ in entered.records}) == 10_000
    found.close()


@pytest.mark.parametrize(
    "how",
    [
        "UPDATE entry SET body = CAST(replace(body, 'decision', 'derision') AS BLOB) WHERE seq = 2",
        "DELETE FROM entry WHERE seq = 2",
    ],
)
def test_a_ledger_that_somebody_changed_is_not_opened(tmp_path: Path, how: str) -> None:
    found = volumes(tmp_path)
    write(found, 1, 2)
    found.close()
    edit(tmp_path / "volumes" / "000001.sqlite", how)
    with pytest.raises(UsageError, match="the ledger refuses"):
        volumes(tmp_path)


def test_the_tables_refuse_to_forget(tmp_path: Path) -> None:
    found = volumes(tmp_path)
    write(found, 1)
    db = found.newest.store._db
    for statement in (
        "DELETE FROM record",
        "UPDATE record SET body = x'00'",
        "DELETE FROM asked",
        "UPDATE asked SET seq = 0",
    ):
        with pytest.raises(sqlite3.IntegrityError, match="is append-only"):
            db.execute(statement)
    found.close()


@pytest.mark.slow
def test_an_old_volume_is_read_while_the_newest_is_written(tmp_path: Path) -> None:
    found = volumes(tmp_path, most=10)
    for number in range(60):
        write(found, number)
    for number in [*found.numbers(), *found.numbers()]:  # more than stay open
        volume = found.volume(number)
        assert volume is not None
        assert volume.number == number
    assert found.volume(99) is None
    found.close()


def acknowledged(process: subprocess.Popen[str]) -> dict[int, tuple[int, int]]:
    """What the writer said, whole lines only."""
    assert process.stdout is not None
    lines = re.findall(r"^(\d+) (\d+) (\d+)\n", process.stdout.read(), re.MULTILINE)
    return {int(number): (int(volume), int(entry)) for volume, entry, number in lines}


def killed(folder: Path, start: int, after: float) -> dict[int, tuple[int, int]]:
    here = Path(__file__).parent
    path = os.pathsep.join([str(here), str(here.parent), str(here.parent.parent)])
    words = [sys.executable, str(here / "writer.py"), str(folder), str(start)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": path}) as process:
        assert process.stdout is not None
        first = process.stdout.readline()  # it runs
        time.sleep(after)
        process.send_signal(signal.SIGKILL)
        volume, entry, number = map(int, first.split())
        return {number: (volume, entry)} | acknowledged(process)


@pytest.mark.slow
def test_a_writer_killed_again_and_again_loses_nothing(tmp_path: Path) -> None:
    """Every acknowledged group is there once with its records, and no record lies beside no entry."""
    chance, told = random.Random(7), dict[int, tuple[int, int]]()
    for round in range(15):
        told |= killed(tmp_path, 100_000 * round, chance.uniform(0.0, 0.4))
        found = volumes(tmp_path)
        there = decisions(found)
        for number, at in told.items():
            assert all(there[body] == at for body in group(number)[0].splitlines())
            assert found.keys.find("tests", f"key-{number}") == (b"%032d" % number, *at)
        chained(found)
        found.close()
    assert len(told) > 300
    assert len(found.numbers()) > 3


# -- through the service ----------------------------------------------------------------------------------------------


def counted(root: Path) -> tuple[int, int]:
    """Entries of decisions, and records, at the bank."""
    entries = records = 0
    for path in sorted((root / "bank" / "scoring" / "volumes").glob("*.sqlite")):
        with sqlite3.connect(path) as db:
            bodies = [Entry.from_bytes(body) for (body,) in db.execute("SELECT body FROM entry ORDER BY seq")]
            entries += sum(one.step == "decision" for one in bodies)
            for seq, body in db.execute("SELECT seq, body FROM record"):
                records += len(zlib.decompress(body).splitlines()) if bodies[seq].params["batch"] else 1
        db.close()
    return entries, records


def test_every_answer_has_one_entry_and_its_proof_holds(card: Path) -> None:
    ids = [row["id"] for row in predictions(card)][:8]

    async def work() -> None:
        async with table(card) as here:
            single = await here.score(ids[0])
            batch = await here.batch(ids)
            assert counted(card) == (2, 9)
            for decision in [single, *batch]:
                found = await here.service.find(decision.decision_id)
                assert found is not None
                shown, proof = found
                assert shown == decision
                entry = verify(proof)
                assert (entry.log, entry.seq) == (decision.receipt.log, decision.receipt.entry)
            await here.service.cosign()
            found = await here.service.find(single.decision_id)
            assert found is not None
            assert cosigned_by(found[1], card) == {"telecom", "payroll"}
            fresh = await here.score(ids[1])  # after the head that was cosigned
            found = await here.service.find(fresh.decision_id)
            assert found is not None
            assert verify(found[1]).seq == fresh.receipt.entry
            for none in (
                "",
                "000001",
                "000001-0",
                "000001-1",
                "000009-2",
                "000001-2-0",
                "000001-3",
                "000001-3-8",
                "x-y",
            ):
                assert await here.service.find(none) is None
            await failing_proofs(here.service, batch[3].decision_id)

    run(work())


async def failing_proofs(service: Service, decision_id: str) -> None:
    found = await service.find(decision_id)
    assert found is not None
    _, proof = found
    for name, value in {
        "record": proof.record.replace('"degraded":false', '"degraded":true'),
        "salt": "00" * 32,
        "place": proof.place + 1,
        "path": proof.path[:-1],
        "entry": proof.entry.replace('"batch":true', '"batch":false'),
        "inclusion": tuple(reversed(proof.inclusion)),
        "checkpoint": proof.checkpoint.replace("\n", "\n1", 1),
    }.items():
        assert value != getattr(proof, name)
        with pytest.raises((LedgerError, AssertionError)):
            verify(msgspec.structs.replace(proof, **{name: value}))


def test_a_key_gives_the_same_answer_and_one_entry(card: Path) -> None:
    ids = [row["id"] for row in predictions(card)][:4]

    async def work() -> None:
        async with table(card) as here:
            first = await here.score(ids[0], "k")
            assert await here.score(ids[0], "k") == first
            with pytest.raises(KeyReused):
                await here.score(ids[1], "k")
            with pytest.raises(KeyReused):
                await here.batch(ids, "k")
            batch = await here.batch([*ids, "nobody-at-all"], "b")
            assert await here.batch([*ids, "nobody-at-all"], "b") == batch
            one, two = await asyncio.gather(here.score(ids[2], "c"), here.score(ids[2], "c"), return_exceptions=True)
            assert isinstance(two, KeyInUse)
            assert await here.score(ids[2], "c") == one
            other = await here.service.score(Applicant(ids[0]), "others", "k")
            assert other.decision_id != first.decision_id
            assert counted(card)[0] == 4
        for path in (card / "bank" / "scoring").glob("keys.sqlite*"):
            path.unlink()
        async with table(card) as here:
            assert await here.score(ids[0], "k") == first
            assert await here.batch([*ids, "nobody-at-all"], "b") == batch

    run(work())


def test_a_key_stays_in_use_until_its_answer_is_on_record(card: Path) -> None:
    """Though who asked has gone: whoever comes again gets that answer, not a second one."""
    (row, *_) = predictions(card)

    async def work() -> None:
        async with table(card) as here:
            gone = asyncio.create_task(here.score(row["id"], "k"))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            gone.cancel()
            with pytest.raises(asyncio.CancelledError):
                await gone
            with pytest.raises(KeyInUse):
                await here.score(row["id"], "k")
            while True:
                try:
                    await here.score(row["id"], "k")
                    break
                except KeyInUse:
                    await asyncio.sleep(0.01)
            assert counted(card)[0] == 1

    run(work())


def test_the_order_of_features_makes_no_other_request(card: Path) -> None:
    (row, *_) = predictions(card)

    async def work() -> None:
        async with table(card) as here:
            first = await here.score(row["id"], "k", income=0.5, limit=None)
            assert await here.score(row["id"], "k", limit=None, income=0.5) == first

    run(work())


def test_requests_at_the_same_time_share_a_write(card: Path) -> None:
    ids = [row["id"] for row in predictions(card)]

    async def work() -> None:
        async with table(card) as here:
            writes: list[int] = []
            real = here.service._volumes.write
            here.service._volumes.write = lambda groups: (writes.append(len(groups)), real(groups))[1]
            found = await asyncio.gather(*map(here.score, ids))
            assert len({one.decision_id for one in found}) == len(ids) == sum(writes)
            assert len(writes) < len(ids) / 4

    run(work())


@pytest.mark.slow
def test_decisions_go_on_in_the_next_volume(card: Path) -> None:
    ids = [row["id"] for row in predictions(card)]

    async def work() -> None:
        async with table(card, policy(RecordRules(volume_entries=10, checkpoint_seconds=1))) as here:
            first = await here.score(ids[0])
            for each in ids[1:25]:
                last = await here.score(each)
            assert last.receipt.log.endswith("-000004")
            await here.service.cosign()
            for decision in (first, last):
                found = await here.service.find(decision.decision_id)
                assert found is not None
                assert verify(found[1]).seq == decision.receipt.entry
            part = await here.service.ledger(None, 0, 100)
            assert [log[-6:] for log in part.logs] == ["000001", "000002", "000003", "000004"]
            older = await here.service.ledger(part.logs[0], 0, 5)
            assert (older.log, older.start, len(older.entries)) == (part.logs[0], 0, 5)
            assert next(one for _, one in await here.service.recent(3)) == last
            with pytest.raises(UsageError, match="no such log"):
                await here.service.ledger("bank/other", 0, 5)
        assert counted(card)[0] == 25

    run(work())


def test_a_second_service_is_refused_a_seat(card: Path) -> None:
    folder = card / "bank" / "scoring"
    folder.mkdir()

    async def work() -> None:
        with alone(folder / "serve.lock", "taken"), pytest.raises(UsageError, match="another service scores with"):
            async with simulated(card, policy()):
                pass

    run(work())
