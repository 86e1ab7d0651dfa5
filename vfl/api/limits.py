"""How often a client may ask: requests a minute by a bucket of tokens, decisions a day by a count.

A bucket holds what comes in in ten seconds, so that a burst passes and a flood does not. Counts are of this process:
they begin anew when it does. What a partner's owner has capped is counted elsewhere, on the ledger.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from vfl.api.problems import Problem, retry_after
from vfl.clock import Clock

_BURST = 10.0  # seconds
_MOST_CLIENTS = 10_000


@dataclass(slots=True)
class _Account:
    tokens: float
    since: int  # monotonic nanoseconds at which there were so many tokens
    day: int = 0
    decisions: int = 0


class Limits:
    """The accounts of all clients."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._accounts: dict[str, _Account] = {}

    def request(self, client: str, per_minute: int) -> None:
        """One more request. Raises Problem (429) with the time to wait."""
        now, rate = self._clock.monotonic_ns(), per_minute / 60
        most = max(1.0, rate * _BURST)
        account = self._account(client, most, now)
        account.tokens = min(most, account.tokens + (now - account.since) / 1e9 * rate)
        account.since = now
        if account.tokens < 1:
            wait = (1 - account.tokens) / rate
            raise Problem("too-many-requests", f"the limit is {per_minute} a minute", headers=[retry_after(wait)])
        account.tokens -= 1

    def decisions(self, client: str, per_day: int, count: int) -> None:
        """So many more decisions. Raises Problem (429) if they are more than the day (UTC) has left."""
        now = self._clock.now()
        account = self._account(client, 0.0, self._clock.monotonic_ns())
        if account.day != now.toordinal():
            account.day, account.decisions = now.toordinal(), 0
        if account.decisions + count > per_day:
            left = per_day - account.decisions
            raise Problem(
                "quota-used-up",
                f"{left} of {per_day} decisions are left until 00:00 UTC",
                headers=[retry_after(_until_tomorrow(now))],
            )
        account.decisions += count

    def _account(self, client: str, most: float, now: int) -> _Account:
        found = self._accounts.get(client)
        if found is None:
            if len(self._accounts) >= _MOST_CLIENTS:  # clients are named by the operator: this is never reached in use
                del self._accounts[next(iter(self._accounts))]
            found = self._accounts[client] = _Account(most, now)
        return found


def _until_tomorrow(now: datetime) -> float:
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
    return (midnight - now).total_seconds()
