"""The records of decisions beside a ledger, forgotten: the entries that commit to them stay, and still verify.

Needs nothing but SQLite, so that a purge need not know how decisions are made (`vfl.scoring.volumes`). What goes is
told by a number of entries: the records of those before it, whatever is added while a purge stands still.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple

from vfl.errors import UsageError

TABLES = ("record", "asked", "shadow")


class Records(NamedTuple):
    """How many decisions entries commit to whose records are there, and how many bytes those have."""

    decisions: int
    size: int


def append_only(table: str, verb: str) -> str:
    """The statement of the trigger that lets nothing of a table be changed or removed."""
    return (
        f"CREATE TRIGGER {table}_{verb} BEFORE {verb} ON {table}"
        f" BEGIN SELECT raise(ABORT, '{table} is append-only'); END"
    )


def below_which(path: Path, before: str | None = None) -> int:
    """The entry below which a volume has records that may go: all, or those made before a time; 0 if there are none.

    Raises UsageError if it is no volume.
    """
    with _reading(path) as db:
        spans = [db.execute(f"SELECT min(seq), max(seq) FROM {table}").fetchone() for table in TABLES]  # noqa: S608
        found = [span for span in spans if span[0] is not None]
        below = max((last for _, last in found), default=-1) + 1
        if before is not None:
            query = "SELECT min(seq) FROM entry WHERE json_extract(CAST(body AS TEXT), '$.ts') >= ?"
            (stays,) = db.execute(query, (before,)).fetchone()
            below = below if stays is None else min(below, stays)
        return below if any(first < below for first, _ in found) else 0


def measured(path: Path, below: int) -> Records:
    """The records of the first `below` entries. Raises UsageError if it is no volume."""
    with _reading(path) as db:
        sizes = [f"(SELECT coalesce(sum(length(body)), 0) FROM {table} WHERE seq < ?1)" for table in TABLES]  # noqa: S608
        (size,) = db.execute(f"SELECT {' + '.join(sizes)}", (below,)).fetchone()
        (count,) = db.execute(
            "SELECT coalesce(sum(json_extract(CAST(body AS TEXT), '$.params.count')), 0) FROM entry"
            " WHERE seq < ? AND seq IN (SELECT seq FROM record)",
            (below,),
        ).fetchone()
        return Records(count, size)


def contents(path: Path, below: int) -> Iterator[bytes]:
    """What `forget_records` removes, each value with its length before it. Raises UsageError."""
    with _reading(path) as db:
        for table in TABLES:
            for row in db.execute(f"SELECT * FROM {table} WHERE seq < ? ORDER BY 1, 2", (below,)):  # noqa: S608
                for value in row:
                    data = value if isinstance(value, bytes) else str(value).encode()
                    yield b"%d:%b" % (len(data), data)


def forget_records(path: Path, below: int) -> None:
    """Overwrite and remove the records of the first `below` entries, and leave no page that holds them.

    May be said again. Raises UsageError.
    """
    with _reading(path) as db:
        db.execute("PRAGMA secure_delete=ON")
        db.execute("BEGIN IMMEDIATE")
        for table in TABLES:
            db.execute(f"DROP TRIGGER {table}_DELETE")
            db.execute(f"DELETE FROM {table} WHERE seq < ?", (below,))  # noqa: S608 - one of three constants
            db.execute(append_only(table, "DELETE"))
        db.execute("COMMIT")
        for statement in ("PRAGMA wal_checkpoint(TRUNCATE)", "VACUUM", "PRAGMA wal_checkpoint(TRUNCATE)"):
            # First zeros reach the file, then what is left of it moves together.
            db.execute(statement)


@contextmanager
def _reading(path: Path) -> Iterator[sqlite3.Connection]:
    try:
        address = f"{path.absolute().as_uri()}?mode=rw"  # makes no new file where there is none
        with closing(sqlite3.connect(address, uri=True, isolation_level=None, timeout=2.0)) as db:
            yield db
    except sqlite3.Error as error:
        raise UsageError(
            f"{path} cannot be read as a volume of decisions: {error}",
            remedy="let nobody else write to it, and have as much space free as it takes; then say the same again",
        ) from None
