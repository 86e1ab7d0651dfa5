"""Logs in PostgreSQL: one schema, written by a role that may add and may not change.

    python -m ledger.postgres postgresql://owner@host/db --writer bank_writer   # once: schema, triggers, grants
    store = PostgresStore("postgresql://bank_writer@host/db", "bank/run-7")   # each run, as the writer

The owner and the writer are two roles, so the writer can neither switch off a trigger nor be granted more by itself.
Passwords come from PGPASSFILE or PGPASSWORD, never from the address. Needs the extra `postgres`.
"""

from __future__ import annotations

import argparse
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

try:
    import psycopg
    from psycopg import conninfo, sql
except ImportError as missing:  # pragma: no cover
    raise ImportError("a log in PostgreSQL needs psycopg: pip install 'tallystick[postgres]'") from missing

from ledger.errors import StoreError
from ledger.store import Head, PeerAdvance, Row

SCHEMA = "tallystick"
_SETUP = """
CREATE SCHEMA {schema};
SET LOCAL search_path = {schema};
CREATE TABLE entry (log text, seq bigint, body bytea NOT NULL, leaf bytea NOT NULL, PRIMARY KEY (log, seq));
CREATE TABLE checkpoint (log text, size bigint, root bytea NOT NULL, note text NOT NULL, PRIMARY KEY (log, size));
CREATE TABLE cosignature (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, log text NOT NULL, size bigint NOT NULL, line text NOT NULL,
    UNIQUE (log, size, line), FOREIGN KEY (log, size) REFERENCES checkpoint);
CREATE TABLE peer_head (
    log text, origin text, size bigint NOT NULL, root bytea NOT NULL, note text NOT NULL, PRIMARY KEY (log, origin));
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION '% is append-only', TG_TABLE_NAME; END $$;
CREATE FUNCTION entry_next() RETURNS trigger LANGUAGE plpgsql SET search_path = {schema}, pg_temp AS $$ BEGIN
    IF NEW.seq <> (SELECT coalesce(max(seq) + 1, 0) FROM entry WHERE log = NEW.log) THEN
        RAISE EXCEPTION 'entries must continue the log'; END IF;
    RETURN NEW; END $$;
CREATE FUNCTION head_grows() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF NEW.size < OLD.size OR (NEW.log, NEW.origin) <> (OLD.log, OLD.origin)
        OR (NEW.size = OLD.size AND NEW.root <> OLD.root) THEN
        RAISE EXCEPTION 'a head must not shrink or change'; END IF;
    RETURN NEW; END $$;
CREATE TRIGGER entry_next BEFORE INSERT ON entry FOR EACH ROW EXECUTE FUNCTION entry_next();
CREATE TRIGGER fixed BEFORE UPDATE OR DELETE OR TRUNCATE ON entry EXECUTE FUNCTION refuse();
CREATE TRIGGER fixed BEFORE UPDATE OR DELETE OR TRUNCATE ON checkpoint EXECUTE FUNCTION refuse();
CREATE TRIGGER fixed BEFORE UPDATE OR DELETE OR TRUNCATE ON cosignature EXECUTE FUNCTION refuse();
CREATE TRIGGER kept BEFORE DELETE OR TRUNCATE ON peer_head EXECUTE FUNCTION refuse();
CREATE TRIGGER grows BEFORE UPDATE ON peer_head FOR EACH ROW EXECUTE FUNCTION head_grows();
GRANT USAGE ON SCHEMA {schema} TO {writer};
GRANT SELECT, INSERT ON ALL TABLES IN SCHEMA {schema} TO {writer};
GRANT UPDATE (size, root, note) ON peer_head TO {writer};
"""


def setup(url: str, writer: str, schema: str = SCHEMA) -> None:
    """Create the schema for all logs, as its owner, for an existing role `writer`; raises StoreError when refused."""
    with _speaking("set up", schema), psycopg.connect(without_password(url)) as db:
        db.execute(sql.SQL(_SETUP).format(schema=sql.Identifier(schema), writer=sql.Identifier(writer)))


