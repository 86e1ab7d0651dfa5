"""A whole `tallystick run` of many rows: from two Parquet files to a verified bundle, each party a process of its own.

    python -m benchmarks whole --rows 2000000 --json

peak_mb         the most memory of each party's process (Linux's own count), and of the `command`: the simulation, which
                reads both tables to see whether they will do, and in the end trains LightGBM on all of both
cpu_seconds     of each party, as the run's summary tells
wall_seconds    of the command, and `phase_seconds` of the slowest party in each phase
verdict         of `python -m ledger verify` on the bundle
within_limits   each party's peak at most 4096 MB, and the bundle valid
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.options import add_shape, figures, new_parser, rounded, settle_scheme
from benchmarks.parties import ACTIVE
from benchmarks.process_tree import Peaks
from benchmarks.scale import LIMIT_MB
from benchmarks.tables import table_file, write_table
from vfl.config import PsiConfig
from vfl.protocols.intersect import PROTOCOLS

PASSIVE, COMMAND = "passive0", "command"
_SCENARIO = """\
[scenario]
name = "whole"
[party.{active}]
role = "active"
table = "{active}.parquet"
id = "id"
label = "bad"
[party.{passive}]
role = "passive"
table = "{passive}.parquet"
id = "id"
[model]
num_iterations = {given.trees}
num_leaves = {leaves}
max_depth = {given.depth}
max_bin = {given.bins}
[privacy]
scheme = "{given.scheme}"
key_bits = {given.key_bits}
[psi]
protocol = "{given.protocol}"
id_rule = "text@1"
[holdout]
fraction = 0.2
seed = {given.seed}
"""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    found = new_parser("whole", __doc__)
    add_shape(found, rows=2_000_000, depth=4)
    found.add_argument("--protocol", choices=PROTOCOLS, default=PsiConfig.protocol, help="of the intersection")
    found.set_defaults(active_features=10, trees=3, ids=None)
    return found


def run(given: Namespace) -> dict[str, Any]:
    """Files, run, verification. RuntimeError when the command fails."""
    settle_scheme(parser(), given)
    with tempfile.TemporaryDirectory() as folder:
        for side in (ACTIVE, PASSIVE):
            write_table(given, side, table_file(folder, side))
        scenario = Path(folder) / "scenario.toml"
        words = {"active": ACTIVE, "passive": PASSIVE, "given": given, "leaves": 2**given.depth}
        scenario.write_text(_SCENARIO.format(**words), encoding="utf-8")
        return figures("whole", given, _measured(scenario, Path(folder) / "run"))


def _measured(scenario: Path, out: Path) -> dict[str, Any]:
    peaks, start = Peaks(_named), time.perf_counter()
    try:
        words = ["from vfl.cli import main; main()", "run", str(scenario), "--out", str(out), "--processes", "--json"]
        ended = subprocess.run([sys.executable, "-c", *words], stdout=subprocess.PIPE, check=False)
    finally:
        peaks.stop()
    if ended.returncode:
        raise RuntimeError(f"tallystick run ended with code {ended.returncode}")
    wall, told = time.perf_counter() - start, json.loads(ended.stdout)
    verified = ["-m", "ledger", "verify", str(out / "audit.bundle"), "--policy", str(out / "policy.txt")]
    code = subprocess.run([sys.executable, *verified], stdout=subprocess.DEVNULL, check=False).returncode
    return {
        "cpu_seconds": rounded({"active": told["cpu_seconds"][ACTIVE], "passive": told["cpu_seconds"][PASSIVE]}, 1),
        "wall_seconds": round(wall, 1),
        "phase_seconds": rounded(told["seconds"], 1),
        "peak_mb": {"active": peaks.mb[ACTIVE], "passive": peaks.mb[PASSIVE], COMMAND: peaks.mb[COMMAND]},
        "auc": round(told["metrics"]["federated"]["auc"], 6),
        "auc_lightgbm": round(told["metrics"]["pooled_lightgbm"]["auc"], 6),
        "rows": told["rows"],
        "verdict": "valid" if code == 0 else f"code {code}",
        "within_limits": code == 0 and max(peaks.mb[ACTIVE], peaks.mb[PASSIVE]) <= LIMIT_MB,
    }


def _named(words: Sequence[str]) -> str | None:
    if "vfl.processes" in words:
        return words[words.index("vfl.processes") + 2]
    return COMMAND if "--processes" in words else None
