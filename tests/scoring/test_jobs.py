"""A file of applicants: scored block by block, gone on with after any interruption, refused where it cannot be read."""

from __future__ import annotations

import asyncio
import csv
import json
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import pandas as pd
import pytest

from vfl.errors import UsageError
from vfl.scoring import jobs
from vfl.scoring.answers import Applicant, Decision, Receipt, Refused, Scored, Scorer

MODEL, NOWHERE = Scored("model", "ab" * 32, "cd" * 32), Receipt("", 0, "")


class Counting:
    """Scores by the length of an id, and remembers its keys as the real service does."""

    own_features = ("income",)

    def __init__(self, fails_at: int = 99) -> None:
        self.asked: list[str | None] = []
        self.kept: dict[str, tuple[Decision | Refused, ...]] = {}
        self.fails_at, self.seen = fails_at, list[Applicant]()

    def models(self) -> list[Scored]:
        return [MODEL]

    async def score_batch(self, block: Sequence[Applicant], caller: str, key: str) -> tuple[Decision | Refused, ...]:
        self.asked.append(key)
        if len(self.asked) == self.fails_at:
            raise RuntimeError("the machine failed")
        self.seen += block
        made = tuple(
            Refused("unknown-applicant", "nobody")
            if one.id == "nobody"
            else Decision(
                f"1-{len(self.kept)}-{k}", 0.25, 500, "B", "approve", (), False, MODEL, {}, Receipt("", 0, "")
            )
            for k, one in enumerate(block)
        )
        return self.kept.setdefault(key, made)


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "MOST_OF_A_BATCH", 3)


def go(scorer: Counting, source: Path, out: Path, *, resume: bool = False) -> jobs.Journal:
    return asyncio.run(
        jobs.score_file(cast(Scorer, scorer), source, out, lambda done: None, resume=resume)
    )  # fmt: skip


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
        part.write(b"half a li")  # what a crash leaves
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
    with pytest.raises(UsageError, match=r"there is no .* to go on from"):
        go(Counting(), source, tmp_path / "new.csv", resume=True)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("who,income\nC-1,2\n", "has no column id"),
        ("id,income\nC-1,high\n", "data row 1, column income is no number"),
        ("id,income\n,1\n", "data row 1 has no id"),
        ("id,income\nC-1\n", "another number of fields"),
        ("id\n\xff\n", "no well-formed CSV"),
    ],
)
def test_what_cannot_be_read_is_named_by_place(tmp_path: Path, text: str, words: str) -> None:
    source = tmp_path / "applicants.csv"
    source.write_bytes(text.encode("latin-1"))
    with pytest.raises(UsageError, match=words) as refused:
        go(Counting(), source, tmp_path / "out.csv")
    assert "high" not in str(refused.value).replace(source.name, ""), "no value of an applicant"


@pytest.mark.slow
def test_killed_for_real(trees: Path, tmp_path: Path) -> None:
    ids = [line.split(",")[0] for line in (trees / "predictions.csv").read_text().splitlines()[1:]]
    source, out = tmp_path / "applicants.csv", tmp_path / "out.csv"
    source.write_text("id\n" + "".join(f"{ids[n % len(ids)]}\n" for n in range(60_000)))
    words = [sys.executable, "-m", "vfl.cli", "score", source, "--run", trees, "--out", out]
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
