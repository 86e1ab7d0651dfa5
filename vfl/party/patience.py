"""How long a passive party waits for an active one that does not come back.

An active party that still waits dials at least once a minute. So a run is given up when its last word is older than the
party's patience, and the service has listened for two minutes since without hearing of it: neither its own absence nor
a clock that jumps counts against the peer.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from vfl.clock import Clock
from vfl.party.runs import OFFERED, RUNNING, WAITING, Status

LISTENED = 120.0  # seconds


class Patience:
    """Of one service. `seconds`: how long a run may stand still."""

    def __init__(self, seconds: float, clock: Clock) -> None:
        self.seconds = seconds
        self._clock = clock
        self._since = self._ran()
        self._heard: dict[str, float] = {}

    def heard(self, run: str) -> None:
        """Its active party called because of this run."""
        self._heard[run] = self._ran()

    def over(self, status: Status) -> bool:
        """Whether a run that has no attempt under way is to be given up."""
        if status.state not in (OFFERED, RUNNING, WAITING):  # RUNNING: the service was killed, and started again
            return False
        if not status.changed:
            return False
        listened = self._ran() - max(self._since, self._heard.get(status.run, 0.0))
        age = self._clock.now() - datetime.fromisoformat(status.changed)
        return listened > min(LISTENED, self.seconds) and age > timedelta(seconds=self.seconds)

    def _ran(self) -> float:
        return self._clock.monotonic_ns() / 1e9
