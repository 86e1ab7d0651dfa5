"""What every store promises, asked of each: in memory, in SQLite and in PostgreSQL."""

import sqlite3

import pytest
from postgres_kit import data_folder, start

from ledger import MemoryStore, SQLiteStore, StoreError
from ledger.store import Head, PeerAdvance, Row


def row(seq: int) -> Row:
    return Row(seq, b"body %d" % seq, bytes([seq]) * 32)


def head(size: int, mark: int = 1) -> Head:
    return Head(size, bytes([mark]) * 32, f"note {size} {mark}\n")


@pytest.fixture(scope="session")
def server():
    """An embedded PostgreSQL with a role that may only log in."""
    with data_folder() as folder:
        running = start(folder)
        import psycopg

        from ledger.postgres import setup

        with psycopg.connect(running.get_uri()) as db:
            db.execute("CREATE ROLE writer LOGIN")
        setup(running.get_uri(), "writer")
        yield running.get_uri()
        running.cleanup()


@pytest.fixture
def postgres(server, request):
    """(address of the writer, name of a fresh log)."""
    return server.replace("postgres:@", "writer@"), f"bank/{request.node.nodeid}"


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def opened(request, tmp_path):
    """A function that opens the same store again, and the first store it opened."""
    stores = []

    def again():
        if request.param == "memory":
            store = stores[0] if stores else MemoryStore()
        elif request.param == "sqlite":
            store = SQLiteStore(tmp_path / "log.db")
        else:
            place = request.getfixturevalue("postgres")
            from ledger.postgres import PostgresStore

            store = PostgresStore(*place)
        stores.append(store)
        return store

    yield again
    for store in stores:
        store.close()


def test_what_was_written_is_read_again(opened):
    store = opened()
    advance = PeerAdvance("peer", None, head(3))
    assert store.write([row(0), row(1)], head(2), [(2, "b"), (2, "a"), (2, "b")], [advance])
    store = opened()
    assert list(store.rows()) == [row(0), row(1)]
    assert list(store.rows(1)) == [row(1)]
    assert store.row(1) == row(1)
    assert store.checkpoints() == [head(2)]
    assert store.cosignatures(2) == ["b", "a"]
    assert store.peer_head("peer") == head(3)
    with pytest.raises(StoreError, match="no entry 2"):
        store.row(2)


@pytest.mark.parametrize(
    "bad",
    [
        {"rows": [row(1), row(1)]},
        {"rows": [row(0)]},
        {"rows": [row(1), row(3)]},
        {"rows": [row(1)], "checkpoint": head(1, 2)},
        {"rows": [row(1)], "cosignatures": [(9, "line")]},
    ],
    ids=["duplicate", "rewritten", "gap", "second checkpoint of a size", "cosignature of nothing"],
)
def test_a_refused_write_leaves_nothing(opened, bad):
    store = opened()
    store.write([row(0)], head(1))
    with pytest.raises(StoreError):
        store.write(**bad)
    assert list(store.rows()) == [row(0)]
    assert store.checkpoints() == [head(1)]
    assert store.write([row(1)])


def test_another_head_than_expected_keeps_nothing(opened):
    store = opened()
    assert store.write(peers=[PeerAdvance("peer", None, head(3))])
    assert not store.write([row(0)], peers=[PeerAdvance("peer", None, head(4))])
    assert list(store.rows()) == []
    assert store.peer_head("peer") == head(3)


def test_the_second_of_two_writers_is_refused(opened):
    first, second = opened(), opened()
    first.write([row(0)])
    with pytest.raises(StoreError) as refused:
        second.write([row(0)])
    if not isinstance(first, MemoryStore):
        assert "only one" in refused.value.remedy


@pytest.mark.parametrize("table", ["entry", "checkpoint", "cosignature", "peer_head"])
def test_sql_cannot_take_anything_back(tmp_path, postgres, table):
    import psycopg

    from ledger.postgres import PostgresStore

    lite, post = SQLiteStore(tmp_path / "log.db"), PostgresStore(*postgres)
    for store in (lite, post):
        store.write([row(0)], head(1), [(1, "line")], [PeerAdvance("peer", None, head(3))])
        store.close()
    column = {"entry": "seq", "peer_head": "size"}.get(table, "size")
    for statement in (f"UPDATE {table} SET {column} = 0 - 1", f"DELETE FROM {table}"):
        raw = sqlite3.connect(tmp_path / "log.db")
        with pytest.raises(sqlite3.IntegrityError):
            raw.execute(statement)
        raw.close()
        with psycopg.connect(postgres[0]) as db, pytest.raises(psycopg.Error):
            db.execute(statement.replace(table, f"tallystick.{table}"))
    with psycopg.connect(postgres[0]) as db, pytest.raises(psycopg.errors.InsufficientPrivilege):
        db.execute(f"ALTER TABLE tallystick.{table} DISABLE TRIGGER ALL")


