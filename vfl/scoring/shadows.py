"""Challengers score beside the champion: after the answer, in the background, for the record alone.

Who was decided about waits in a queue, whose length is bounded; whoever comes when it is full is left out, and counted.
An entry `shadow` of the ledger of decisions commits to what one challenger says of up to 500 of them, each record
naming the decision that it stands beside. Partners are asked for that as for decisions: it costs their budget.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from vfl.errors import VflError
from vfl.scoring.answers import Applicant, Decision, Refused
from vfl.scoring.contender import Contender
from vfl.scoring.lineup import Lineup
from vfl.scoring.policy import ModelRules

AT_ONCE = 500  # applicants: judging them keeps decisions waiting for a millisecond or two
_GATHER = 0.25  # seconds in which applicants gather, so that one question is about many


@dataclass(frozen=True)
class Seen:
    """An applicant and the champion's decision, by its id."""

    applicant: Applicant
    decision: str


Score = Callable[[Contender, Sequence[Seen], int], Awaitable[None]]
"""Has a challenger score applicants, for the record; and says how many were left out since the last time."""


class Shadows:
    """Used in one event loop."""

    def __init__(self, lineup: Lineup, rules: ModelRules, score: Score) -> None:
        self._lineup, self._rules, self._score = lineup, rules, score
        self._waiting: deque[Seen] = deque()
        self._wake = asyncio.Event()
        self._told = 0
        self.dropped = 0
        """Applicants left out so far, because too many waited or the record refused."""

    @property
    def waiting(self) -> int:
        """Applicants that wait."""
        return len(self._waiting)

    def offer(self, applicants: Sequence[Applicant], made: Sequence[Decision | Refused]) -> None:
        """Have challengers score those about whom the champion decided, later. Takes no time."""
        if not self._rules.shadow or not self._lineup.challengers:
            return
        champion = self._lineup.champion.version
        for applicant, decision in zip(applicants, made, strict=True):
            if isinstance(decision, Decision) and decision.model.version == champion:
                if len(self._waiting) >= self._rules.shadow_waiting:
                    self.dropped += 1
                else:
                    self._waiting.append(Seen(applicant, decision.decision_id))
        self._wake.set()

    async def run(self) -> None:
        """Score whoever waits, until cancelled."""
        while True:
            await self._wake.wait()
            await asyncio.sleep(_GATHER)
            self._wake.clear()
            while self._waiting:
                await self.some()

    async def some(self) -> None:
        """Score the next of those who wait, by every challenger."""
        group = [self._waiting.popleft() for _ in range(min(AT_ONCE, len(self._waiting)))]
        for challenger in self._lineup.challengers:
            if not self._lineup.has(challenger.version):  # it retired while another one scored
                continue
            dropped, self._told = self.dropped - self._told, self.dropped
            try:
                with challenger.at_work():
                    await self._score(challenger, group, dropped)
            except VflError:  # the disk refuses, for instance: decisions are refused then as well, and say so
                self.dropped += len(group)
