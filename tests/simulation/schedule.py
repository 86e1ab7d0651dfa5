"""Virtual time: events in a heap, run in order, with nothing between them."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable


class Schedule:
    """What happens when. Two events at one time happen in the order in which they were planned."""

    def __init__(self, chance: random.Random) -> None:
        self.now = 0.0  # seconds
        self.chance = chance
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._planned = 0

    def after(self, seconds: float, event: Callable[[], None]) -> None:
        """Plan an event."""
        self._planned += 1
        heapq.heappush(self._events, (self.now + seconds, self._planned, event))

    def step(self) -> bool:
        """Let the next event happen; False when none is planned."""
        if not self._events:
            return False
        self.now, _, event = heapq.heappop(self._events)
        event()
        return True