def test_one_connection_holds_the_pen(postgres):
    from ledger.postgres import PostgresStore

    first, second = PostgresStore(*postgres), PostgresStore(*postgres)
    first.write([row(0)])
    with pytest.raises(StoreError, match="lock is held"):
        second.write([row(1)])
    first.close()
    assert second.write([row(1)])
    second.close()


def test_a_lost_connection_keeps_nothing_and_frees_the_log(server, postgres):
    import psycopg

    from ledger.postgres import PostgresStore

    store = PostgresStore(*postgres)
    store.write([row(0)])

    def rows():
        yield row(1)
        with psycopg.connect(server) as db:
            db.execute("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = 'writer'")
        yield row(2)

    with pytest.raises(StoreError) as lost:
        store.write(rows())
    assert "open the log again" in lost.value.remedy
    again = PostgresStore(*postgres)
    assert list(again.rows()) == [row(0)]
    assert again.write([row(1)])
    again.close()


def test_a_temporary_table_does_not_open_a_gap(postgres):
    import psycopg

    with psycopg.connect(postgres[0]) as db:
        db.execute("CREATE TEMP TABLE entry (log text, seq bigint)")
        db.execute("INSERT INTO pg_temp.entry VALUES ('a', 6)")
        with pytest.raises(psycopg.errors.RaiseException, match="continue"):
            db.execute("INSERT INTO tallystick.entry VALUES ('a', 7, 'x', 'x')")


def test_logs_in_one_schema_do_not_meet(postgres):
    from ledger.postgres import PostgresStore

    url, name = postgres
    one, two = PostgresStore(url, name), PostgresStore(url, name + "/other")
    one.write([row(0), row(1)], head(2), [(2, "line")], [PeerAdvance("peer", None, head(3))])
    assert (list(two.rows()), two.checkpoints(), two.cosignatures(2), two.peer_head("peer")) == ([], [], [], None)
    assert two.write([row(0)], head(1), [], [PeerAdvance("peer", None, head(4, 2))])
    assert list(one.rows()) == [row(0), row(1)]
    for store in (one, two):
        store.close()


def test_setup_twice_and_without_setup_say_what_to_do(server, postgres):
    from ledger.postgres import PostgresStore, main, setup

    with pytest.raises(StoreError) as twice:
        setup(server, "writer")
    assert "nothing is to be done" in twice.value.remedy
    with pytest.raises(StoreError) as missing:
        PostgresStore(*postgres, schema="nowhere")
    assert "python -m ledger.postgres" in missing.value.remedy
    assert main([server, "--writer", "writer"]) == 2
    assert main([server, "--writer", "writer", "--schema", "second"]) == 0


@pytest.mark.parametrize("pages", [0, 1, 5, 20])
def test_a_full_disk_leaves_nothing_half(tmp_path, pages):
    store = SQLiteStore(tmp_path / "log.db")
    (used,) = store._db.execute("PRAGMA page_count").fetchone()
    store._db.execute(f"PRAGMA max_page_count = {used + pages}")
    large = [Row(n, b"x" * 3000, bytes(32)) for n in range(60)]
    with pytest.raises(StoreError) as full:
        store.write(large, head(60), [(60, "line")])
    assert "Free disk space" in full.value.remedy
    assert list(store.rows()) == []
    assert store.checkpoints() == []
    store._db.execute("PRAGMA max_page_count = 100000")
    assert store.write(large, head(60), [(60, "line")])
    assert len(list(store.rows())) == 60
    store.close()


def test_an_address_with_a_password_is_refused():
    pytest.importorskip("psycopg", reason="needs pip install 'tallystick[postgres]'")
    from ledger.postgres import PostgresStore

    with pytest.raises(StoreError) as refused:
        PostgresStore("postgresql://writer:hunter2@localhost/db", "bank")
    assert "hunter2" not in str(refused.value)
    assert "PGPASSFILE" in refused.value.remedy
