"""Where a party computes over its rows: in its own process, or in many through an engine that others keep well.

    work     a function of a module and its arguments: no state, no channel, no randomness of its own
    part     rows that are worked on together; `keep` puts one where the work will be

Results are taken in the order in which the work was started, and partial sums are sums of integers. So neither the
engine nor the size of the parts changes a byte that a party says: they are a party's own affair, no clause of an
agreement, and whoever executes the run again needs neither. An engine belongs to one party and stays inside it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

R = TypeVar("R")
T = TypeVar("T")
PART_ROWS = 1 << 20
LEAST_ROWS = 4096  # a block of the lattice and of a message


class Engine(Protocol):
    """Does a party's work over parts of its rows."""

    @property
    def partition_rows(self) -> int:
        """Rows in one part."""
        ...

    @property
    def ahead(self) -> int:
        """Pieces of work worth having started before the result of the first is taken; 0: none."""
        ...

    def keep(self, value: T) -> T:
        """`value` as an argument of work, moved once to where that is done. Not for any other use."""
        ...

    def start(self, work: Callable[..., R], *words: Any) -> Callable[[], R]:
        """Starts `work(*words)`; what to call for the result, or for the error it raised."""
        ...

    def close(self) -> None:
        """Ends what was started for this engine."""
        ...


@dataclass(frozen=True)
class Here:
    """The engine without any: this process, at once."""

    partition_rows: int = PART_ROWS
    ahead: int = 0

    def keep(self, value: T) -> T:
        return value

    def start(self, work: Callable[..., R], *words: Any) -> Callable[[], R]:
        result = work(*words)
        return lambda: result

    def close(self) -> None:
        return None


HERE = Here()


class Queue:
    """Work of one kind, a few pieces ahead; its results in the order of the pieces."""

    def __init__(self, engine: Engine, work: Callable[..., Any], take: Callable[[Any], None]) -> None:
        """`take`: is given each result."""
        self._engine, self._work, self._take = engine, work, take
        self._waiting: deque[Callable[[], Any]] = deque()

    def add(self, *words: Any) -> None:
        """One more piece; takes the oldest result where enough are on their way."""
        self._waiting.append(self._engine.start(self._work, *words))
        if len(self._waiting) > self._engine.ahead:
            self._take(self._waiting.popleft()())

    def finish(self) -> None:
        """Takes all results that are left."""
        while self._waiting:
            self._take(self._waiting.popleft()())


def mapped(engine: Engine, work: Callable[..., R], pieces: Iterable[tuple[Any, ...]]) -> Iterator[R]:
    """`work(*piece)` of every piece, in order, a few pieces ahead."""
    waiting: deque[Callable[[], R]] = deque()
    for piece in pieces:
        waiting.append(engine.start(work, *piece))
        if len(waiting) > engine.ahead:
            yield waiting.popleft()()
    while waiting:
        yield waiting.popleft()()


def parts(total: int, size: int) -> Iterator[slice]:
    """The rows 0 to `total` in parts of `size`."""
    return (slice(start, min(start + size, total)) for start in range(0, total, size))