class PostgresStore:
    """The log called `log`. The first write takes its advisory lock, which ends with the connection."""

    def __init__(self, url: str, log: str, schema: str = SCHEMA) -> None:
        self._log = log
        self._lock = threading.RLock()
        self._writing = False
        with _speaking("open", log):
            self._db = psycopg.connect(without_password(url), autocommit=True)
            try:
                self._db.execute("SET synchronous_commit = on")
                self._db.execute(sql.SQL("SET search_path = {}").format(sql.Identifier(schema)))
                self._db.execute("SELECT 1 FROM entry LIMIT 1")
            except BaseException:
                self._db.close()
                raise

    def write(
        self,
        rows: Sequence[Row] = (),
        checkpoint: Head | None = None,
        cosignatures: Sequence[tuple[int, str]] = (),
        peers: Sequence[PeerAdvance] = (),
    ) -> bool:
        """One transaction, durable when this returns; heads are compared and set under the log's lock."""
        with self._lock, _speaking("write to", self._log):
            self._become_writer()
            with self._db.transaction():
                if any(self.peer_head(peer.origin) != peer.expected for peer in peers):
                    return False
                self._insert(rows, checkpoint, cosignatures, peers)
            return True

    def _become_writer(self) -> None:
        if self._writing:
            return
        query = "SELECT pg_try_advisory_lock(hashtextextended(%s, 0))"
        found = self._db.execute(query, (f"tallystick/{self._log}",)).fetchone()
        if found is None or not found[0]:
            remedy = "Another process writes to this log; let only one do so."
            raise StoreError(f"could not write to log {self._log}: its lock is held", remedy=remedy)
        self._writing = True

    def _insert(
        self,
        rows: Sequence[Row],
        checkpoint: Head | None,
        cosignatures: Sequence[tuple[int, str]],
        peers: Sequence[PeerAdvance],
    ) -> None:
        with self._db.cursor() as cursor:
            log = self._log
            cursor.executemany("INSERT INTO entry VALUES (%s, %s, %s, %s)", [(log, *row) for row in rows])
            if checkpoint is not None:
                cursor.execute("INSERT INTO checkpoint VALUES (%s, %s, %s, %s)", (log, *checkpoint))
            query = (
                "INSERT INTO cosignature (log, size, line) VALUES (%s, %s, %s) ON CONFLICT (log, size, line) DO NOTHING"
            )
            cursor.executemany(query, [(log, size, line) for size, line in cosignatures])
            query = (
                "INSERT INTO peer_head VALUES (%s, %s, %s, %s, %s) ON CONFLICT (log, origin) DO UPDATE "
                "SET size = excluded.size, root = excluded.root, note = excluded.note"
            )
            cursor.executemany(query, [(log, peer.origin, *peer.head) for peer in peers])

    def rows(self, start: int = 0) -> Iterator[Row]:
        """Entries from `start` on, read in slices so that a long log needs little memory."""
        while True:
            query = "SELECT seq, body, leaf FROM entry WHERE log = %s AND seq >= %s ORDER BY seq LIMIT 1000"
            part = self._read(query, start)
            yield from map(Row._make, part)
            if len(part) < 1000:
                return
            start = part[-1][0] + 1

    def row(self, seq: int) -> Row:
        """One entry; raises StoreError when it is not there."""
        found = self._read("SELECT seq, body, leaf FROM entry WHERE log = %s AND seq = %s", seq)
        if not found:
            raise StoreError(f"log {self._log} holds no entry {seq}")
        return Row._make(found[0])

    def checkpoints(self) -> list[Head]:
        """All own checkpoints by size."""
        query = "SELECT size, root, note FROM checkpoint WHERE log = %s ORDER BY size"
        return [Head._make(row) for row in self._read(query)]

    def cosignatures(self, size: int) -> list[str]:
        """Lines for one checkpoint in order of arrival."""
        query = "SELECT line FROM cosignature WHERE log = %s AND size = %s ORDER BY id"
        return [line for (line,) in self._read(query, size)]

    def peer_head(self, origin: str) -> Head | None:
        """The newest head cosigned for `origin`."""
        found = self._read("SELECT size, root, note FROM peer_head WHERE log = %s AND origin = %s", origin)
        return Head._make(found[0]) if found else None

    def _read(self, query: str, *values: int | str) -> list[tuple[Any, ...]]:
        with self._lock, _speaking("read", self._log):
            return self._db.execute(query, (self._log, *values)).fetchall()

    def close(self) -> None:
        """Give the log's lock back and close the connection; a second call does nothing."""
        if not self._db.closed:
            with suppress(psycopg.Error):  # the server gives it back by itself, if a little later
                self._db.execute("SELECT pg_advisory_unlock_all()")
            self._db.close()


def without_password(url: str) -> str:
    """The address, if it holds no password; else StoreError, which does not repeat it."""
    if "password" in conninfo.conninfo_to_dict(url):
        remedy = "Leave it out and set PGPASSFILE or PGPASSWORD."
        raise StoreError("the address of the store holds a password", remedy=remedy)
    return url


@contextmanager
def _speaking(verb: str, log: str) -> Iterator[None]:
    try:
        yield
    except psycopg.Error as error:
        text = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise StoreError(f"could not {verb} log {log}: {text}", remedy=_remedy(error, text)) from error


def _remedy(error: psycopg.Error, text: str) -> str:
    if isinstance(error, psycopg.errors.DiskFull):
        return "Free disk space and commit again; nothing of this batch was kept."
    if isinstance(error, psycopg.errors.DuplicateSchema):
        return "The schema is there already: nothing is to be done."
    if isinstance(error, psycopg.errors.UniqueViolation) or "continue" in text:
        return "Another process writes to this log; let only one do so."
    if isinstance(error, psycopg.errors.UndefinedTable):
        return "Create the schema once, as its owner: python -m ledger.postgres URL --writer ROLE"
    if isinstance(error, psycopg.OperationalError):
        return "Check that the server runs, then open the log again; it shows whether the last batch was kept."
    return ""


def main(arguments: list[str] | None = None) -> int:
    """Set up the schema; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m ledger.postgres",
        description="Create the schema for ledgers, once, as the owner of the database; the writing role must exist.",
    )
    parser.add_argument("url", metavar="URL", help="postgresql://OWNER@HOST/DATABASE; the password in PGPASSFILE")
    parser.add_argument("--writer", metavar="ROLE", required=True, help="the role that runs will write as")
    parser.add_argument("--schema", metavar="NAME", default=SCHEMA, help="[default: %(default)s]")
    given = parser.parse_args(arguments)
    try:
        setup(given.url, given.writer, given.schema)
    except StoreError as error:
        print(error.diagnostics(), file=sys.stderr)
        return 2
    print(f"schema {given.schema} is ready; {given.writer} may add to it and may not change it")
    return 0


if __name__ == "__main__":
    sys.exit(main())
