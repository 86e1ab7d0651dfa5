"""Where the time of a run goes: wall and CPU seconds by phase, for one party."""

from __future__ import annotations

import time
from dataclasses import dataclass, field


@dataclass
class Stopwatch:
    """Counts while it runs, into the phase it was last switched to. CPU time is that of the calling thread."""

    wall: dict[str, float] = field(default_factory=dict)
    cpu: dict[str, float] = field(default_factory=dict)
    _phase: str = "start"
    _since: tuple[float, float] | None = None

    def start(self) -> None:
        self._since = (time.perf_counter(), time.thread_time())

    def stop(self) -> None:
        if self._since is not None:
            wall, cpu = self._since
            self.wall[self._phase] = self.wall.get(self._phase, 0.0) + time.perf_counter() - wall
            self.cpu[self._phase] = self.cpu.get(self._phase, 0.0) + time.thread_time() - cpu
            self._since = None

    def switch(self, phase: str) -> None:
        """Count into `phase` from now on."""
        running = self._since is not None
        self.stop()
        self._phase = phase
        if running:
            self.start()
