"""The tables of a ledger in SQLite, and the triggers that let nothing be changed or removed."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from functools import lru_cache

_SCHEMA = """
CREATE TABLE IF NOT EXISTS entry (
    seq INTEGER PRIMARY KEY, body BLOB NOT NULL, leaf BLOB NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS checkpoint (size INTEGER PRIMARY KEY, root BLOB NOT NULL, note TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS cosignature (
    id INTEGER PRIMARY KEY, size INTEGER NOT NULL REFERENCES checkpoint(size), line TEXT NOT NULL,
    UNIQUE (size, line)) STRICT;
CREATE TABLE IF NOT EXISTS peer_head (
    origin TEXT PRIMARY KEY, size INTEGER NOT NULL, root BLOB NOT NULL, note TEXT NOT NULL) STRICT;
CREATE TRIGGER IF NOT EXISTS entry_next BEFORE INSERT ON entry
    WHEN NEW.seq <> (SELECT coalesce(max(seq) + 1, 0) FROM entry)
    BEGIN SELECT raise(ABORT, 'entries must continue the log'); END;
CREATE TRIGGER IF NOT EXISTS peer_head_shrink BEFORE UPDATE ON peer_head
    WHEN NEW.size < OLD.size OR NEW.origin <> OLD.origin OR (NEW.size = OLD.size AND NEW.root <> OLD.root)
    BEGIN SELECT raise(ABORT, 'a head must not shrink or change'); END;
CREATE TRIGGER IF NOT EXISTS peer_head_delete BEFORE DELETE ON peer_head
    BEGIN SELECT raise(ABORT, 'heads must not be forgotten'); END;
"""
_APPEND_ONLY = """
CREATE TRIGGER IF NOT EXISTS {table}_{verb} BEFORE {verb} ON {table}
    BEGIN SELECT raise(ABORT, '{table} is append-only'); END;
"""
FORMAT = 2


def make_tables(db: sqlite3.Connection) -> None:
    """Make them, in one transaction."""
    triggers = [
        _APPEND_ONLY.format(table=table, verb=verb)
        for table in ("entry", "checkpoint", "cosignature")
        for verb in ("UPDATE", "DELETE")
    ]
    db.executescript(f"BEGIN IMMEDIATE;{_SCHEMA}{''.join(triggers)}PRAGMA user_version={FORMAT};COMMIT;")


def tables(db: sqlite3.Connection) -> list[tuple[str, str]]:
    """Tables, indices and triggers that are there: name and statement."""
    return db.execute("SELECT name, sql FROM sqlite_master ORDER BY name").fetchall()


@lru_cache
def tables_due() -> list[tuple[str, str]]:
    """Those that must be there."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as db:
        make_tables(db)
        return tables(db)
