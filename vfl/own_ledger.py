"""A party's own ledger: where it is kept, and what is its keeper's to mend."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ledger.errors import LedgerError
from ledger.store import SQLiteStore, Store
from vfl.errors import UsageError


@contextmanager
def own_ledger() -> Iterator[None]:
    """What a party's own ledger refuses is for its keeper to mend."""
    try:
        yield
    except LedgerError as error:
        raise refusal(error) from error


def refusal(error: LedgerError) -> UsageError:
    """What the keeper is told."""
    remedy = error.remedy or "see whether the disk is full, or the file damaged"
    return UsageError(f"the ledger refuses: {error}", remedy=remedy)


def open_store(place: Path | str, log: str) -> Store:
    """The ledger file at a path, new or old, or the log called `log` in the PostgreSQL database at an address.

    Raises UsageError if it cannot be opened or is none.
    """
    with own_ledger():
        if isinstance(place, Path):
            return SQLiteStore(place)
        try:
            from ledger.postgres import PostgresStore  # noqa: PLC0415  # an extra
        except ImportError as error:
            raise UsageError(str(error), remedy="Or leave `ledger` out of the party's table.") from error
        return PostgresStore(place, log)
