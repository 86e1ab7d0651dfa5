"""One model and its lines to the partners: from applicants to what the model says of them.

Applicants who come while a question is under way are asked about together in the next one (natural batching): one
message to each partner, whatever their number. Two questions at most are under way.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from ledger.keys import VerifyingKey
from vfl.errors import BrokenPromise
from vfl.protocols.score_online import MOST_ASKED, Spent, Told, tokens_of
from vfl.scoring.answers import Partner, PartnerHealth, Reason, State
from vfl.scoring.grading import Grades
from vfl.scoring.link import Line
from vfl.scoring.models import JointModel, Judged
from vfl.scoring.policy import PartnerRules

Reals = npt.NDArray[np.float64]
_UNDER_WAY = 2
_ENDING = 3.0  # seconds that sessions have to end


@dataclass(frozen=True)
class Verdict:
    """What is said of one applicant. pd: None where the policy is to refuse.   asked: slot of each partner's answer."""

    pd: float | None
    points: int
    reasons: tuple[Reason, ...]
    degraded: bool
    parties: Mapping[str, Partner]


@dataclass(eq=False)
class _Waiting:
    identifiers: Sequence[str]
    values: Reals
    verdicts: asyncio.Future[list[Verdict]]


@dataclass(eq=False)
class _Heard:
    """What one partner said to a question, and how it took part for each applicant."""

    told: Told | None
    state: State
    ms: float
    known: npt.NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, np.bool_))


