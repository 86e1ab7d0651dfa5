"""A service of scores from start to end: of a simulation, where partners are processes here, and of a company."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from vfl.clock import Clock, SystemClock
from vfl.errors import AgreementError, UsageError, VflError
from vfl.files import alone, read_result
from vfl.net.asking import GrpcWire
from vfl.net.tls import Known, OwnTls
from vfl.party.certificates import new_tls_key
from vfl.party.runs import DONE, SIGNED, RunFolder
from vfl.party.scoring import speaker_in
from vfl.party.standing import Standing
from vfl.progress import tell
from vfl.retention import TO_SCORE
from vfl.scoring.contender import Contender
from vfl.scoring.host import Hosted
from vfl.scoring.link import Dial, Wire
from vfl.scoring.opening import Dialler, Opened, open_service, ready_model, speaker_of
from vfl.scoring.policy import ServingPolicy
from vfl.scoring.session import FOLDER, Speaker
from vfl.seat import RunFile, identity_of, read_seed

_DAYS = 30
_LOOK = 1.0  # seconds between two looks at partners' processes


@asynccontextmanager
async def simulated(root: Path, policy: ServingPolicy) -> AsyncIterator[Opened]:
    """A finished run on one desk, with a process for every partner. Raises VflError."""
    file, clock = RunFile.read(root, needs=TO_SCORE), SystemClock()
    active = file.agreement.active.name
    if not (root / active / "seed").exists():
        raise UsageError(f"{root} has no seed of {active}", remedy="name the directory of a simulated run")
    async with AsyncExitStack() as ends:
        ends.enter_context(_only_one(root / active))
        desk = _Desk(active, clock, policy)
        ends.callback(lambda: desk.end(desk.hosts))
        dial = desk.dialler(await desk.start(root, file), file)

        async def other(place: Path) -> Contender:
            its = RunFile.read(place, needs=TO_SCORE)
            require_own(its, active)
            ready = await asyncio.to_thread(ready_model, place, desk.speaker(place, its), its, policy)
            started = await desk.start(place, its)
            contender = ready(desk.dialler(started, its))
            contender.ended = lambda: desk.end(started)
            return contender

        opened = open_service(root, desk.speaker(root, file), file, dial, policy, other)
        ends.push_async_callback(_cancel, asyncio.create_task(_keep_alive(desk.hosts)))
        await _serve(opened, ends)
        yield opened


class _Desk:
    """Runs on one desk: a process for every partner of each, and their keys at hand."""

    def __init__(self, active: str, clock: Clock, policy: ServingPolicy) -> None:
        self._active, self._clock = active, clock
        self._per_day = policy.partners.scores_per_day or None
        self._key = new_tls_key(active, clock.now(), _DAYS)
        self.hosts: list[Hosted] = []

    def speaker(self, root: Path, file: RunFile) -> Speaker:
        """The active party in a run. Raises UsageError."""
        seed = read_seed(root / self._active)
        return speaker_of(root, self._active, seed, identity_of(self._active, seed), file, self._clock)

    async def start(self, root: Path, file: RunFile) -> list[Hosted]:
        """The partners of a run, started. Raises VflError."""
        names = [member.name for member in file.agreement.passives]
        hosts = await asyncio.gather(
            *(asyncio.to_thread(Hosted, root, name, self._active, self._key, self._per_day) for name in names),
            return_exceptions=True,
        )
        started = [one for one in hosts if isinstance(one, Hosted)]
        self.hosts += started
        for failure in hosts:
            if isinstance(failure, BaseException):
                self.end(started)
                raise failure
        return started

    def dialler(self, hosts: Sequence[Hosted], file: RunFile) -> Dialler:
        """To those partners."""
        own, known = OwnTls(self._key.key, self._key.certificate), {one.party: one.known for one in hosts}
        return _dialler(self._active, lambda: own, lambda peer: known[peer], file.run)

    def end(self, hosts: Sequence[Hosted]) -> None:
        """Stop some of them."""
        for one in [*hosts]:
            self.hosts.remove(one)
            one.end()


@asynccontextmanager
async def between_companies(who: Standing, run: str, policy: ServingPolicy) -> AsyncIterator[Opened]:
    """A finished run of a company that is its active party. Raises VflError."""
    clock = SystemClock()
    if policy.partners.scores_per_day:
        raise UsageError(
            "[partners] scores_per_day is for simulations",
            remedy="between companies each partner counts by contract.budgets.scores_per_day of the agreement",
        )
    folder, file = finished_run(who, run)

    def known(peer: str) -> Known:
        trusted = who.trusted()
        if peer not in trusted:
            raise AgreementError(f"{peer} is not trusted here", remedy="tallystick party trust CARD")
        return trusted[peer]

    async def other(place: Path) -> Contender:
        its, file = finished_run(who, place.name)
        ready = await asyncio.to_thread(ready_model, its.path, speaker_in(who, its, clock), file, policy)
        return ready(_dialler(who.name, who.tls, known, its.run))

    async with AsyncExitStack() as ends:
        ends.enter_context(_only_one(folder.path / who.name))
        dial = _dialler(who.name, who.tls, known, run)
        opened = open_service(folder.path, speaker_in(who, folder, clock), file, dial, policy, other)
        await _serve(opened, ends)
        yield opened


def finished_run(who: Standing, run: str) -> tuple[RunFolder, RunFile]:
    """A run that the company leads, done, and under an agreement in force. Raises UsageError, AgreementError."""
    folder = RunFolder(who.runs, run)
    if not folder.exists or folder.status().state != DONE:
        raise UsageError(f"there is no finished run {run}", remedy="see `tallystick runs list`")
    file = RunFile.read(folder.path, needs=TO_SCORE)
    require_own(file, who.name)
    who.admit(read_result(folder.path / SIGNED))  # partners refuse as well, once it is over
    return folder, file


def require_own(file: RunFile, name: str) -> None:
    """Raise AgreementError unless this party is the active one of a run."""
    if (active := file.agreement.active.name) != name:
        raise AgreementError(f"{active} scores under this agreement, not {name}")


def _dialler(me: str, own: Callable[[], OwnTls], known: Callable[[str], Known], run: str) -> Dialler:
    def to(peer: str) -> Dial:
        async def dial(job: str) -> Wire:
            return await GrpcWire.dial(me, own(), known(peer), run, job)

        return dial

    return to


async def _serve(opened: Opened, ends: AsyncExitStack) -> None:
    opened.service.start()
    ends.push_async_callback(opened.service.close)
    await opened.succession.catch_up()
    ends.push_async_callback(_cancel, asyncio.create_task(opened.succession.follow(_tell)))


def _tell(words: str) -> None:
    tell(sys.stderr, f"models: {words}\n")


async def _keep_alive(hosts: Sequence[Hosted]) -> None:
    """Start what died once more: it can be killed to see what scoring does then."""
    while True:
        await asyncio.sleep(_LOOK)
        for one in [*hosts]:
            if one in hosts and one.died():
                with contextlib.suppress(VflError):  # tried again at the next look
                    await asyncio.to_thread(one.again)


async def _cancel(task: asyncio.Task[Any]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


def _only_one(seat: Path) -> contextlib.AbstractContextManager[None]:
    (seat / FOLDER).mkdir(parents=True, exist_ok=True)
    return alone(seat / FOLDER / "serve.lock", f"another service scores with {seat}")
