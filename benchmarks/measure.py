"""What is measured in a party's process: seconds by phase, seconds in the scheme's own calls, memory.

CPU-seconds are those of the party's process, all its threads together.

overhead   the CPU of the training phase that is not spent in the scheme's own calls (encryption, checks and sums of
           ciphertexts, sealing, decryption), as a share of all of it: plaintext learning, packing and copying of
           messages, hashing, transcript, ledger, sockets, Python. Both are `time.process_time`, of all parties.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")
STEPS = {
    "holder": {"public": "key", "accept_hint": "hint", "open_tree": "encrypt", "query": "encrypt",
               "decrypt": "decrypt"},
    "evaluator": {"hint": "hint", "open_tree": "check", "open_query": "sum", "absorb": "sum", "answer": "sum",
                  "idle": "ahead"},
}  # fmt: skip
"""The calls of a key holder and of an evaluator, and what they are counted as. Check: ciphertexts are read and checked.
Sum: and packed and sealed. Ahead: randomness made while the party waits."""
IN_TRAINING = ("encrypt", "decrypt", "check", "sum", "ahead")


class Meter:
    """Readings of several clocks, by phase."""

    def __init__(self, clocks: Mapping[str, Callable[[], float]]) -> None:
        """`clocks`: by name; each gives seconds that never run backwards."""
        self._clocks = clocks
        self._phase = "start"
        self._since = self._read()
        self.seconds: dict[str, dict[str, float]] = {name: {} for name in clocks}

    def enter(self, phase: str) -> None:
        """Count into `phase` from now on."""
        now = self._read()
        for name, counted in self.seconds.items():
            counted[self._phase] = counted.get(self._phase, 0.0) + now[name] - self._since[name]
        self._phase, self._since = phase, now

    def _read(self) -> dict[str, float]:
        return {name: clock() for name, clock in self._clocks.items()}


class Timed:
    """A key holder or evaluator whose calls are timed by step; iterators are timed item by item."""

    def __init__(self, inner: Any, kind: str) -> None:
        """`kind`: a key of `STEPS`."""
        self._inner, self._steps = inner, STEPS[kind]
        self.seconds: dict[str, float] = {}

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        step = self._steps.get(name)
        if step is None:
            return found

        def call(*words: Any) -> Any:
            result = self._measure(step, lambda: found(*words))
            return self._items(step, result) if isinstance(result, Iterator) else result

        return call

    def training(self) -> dict[str, float]:
        """CPU-seconds of the steps that belong to the training phase."""
        return {step: seconds for step, seconds in self.seconds.items() if step in IN_TRAINING}

    def _measure(self, step: str, work: Callable[[], T]) -> T:
        start = time.process_time()
        try:
            return work()
        finally:
            self.seconds[step] = self.seconds.get(step, 0.0) + time.process_time() - start

    def _items(self, step: str, items: Iterator[Any]) -> Iterator[Any]:
        done = object()
        while (item := self._measure(step, lambda: next(items, done))) is not done:
            yield item


def peak_mb() -> float:
    """The most memory that this process had at once, MB. Linux's own count where there is one: `getrusage` also counts
    what the process that started this one had.
    """
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii")
        kilobytes = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:"))
    except (OSError, StopIteration):
        kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(kilobytes / 1024, 1)
