"""A file of applicants: scored block by block, gone on with after any interruption, refused where it cannot be read."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import duckdb
import msgspec
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vfl.clock import SystemClock
from vfl.errors import UsageError
from vfl.scoring import jobs
from vfl.scoring.answers import (
    Applicant,
    Decision,
    Partner,
    PartnerHealth,
    Reason,
    Receipt,
    Refused,
    Scored,
    Scorer,
    State,
)

WHY = (Reason("bank.income", 'Income, "low"', "bank"), Reason("telecom.calls", "Few calls", "telecom"))
MODEL, NOWHERE = Scored("model", "ab" * 32, "cd" * 32), Receipt("", 0, "")


class Counting:
    """Scores by the length of an id, and remembers its keys as the real service does."""

    own_features = ("income",)

    def __init__(self, fails_at: int = 99) -> None:
        self.links = {"telecom": PartnerHealth("up", "", None)}
        self.state: State = "ok"
        self.version = MODEL.version
        self.at_once = self.most_at_once = 0
        self.asked: list[str | None] = []
        self.kept: dict[str, tuple[Decision | Refused, ...]] = {}
        self.fails_at, self.seen = fails_at, list[Applicant]()

    def models(self) -> list[Scored]:
        return [msgspec.structs.replace(MODEL, version=self.version)]

    def partners(self) -> dict[str, PartnerHealth]:
        return self.links

    async def score_batch(self, block: Sequence[Applicant], caller: str, key: str) -> tuple[Decision | Refused, ...]:
        self.asked.append(key)
        fails = len(self.asked) == self.fails_at
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await asyncio.sleep(0.002)
        self.at_once -= 1
        if fails:
            raise RuntimeError("the machine failed")
        self.seen += block
        made = tuple(
            Refused("unknown-applicant", "nobody")
            if one.id == "nobody"
            else Decision(
                f"1-{key.partition('/')[2]}-{k}",
                0.25,
                500,
                "B",
                "approve",
                WHY[: k % 3],
                False,
                MODEL,
                {"telecom": Partner(self.state, 1.0)},
                NOWHERE,
            )
            for k, one in enumerate(block)
        )
        return self.kept.setdefault(key, made)


def job(scorer: Counting, source: Path, out: Path, *, resume: bool = False) -> jobs.Job:
    return jobs.Job(cast(Scorer, scorer), source, out, SystemClock(), resume=resume, block=3)


def go(scorer: Counting, source: Path, out: Path, *, resume: bool = False) -> jobs.Journal:
    return asyncio.run(job(scorer, source, out, resume=resume).run(lambda now: None))


def rows(out: Path) -> list[dict[str, str]]:
    with out.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "applicants.csv"
    path.write_text("id,income,other\n" + "".join(f"C-{n},{n}.5,x\n" for n in range(7)) + "nobody,,x\n")
    return path


def test_every_row_has_its_line(source: Path, tmp_path: Path) -> None:
    scorer = Counting()
    done = go(scorer, source, tmp_path / "out.csv")
    assert (done.scored, done.refused, done.blocks) == (7, 1, 3)
    found = rows(tmp_path / "out.csv")
    assert [row["id"] for row in found] == [*(f"C-{n}" for n in range(7)), "nobody"]
    assert found[-1]["refused"] == "unknown-applicant"
    assert scorer.seen[0] == Applicant("C-0", {"income": 0.5})
    assert scorer.seen[-1] == Applicant("nobody", {"income": None})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["applicants.csv", "out.csv"]


def test_the_same_from_parquet(source: Path, tmp_path: Path) -> None:
    pd.read_csv(source).to_parquet(tmp_path / "applicants.parquet")
    go(Counting(), source, tmp_path / "a.csv")
    go(Counting(), tmp_path / "applicants.parquet", tmp_path / "b.csv")
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()


@pytest.mark.parametrize("fails_at", [1, 2, 3])
def test_it_goes_on_where_it_stopped(source: Path, tmp_path: Path, fails_at: int) -> None:
    out, scorer = tmp_path / "out.csv", Counting(fails_at)
    with pytest.raises(RuntimeError):
        go(scorer, source, out)
    assert not out.exists()
    with pytest.raises(UsageError, match="a job was begun"):
        go(scorer, source, out)
    with (tmp_path / "out.csv.part").open("ab") as part:
        part.write(b"half a line" * 1000)  # what a crash leaves
    go(scorer, source, out, resume=True)
    whole = Counting()
    go(whole, source, tmp_path / "whole.csv")
    assert out.read_bytes() == (tmp_path / "whole.csv").read_bytes()
    assert len(set(scorer.asked)) == 3, "a block keeps its key"


def test_a_block_that_was_decided_is_not_decided_again(source: Path, tmp_path: Path) -> None:
    out, scorer = tmp_path / "out.csv", Counting(3)
    with pytest.raises(RuntimeError):
        go(scorer, source, out)
    journal = json.loads((tmp_path / "out.csv.job.json").read_text())
    before = {**journal, "blocks": 1, "bytes": journal["bytes"] // 2, "scored": 3}  # written down before block two was
    first = (tmp_path / "out.csv.part").read_bytes()
    before["bytes"] = len(b"".join(first.splitlines(keepends=True)[:4]))
    (tmp_path / "out.csv.job.json").write_text(json.dumps(before))
    go(scorer, source, out, resume=True)
    assert len(scorer.kept) == 3
    assert len(rows(out)) == 8


def test_another_file_or_model_is_refused(source: Path, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError):
        go(Counting(2), source, tmp_path / "out.csv")
    source.write_text(source.read_text() + "C-9,1,x\n")
    with pytest.raises(UsageError, match="the file of applicants is another"):
        go(Counting(), source, tmp_path / "out.csv", resume=True)
    source.write_text(source.read_text().removesuffix("C-9,1,x\n"))
    later = Counting()
    later.version = "ee" * 32
    with pytest.raises(UsageError, match="the model is another"):
        go(later, source, tmp_path / "out.csv", resume=True)
    with pytest.raises(UsageError, match=r"there is no .* to go on from"):
        go(Counting(), source, tmp_path / "new.csv", resume=True)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("who,income\nC-1,2\n", "has no column id"),
        ("id,income\nC-1,high\n", "data row 1, column income is no number"),
        ("id,income\nC-1,1e999\n", "data row 1, column income is not finite"),
        ("id,income\nC-1,1_000\n", "data row 1, column income is no number"),
        ("id,income\n,1\n", "data row 1 has no id"),
        (f"id\n{'x' * 257}\n", "data row 1 has no id, or one longer than 256"),
        ("id,income\nC-1\n", "data row 1 has 1 fields, the header has 2"),
        ("id\n\xff\n", "is not UTF-8"),
    ],
)
def test_what_cannot_be_read_is_named_by_place(tmp_path: Path, text: str, words: str) -> None:
    source = tmp_path / "applicants.csv"
    source.write_bytes(text.encode("latin-1"))
    with pytest.raises(UsageError, match=words) as refused:
        go(Counting(), source, tmp_path / "out.csv")
    assert [path.name for path in tmp_path.iterdir()] == ["applicants.csv"]
    assert "high" not in str(refused.value).replace(source.name, ""), "no value of an applicant"


def test_a_fault_in_the_last_row_is_found_before_the_first_decision(tmp_path: Path) -> None:
    source, scorer = tmp_path / "applicants.csv", Counting()
    source.write_text("id,income\n" + "".join(f"C-{n},1\n" for n in range(10_500)) + "C-x,high\n")
    with pytest.raises(UsageError, match="data row 10501, column income is no number"):
        go(scorer, source, tmp_path / "out.csv")
    assert scorer.asked == []


def test_cells_mean_what_they_mean_in_tables_of_a_run(tmp_path: Path) -> None:
    frame = pd.DataFrame({"id": [7, 8, 9], "income": np.array([0.1, np.nan, 3.0], np.float32)})
    frame.to_parquet(tmp_path / "a.parquet")
    (tmp_path / "b.csv").write_text("id,income\n7,0.10000000149011612\n8,NA\n9,3\n")
    for name in ("a.parquet", "b.csv"):
        scorer = Counting()
        go(scorer, tmp_path / name, tmp_path / f"{name}.out.csv")
        assert scorer.seen == [
            Applicant("7", {"income": float(np.float32(0.1))}), Applicant("8", {"income": None}),
            Applicant("9", {"income": 3.0}),
        ]  # fmt: skip


def test_the_result_as_parquet(source: Path, tmp_path: Path) -> None:
    with source.open("a") as file:
        file.write('"a ""b"",\nc",1,x\n007,1,x\n')
    go(Counting(), source, tmp_path / "out.csv")
    go(Counting(), source, tmp_path / "o'[1].parquet")
    found = duckdb.connect().execute("SELECT * FROM read_parquet(?)", [str(tmp_path / "o'[[]1].parquet")])
    assert [column[0] for column in found.description or ()] == list(jobs.COLUMNS)
    told = [["" if cell is None else str(cell) for cell in row] for row in found.fetchall()]
    due = [list(row.values()) for row in rows(tmp_path / "out.csv")]
    assert told == [[{"false": "False"}.get(cell, cell) for cell in row] for row in due]
    assert [row[0] for row in due[-2:]] == ['a "b",\nc', "007"]
    assert due[1][6:8] == ['Income, "low"', ""]
    assert len(list(tmp_path.iterdir())) == 3


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=5), min_size=1, max_size=5))
def test_identifiers_come_back_as_they_were(ids: list[str]) -> None:
    found = [Refused("no", "because")] * len(ids)
    text = jobs._lines([Applicant(one) for one in ids], found).decode()
    assert [row[0] for row in csv.reader(io.StringIO(text, newline=""))] == ids


def test_progress_counts_what_was_done_now(source: Path, tmp_path: Path) -> None:
    told: list[jobs.Progress] = []
    with pytest.raises(RuntimeError):
        go(Counting(3), source, tmp_path / "out.csv")
    asyncio.run(job(Counting(), source, tmp_path / "out.csv", resume=True).run(told.append))
    (only,) = told
    assert (only.journal.done, only.journal.rows, only.left) == (8, 8, 0.0)
    assert 0 < only.per_second < 2 / 1e-6


def test_it_waits_for_a_partner_that_is_away(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "PATIENCE", 0.05)
    monkeypatch.setattr(jobs, "_LOOK", 0.01)
    scorer = Counting()
    scorer.links["telecom"] = PartnerHealth("open circuit", "", None)
    with pytest.raises(UsageError, match="telecom did not answer for 0 s; nothing is lost"):
        go(scorer, source, tmp_path / "out.csv")
    assert scorer.asked == []
    monkeypatch.setattr(jobs, "PATIENCE", 60.0)

    async def work() -> jobs.Journal:
        running = asyncio.create_task(
            job(scorer, source, tmp_path / "out.csv", resume=True).run(lambda now: None)
        )  # fmt: skip
        await asyncio.sleep(0.05)
        assert scorer.asked == []
        scorer.links["telecom"] = PartnerHealth("up", "", None)
        return await running

    assert asyncio.run(work()).done == 8


def test_it_stops_where_a_budget_is_used_up(source: Path, tmp_path: Path) -> None:
    scorer = Counting()
    scorer.state = "budget"
    with pytest.raises(UsageError, match="the budget of telecom is used up for today"):
        go(scorer, source, tmp_path / "out.csv")
    assert len(scorer.asked) == 2, "those that were under way"
    assert json.loads((tmp_path / "out.csv.job.json").read_text())["blocks"] == 2
    scorer.state = "ok"
    assert go(scorer, source, tmp_path / "out.csv", resume=True).done == 8


@pytest.mark.parametrize(("beside", "most"), [(False, 2), (True, 1)])
def test_so_many_blocks_are_under_way(source: Path, tmp_path: Path, beside: bool, most: int) -> None:
    scorer, out = Counting(), tmp_path / "out.csv"
    one = jobs.Job(cast(Scorer, scorer), source, out, SystemClock(), resume=False, block=3, beside=beside)
    assert asyncio.run(one.run(lambda now: None)).done == 8
    assert scorer.most_at_once == most


def test_stopped_and_gone_on_with(source: Path, tmp_path: Path) -> None:
    out, scorer = tmp_path / "out.csv", Counting()
    first = job(scorer, source, out)
    assert asyncio.run(first.run(lambda now: first.stop())).done == 6
    assert not out.exists()
    assert go(scorer, source, out, resume=True).done == 8
    assert len(scorer.asked) == 3
    assert len(rows(out)) == 8


@pytest.mark.parametrize("name", ["out.csv", "out.parquet"])
def test_interrupted_at_the_very_end(source: Path, tmp_path: Path, name: str) -> None:
    out, scorer = tmp_path / name, Counting()
    one = job(scorer, source, out)
    with pytest.MonkeyPatch.context() as patch:  # the machine fails when the result has its name
        patch.setattr(Path, "unlink", lambda *_, **__: (_ for _ in ()).throw(OSError("off")))
        with pytest.raises(UsageError, match="cannot be written"):
            asyncio.run(one.run(lambda now: None))
    whole = out.read_bytes()
    assert go(scorer, source, out, resume=True).done == 8
    assert out.read_bytes() == whole
    assert len(scorer.asked) == 3
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["applicants.csv", name])


def test_what_is_there_is_not_overwritten(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    out.write_text("mine")
    with pytest.raises(UsageError, match="exists"):
        go(Counting(), source, out)
    out.unlink()
    with pytest.raises(RuntimeError):
        go(Counting(2), source, out)
    out.write_text("mine")  # while the job stands still
    with pytest.raises(UsageError, match="exists"):
        go(Counting(), source, out, resume=True)
    out.unlink()
    (tmp_path / "out.csv.part").write_bytes(b"id")
    with pytest.raises(UsageError, match="shorter than its journal says"):
        go(Counting(), source, out, resume=True)


@pytest.mark.slow
def test_killed_for_real(trees: Path, tmp_path: Path) -> None:
    ids = [line.split(",")[0] for line in (trees / "predictions.csv").read_text().splitlines()[1:]]
    source, out = tmp_path / "applicants.csv", tmp_path / "out.csv"
    source.write_text("id\n" + "".join(f"{ids[n % len(ids)]}\n" for n in range(60_000)))
    words = [sys.executable, "-m", "vfl.cli", "score", str(source), "--run", str(trees), "--out", str(out)]
    running = subprocess.Popen(words, stderr=subprocess.DEVNULL)
    while (
        not (tmp_path / "out.csv.job.json").exists() or b'"blocks": 0' in (tmp_path / "out.csv.job.json").read_bytes()
    ):
        assert running.poll() is None
        time.sleep(0.02)
    running.send_signal(signal.SIGKILL)
    running.wait()
    time.sleep(1)  # its partners' processes see that it went
    ended: Any = subprocess.run([*words, "--resume", "--json"], capture_output=True, text=True, check=True)
    assert json.loads(ended.stdout)["scored"] == 60_000
    found = rows(out)
    assert len({row["decision_id"] for row in found}) == 60_000
    with (trees / "predictions.csv").open(newline="") as file:
        due = {row["id"]: row["pd"] for row in csv.DictReader(file)}
    assert all(row["pd"] == due[row["id"]] for row in found)
