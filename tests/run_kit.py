"""Small scenarios of a user's own files, and the command line as a function."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any
from unittest import mock

import duckdb
import numpy as np
import pandas as pd

from ledger.bundle import read_bundle
from ledger.entry import Entry
from vfl import cli

CUSTOMERS = 600
FEATURES = {"bank": ("income", "limit"), "telecom": ("calls", "roaming", "age"), "payroll": ("salary", "months")}
ID = {"bank": "customer_id", "telecom": "phone", "payroll": "mobile"}
TOML = """\
[scenario]
name = "my-bank"
[party.bank]
role = "active"
table = "bank.csv"
id = "customer_id"
label = "default"
[party.telecom]
role = "passive"
table = "telecom.parquet"
id = "phone"
[party.payroll]
role = "passive"
table = "payroll.csv"
id = "mobile"
[model]
kind = "gbdt"
num_iterations = 3
learning_rate = 0.3
num_leaves = 4
max_bin = 16
min_data_in_leaf = 5
[privacy]
min_bin_population = 5
min_intersection = 100
[psi]
id_rule = "phone-es@1"
[holdout]
fraction = 0.3
seed = 5
"""
VALIDATED = TOML.replace("num_leaves = 4", "num_leaves = 4\nvalidation_fraction = 0.2\nearly_stopping_round = 2")
TWO = TOML.replace(TOML[TOML.index("[party.payroll]") : TOML.index("[model]")], "")


def frames(customers: int = CUSTOMERS) -> dict[str, pd.DataFrame]:
    """Each party's table: overlapping customers, numbers written its own way, missing values, a signal in each."""
    rng = np.random.default_rng(7)
    total = customers + customers // 4
    numbers = 200_000_000 + rng.choice(10_000_000, total, replace=False)
    columns = {name: rng.normal(size=total).round(3) for names in FEATURES.values() for name in names}
    risk = columns["income"] + columns["calls"] - columns["salary"] + rng.normal(size=total) * 0.7
    styles = {"bank": "+34{}", "telecom": "0034{}", "payroll": "{}"}
    who = {
        "bank": np.arange(customers),
        "telecom": rng.permutation(np.r_[0 : int(customers * 0.9), customers : customers + 40]),
        "payroll": rng.permutation(np.r_[int(customers * 0.08) : customers, customers + 40 : customers + 60]),
    }
    tables = {}
    for party, rows in who.items():
        frame = pd.DataFrame({ID[party]: [styles[party].format(number) for number in numbers[rows]]})
        for name in FEATURES[party]:
            frame[name] = columns[name][rows]
            frame.loc[rng.random(len(rows)) < 0.05, name] = np.nan
        if party == "bank":
            frame["default"] = (risk > 0.3)[rows].astype(int)
        tables[party] = frame
    return tables


def write_tables(folder: Path, tables: Mapping[str, pd.DataFrame]) -> None:
    """The telecom's table as Parquet, all others as CSV."""
    folder.mkdir(parents=True, exist_ok=True)
    for party, frame in tables.items():
        if party == "telecom":
            write_parquet(folder / "telecom.parquet", frame)
        else:
            frame.to_csv(folder / f"{party}.csv", index=False)


def write_parquet(path: Path, frame: pd.DataFrame) -> None:
    """Without pyarrow, which the package does not need."""
    columns = {name: frame[name].to_numpy() for name in frame}
    with duckdb.connect(":memory:") as database:
        database.register("frame", columns)
        target = str(path).replace("'", "''")
        database.execute(f"COPY frame TO '{target}' (FORMAT parquet)")


def scenario(folder: Path, toml: str = TWO, tables: Mapping[str, pd.DataFrame] | None = None) -> Path:
    """The scenario file, with its tables beside it."""
    write_tables(folder, frames() if tables is None else tables)
    path = folder / "scenario.toml"
    path.write_text(toml, encoding="utf-8")
    return path


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str


