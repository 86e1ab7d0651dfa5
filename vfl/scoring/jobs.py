"""A file of applicants scored, however long it is: block by block, and gone on with after any interruption.

OUT.part        what is decided so far, CSV             becomes OUT when all is
OUT.job.json    which file is scored, with what, and how many blocks and bytes of OUT.part are whole

Each block is one batch: one message to each partner, one entry on the ledger. It has an idempotency key of its own: a
block that was decided when the machine failed, and not yet written down, is not decided again within a day. While one
block is put on record the next one is asked about. A job is in no hurry: it waits for a partner that is away, and stops
where a budget is used up, rather than have the stand-in score what can be scored jointly later.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import BinaryIO, Protocol

import msgspec

from vfl.clock import Clock
from vfl.errors import UsageError
from vfl.files import read_json, refusals, write_whole
from vfl.randomness import fresh_bytes
from vfl.scoring.answers import MOST_OF_A_BATCH, MOST_REASONS, Applicant, Decision, Model, PartnerHealth, Refused
from vfl.scoring.applicants import ApplicantFile
from vfl.table import pattern_of

CALLER = "job"
COLUMNS = {
    "id": "VARCHAR", "pd": "DOUBLE", "points": "BIGINT", "band": "VARCHAR", "decision": "VARCHAR",
    "degraded": "BOOLEAN", **{f"reason_{n}": "VARCHAR" for n in range(1, MOST_REASONS + 1)},
    "decision_id": "VARCHAR", "refused": "VARCHAR",
}  # fmt: skip
"""Of the result, with their types in Parquet."""
PATIENCE = 60.0  # seconds that a partner may be away
_LOOK = 0.2  # seconds between two looks whether it is back
_UNDER_WAY = 2  # blocks
_PLAIN = re.compile(r"[^\s,\"\ufeff][^,\"\r\n]*").fullmatch
"""A cell that CSV need not quote."""


class Scoring(Protocol):
    """What of a `vfl.scoring.answers.Scorer` a job needs."""

    @property
    def own_features(self) -> tuple[str, ...]: ...

    async def score_batch(
        self, applicants: Sequence[Applicant], caller: str, key: str | None = None
    ) -> tuple[Decision | Refused, ...]: ...

    def models(self) -> list[Model]: ...

    def partners(self) -> Mapping[str, PartnerHealth]: ...


@dataclass(frozen=True)
class Journal:
    """What must be the same when the job goes on, and how far it got. block: applicants in each block.

    blocks, bytes: of OUT.part that are whole.   scored, refused: applicants in them.
    """

    job: str
    digest: str
    model: str
    rows: int
    block: int
    blocks: int = 0
    bytes: int = 0
    scored: int = 0
    refused: int = 0

    @property
    def done(self) -> int:
        """Applicants that were answered."""
        return self.scored + self.refused


@dataclass(frozen=True)
class Progress:
    """Where a job stands. per_second: applicants, since it was started or gone on with.   left: seconds, if known."""

    journal: Journal
    per_second: float
    left: float | None


@dataclass(frozen=True)
class JobFiles:
    """Where a job keeps what it has, by the file that it makes."""

    out: Path

    @property
    def part(self) -> Path:
        """What is decided so far."""
        return self.out.with_name(self.out.name + ".part")

    @property
    def kept(self) -> Path:
        """The journal."""
        return self.out.with_name(self.out.name + ".job.json")

    def journal(self) -> Journal:
        """As it was left. Raises UsageError if there is none, or it is damaged."""
        try:
            return msgspec.convert(read_json(self.kept, "the journal of a job"), Journal)
        except msgspec.ValidationError as error:
            raise UsageError(
                f"{self.kept} is damaged: {error}", remedy="remove it with its .part, and start anew"
            ) from None


class Job:
    """One job, ready to run."""

    def __init__(
        self, scorer: Scoring, source: Path, out: Path, clock: Clock, *, resume: bool, block: int = MOST_OF_A_BATCH,
        beside: bool = False,
    ) -> None:  # fmt: skip
        """Look through the file `source`, CSV or Parquet, to score it into the new file `out`, of either kind.

        resume: go on with the job that was begun.   block: applicants at a time, of a new job.
        beside: others wait for answers: one block is under way at a time, and the job rests as long as it worked.
        Raises UsageError naming file, row and column of what cannot be read; nothing is decided then.
        """
        self._scorer, self._clock, self.files = scorer, clock, JobFiles(out)
        self._stopped, self._beside = False, beside
        if self.files.kept.exists() != resume:
            raise UsageError(
                f"{self.files.kept} is there: a job was begun"
                if not resume
                else f"there is no {self.files.kept} to go on from",
                remedy="leave --resume out" if resume else "go on with --resume, or remove it",
            )
        if out.exists() and not (resume and self._whole()):
            raise UsageError(f"{out} exists", remedy="name another --out: results are never overwritten")
        self._file = ApplicantFile(source, scorer.own_features)
        version = scorer.models()[0].version
        self.journal = Journal(fresh_bytes(8).hex(), self._file.digest, version, self._file.rows, block)
        if resume:
            self.journal = self.files.journal()
            for what, now, then in (
                ("file of applicants", self._file.digest, self.journal.digest),
                ("model", version, self.journal.model),
            ):
                if now != then:
                    raise UsageError(
                        f"the {what} is another than when the job began", remedy="start anew under another --out"
                    )

    def _whole(self) -> bool:
        """Whether everything is decided and written."""
        journal = self.files.journal()
        return journal.done == journal.rows

    def stop(self) -> None:
        """Let `run` end after the blocks that are under way; the job can be gone on with."""
        self._stopped = True

    async def run(self, told: Callable[[Progress], None]) -> Journal:
        """Score what is left. `told` hears of each block. Raises UsageError; what was decided is kept then."""
        files = self.files
        with refusals(files.out, "free some space, or name another --out; then say --resume"):
            if not files.out.exists():  # else it was interrupted at the very end
                with files.part.open("r+b" if files.part.exists() else "w+b") as file:
                    await self._fill(file, told)
                if self.journal.done < self.journal.rows:
                    return self.journal
                if files.out.suffix == ".parquet":
                    await asyncio.to_thread(_to_parquet, files.part, files.out)
                else:
                    files.part.replace(files.out)
            files.part.unlink(missing_ok=True)
            files.kept.unlink()
        return self.journal

    async def _fill(self, file: BinaryIO, told: Callable[[Progress], None]) -> None:
        if file.seek(0, os.SEEK_END) < self.journal.bytes:
            raise UsageError(f"{self.files.part} is shorter than its journal says", remedy="remove both, start anew")
        file.truncate(self.journal.bytes)
        file.seek(self.journal.bytes)
        if not self.journal.bytes:
            self._write(file, self.journal, (",".join(COLUMNS) + "\n").encode())
        await self._blocks(file, told)

    async def _blocks(self, file: BinaryIO, told: Callable[[Progress], None]) -> None:
        began, before = self._clock.monotonic_ns(), self.journal.done
        blocks = self._file.blocks(self.journal.block, self.journal.blocks)
        end, spent = list[Applicant](), set[str]()
        asked: deque[tuple[list[Applicant], asyncio.Task[Sequence[Decision | Refused]]]] = deque()

        async def settle() -> None:
            block, task = asked[0]
            found = await task
            asked.popleft()
            await asyncio.to_thread(self._keep, file, block, found)
            seconds = (self._clock.monotonic_ns() - began) / 1e9
            rate = (self.journal.done - before) / seconds if seconds else 0.0
            told(Progress(self.journal, rate, (self.journal.rows - self.journal.done) / rate if rate else None))
            spent.update(_spent(found))

        try:
            number = self.journal.blocks
            while not self._stopped and not spent and (block := await asyncio.to_thread(next, blocks, end)):
                await self._until_partners_answer()
                if self._stopped:
                    break
                started = self._clock.monotonic_ns()
                asked.append((block, asyncio.create_task(self._ask(block, number))))
                number += 1
                if len(asked) == (1 if self._beside else _UNDER_WAY):
                    await settle()
                if self._beside:
                    await asyncio.sleep((self._clock.monotonic_ns() - started) / 1e9)
            while asked:
                await settle()
        finally:
            for _, task in asked:
                task.cancel()
            await asyncio.gather(*(task for _, task in asked), return_exceptions=True)
            with suppress(ValueError):  # it is at work in its thread, where somebody cancelled this
                blocks.close()
        if spent and self.journal.done < self.journal.rows:
            raise UsageError(
                f"the budget of {', '.join(sorted(spent))} is used up for today; what came after it is marked degraded",
                remedy="go on with --resume tomorrow, or agree on a larger one",
            )

    async def _ask(self, block: Sequence[Applicant], number: int) -> Sequence[Decision | Refused]:
        return await self._scorer.score_batch(block, CALLER, f"{self.journal.job}/{number}")

    async def _until_partners_answer(self) -> None:
        for _ in range(int(PATIENCE / _LOOK)):
            away = [name for name, health in self._scorer.partners().items() if health.state != "up"]
            if not away or self._stopped:
                return
            await asyncio.sleep(_LOOK)
        raise UsageError(
            f"{', '.join(away)} did not answer for {PATIENCE:.0f} s; nothing is lost",
            remedy="go on with --resume when it does",
        )

    def _keep(self, file: BinaryIO, block: Sequence[Applicant], found: Sequence[Decision | Refused]) -> None:
        refused = sum(isinstance(one, Refused) for one in found)
        journal = replace(
            self.journal, blocks=self.journal.blocks + 1, scored=self.journal.scored + len(found) - refused,
            refused=self.journal.refused + refused,
        )  # fmt: skip
        self._write(file, journal, _lines(block, found))

    def _write(self, file: BinaryIO, journal: Journal, lines: bytes) -> None:
        """Lines first, then the journal that says that they are whole."""
        file.write(lines)
        file.flush()
        os.fsync(file.fileno())
        self.journal = replace(journal, bytes=file.tell())
        write_whole(self.files.kept, asdict(self.journal))


def _lines(block: Sequence[Applicant], found: Sequence[Decision | Refused]) -> bytes:
    """CSV of a block. Reasons of a batch are shared, and written once."""
    lines, known = list[str](), dict[int, str]()
    for applicant, one in zip(block, found, strict=True):
        name = _cell(applicant.id)
        if isinstance(one, Refused):
            lines.append(f"{name}{',' * (len(COLUMNS) - 1)}{one.code}\n")
            continue
        why = known.get(id(one.reasons))
        if why is None:
            texts = [_cell(reason.text) for reason in one.reasons]
            why = known[id(one.reasons)] = ",".join([*texts, *[""] * (MOST_REASONS - len(texts))])
        degraded = "true" if one.degraded else "false"
        lines.append(f"{name},{one.pd!r},{one.points},{one.band},{one.decision},{degraded},{why},{one.decision_id},\n")
    return "".join(lines).encode()


def _cell(text: str) -> str:
    return text if _PLAIN(text) else _between('"', text)


def _between(mark: str, text: str) -> str:
    """Quoted, as CSV and SQL do it."""
    return mark + text.replace(mark, 2 * mark) + mark


def _spent(found: Sequence[Decision | Refused]) -> set[str]:
    """Partners whose budget is used up."""
    kinds = {id(one.parties): one.parties for one in found if isinstance(one, Decision)}
    return {name for parties in kinds.values() for name, partner in parties.items() if partner.state == "budget"}


def _to_parquet(part: Path, out: Path) -> None:
    """The rows of the CSV file `part` as the Parquet file `out`, which appears when it is whole."""
    import duckdb  # noqa: PLC0415 - slow to import, few need it

    made = part.with_name(part.name + ".parquet")
    columns = ", ".join(f"'{name}': '{kind}'" for name, kind in COLUMNS.items())
    read, write = _between("'", pattern_of(part)), _between("'", str(made))
    form = "auto_detect = false, header = true, delim = ',', quote = '\"', escape = '\"', parallel = false"
    rows = f"read_csv({read}, {form}, columns = {{{columns}}})"
    with duckdb.connect(":memory:", config={"threads": 1}) as database:
        try:
            database.execute("SET enable_progress_bar = false")
            database.execute(f"COPY (FROM {rows}) TO {write} (FORMAT parquet)")
        except duckdb.Error as error:
            raise UsageError(f"{out} cannot be written as Parquet: {type(error).__name__}") from None
    with made.open("rb") as file:
        os.fsync(file.fileno())
    made.replace(out)
