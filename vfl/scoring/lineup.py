"""The models of a running service, and which of them decides about whom.

A challenger with a canary share decides about those applicants whose draw, HMAC-SHA256(key, normalised identifier) as a
number from 0 to 1, falls into its stretch: about the same ones again and again, and nobody outside can tell which.
"""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Callable, Mapping
from hashlib import sha256

from vfl.errors import UsageError
from vfl.scoring.answers import Model
from vfl.scoring.contender import Contender
from vfl.scoring.registry import Standings

_WHOLE = 1 << 64


class Lineup:
    """Used in one event loop. home: its lines have the log of decisions cosigned, whoever decides."""

    def __init__(self, home: Contender, key: bytes) -> None:
        """`key`: of the draw, 32 bytes; as long as it is the same, so is who is drawn."""
        self.home = self.champion = home
        self._key = key
        self._open: dict[str, Contender] = {home.version: home}
        self._challengers: tuple[Contender, ...] = ()
        self._canaries: tuple[tuple[float, Contender], ...] = ()  # each with the upper end of its stretch
        self._shown: tuple[Model, ...] = (home.shown(),)
        self._leaving: set[asyncio.Task[None]] = set()
        self.on_champion: list[Callable[[Contender], None]] = []
        """Told of another champion before it decides. Must be quick."""

    @property
    def challengers(self) -> tuple[Contender, ...]:
        """Those that score beside the champion."""
        return self._challengers

    def models(self) -> list[Model]:
        """All that ever were here, the champion first."""
        return list(self._shown)

    def has(self, version: str) -> bool:
        """Whether the model is open here."""
        return version in self._open

    @property
    def draws(self) -> bool:
        """Whether anybody but the champion decides."""
        return bool(self._canaries)

    def chosen(self, identifier: str) -> Contender:
        """Who decides about an applicant, by the identifier as the champion's rule normalises it."""
        if not self._canaries:
            return self.champion
        drawn = int.from_bytes(hmac.digest(self._key, identifier.encode(), sha256)[:8]) / _WHOLE
        return next((one for end, one in self._canaries if drawn < end), self.champion)

    def open(self, contender: Contender) -> None:
        """Let one more stand ready; its lines open."""
        self._open[contender.version] = contender
        contender.bench.start()

    def arrange(self, standings: Standings) -> None:
        """Stand as the registry says, at once. Who is retired goes when what it has begun is done.

        Raises UsageError where the champion is not open here.
        """
        if standings.champion not in self._open:
            raise UsageError(f"the model {standings.champion[:12]} is champion, and not open here")
        if (champion := self._open[standings.champion]) is not self.champion:
            for tell in self.on_champion:
                tell(champion)
        self.champion = champion
        roles = {name: one for name, one in standings.models.items() if one.role == "challenger" and name in self._open}
        self._challengers = tuple(self._open[name] for name in roles)
        self._canaries = _stretches({self._open[name]: one.share for name, one in roles.items()})
        self._shown = tuple(standings.shown())
        for contender in [*self._open.values()]:
            if contender not in (self.home, self.champion, *self._challengers):
                del self._open[contender.version]
                task = asyncio.get_running_loop().create_task(contender.leave())
                self._leaving.add(task)
                task.add_done_callback(self._leaving.discard)

    async def ready(self) -> None:
        """Until every partner of the champion answers."""
        await self.champion.bench.ready()

    async def stop(self) -> None:
        """End all sessions."""
        await asyncio.gather(*self._leaving, return_exceptions=True)
        await asyncio.gather(*(one.bench.stop() for one in self._open.values()))


def _stretches(shares: Mapping[Contender, float]) -> tuple[tuple[float, Contender], ...]:
    found, end = [], 0.0
    for contender, share in shares.items():
        if share:
            end += share
            found.append((end, contender))
    return tuple(found)
