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
from vfl.scoring.answers import Partner, PartnerHealth, State
from vfl.scoring.grading import Grades
from vfl.scoring.link import Line
from vfl.scoring.models import JointModel
from vfl.scoring.policy import PartnerRules
from vfl.scoring.verdicts import Flags, Judged, Parties, Verdicts

Reals = npt.NDArray[np.float64]
_UNDER_WAY = 2
_ENDING = 3.0  # seconds that sessions have to end


@dataclass(eq=False)
class _Waiting:
    identifiers: Sequence[str]
    values: Reals
    verdicts: asyncio.Future[Verdicts]


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

    async def judge(self, identifiers: Sequence[str], values: Reals) -> Verdicts:
        """By normalised identifiers, at most MOST_ASKED, and the own columns float64[n, features]."""
        verdicts: asyncio.Future[Verdicts] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(identifiers, values, verdicts))
        self._wake.set()
        return await verdicts

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
                one.verdicts.set_result(verdicts.part(start, end))
            start = end

    async def _verdicts(self, group: list[_Waiting]) -> Verdicts:
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

    def _combine(self, values: Reals, heard: Sequence[_Heard]) -> Verdicts:
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
        return self._verdicts_of(known, joint, alone, heard)

    def _verdicts_of(
        self, known: Flags, joint: Judged | None, alone: Judged | None, heard: Sequence[_Heard]
    ) -> Verdicts:
        """By the joint model of those whom all partners know, and of the others by the stand-in."""
        party, kinds = np.zeros(len(known), np.int64), [-1]  # every partner knows everybody
        if not known.all():
            told = [one.known for one in heard if one.told is not None]
            codes = sum((flags.astype(np.int64) << k for k, flags in enumerate(told)), party)
            unique, party = np.unique(codes, return_inverse=True)
            kinds = unique.tolist()
        parties = [self._parties(code, heard) for code in kinds]
        refuses = np.array([self._refuses(each) for each in parties], np.bool_)
        own = self.model.book.reasons
        if alone is None:
            assert joint is not None
            said, words = joint, own
        else:
            words = (*own, *self.stand_in.book.reasons)
            reasons = np.where(alone.reasons >= 0, alone.reasons + len(own), -1)
            said = Judged(alone.pd, alone.points, reasons)
            if joint is not None:
                said = Judged(
                    np.where(known, joint.pd, alone.pd), np.where(known, joint.points, alone.points),
                    np.where(known[:, None], joint.reasons, reasons),
                )  # fmt: skip
        return Verdicts(said.pd, said.points, said.reasons, words, ~known, ~known & refuses[party], party, parties)

    def _parties(self, code: int, heard: Sequence[_Heard]) -> Parties:
        """Of an applicant. `code`: a bit for each partner that answered, whether it knows the applicant."""
        found = {}
        for line, one in zip(self.lines, heard, strict=True):
            knows = True
            if one.told is not None:
                knows, code = bool(code & 1), code >> 1
            found[line.peer] = Partner(one.state if knows else "unknown", one.ms)
        return found

    def _refuses(self, parties: Parties) -> bool:
        absent = any(each.state not in ("ok", "unknown") for each in parties.values())
        return (self._rules.absent if absent else self._rules.unknown) == "refuse"