class Bench:
    """A joint model with its lines, and the stand-in for when some partner takes no part."""

    def __init__(
        self, model: JointModel, stand_in: JointModel, lines: Sequence[Line], token_key: bytes,
        grades: Grades, rules: PartnerRules,
    ) -> None:  # fmt: skip
        """`lines`: in the agreement's order.   grades: of whichever model scores."""
        self.model, self.lines, self.grades = model, lines, grades
        self.stand_in = stand_in
        self._token_key, self._rules = token_key, rules
        self._waiting: list[_Waiting] = []
        self._free = asyncio.Semaphore(_UNDER_WAY)
        self._wake = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._running: list[asyncio.Task[None]] = []  # those that keep lines up

    def start(self) -> None:
        """Open the lines, and begin to ask."""
        self._running = [self._spawn(line.run()) for line in self.lines]
        self._spawn(self._asking())

    async def ready(self) -> None:
        """Until every line is up."""
        await asyncio.gather(*(line.up.wait() for line in self.lines))

    async def stop(self) -> None:
        """End the sessions, cosigned where the partners are there; whoever still waits for a verdict gets none."""
        up = [task for line, task in zip(self.lines, self._running, strict=False) if line.up.is_set()]
        for line in self.lines:
            line.end()
        if up:
            await asyncio.wait(up, timeout=_ENDING)
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def witnesses(self) -> list[tuple[Line, VerifyingKey]]:
        """Each partner's line, and the key it cosigns with."""
        return [(line, line.witness) for line in self.lines]

    def partners(self) -> Mapping[str, PartnerHealth]:
        """Each partner's line, now."""
        return {line.peer: line.health() for line in self.lines}

    async def judge(self, identifiers: Sequence[str], values: Reals) -> list[Verdict]:
        """By normalised identifiers, and the own columns float64[n, features]."""
        found: list[Verdict] = []
        for start in range(0, len(identifiers), MOST_ASKED):
            part = slice(start, start + MOST_ASKED)
            verdicts: asyncio.Future[list[Verdict]] = asyncio.get_running_loop().create_future()
            self._waiting.append(_Waiting(identifiers[part], values[part], verdicts))
            self._wake.set()
            found += await verdicts
        return found

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _asking(self) -> None:
        while True:
            await self._wake.wait()
            await self._free.acquire()
            self._wake.clear()
            if group := self._next_group():
                self._spawn(self._settle(group))
            else:
                self._free.release()

    def _next_group(self) -> list[_Waiting]:
        group, size = [], 0
        while self._waiting and size + len(self._waiting[0].identifiers) <= MOST_ASKED:
            group.append(self._waiting.pop(0))
            size += len(group[-1].identifiers)
        if self._waiting:
            self._wake.set()
        return group

    async def _settle(self, group: list[_Waiting]) -> None:
        try:
            verdicts = await self._verdicts(group)
        except BaseException as error:
            for one in group:
                if not one.verdicts.done():
                    one.verdicts.set_exception(error if isinstance(error, Exception) else RuntimeError("stopped"))
                    one.verdicts.exception()
            if not isinstance(error, Exception):
                raise
            return
        finally:
            self._free.release()
        start = 0
        for one in group:
            end = start + len(one.identifiers)
            if not one.verdicts.done():
                one.verdicts.set_result(verdicts[start:end])
            start = end

    async def _verdicts(self, group: list[_Waiting]) -> list[Verdict]:
        identifiers = [each for one in group for each in one.identifiers]
        values = group[0].values if len(group) == 1 else np.concatenate([one.values for one in group])
        tokens = tokens_of(self._token_key, identifiers)
        heard = await asyncio.gather(*(self._hear(line, tokens) for line in self.lines))
        return self._combine(values, heard)

    async def _hear(self, line: Line, tokens: Sequence[bytes]) -> _Heard:
        loop = asyncio.get_running_loop()
        began = loop.time()

        def took() -> float:
            return round(1000.0 * (loop.time() - began), 3)

        if not line.may_ask():
            return _Heard(None, "down", took())
        try:
            told = await asyncio.wait_for(line.ask(tokens), self._rules.deadline_ms / 1000.0)
        except TimeoutError:
            line.failed()
            return _Heard(None, "late", took())
        except Exception:
            line.failed()
            return _Heard(None, "down", took())
        line.succeeded()
        if isinstance(told, Spent):
            return _Heard(None, "budget", took())
        return _Heard(told, "ok", took(), told.known)

    def _combine(self, values: Reals, heard: Sequence[_Heard]) -> list[Verdict]:
        n = len(values)
        known = np.full(n, all(each.told is not None for each in heard))
        for each in heard:
            known &= each.known if each.told is not None else False
        joint = None
        if known.any():
            try:
                joint = self.model.judge(values, [each.told for each in heard if each.told], self.grades)
            except BrokenPromise:  # nobody can tell which of them it was
                heard, known = [_Heard(None, "down", each.ms) for each in heard], np.zeros(n, np.bool_)
        alone = None if known.all() else self.stand_in.judge(values, (), self.grades)
        return self._verdicts_of(known.tolist(), joint, alone, heard)

    def _verdicts_of(
        self, known: Sequence[bool], joint: Judged | None, alone: Judged | None, heard: Sequence[_Heard]
    ) -> list[Verdict]:
        """Of each applicant. Those whom the same partners know share what is said of the partners."""
        flags = [one.known.tolist() if one.told is not None else [True] * len(known) for one in heard]
        patterns = list(zip(*flags, strict=True)) if heard else [()] * len(known)
        parties = {pattern: self._parties(pattern, heard) for pattern in set(patterns)}
        refused = {pattern: self._refuses(found) for pattern, found in parties.items()}
        scored = (
            None if joint is None else list(zip(joint.pd.tolist(), joint.points.tolist(), joint.reasons, strict=True))
        )
        stood = (
            None if alone is None else list(zip(alone.pd.tolist(), alone.points.tolist(), alone.reasons, strict=True))
        )
        verdicts = []
        for row, (pattern, knows) in enumerate(zip(patterns, known, strict=True)):
            if knows:
                assert scored is not None
                verdicts.append(Verdict(*scored[row], False, parties[pattern]))
            elif refused[pattern]:
                verdicts.append(Verdict(None, 0, (), True, parties[pattern]))
            else:
                assert stood is not None
                verdicts.append(Verdict(*stood[row], True, parties[pattern]))
        return verdicts

    def _parties(self, pattern: Sequence[bool], heard: Sequence[_Heard]) -> Mapping[str, Partner]:
        return {
            line.peer: Partner(one.state if knows else "unknown", one.ms)
            for line, one, knows in zip(self.lines, heard, pattern, strict=True)
        }

    def _refuses(self, parties: Mapping[str, Partner]) -> bool:
        absent = any(each.state not in ("ok", "unknown") for each in parties.values())
        return (self._rules.absent if absent else self._rules.unknown) == "refuse"
