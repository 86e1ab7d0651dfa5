"""Worker processes of one party: the same arithmetic in several processes, and the same results with any number.

A `Crew` is this process and `workers - 1` children, each with a worker object of its own that keeps what it was given
(rows of a tree, tables). Work is dealt out in turn and put together in order, so who did what shows nowhere. Children
are spawned, not forked: they begin with nothing of this process's memory and get what they need by message; a private
key goes to own children only. A child ends when the crew is closed, when the crew is forgotten, and when this process
dies however it dies. Where children cannot be started or are lost, this process does the work alone.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
import weakref
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait
from typing import Any, NoReturn

from vfl.errors import UsageError

WORKERS_VARIABLE = "TALLYSTICK_WORKERS"
MAX_WORKERS = 64
_LOST = (BrokenProcessPool, CancelledError, OSError, RuntimeError)
"""What a pool raises when it cannot start or has lost a child (RuntimeError: no process or thread may be started)."""


def worker_count(workers: int | None) -> int:
    """`workers`, or what the environment says, or 1. Raises UsageError outside 1 to 64."""
    given = os.environ.get(WORKERS_VARIABLE, "1") if workers is None else str(workers)
    if not given.isascii() or not given.isdigit() or not 1 <= int(given) <= MAX_WORKERS:
        raise UsageError(f"workers is {given!r}; allowed: 1 to {MAX_WORKERS} (argument or {WORKERS_VARIABLE})")
    return int(given)


class Crew:
    """This process and its children, addressed by the names of the worker's methods."""

    __slots__ = ("__weakref__", "_begin", "_children", "_close", "_here", "_told", "_wanted")

    def __init__(
        self, here: object, begin: Callable[..., object], arguments: Callable[[], tuple[Any, ...]], workers: int
    ) -> None:
        """`here`: this process's worker. `begin(*arguments())`, a function of a module, makes that of a child."""
        self._here = here
        self._begin: tuple[Callable[..., object], Callable[[], tuple[Any, ...]]] = begin, arguments
        self._wanted = workers - 1
        self._children: list[ProcessPoolExecutor] = []
        self._told: dict[str, tuple[Any, ...]] = {}
        self._close: Callable[[], object] = lambda: None

    @property
    def size(self) -> int:
        """Processes that share the work, or will once there is some."""
        return 1 + (self._wanted or len(self._children))

    def tell(self, method: str, *arguments: Any) -> None:
        """Has every worker take something in. Of each method the latest call counts: a late child is told that."""
        self._told[method] = arguments
        getattr(self._here, method)(*arguments)
        self._each(self._children, method, arguments)

    def map(self, method: str, chunks: Sequence[tuple[Any, ...]]) -> list[Any]:
        """`method(*chunk)` of every chunk, in order; chunk i is the work of process i modulo the size of the crew."""
        if len(chunks) > 1:
            self._start()
        lanes = len(self._children) + 1
        pending: dict[int, Future[Any]] = {}
        try:
            for index, chunk in enumerate(chunks):
                if index % lanes:
                    pending[index] = self._children[index % lanes - 1].submit(_call, method, chunk)
        except _LOST:
            self.close()
        results = [None if index in pending else self._own(method, chunk) for index, chunk in enumerate(chunks)]
        for index, future in pending.items():
            try:
                results[index] = future.result()
            except _LOST:
                self.close()
                results[index] = self._own(method, chunks[index])
        return results

    def close(self) -> None:
        """Ends the children; the crew goes on with this process alone."""
        self._wanted, self._children = 0, []
        self._close()

    def _own(self, method: str, chunk: tuple[Any, ...]) -> Any:
        return getattr(self._here, method)(*chunk)

    def _start(self) -> None:
        if not self._wanted:
            return
        count, self._wanted = self._wanted, 0
        context = multiprocessing.get_context("spawn")
        children = [ProcessPoolExecutor(1, mp_context=context) for _ in range(count)]
        self._children, self._close = children, weakref.finalize(self, _shut_down, children)
        begin, arguments = self._begin
        self._each(children, None, (begin, arguments()))
        for method, told in self._told.items():
            self._each(self._children, method, told)

    def _each(self, children: Sequence[ProcessPoolExecutor], method: str | None, arguments: tuple[Any, ...]) -> None:
        try:
            waiting = [
                child.submit(_call, method, arguments) if method else child.submit(_begin, *arguments)
                for child in children
            ]
            for future in waiting:
                future.result()
        except _LOST:
            self.close()

    def __reduce__(self) -> NoReturn:
        raise TypeError("a crew is bound to its processes: it cannot be pickled or copied")


_worker: list[object] = []
"""The worker of a child process."""


def _begin(begin: Callable[..., object], arguments: tuple[Any, ...]) -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()
    _worker[:] = [begin(*arguments)]


def _call(method: str, arguments: tuple[Any, ...]) -> Any:
    return getattr(_worker[0], method)(*arguments)


def _end_with(sentinel: int) -> None:
    """Ends this process with its parent, even one that was killed and could tell nobody."""
    wait([sentinel])
    os._exit(1)


def _shut_down(children: list[ProcessPoolExecutor]) -> None:
    for child in children:
        child.shutdown(wait=True, cancel_futures=True)
