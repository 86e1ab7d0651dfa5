"""The clock as an argument. Time is never used for ordering; it is only shown and written down."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Two readings: the wall clock, and seconds that never run backwards."""

    def now(self) -> datetime:
        """The time of day, timezone-aware UTC."""
        ...

    def monotonic_ns(self) -> int:
        """Nanoseconds since some fixed moment; never decreases."""
        ...

    def cpu_seconds(self) -> float:
        """CPU seconds this process has used."""
        ...


class SystemClock:
    """The machine's clocks."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic_ns(self) -> int:
        return time.monotonic_ns()

    def cpu_seconds(self) -> float:
        return time.process_time()


class FixedClock:
    """A clock that advances one microsecond per reading from a given start: for tests and golden files."""

    def __init__(self, start: datetime) -> None:
        self._start = start
        self._ticks = 0

    def now(self) -> datetime:
        self._ticks += 1
        return datetime.fromtimestamp(self._start.timestamp() + self._ticks / 1e6, UTC)

    def monotonic_ns(self) -> int:
        self._ticks += 1
        return self._ticks * 1000

    def cpu_seconds(self) -> float:
        return self._ticks / 1e6
