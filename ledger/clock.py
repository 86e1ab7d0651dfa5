"""The clock as an argument: any object with these two readings will do."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime
from typing import Protocol

from ledger.errors import BadEntry

_STAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", re.ASCII)


class Clock(Protocol):
    """What the ledger asks of a clock."""

    def now(self) -> datetime:
        """The time of day, timezone-aware UTC."""
        ...

    def monotonic_ns(self) -> int:
        """Nanoseconds since some fixed moment; never decreases within one process."""
        ...


def format_time(moment: datetime) -> str:
    """Write `2026-01-31T23:59:59.000001Z`; raises BadEntry for a naive datetime."""
    if moment.tzinfo is None:
        raise BadEntry(f"the clock reads {moment.isoformat()} without a time zone; use aware UTC datetimes")
    utc = moment if moment.tzinfo is UTC else moment.astimezone(UTC)
    return utc.isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"


def parse_time(text: str) -> datetime:
    """Read exactly what `format_time` writes; raises BadEntry for any other form."""
    if not _STAMP.fullmatch(text):
        raise BadEntry(f"{text!r:.60} is not a time of the form 2026-01-31T23:59:59.000001Z")
    try:
        return datetime.fromisoformat(text)
    except ValueError as error:
        raise BadEntry(f"{text} is not a time: {error}") from None


class SystemClock:
    """The clock of this machine, for programs that stand alone."""

    def now(self) -> datetime:
        """The time of day in UTC."""
        return datetime.now(UTC)

    def monotonic_ns(self) -> int:
        """Nanoseconds since the machine started."""
        return time.monotonic_ns()