def tallystick(capfd: Any, *words: object) -> Ended:
    """The command line in this process."""
    capfd.readouterr()
    code = _main(*words)
    told = capfd.readouterr()
    return Ended(code, told.out, told.err)


def _main(*words: object) -> int:
    with mock.patch.object(sys, "argv", ["tallystick", *map(str, words)]):
        try:
            cli.main()
        except SystemExit as end:
            return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0


def here(*words: object) -> subprocess.CompletedProcess[str]:
    """As `apart`, but in this process, which has imported everything already: half the work of a small run."""
    out, err = StringIO(), StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = _main(*words)
    return subprocess.CompletedProcess(["tallystick", *map(str, words)], code, out.getvalue(), err.getvalue())


@dataclass(frozen=True)
class Finished:
    """A run that has ended well, and what it said; shared by tests, so not to be changed."""

    own: Path
    out: Path
    said: subprocess.CompletedProcess[str]


Runs = Callable[..., Finished]
"""The fixture `finished`: a scenario's text, then further words of the command line."""


def command(*words: object) -> list[str]:
    """The command line as words for a process of its own."""
    return [sys.executable, "-W", "error", "-c", "from vfl.cli import main; main()", *map(str, words)]


def apart(*words: object, **options: Any) -> subprocess.CompletedProcess[str]:
    """The command line as a process of its own."""
    return subprocess.run(command(*words), capture_output=True, text=True, timeout=120, check=False, **options)


def verify(directory: Path) -> subprocess.CompletedProcess[str]:
    """What an auditor runs."""
    words = ["-m", "ledger", "verify", str(directory / "audit.bundle"), "--policy", str(directory / "policy.txt")]
    return subprocess.run([sys.executable, *words], capture_output=True, text=True, timeout=60, check=False)


def parties(directory: Path) -> list[str]:
    """The parties of a run, in the agreement's order."""
    agreement = json.loads(json.loads((directory / "run.json").read_text())["agreement"])
    return [member["name"] for member in agreement["members"]]


def content(directory: Path) -> dict[str, bytes]:
    """Every file below a directory, by relative path."""
    return {str(p.relative_to(directory)): p.read_bytes() for p in sorted(directory.rglob("*")) if p.is_file()}


def essence(directory: Path) -> dict[str, bytes]:
    """What two runs with the same seed must share to the byte: transcripts, model shares, predictions."""
    wanted = ("transcript.bin", "share.json", "predictions.csv", "rows.npy", "parts.npy")
    return {name: data for name, data in content(directory).items() if name.endswith(wanted)}


@contextlib.contextmanager
def inside(folder: Path) -> Iterator[None]:
    """Work in `folder` for a while."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def edit(path: Path, row: int, column: str, value: object) -> None:
    """Change one cell of a CSV table."""
    frame = pd.read_csv(path, dtype=str, keep_default_na=False)
    frame.loc[row, column] = str(value)
    frame.to_csv(path, index=False)


def assert_committed_first(directory: Path, parties: Iterable[str]) -> None:
    """Before any bin or round every party is committed to its columns and seeds, under a head that others cosigned."""
    logs = read_bundle(directory / "audit.bundle").logs()
    for party in parties:
        entries = [Entry.from_bytes(body) for body in logs[party].entries.split(b"\n")[:-1]]
        committed = [entry for entry in entries if (entry.phase, entry.step) == ("commit", "aligned")]
        learning = [entry for entry in entries if entry.phase in ("bins", "woe", "correlate", "train", "fit")]
        rounds = [entry for entry in entries if entry.phase in ("train", "fit")]
        assert committed
        assert learning
        assert committed[-1].seq < min(entry.seq for entry in learning)
        between = range(committed[-1].seq + 1, min(entry.seq for entry in rounds) + 1)
        cosigned = [size for size, note in logs[party].checkpoints.items() if b"/witness" in note]
        assert any(size in between for size in cosigned)
        kinds = {item["kind"] for entry in committed for item in entry.commit}
        assert "seeds/protocol" in kinds
        assert any(str(kind).startswith("column/") for kind in kinds)
