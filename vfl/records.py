"""The records of decisions beside a ledger, forgotten: the entries that commit to them stay, and still verify.

Needs nothing but SQLite, so that a purge need not know how decisions are made (`vfl.scoring.volumes`).
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from vfl.errors import UsageError

TABLES = ("record", "asked", "shadow")


def append_only(table: str, verb: str) -> str:
    """The statement of the trigger that lets nothing of a table be changed or removed."""
    return (
        f"CREATE TRIGGER {table}_{verb} BEFORE {verb} ON {table}"
        f" BEGIN SELECT raise(ABORT, '{table} is append-only'); END"
    )


def has_records(path: Path) -> bool:
    """Whether a volume still has some. Raises UsageError if it is none."""
    with _open(path) as db:
        return any(_count(db, table) for table in TABLES)


def forget_records(path: Path) -> None:
    """Overwrite and remove them all, and leave no page that holds them."""
    with _open(path) as db:
        db.execute("PRAGMA secure_delete=ON")
        db.execute("BEGIN IMMEDIATE")
        for table in TABLES:
            db.execute(f"DROP TRIGGER {table}_DELETE")
            db.execute(f"DELETE FROM {table}")  # noqa: S608 - one of three constants
            db.execute(append_only(table, "DELETE"))
        db.execute("COMMIT")
        db.execute("VACUUM")
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _open(path: Path) -> closing[sqlite3.Connection]:
    try:
        return closing(sqlite3.connect(path, isolation_level=None, timeout=2.0))
    except sqlite3.Error as error:
        raise UsageError(f"{path} cannot be opened: {error}") from None


def _count(db: sqlite3.Connection, table: str) -> int:
    try:
        (count,) = db.execute(f"SELECT count(*) FROM {table}").fetchone()  # noqa: S608 - one of three constants
    except sqlite3.Error as error:
        raise UsageError(f"a volume of decisions cannot be read: {error}") from None
    return int(count)
