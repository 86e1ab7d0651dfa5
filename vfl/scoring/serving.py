"""A service of scores from start to end: of a simulation, where partners are processes here, and of a company."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from vfl.clock import SystemClock
from vfl.errors import AgreementError, UsageError, VflError
from vfl.files import alone, read_result
from vfl.net.asking import GrpcWire
from vfl.net.tls import Known, OwnTls
from vfl.party.certificates import new_tls_key
from vfl.party.runs import DONE, SIGNED, RunFolder
from vfl.party.scoring import speaker_in
from vfl.party.standing import Standing
from vfl.retention import TO_SCORE
from vfl.scoring.host import Hosted
from vfl.scoring.link import Dial, Wire
from vfl.scoring.opening import Opened, open_service, speaker_of
from vfl.scoring.policy import ServingPolicy
from vfl.scoring.session import FOLDER
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
    key = new_tls_key(active, clock.now(), _DAYS)
    per_day = policy.partners.scores_per_day or None
    async with AsyncExitStack() as ends:
        ends.enter_context(_only_one(root / active))
        hosts = await asyncio.gather(
            *(asyncio.to_thread(Hosted, root, member.name, active, key, per_day) for member in file.agreement.passives),
            return_exceptions=True,
        )
        started = [one for one in hosts if isinstance(one, Hosted)]
        for one in started:
            ends.callback(one.end)
        for failure in hosts:
            if isinstance(failure, BaseException):
                raise failure
        own, known = OwnTls(key.key, key.certificate), {one.party: one.known for one in started}
        seed = read_seed(root / active)
        who = speaker_of(root, active, seed, identity_of(active, seed), file, clock)
        dial = _dialler(active, lambda: own, lambda peer: known[peer], file.run)
        opened = open_service(root, who, file, dial, policy)
        keeping = asyncio.create_task(_keep_alive(started))
        ends.push_async_callback(_cancel, keeping)
        await _serve(opened, ends)
        yield opened


@asynccontextmanager
async def between_companies(who: Standing, run: str, policy: ServingPolicy) -> AsyncIterator[Opened]:
    """A finished run of a company that is its active party. Raises VflError."""
    folder, clock = RunFolder(who.runs, run), SystemClock()
    if not folder.exists or folder.status().state != DONE:
        raise UsageError(f"there is no finished run {run}", remedy="see `tallystick runs list`")
    file = RunFile.read(folder.path, needs=TO_SCORE)
    if file.agreement.active.name != who.name:
        raise AgreementError(f"{file.agreement.active.name} scores under this agreement, not {who.name}")
    who.admit(read_result(folder.path / SIGNED))  # partners refuse as well, once it is over
    if policy.partners.scores_per_day:
        raise UsageError(
            "[partners] scores_per_day is for simulations",
            remedy="between companies each partner counts by contract.budgets.scores_per_day of the agreement",
        )

    def known(peer: str) -> Known:
        trusted = who.trusted()
        if peer not in trusted:
            raise AgreementError(f"{peer} is not trusted here", remedy="tallystick party trust CARD")
        return trusted[peer]

    async with AsyncExitStack() as ends:
        ends.enter_context(_only_one(folder.path / who.name))
        dial = _dialler(who.name, who.tls, known, run)
        opened = open_service(folder.path, speaker_in(who, folder, clock), file, dial, policy)
        await _serve(opened, ends)
        yield opened


def _dialler(me: str, own: Callable[[], OwnTls], known: Callable[[str], Known], run: str) -> Callable[[str], Dial]:
    def to(peer: str) -> Dial:
        async def dial(job: str) -> Wire:
            return await GrpcWire.dial(me, own(), known(peer), run, job)

        return dial

    return to


async def _serve(opened: Opened, ends: AsyncExitStack) -> None:
    opened.service.start()
    ends.push_async_callback(opened.service.close)


async def _keep_alive(hosts: Sequence[Hosted]) -> None:
    """Start what died once more: it can be killed to see what scoring does then."""
    while True:
        await asyncio.sleep(_LOOK)
        for one in hosts:
            if one.died():
                with contextlib.suppress(VflError):  # tried again at the next look
                    await asyncio.to_thread(one.again)


async def _cancel(task: asyncio.Task[Any]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


def _only_one(seat: Path) -> contextlib.AbstractContextManager[None]:
    (seat / FOLDER).mkdir(parents=True, exist_ok=True)
    return alone(seat / FOLDER / "serve.lock", f"another service scores with {seat}")
