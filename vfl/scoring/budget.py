"""How many answers a partner gives a day and in all, kept by the partner itself.

Answers are reserved in blocks: a block stands in this file, and in the session's ledger, before any of it is given. So
an answer costs no write to the disk, and what a crash leaves of a block counts as given.

    {"day": "2026-01-31", "reserved": 3000, "total": 41000}        in SEAT/scoring/budget.json
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from datetime import UTC, date
from pathlib import Path

from vfl.clock import Clock
from vfl.errors import UsageError
from vfl.files import write_whole

BLOCK = 1000
"""Answers reserved at a time at most; of a small budget a hundredth, for a crash loses what was left of a block."""
FILE = "budget.json"
Reserved = Callable[[str, int, int], None]
"""Told the day, how many answers are reserved of it so far, and how many in all."""


class Budget:
    """The count of one partner for one run. `per_day`, `in_all`: None where there is no bound."""

    def __init__(self, folder: Path, per_day: int | None, in_all: int | None, clock: Clock) -> None:
        """Raises UsageError if the file is damaged: then nobody knows what was given."""
        self.per_day, self.in_all = per_day, in_all
        self._path, self._clock, self._lock = folder / FILE, clock, threading.Lock()
        least = min((most for most in (per_day, in_all) if most is not None), default=100 * BLOCK)
        self._block = max(1, min(BLOCK, least // 100))
        self._day, self._reserved, self._total = "", 0, 0
        if self._path.exists():
            self._read()
        self._ahead = 0  # reserved and not yet given

    def _read(self) -> None:
        try:
            body = json.loads(self._path.read_bytes())
            if (
                body.keys() != {"day", "reserved", "total"}
                or date.fromisoformat(body["day"]).isoformat() != body["day"]
            ):
                raise ValueError("it has no day, or other keys")
            counts = body["reserved"], body["total"]
            if any(type(count) is not int for count in counts) or not 0 <= counts[0] <= counts[1]:
                raise ValueError("what it counts cannot be")
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise UsageError(
                f"{self._path} is damaged: {error!r}",
                remedy="the newest `budget` entries of the ledgers of sessions beside it say what stood there",
            ) from None
        self._day, (self._reserved, self._total) = body["day"], counts

    def left(self) -> int | None:
        """How many answers today's budget leaves; None without a bound."""
        with self._lock:
            self._turn()
            return self._left()

    def take(self, count: int, reserved: Reserved) -> bool:
        """Count so many answers, or none if the budget leaves fewer. `reserved` is told before it is true."""
        with self._lock:
            self._turn()
            left = self._left()
            if left is not None and left < count:
                return False
            if self._ahead < count:
                more = max(self._block, count - self._ahead)
                more = more if left is None else min(more, left - self._ahead)
                reserved(self._day, self._reserved + more, self._total + more)
                self._keep(self._reserved + more, self._total + more)
                self._ahead += more
            self._ahead -= count
            return True

    def close(self) -> None:
        """Give back what is reserved and was not given."""
        with self._lock:
            if self._ahead:
                self._keep(self._reserved - self._ahead, self._total - self._ahead)
                self._ahead = 0

    def _keep(self, reserved: int, total: int) -> None:
        write_whole(self._path, {"day": self._day, "reserved": reserved, "total": total})
        self._reserved, self._total = reserved, total

    def _left(self) -> int | None:
        given = self._reserved - self._ahead, self._total - self._ahead
        bounds = [
            most - have for most, have in zip((self.per_day, self.in_all), given, strict=True) if most is not None
        ]
        return max(0, min(bounds)) if bounds else None

    def _turn(self) -> None:
        """A new day: what is reserved and not given is given back."""
        today = self._clock.now().astimezone(UTC).date().isoformat()
        if today > self._day:
            self._total -= self._ahead if self._day else 0
            self._day, self._reserved, self._ahead = today, 0, 0
