"""Engines for tests: one that shares nothing with the process and is late, and Ray where it is installed."""

from __future__ import annotations

import importlib.util
import pickle
from collections.abc import Callable
from typing import Any, TypeVar, cast

R = TypeVar("R")
T = TypeVar("T")
WITHOUT_RAY = importlib.util.find_spec("ray") is None


class _Kept:
    def __init__(self, value: Any) -> None:
        self.pickled = pickle.dumps(value)


class Elsewhere:
    """Work and its words go through pickle, as to another machine, and the latest piece is done first."""

    def __init__(self, partition_rows: int, ahead: int = 3) -> None:
        self.partition_rows, self.ahead = partition_rows, ahead
        self.started = 0
        self._undone: list[Callable[[], None]] = []

    def keep(self, value: T) -> T:
        return cast(T, _Kept(value))

    def start(self, work: Callable[..., R], *words: Any) -> Callable[[], R]:
        self.started += 1
        sent, found = pickle.dumps((work, words)), []

        def do() -> None:
            done, given = pickle.loads(sent)
            try:
                result = done(*(pickle.loads(one.pickled) if isinstance(one, _Kept) else one for one in given))
            except Exception as error:
                result = error
            found.append(pickle.dumps(result))

        self._undone.append(do)

        def take() -> R:
            while self._undone:
                self._undone.pop()()
            result = pickle.loads(found[0])
            if isinstance(result, Exception):
                raise result
            return cast(R, result)

        return take

    def close(self) -> None:
        self._undone.clear()
