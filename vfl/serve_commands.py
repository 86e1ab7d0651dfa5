"""What `tallystick serve` does: a service of scores, its API and its console, from start to end."""

from __future__ import annotations

import asyncio
import gc
import json
import re
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import typer
from starlette.exceptions import HTTPException
from starlette.requests import Request

from ledger.policy import Policy
from vfl.api.app import ApiSettings, make_app
from vfl.api.gate import Gate
from vfl.api.problems import Problem
from vfl.api.server import HttpServer
from vfl.api.tls import Tls
from vfl.board.about import About, Band
from vfl.board.observed import Observed
from vfl.board.pages import board_routes
from vfl.clock import Clock, SystemClock
from vfl.learn.objective import sigmoid
from vfl.learn.scorecard import Scaling
from vfl.party.serving import json_log
from vfl.predictions import FILE as PREDICTIONS
from vfl.progress import tell
from vfl.protocols import score_online
from vfl.releasing import Releasing
from vfl.scoring.contender import Contender
from vfl.scoring.jobs import Job, Journal, Progress
from vfl.scoring.opening import Opened
from vfl.scoring.policy import ServingPolicy
from vfl.seat import RunFile
from vfl.served import Served
from vfl.settle.account import BUNDLE, Account, account_of
from vfl.settle.book import FOLDER
from vfl.terms import GBDT

_A_LINE = 1.0  # seconds between two lines about a job
_PATIENCE = 10.0  # seconds until partners answer, before the service says what it waits for
_PHONE = "+34600000000"  # of nobody: an example of an identifier where those are phone numbers
_SEEN = frozenset({"score", "read"})  # scopes of which one opens the console


def serve(
    directory: Path | None, config: Path | None, run: str | None, policy_file: Path | None, host: str, port: int,
    tls: tuple[Path, Path, bool] | None, jobs: Path | None, passphrase_file: Path | None,
) -> None:  # fmt: skip
    """`tallystick serve`."""
    served, policy = Served.named(directory, config, run, passphrase_file), _policy(policy_file)
    try:
        asyncio.run(_serve(served, policy, host, port, Tls(*tls) if tls else None, jobs))
    except KeyboardInterrupt:  # before it listened; afterwards it ends by itself
        raise typer.Exit(130) from None


def score(
    applicants: Path, out: Path, directory: Path | None, config: Path | None, run: str | None,
    policy_file: Path | None, resume: bool, passphrase_file: Path | None, as_json: bool,
) -> None:  # fmt: skip
    """`tallystick score`."""
    opening = Served.named(directory, config, run, passphrase_file).opening(_policy(policy_file))

    async def work() -> tuple[Journal, float]:
        async with opening as opened:
            await _wait_for_partners(opened)
            runs_long()
            job = Job(opened.service, applicants, out, clock, resume=resume)
            tell(sys.stderr, f"{applicants}: {job.journal.rows:,} applicants\n")
            began = clock.monotonic_ns()
            done = await job.run(_Told(clock))
            return done, (clock.monotonic_ns() - began) / 1e9

    clock = SystemClock()
    try:
        done, seconds = asyncio.run(work())
    except KeyboardInterrupt:
        tell(sys.stderr, "interrupted: the same command goes on with --resume\n")
        raise typer.Exit(130) from None
    body = {"out": str(out), "scored": done.scored, "refused": done.refused, "blocks": done.blocks,
            "seconds": round(seconds, 3)}  # fmt: skip
    told = f"{out}: {done.scored:,} decisions, {done.refused:,} refused, {done.blocks} entries on the ledger"
    tell(sys.stdout, f"{json.dumps(body) if as_json else told}\n")


class _Told:
    """A line about a job now and then."""

    def __init__(self, clock: Clock) -> None:
        self._clock, self._next = clock, 0.0

    def __call__(self, now: Progress) -> None:
        seconds = self._clock.monotonic_ns() / 1e9
        if seconds < self._next and now.journal.done < now.journal.rows:
            return
        self._next = seconds + _A_LINE
        left = f", {now.left:,.0f} s left" if now.left else ""
        tell(
            sys.stderr,
            f"{now.journal.done:,} of {now.journal.rows:,} applicants, {now.per_second:,.0f} a second{left}\n",
        )


