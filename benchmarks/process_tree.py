"""Memory and CPU time of a process and of all that it started, from Linux's /proc."""

from __future__ import annotations

import os
import threading
from pathlib import Path

INTERVAL = 0.5
_TICKS = os.sysconf("SC_CLK_TCK")


class Watch:
    """Looks at this process and its descendants twice a second, until `stop`."""

    def __init__(self) -> None:
        self.peak_mb = 0.0
        self._cpu: dict[int, float] = {}  # by process, the latest: one that has ended counts too
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    @property
    def cpu_seconds(self) -> float:
        """Of all processes seen."""
        return sum(self._cpu.values())

    def stop(self) -> None:
        """The last look."""
        self._over.set()
        self._thread.join()
        self._once()

    def _look(self) -> None:
        while not self._over.wait(INTERVAL):
            self._once()

    def _once(self) -> None:
        total = 0
        for process in _tree(os.getpid()):
            try:
                total += _proportional(process)
                self._cpu[process] = _cpu(process)
            except (OSError, ValueError, IndexError):
                continue  # it has just ended
        self.peak_mb = max(self.peak_mb, round(total / 1024, 1))


def _tree(root: int) -> list[int]:
    """`root` and its descendants."""
    children: dict[int, list[int]] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                children.setdefault(int(_stat(int(folder.name))[1]), []).append(int(folder.name))
            except (OSError, ValueError, IndexError):
                continue
    found = [root]
    for process in found:
        found += children.get(process, [])
    return found


def _stat(process: int) -> list[str]:
    """The fields after the command, which may hold anything: state, parent, ..."""
    return Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()


def _cpu(process: int) -> float:
    fields = _stat(process)
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _proportional(process: int) -> int:
    """Kilobytes, of shared pages the process's share."""
    text = Path(f"/proc/{process}/smaps_rollup").read_text(encoding="ascii")
    return next(int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:"))
