"""How often a client may ask: requests a minute by a bucket of tokens, decisions a day by a count.

A bucket holds what comes in in ten seconds, so that a burst passes and a flood does not. The counts of the day are kept
in a file every two seconds and at the end, so that a restart does not begin them anew. What a partner has capped is
counted elsewhere, on the ledger.

    {"day": "2026-03-01", "decisions": {"loan-desk": 17}}
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path

import msgspec

from vfl.api.problems import Problem, retry_after
from vfl.clock import Clock
from vfl.errors import UsageError
from vfl.party.keystore import write_secret

FILE = "api-usage.json"
_BURST = 10.0  # seconds
_MOST_BYTES = 10_000_000


class _Used(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    day: date
    decisions: dict[str, int]


@dataclass(slots=True)
class _Bucket:
    tokens: float
    since: int  # monotonic nanoseconds at which there were so many tokens


class Limits:
    """The accounts of all clients; there are as many as the operator has named."""

    def __init__(self, clock: Clock, path: Path | None = None) -> None:
        """`path`: of the file of the day's counts. Raises UsageError if there is one that cannot be read."""
        self._clock, self._path = clock, path
        self._buckets: dict[str, _Bucket] = {}
        used = _read(path) if path is not None and path.exists() else _Used(date.min, {})
        self._day, self._decisions = used.day, used.decisions
        self._changed = False

    def request(self, client: str, per_minute: int) -> None:
        """One more request. Raises Problem (429) with the time to wait."""
        now, rate = self._clock.monotonic_ns(), per_minute / 60
        most = max(1.0, rate * _BURST)
        bucket = self._buckets.get(client)
        if bucket is None:
            bucket = self._buckets[client] = _Bucket(most, now)
        bucket.tokens = min(most, bucket.tokens + (now - bucket.since) / 1e9 * rate)
        bucket.since = now
        if bucket.tokens < 1:
            wait = (1 - bucket.tokens) / rate
            raise Problem("too-many-requests", f"the limit is {per_minute} a minute", headers=[retry_after(wait)])
        bucket.tokens -= 1

    def decisions(self, client: str, per_day: int, count: int) -> None:
        """So many more decisions. Raises Problem (429) if they are more than the day (UTC) has left."""
        now = self._clock.now()
        if self._day != now.date():
            self._day, self._decisions = now.date(), {}
        before = self._decisions.get(client, 0)
        if before + count > per_day:
            left = max(0, per_day - before)
            wait = _until_tomorrow(now)
            words = f"{left} of {per_day} decisions are left until 00:00 UTC"
            raise Problem("quota-used-up", words, headers=[retry_after(wait)])
        self._decisions[client] = before + count
        self._changed = True

    def changed(self) -> bytes | None:
        """The counts of the day as they are to be kept, if they changed since this was last asked."""
        if not self._changed or self._path is None:
            return None
        self._changed = False
        return msgspec.json.encode(_Used(self._day, self._decisions))

    def keep(self, counts: bytes) -> None:
        """Write what `changed` gave. Raises UsageError if it cannot be written."""
        if self._path is not None:
            try:
                write_secret(self._path, counts)
            except UsageError:
                self._changed = True
                raise


def _read(path: Path) -> _Used:
    try:
        with path.open("rb") as file:
            return msgspec.json.decode(file.read(_MOST_BYTES), type=_Used)
    except (OSError, msgspec.DecodeError, ValueError):
        raise UsageError(
            f"the counts of the day in {path} cannot be read", remedy="remove the file: they begin anew then"
        ) from None


def _until_tomorrow(now: datetime) -> float:
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
    return (midnight - now).total_seconds()