def runs_long() -> None:
    """Long-running from here on: what is loaded is not searched for cycles again, and what a batch makes seldom.

    The thread that writes the ledger gives way to those who wait for answers ten times as often as Python has it.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
    sys.setswitchinterval(0.0005)


def _policy(file: Path | None) -> ServingPolicy:
    return ServingPolicy.read(file) if file else ServingPolicy()


async def _serve(
    served: Served, policy: ServingPolicy, host: str, port: int, tls: Tls | None, jobs: Path | None = None
) -> None:
    clock, keys = SystemClock(), served.keys
    async with served.opening(policy) as opened:
        rule = str(opened.file.agreement.psi["id_rule"])
        settings = ApiSettings(
            keys if keys.exists() else None,
            opened.policy.partners.absent == "refuse",
            Releasing(served.rule(clock), opened.succession),
            jobs=jobs,
            example=_PHONE if rule.startswith("phone") else ApiSettings.example,
        )
        log = json_log(sys.stderr, clock)
        app = make_app(opened.service, settings, clock, log)
        lineup = opened.service.lineup
        observed = Observed(clock, lineup.champion.reference.tolist())
        lineup.on_champion.append(lambda champion: observed.refer_to(champion.reference.tolist()))
        opened.service.on_decisions.append(observed.add_all)
        caller = _caller(app.state.gate)
        app.router.routes.extend(
            board_routes(
                opened.service,
                observed,
                lambda: about(opened, lineup.champion),
                caller=caller,
                settlement=settled_in(opened.home.root),
            )
        )
        server = HttpServer(app, host, port, tls)
        await _wait_for_partners(opened)
        runs_long()
        for line in (server.start_line, f"console: {server.url}/   stop with Ctrl-C", _example(opened)):
            tell(sys.stdout, f"{line}\n" if line else "")
        try:
            await server.serve()
        finally:
            if app.state.jobs:
                await app.state.jobs.close()


def settled_in(root: Path) -> Callable[[], Account | None] | None:
    """The settlement of a run, read anew when it has changed; None where its agreement settles nothing."""
    if RunFile.read(root, needs=()).agreement.settlement is None:
        return None

    @lru_cache(maxsize=1)
    def read(_: int) -> Account | None:
        return account_of(root, Policy.parse((root / "policy.txt").read_bytes()))

    def found() -> Account | None:
        path = root / FOLDER / BUNDLE
        return read(path.stat().st_mtime_ns) if path.exists() else None

    return found


def _example(opened: Opened) -> str:
    """Where identifiers are that can be scored, of a run on this machine."""
    path = opened.home.root / PREDICTIONS
    return f"identifiers to try: the first column of {path}" if path.exists() else ""


async def _wait_for_partners(opened: Opened) -> None:
    """Give the lines some time; what is not up then is told, and tried again while the service goes on."""
    with suppress(TimeoutError):
        await asyncio.wait_for(opened.service.ready(), _PATIENCE)
    for name, health in opened.service.partners().items():
        if health.state != "up":
            tell(sys.stderr, f"{name} is not there yet: {health.detail}\n")


@lru_cache(maxsize=4)
def about(opened: Opened, champion: Contender) -> About:
    """What the console says of the model that decides."""
    file, grades, rules = champion.file, champion.grades, opened.policy.partners
    agreement = file.agreement
    falls = {"stand-in": "the stand-in scores, and the answer says so", "refuse": "no decision is made"}
    floors = [int(floor) for floor in grades.floors]
    scaling = grades.scaling if file.terms.kind == GBDT else Scaling.of(file.terms.scorecard.card)
    bands = [
        Band(grades.band(_inside(low, high)), low, high, grades.outcome(_middle(scaling, low, high)))
        for high, low in zip([None, *floors], [*floors, None], strict=True)
        if floors
    ]
    return About(
        summary=_summary(champion.root),
        agreement=agreement,
        learns=_learns(),
        bands=bands,
        standin=f"a model of {agreement.active.name}'s own columns. A partner is away: {falls[rules.absent]}. "
        f"A partner does not know the applicant: {falls[rules.unknown]}.",
        witnesses=[
            opened.file.keys[member.name].witness.vkey for member in opened.file.agreement.passives
        ],  # of the log of decisions, which is the home run's
    )


def _inside(low: int | None, high: int | None) -> int:
    """A score in a band, of which one end is known at least."""
    return low if low is not None else (high or 0) - 1


def _middle(scaling: Scaling, low: int | None, high: int | None) -> float:
    """The PD in the middle of a band; of one without an end, at its other end."""
    ends = [float(end) for end in (low, high) if end is not None]
    return float(sigmoid(np.array([(scaling.offset - sum(ends) / len(ends)) / scaling.factor]))[0])


def _learns() -> list[tuple[str, str]]:
    """Who learns what from a score: the words at the head of the protocol."""
    found = re.search(r"^Learns:  active  ->(.*?)^ +passive ->(.*?)^Cost:", score_online.__doc__ or "", re.S | re.M)
    told = found.groups() if found else ()
    return [(side, " ".join(words.split())) for side, words in zip(("active", "passive"), told, strict=False)]


def _summary(root: Path) -> dict[str, Any]:
    with suppress(OSError, ValueError):
        body: dict[str, Any] = json.loads((root / "summary.json").read_bytes())
        return body
    return {}


def _caller(gate: Gate) -> Callable[[Request], str]:
    def caller(request: Request) -> str:
        try:
            return gate.admit(request.scope, _SEEN).name
        except Problem as problem:
            headers = {name.decode(): value.decode() for name, value in problem.headers}
            raise HTTPException(problem.status, headers=headers) from None

    return caller
