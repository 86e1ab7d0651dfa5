"""Memory and CPU time of a process and of all that it started, from Linux's /proc."""

from __future__ import annotations

import os
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path

INTERVAL = 0.5
_TICKS = os.sysconf("SC_CLK_TCK")


class _Looking(ABC):
    """Looks at this process and its descendants twice a second, until `stop`."""

    def __init__(self) -> None:
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """The last look."""
        self._over.set()
        self._thread.join()
        self._once()

    def _look(self) -> None:
        while not self._over.wait(INTERVAL):
            self._once()

    @abstractmethod
    def _once(self) -> None: ...


class Watch(_Looking):
    """What all of them take together."""

    def __init__(self) -> None:
        self.peak_mb = 0.0
        self._cpu: dict[int, float] = {}  # by process, the latest: one that has ended counts too
        super().__init__()

    @property
    def cpu_seconds(self) -> float:
        """Of all processes seen."""
        return sum(self._cpu.values())

    def _once(self) -> None:
        total = 0
        for process in _tree(os.getpid()):
            try:
                total += _proportional(process)
                self._cpu[process] = _cpu(process)
            except (OSError, ValueError, IndexError):
                continue  # it has just ended
        self.peak_mb = max(self.peak_mb, round(total / 1024, 1))


class Peaks(_Looking):
    """The most memory of each, in MB: Linux keeps that, so what lies between two looks counts too."""

    def __init__(self, named: Callable[[Sequence[str]], str | None]) -> None:
        """`named`: what a process with this command line is called; None: it does not count."""
        self.mb: dict[str, float] = {}
        self._named = named
        super().__init__()

    def _once(self) -> None:
        for process in _tree(os.getpid()):
            try:
                words = Path(f"/proc/{process}/cmdline").read_bytes().decode(errors="replace").split("\0")
                if (name := self._named(words)) is not None:
                    self.mb[name] = max(
                        self.mb.get(name, 0.0), round(_kilobytes(process, "status", "VmHWM:") / 1024, 1)
                    )
            except (OSError, StopIteration):
                continue  # it has just ended


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
    return _kilobytes(process, "smaps_rollup", "Pss:")


def _kilobytes(process: int, file: str, field: str) -> int:
    text = Path(f"/proc/{process}/{file}").read_text(encoding="utf-8", errors="replace")
    return next(int(line.split()[1]) for line in text.splitlines() if line.startswith(field))
