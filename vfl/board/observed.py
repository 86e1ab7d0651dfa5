"""How a scoring service does, as sums over its decisions: kept in memory, without identifiers, lost on a restart.

A minute's cell holds counts and a histogram of latencies, a ten minutes' cell counts of points, bands and outcomes.
Times are those of the clock given, so that a test moves them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from vfl.clock import Clock
from vfl.learn.stability import SHIFTED, UNSTABLE, Stability, band, score_cuts, score_rows
from vfl.scoring.answers import Decision

Int64s = npt.NDArray[np.int64]
Reals = npt.NDArray[np.float64]

MINUTES = 60
"""Of volume and latency that are shown."""
STRETCH = 10
"""Minutes of a cell of the score distribution."""
STRETCHES = 24 * 60 // STRETCH
"""Cells of a day. As many again are kept, for the day that ended at the first of them."""
LEAST = 200
"""Decisions below which no stability index is given: of fewer, chance alone moves it by a twentieth."""
MOST_POINTS = 5_000
"""Points beyond this, either side, are counted at the bound: a histogram has an end."""
_EDGES = np.geomspace(0.05, 60_000.0, 113)  # ms: each an eighth above the one before


@dataclass
class _Minute:
    """Decisions of a minute. latencies: int64[len(_EDGES) + 1]."""

    count: int = 0
    degraded: int = 0
    latencies: Int64s = field(default_factory=lambda: np.zeros(len(_EDGES) + 1, np.int64))


@dataclass
class _Stretch:
    """Decisions of ten minutes, by points, band and outcome. rows: by bin of the reference, int64[bins]."""

    rows: Int64s
    points: Counter[int] = field(default_factory=Counter)
    bands: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)
    degraded: int = 0

    def add(self, other: _Stretch) -> None:
        """Count those of the other as well."""
        self.rows += other.rows
        self.points.update(other.points)
        self.bands.update(other.bands)
        self.outcomes.update(other.outcomes)
        self.degraded += other.degraded


@dataclass(frozen=True)
class _Past:
    """What no decision changes any more: the last day but its last stretch `now`, and the index of each day before."""

    now: int
    day: _Stretch
    steps: list[float | None]


class Observed:
    """Fed with each decision; `look` says what the charts show. One event loop at a time may use it."""

    def __init__(self, clock: Clock, reference: Sequence[float] = ()) -> None:
        """`reference`: points of the customers that the model was tested on; without them there is no stability."""
        self._clock = clock
        self._minutes: dict[int, _Minute] = {}
        self._stretches: dict[int, _Stretch] = {}
        self.refer_to(reference)

    def refer_to(self, reference: Sequence[float]) -> None:
        """Measure stability against other customers' points, of decisions from now on: another model decides."""
        self._base = np.asarray(reference, np.float64)
        self._cuts = score_cuts(self._base) if len(self._base) else np.empty(0)
        self._base_rows = score_rows(self._cuts, self._base)
        for stretch in self._stretches.values():
            stretch.rows = np.zeros_like(self._base_rows)
        self._past: _Past | None = None

    def add(self, decision: Decision, seconds: float) -> None:
        """Count a decision that took `seconds` from the request to the answer."""
        self.add_all((decision,), seconds)

    def add_all(self, decisions: Sequence[Decision], seconds: float) -> None:
        """Count those of a batch."""
        now = self._minute()
        minute = self._minutes.get(now) or self._begin(now)
        stretch = self._stretches[now // STRETCH]
        minute.count += len(decisions)
        minute.latencies[int(_EDGES.searchsorted(1000.0 * seconds))] += len(decisions)
        kinds = Counter((one.points, one.band, one.decision, one.degraded) for one in decisions)
        for (exact, letter, outcome, degraded), count in kinds.items():
            points = max(-MOST_POINTS, min(MOST_POINTS, exact))
            stretch.rows[int(self._cuts.searchsorted(points))] += count
            stretch.points[points] += count
            stretch.bands[letter] += count
            stretch.outcomes[outcome] += count
            stretch.degraded += count * degraded
            minute.degraded += count * degraded

    def look(self) -> dict[str, Any]:
        """What is known now, JSON-ready:

        minutes    of the last 60, oldest first: count, degraded, p50_ms, p99_ms (null without decisions)
        hour       of all of them together
        day        of the last 24 hours: count, degraded; points, bands, outcomes: counts by value
        reference  counts by points of the reference
        stability  psi and its word (null below 200 decisions), chance: what chance alone gives; steps: psi every ten
                   minutes over the 24 hours before
        """
        now = self._minute()
        cells = [self._minutes.get(minute) for minute in range(now - MINUTES + 1, now + 1)]
        past, day = self._before(now // STRETCH), self._empty()
        for part in (past.day, self._stretches.get(now // STRETCH)):
            if part:
                day.add(part)
        return {
            "at": self._clock.now().isoformat(timespec="seconds").replace("+00:00", "Z"),
            "minutes": [_told(cell or _Minute()) for cell in cells],
            "hour": _told(_sum([cell for cell in cells if cell])),
            "day": {
                "count": day.outcomes.total(), "degraded": day.degraded, "outcomes": dict(day.outcomes),
                "points": dict(sorted(day.points.items())), "bands": dict(sorted(day.bands.items())),
            },
            "reference": dict(sorted(Counter(np.rint(self._base).astype(int).tolist()).items())),
            "stability": self._stability(past, day),
        }  # fmt: skip

    def _minute(self) -> int:
        return int(self._clock.now().timestamp() // 60)

    def _begin(self, now: int) -> _Minute:
        """The cells of a new minute; those that are no longer shown go."""
        self._minutes = {at: cell for at, cell in self._minutes.items() if at > now - MINUTES}
        first = now // STRETCH - 2 * STRETCHES
        self._stretches = {at: cell for at, cell in self._stretches.items() if at > first}
        self._stretches.setdefault(now // STRETCH, self._empty())
        return self._minutes.setdefault(now, _Minute())

    def _empty(self) -> _Stretch:
        return _Stretch(np.zeros_like(self._base_rows))

    def _before(self, now: int) -> _Past:
        """Summed up once a stretch: a look must not keep decisions waiting."""
        if self._past is None or self._past.now != now:
            rows = np.zeros((2 * STRETCHES, len(self._base_rows)), np.int64)
            day = self._empty()
            for number in range(1, 2 * STRETCHES):
                if cell := self._stretches.get(now - 2 * STRETCHES + number):
                    rows[number] = cell.rows
                    if number > STRETCHES:
                        day.add(cell)
            upto = rows.cumsum(axis=0)
            days = upto[STRETCHES + 1 :] - upto[1:STRETCHES]
            self._past = _Past(now, day, [self._psi(day) for day in days] if len(self._base) else [])
        return self._past

    def _stability(self, past: _Past, day: _Stretch) -> dict[str, Any] | None:
        if not len(self._base):
            return None
        count, now = int(day.rows.sum()), self._psi(day.rows)
        chance = (len(day.rows) - 1) * (1 / count + 1 / len(self._base)) if count else None
        return {
            "psi": now, "band": None if now is None else band(now), "chance": chance, "steps": [*past.steps, now],
            "shifted": SHIFTED, "unstable": UNSTABLE, "least": LEAST,
        }  # fmt: skip

    def _psi(self, day: Int64s) -> float | None:
        return Stability("score", self._base_rows, day).psi if day.sum() >= LEAST else None


def _told(cell: _Minute) -> dict[str, Any]:
    return {
        "count": cell.count,
        "degraded": cell.degraded,
        "p50_ms": quantile(cell.latencies, 0.5),
        "p99_ms": quantile(cell.latencies, 0.99),
    }


def _sum(cells: Sequence[_Minute]) -> _Minute:
    total = _Minute()
    for cell in cells:
        total.count += cell.count
        total.degraded += cell.degraded
        total.latencies += cell.latencies
    return total


def quantile(latencies: Int64s, share: float) -> float | None:
    """The latency in ms that `share` of the answers did not exceed: the upper edge of its cell, at most 14 % too much.

    latencies: int64[len(_EDGES) + 1]. None without answers.
    """
    upto = np.cumsum(latencies)
    if not upto[-1]:
        return None
    place = int(np.searchsorted(upto, share * upto[-1], side="left"))
    return round(float(_EDGES[min(place, len(_EDGES) - 1)]), 3)
