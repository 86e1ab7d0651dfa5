"""One thread writes decisions and reads them: all that wait when it is free go into one transaction.

A write to the disk takes as long for one entry as for a hundred; under load each waits for one write, not for its turn.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

from vfl.scoring.volumes import Group, Kept, Volumes

R = TypeVar("R")


class Recorder:
    """Puts groups of records on record. Used in one event loop."""

    def __init__(self, volumes: Volumes) -> None:
        self._volumes = volumes
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="ledger")
        self._waiting: list[tuple[Group, asyncio.Future[Kept]]] = []
        self._writing: asyncio.Task[None] | None = None

    async def keep(self, group: Group) -> Kept:
        """Where it is, when it is durable. Raises UsageError where the disk refuses: then it is not on record."""
        kept: asyncio.Future[Kept] = asyncio.get_running_loop().create_future()
        self._waiting.append((group, kept))
        if self._writing is None:
            self._writing = asyncio.get_running_loop().create_task(self._write())
        return await kept

    async def read(self, work: Callable[[], R]) -> R:
        """Do something with the volumes in the thread."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def close(self) -> None:
        """End the thread."""
        self._thread.shutdown()

    async def _write(self) -> None:
        try:
            while self._waiting:
                groups, self._waiting = self._waiting, []
                try:
                    found = await self.read(partial(self._volumes.write, [group for group, _ in groups]))
                except Exception as error:
                    _tell(groups, error)
                else:
                    for (_, future), kept in zip(groups, found, strict=True):
                        if not future.done():
                            future.set_result(kept)
        finally:
            self._writing = None


def _tell(groups: Sequence[tuple[Any, asyncio.Future[Kept]]], error: Exception) -> None:
    for _, future in groups:
        if not future.done():
            future.set_exception(error)
            future.exception()  # whoever waits may have gone
