"""Who may change which model decides: the rule of two, for callers of the API and for whoever sits at the keyboard.

    a company that named two approvers      two of them have approved: tallystick party approve promote VERSION
    else, where callers need keys           two clients with the scope admin ask; the first one's wish is on record
    else                                    whoever asks: a first trial has one person

A wish holds as long as an approval does, and until the champion changes. A share of applicants that becomes smaller,
and a challenger that is added or retired, need nobody's word.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from datetime import timedelta
from pathlib import Path

from ledger.clock import parse_time
from vfl.api.gate import LOCAL
from vfl.api.releases import Release, UnknownModel
from vfl.clock import Clock
from vfl.errors import AgreementError, UsageError
from vfl.party.actions import NEEDED
from vfl.party.approvals import VALID, Deed, approvals_so_far, approved
from vfl.scoring.registry import Change, Registry, Standings, What
from vfl.scoring.succession import Succession

_LET = timedelta(minutes=5)  # that clocks may differ by


class Rule:
    """The rule of one company or one desk. state: of a company, None on one desk.   keys: the file of API keys."""

    def __init__(self, registry: Registry, state: Path | None, keys: Path, clock: Clock) -> None:
        self.registry, self._state, self._keys, self._clock = registry, state, keys, clock

    def at_keyboard(self, what: What, version: str, share: float = 0.0) -> Change:
        """Make a change that a person with these files at hand asks for. Raises UsageError, AgreementError."""
        standings = self._possible(what, version, share)
        if self._free(what, version, share, standings):
            return self._enter(what, version, (LOCAL.name,), share)
        if self._so_far(version) is None and self._keys.exists():
            raise AgreementError(
                "callers of this service need keys: two clients with the scope admin must ask for that",
                remedy="each: POST /v1/models/VERSION:promote, :rollback or :canary, see docs/guide/models.md",
            )
        with self._approved(version) as persons:
            return self._enter(what, version, persons or (LOCAL.name,), share)

    def asked_by(self, caller: str, what: What, version: str, share: float = 0.0) -> Release:
        """Make a change that a client asks for, or put its wish on record. Raises AgreementError, UsageError."""
        standings = self._possible(what, version, share)
        if self._free(what, version, share, standings):
            return self._done(what, version, (caller,), share, 1)
        if (approvals := self._so_far(version)) is not None:
            if len(approvals) < NEEDED:
                return Release(version, "awaits approval", approvals, NEEDED)
            with self._approved(version) as persons:
                return self._done(what, version, persons, share, NEEDED)
        if not self._keys.exists():
            return self._done(what, version, (caller,), share, 1)
        wishes = self._fresh(standings.wishes.get((what, version, share), {}))
        if caller in wishes:
            raise AgreementError(f"{caller} has asked for it already: another client must ask too")
        by = (*wishes, caller)
        if len(by) < NEEDED:
            self.registry.enter("asked", version, (caller,), wanted=what, share=share)
            return Release(version, "awaits approval", by, NEEDED)
        return self._done(what, version, by, share, NEEDED)

    def _possible(self, what: What, version: str, share: float) -> Standings:
        """How models stand, where this change could follow. Raises AgreementError."""
        history = self.registry.read()
        history.and_then(Change(1, "", what, version, (), share=share))
        return history.standings

    @staticmethod
    def _free(what: What, version: str, share: float, standings: Standings) -> bool:
        return what == "retired" or (what == "share" and share <= standings.models[version].share)

    def _so_far(self, version: str) -> tuple[str, ...] | None:
        if self._state is None:
            return None
        return approvals_so_far(self._state, Deed.promoting(version), self._clock.now())

    def _approved(self, version: str) -> AbstractContextManager[tuple[str, ...]]:
        if self._state is None:
            return nullcontext(())
        return approved(self._state, Deed.promoting(version), self._clock.now())

    def _fresh(self, wishes: Mapping[str, str]) -> list[str]:
        now = self._clock.now()
        return [name for name, time in wishes.items() if -_LET <= now - parse_time(time) <= VALID]

    def _done(self, what: What, version: str, by: tuple[str, ...], share: float, needed: int) -> Release:
        self._enter(what, version, by, share)
        return Release(version, "done", by, needed)

    def _enter(self, what: What, version: str, by: tuple[str, ...], share: float) -> Change:
        previous = "" if what in ("share", "retired") else self.registry.read().standings.champion
        return self.registry.enter(what, version, by, share=share, previous=previous)


class Releasing:
    """`vfl.api.releases.Releases` of a service that runs. Used in one event loop."""

    def __init__(self, rule: Rule, succession: Succession) -> None:
        self._rule, self._succession, self._lock = rule, succession, asyncio.Lock()

    async def promote(self, version: str, caller: str) -> Release:
        return await self._asked(caller, "promoted", version)

    async def rollback(self, version: str, caller: str) -> Release:
        standings = self._rule.registry.read().standings
        if version not in standings.models:
            raise UnknownModel()
        if version != standings.champion:
            raise AgreementError("this model does not decide now")
        if not standings.before:
            raise AgreementError("no model decided before this one")
        return await self._asked(caller, "rolled-back", standings.before[-1])

    async def canary(self, version: str, share: float, caller: str) -> Release:
        return await self._asked(caller, "share", version, share)

    async def _asked(self, caller: str, what: What, version: str, share: float = 0.0) -> Release:
        if version not in self._rule.registry.read().standings.models:
            raise UnknownModel()
        if not self._succession.lineup.has(version):
            raise AgreementError(f"this service could not open it: {self._succession.failures.get(version, 'not yet')}")
        async with self._lock:
            try:
                release = await asyncio.to_thread(self._rule.asked_by, caller, what, version, share)
            except UsageError as error:  # approvals or registry that were altered, or a disk that refuses
                raise AgreementError(str(error)) from None
            await self._succession.catch_up()
        return release
