"""The routes of jobs: files of applicants, however long, scored beside whoever waits for an answer.

A caller names a file in one folder of the service, and never a path. Files come there and go from there by the ways
that the company has for files of customers: an upload would need bounds of its own for size, time and disk, and a
broom. One job runs at a time, in small blocks, so that single applicants are answered in between.
"""

from __future__ import annotations

import asyncio
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from vfl.api.calls import Answer, Call, Caller
from vfl.api.gate import Gate
from vfl.api.meters import Meters
from vfl.api.operation import Operation
from vfl.api.problems import Problem
from vfl.clock import Clock
from vfl.errors import UsageError
from vfl.party.service import Log
from vfl.scoring.answers import Applicant, Decision, Model, PartnerHealth, Refused, Scorer
from vfl.scoring.jobs import Job, JobFiles, Journal, Progress

SCORE = frozenset({"score"})
BLOCK = 500  # applicants at a time
_REMEMBERED = 1000  # jobs that have ended
_SUFFIXES = (".csv", ".parquet")

FileName = Annotated[str, msgspec.Meta(max_length=128, pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]*$(?!\n)")]
State = Literal["waiting", "running", "done", "stopped", "failed"]


class JobRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which file of the jobs folder is to be scored, and into which new one; by default NAME.scored.csv or .parquet.

    A job for the same two files that stopped goes on where it stopped.
    """

    file: FileName
    out: FileName | None = None


class JobStatus(msgspec.Struct, frozen=True):
    """How a job is. done: applicants so far, `refused` of them without a decision.   left: seconds, if known.

    waiting: for another job   stopped: by somebody, or with the service; ask for it again   failed: `detail` says why.
    """

    id: str
    file: str
    out: str
    state: State
    rows: int
    done: int
    refused: int
    per_second: float
    left: float | None
    detail: str = ""


@dataclass(eq=False)
class _Running:
    """A job of this process."""

    file: str
    out: str
    job: Job
    state: State = "waiting"
    progress: Progress | None = None
    detail: str = ""
    task: asyncio.Task[None] | None = field(default=None, repr=False)

    def status(self) -> JobStatus:
        now = self.progress
        rate, left = (now.per_second, now.left) if now and self.state == "running" else (0.0, None)
        return _status(self.job.journal, self.file, self.out, self.state, rate, left, self.detail)


class Jobs:
    """What the routes do."""

    def __init__(self, scorer: Scorer, folder: Path, gate: Gate, meters: Meters, clock: Clock, log: Log) -> None:
        """Raises UsageError if there is no such folder."""
        if not folder.is_dir():
            raise UsageError(f"{folder} is no folder", remedy="name the folder that files of applicants are put into")
        self._scorer, self._folder, self._gate, self._meters = scorer, folder, gate, meters
        self._clock, self._log = clock, log
        self._jobs: dict[str, _Running] = {}
        self._turn, self._opening = asyncio.Lock(), asyncio.Lock()

    async def close(self) -> None:
        """Stop all jobs after the blocks that are under way; they can be gone on with."""
        for one in self._jobs.values():
            one.job.stop()
        await asyncio.gather(*(one.task for one in self._jobs.values() if one.task), return_exceptions=True)

    async def begin(self, call: Call, body: JobRequest) -> Answer:
        """Begin a job, or go on with it; one that is under way is shown."""
        out = body.out or _default_out(body.file)
        if not out.endswith(_SUFFIXES):
            raise Problem("invalid-request", "ends in neither .csv nor .parquet", at="$.out")
        async with self._opening:
            for one in self._jobs.values():
                if one.out == out and one.state in ("waiting", "running"):
                    if one.file != body.file:
                        raise Problem("job-conflict", "another file is being scored into that one")
                    return _accepted(one.status())
            job = await self._open(call.caller, body.file, out)
            running = _Running(body.file, out, job)
            self._jobs[job.journal.job] = running
            running.task = asyncio.create_task(self._run(running))
            self._forget()
        return _accepted(running.status())

    async def status(self, call: Call, _: None) -> JobStatus:
        """How a job is."""
        return self._find(call.path["id"])

    async def stop(self, call: Call, _: None) -> JobStatus:
        """Stop a job; what was decided stays decided and written down."""
        running = self._jobs.get(call.path["id"])
        if running is not None and running.task is not None:
            running.job.stop()
            await asyncio.wait([running.task])
        return self._find(call.path["id"])

    def operations(self) -> tuple[Operation, ...]:
        """The routes."""
        begun = "Score a file of the jobs folder, or go on with a job that stopped."
        return (
            Operation(
                method="POST",
                path="/v1/jobs",
                name="beginJob",
                about=begun,
                act=self.begin,
                scopes=SCORE,
                body=JobRequest,
                answer=JobStatus,
                status=(202,),
                problems=("unknown-file", "job-conflict", "refused-input"),
                examples={"a file": JobRequest("applicants.csv")},
            ),
            _one("GET", "job", "How a job is: how far, how fast, and how long still.", self.status),
            _one("DELETE", "stopJob", "Stop a job. What was decided stays; the same request goes on later.", self.stop),
        )

    async def _open(self, caller: Caller, name: str, out: str) -> Job:
        source, target = self._folder / name, self._folder / out
        try:
            regular = stat.S_ISREG(source.lstat().st_mode)  # a link might lead out of the folder
        except OSError:
            regular = False
        if not regular:
            raise Problem("unknown-file")
        files = JobFiles(target)
        begun = files.kept.exists()
        if target.exists() and not begun:
            raise Problem("job-conflict", "a file of the name of `out` is there")
        counted = _Counted(self._scorer, self._meters, self._gate, caller)
        try:
            return await asyncio.to_thread(
                lambda: Job(counted, source, target, self._clock, resume=begun, block=BLOCK, beside=True)
            )  # fmt: skip
        except UsageError as error:
            raise Problem("refused-input", self._discreet(error)) from None

    async def _run(self, running: _Running) -> None:
        def told(now: Progress) -> None:
            running.progress = now

        async with self._turn:
            running.state = "running"
            try:
                journal = await running.job.run(told)
                running.state = "done" if journal.done == journal.rows else "stopped"
            except UsageError as error:
                running.state, running.detail = "failed", self._discreet(error)
            except Problem as problem:
                running.state, running.detail = "failed", f"{problem.code}: ask for it again later"
            except Exception as error:  # it says so rather than to stay at work for ever
                running.state, running.detail = "failed", "something failed here; ask for it again"
                self._log("job failed", error=type(error).__name__)

    def _find(self, job: str) -> JobStatus:
        if (running := self._jobs.get(job)) is not None:
            return running.status()
        for path in sorted(self._folder.glob("*.job.json")):  # from before a restart
            out = path.name.removesuffix(".job.json")
            try:
                journal = JobFiles(self._folder / out).journal()
            except UsageError:
                continue
            if journal.job == job:
                return _status(journal, "", out, "stopped", 0.0, None, "")
        raise Problem("unknown-job")

    def _discreet(self, error: UsageError) -> str:
        """The words, without where the folder is."""
        return str(error).replace(f"{self._folder}/", "")

    def _forget(self) -> None:
        ended = [name for name, one in self._jobs.items() if one.state not in ("waiting", "running")]
        for name in ended[: max(0, len(ended) - _REMEMBERED)]:
            del self._jobs[name]


class _Counted:
    """A scorer whose decisions count as those of the caller's requests do. Raises Problem when the day has no more."""

    def __init__(self, scorer: Scorer, meters: Meters, gate: Gate, caller: Caller) -> None:
        self._scorer, self._meters, self._gate, self._caller = scorer, meters, gate, caller

    @property
    def own_features(self) -> tuple[str, ...]:
        return self._scorer.own_features

    def models(self) -> list[Model]:
        return self._scorer.models()

    def partners(self) -> Mapping[str, PartnerHealth]:
        return self._scorer.partners()

    async def score_batch(
        self, applicants: Sequence[Applicant], caller: str, key: str | None = None
    ) -> tuple[Decision | Refused, ...]:
        self._gate.charge(self._caller, len(applicants))
        made = await self._scorer.score_batch(applicants, caller, key)
        self._meters.decided(made)
        return made


def _one(method: str, name: str, about: str, act: object) -> Operation:
    return Operation(
        method=method, path="/v1/jobs/{id}", name=name, about=about, act=act, scopes=SCORE, answer=JobStatus,  # type: ignore[arg-type]
        problems=("unknown-job",),
    )  # fmt: skip


def _default_out(name: str) -> str:
    stem = name.removesuffix(".gz").removesuffix(".csv").removesuffix(".parquet").removesuffix(".pq")
    return f"{stem[:100]}.scored{'.parquet' if name.endswith(('.parquet', '.pq')) else '.csv'}"


def _status(
    journal: Journal, file: str, out: str, state: State, rate: float, left: float | None, detail: str
) -> JobStatus:
    left = None if left is None else round(left, 1)
    return JobStatus(
        journal.job, file, out, state, journal.rows, journal.done, journal.refused, round(rate, 1), left, detail
    )


def _accepted(status: JobStatus) -> Answer:
    place = (b"location", f"/v1/jobs/{status.id}".encode())
    return Answer(msgspec.json.encode(status), 202, headers=((b"cache-control", b"no-store"), place))
