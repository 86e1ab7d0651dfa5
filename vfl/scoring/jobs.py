"""A file of applicants scored, however long it is: block by block, and gone on with after any interruption.

OUT.part        what is decided so far                      becomes OUT when all is
OUT.job.json    which file is scored, with what, and how many blocks and bytes of OUT.part are whole

Each block is one batch: one message to each partner, one entry on the ledger. It has an idempotency key of its own: a
block that was decided when the machine failed, and not yet written down, is not decided again within a day.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from hashlib import file_digest
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from vfl.errors import UsageError
from vfl.files import read_json, refusals, write_whole
from vfl.randomness import fresh_bytes
from vfl.scoring.answers import MOST_OF_A_BATCH, MOST_REASONS, Applicant, Decision, Refused, Scorer

CALLER = "job"
ID = "id"
HEADER = ("id", "pd", "points", "band", "decision", "degraded",
          *(f"reason_{n}" for n in range(1, MOST_REASONS + 1)), "decision_id", "refused")  # fmt: skip
Rows = Iterator[dict[str, str | None]]
Progress = Callable[[int], None]
"""Told how many applicants are done."""


@dataclass(frozen=True)
class Journal:
    """What must be the same when the job goes on, and how far it got."""

    job: str
    digest: str
    model: str
    blocks: int = 0
    bytes: int = 0
    scored: int = 0
    refused: int = 0


async def score_file(scorer: Scorer, source: Path, out: Path, progress: Progress, *, resume: bool) -> Journal:
    """Score the applicants in `source`, CSV or Parquet, into the new CSV file `out`.

    Raises UsageError naming file, row and column of what cannot be read; nothing that was decided is lost.
    """
    part, kept = out.with_name(out.name + ".part"), out.with_name(out.name + ".job.json")
    with refusals(out, "free some space, or name another --out; then say --resume"):
        journal = _begin(source, out, kept, scorer.models()[0].version, resume=resume)
        with part.open("r+b" if part.exists() else "w+b") as file:
            file.truncate(journal.bytes)
            file.seek(journal.bytes)
            if not journal.bytes:
                journal = _write(file, kept, journal, [HEADER])
            applicants = islice(_applicants(source, scorer.own_features), journal.blocks * MOST_OF_A_BATCH, None)
            while block := list(islice(applicants, MOST_OF_A_BATCH)):
                key = f"{journal.job}/{journal.blocks}"
                found = await scorer.score_batch(block, CALLER, key)
                refused = sum(isinstance(one, Refused) for one in found)
                journal = replace(
                    journal, blocks=journal.blocks + 1, scored=journal.scored + len(found) - refused,
                    refused=journal.refused + refused,
                )  # fmt: skip
                journal = _write(file, kept, journal, [_line(*each) for each in zip(block, found, strict=True)])
                progress(journal.scored + journal.refused)
        part.replace(out)
        kept.unlink()
    return journal


def _begin(source: Path, out: Path, kept: Path, model: str, *, resume: bool) -> Journal:
    """The journal, new or as it was left. Raises UsageError if another file or model was begun with."""
    if out.exists():
        raise UsageError(f"{out} exists", remedy="name another --out: results are never overwritten")
    try:
        with source.open("rb") as file:
            digest = file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UsageError(f"{source} cannot be read: {error.strerror}") from None
    if kept.exists() != resume:
        raise UsageError(
            f"{kept} is there: a job was begun" if kept.exists() else f"there is no {kept} to go on from",
            remedy="go on with --resume, or remove it" if kept.exists() else "leave --resume out",
        )
    if not resume:
        return Journal(fresh_bytes(8).hex(), digest, model)
    body = read_json(kept, "the journal of a job")
    try:
        journal = Journal(**body)
    except TypeError as error:
        raise UsageError(f"{kept} is damaged: {error}", remedy="remove it with its .part, and start anew") from None
    for what, now, then in (("file of applicants", digest, journal.digest), ("model", model, journal.model)):
        if now != then:
            raise UsageError(f"the {what} is another than when the job began", remedy="start anew under another --out")
    return journal


def _write(file: BinaryIO, kept: Path, journal: Journal, lines: Sequence[Sequence[str]]) -> Journal:
    """Lines first, then the journal that says that they are whole."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(lines)
    file.write(text.getvalue().encode())
    file.flush()
    os.fsync(file.fileno())
    journal = replace(journal, bytes=file.tell())
    write_whole(kept, asdict(journal))
    return journal


def _line(applicant: Applicant, found: Decision | Refused) -> tuple[str, ...]:
    if isinstance(found, Refused):
        return (applicant.id, *[""] * (len(HEADER) - 2), found.code)
    reasons = [reason.text for reason in found.reasons]
    return (
        applicant.id, repr(found.pd), str(found.points), found.band, found.decision, str(found.degraded).lower(),
        *reasons, *[""] * (MOST_REASONS - len(reasons)), found.decision_id, "",
    )  # fmt: skip


def _applicants(source: Path, features: Sequence[str]) -> Iterator[Applicant]:
    """One a row: a column `id`, and either all of `features` or none of them. Other columns are left alone."""
    rows = _parquet(source) if source.suffix == ".parquet" else _csv(source)
    for number, row in enumerate(rows, 1):
        given = [name for name in features if name in row]
        if number == 1 and (ID not in row or (given and len(given) < len(features))):
            missing = ID if ID not in row else ", ".join(name for name in features if name not in row)
            raise UsageError(
                f"{source.name} has no column {missing}",
                remedy=f"a column `id`, and all of the bank's own features or none: {', '.join(features)}",
            )
        if not 0 < len(row[ID] or "") <= 256:
            raise UsageError(f"{source.name}: data row {number} has no id, or one of more than 256 characters")
        values = {name: _number(row[name], source, number, name) for name in given}
        yield Applicant(str(row[ID]), values or None)


def _number(text: str | None, source: Path, row: int, column: str) -> float | None:
    if text is None or not text.strip():
        return None
    try:
        return float(text)
    except ValueError:
        raise UsageError(
            f"{source.name}: data row {row}, column {column} is no number", remedy="leave a missing value empty"
        ) from None


def _csv(source: Path) -> Rows:
    try:
        with source.open(encoding="utf-8-sig", newline="") as file:
            for row in csv.DictReader(file, strict=True):
                if None in row or None in row.values():
                    raise UsageError(f"{source.name}: a row has another number of fields than the header")
                yield dict(row)
    except (csv.Error, UnicodeDecodeError) as error:
        raise UsageError(f"{source.name} is no well-formed CSV in UTF-8: {type(error).__name__}") from None


def _parquet(source: Path) -> Rows:
    import duckdb  # noqa: PLC0415 - slow to import, few need it

    try:
        with duckdb.connect(":memory:") as database:
            found = database.execute("SELECT * FROM read_parquet(?)", [str(source)])
            names = [column[0] for column in found.description or ()]
            while rows := found.fetchmany(MOST_OF_A_BATCH):
                for row in rows:
                    yield {n: None if v is None else str(v) for n, v in zip(names, row, strict=True)}
    except duckdb.Error:
        raise UsageError(f"{source.name} cannot be read as Parquet", remedy="write it again, or as CSV") from None
