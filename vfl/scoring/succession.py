"""A running service does what the registry of models says: within a second, or at once where it is told.

models are opened first  ->  each change goes on record in the ledger of decisions  ->  only then others decide
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from ledger.canonical import Json
from vfl.errors import UsageError, VflError
from vfl.scoring.contender import Contender
from vfl.scoring.lineup import Lineup
from vfl.scoring.registry import Change, History, Registry, Standing

Open = Callable[[Path], Awaitable[Contender]]
"""Makes the model of the finished run in a directory ready, its lines not yet open. Raises VflError."""
Note = Callable[[str, Mapping[str, Json]], Awaitable[None]]
"""Puts a step with its parameters on record, durably."""
_LOOK = 1.0  # seconds between two looks at the registry


async def opens_no_others(root: Path) -> Contender:
    """Of a service that knows its own run only."""
    raise UsageError(f"this service cannot open the model in {root.name}")


class Succession:
    """Used in one event loop."""

    def __init__(self, registry: Registry, lineup: Lineup, note: Note, open: Open, root: Path) -> None:
        """`root`: directory of the home run."""
        self.registry, self.lineup = registry, lineup
        self._note, self._open, self._root = note, open, root
        self._turn = asyncio.Lock()
        self._done: History | None = None
        self.failures: dict[str, str] = {}
        """Models that could not be opened here, and why."""

    async def catch_up(self) -> None:
        """Do what the registry says. Raises VflError where the champion cannot be opened: then nothing changes."""
        async with self._turn:
            history = self.registry.read()
            if not history.changes or history is self._done:
                return
            for one in history.standings.models.values():
                if one.role != "retired" and not self.lineup.has(one.version):
                    await self._opened(one, champion=one.version == history.standings.champion)
            for change in history.changes[history.noted :]:
                await self._note(change.what, noted(change))
            if history.noted < len(history.changes):
                await asyncio.to_thread(self.registry.note, len(history.changes))
                history = self.registry.read()
            self.lineup.arrange(history.standings)
            self._done = history

    async def follow(self, told: Callable[[str], None]) -> None:
        """Look for changes until cancelled. `told`: what went wrong, once each time it changes."""
        last = ""
        while True:
            await asyncio.sleep(_LOOK)
            try:
                await self.catch_up()
                words = "; ".join(f"model {name[:12]}: {why}" for name, why in self.failures.items())
            except VflError as error:
                words = str(error)
            if words != last and words:
                told(words)
            last = words

    async def _opened(self, one: Standing, *, champion: bool) -> None:
        try:
            contender = await self._open((self._root / one.place).resolve())
            if contender.version != one.version:
                raise UsageError(f"{one.place} holds the model {contender.version[:12]}, not {one.version[:12]}")
        except VflError as error:
            if champion:
                raise
            self.failures[one.version] = str(error)
        else:
            self.failures.pop(one.version, None)
            self.lineup.open(contender)


def noted(change: Change) -> Mapping[str, Json]:
    """The parameters of a change's entry in the ledger of decisions; what it has not is left out."""
    found: dict[str, Json] = {"change": change.number, "version": change.version, "by": list(change.by)}
    found["chain"] = change.chain
    if change.previous:
        found["previous"] = change.previous
    if change.wanted:
        found["wanted"] = change.wanted
    if change.what == "share" or change.share:
        found["share"] = repr(change.share)
    if change.model is not None:
        found |= {"run": change.model.run, "agreement": change.model.agreement}
    return found
