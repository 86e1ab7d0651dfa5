"""All benchmarks of docs/benchmarks.md, one after the other, each in a process of its own.

    python -m benchmarks all --out docs/benchmarks.json
    python -m benchmarks all --out docs/benchmarks.json --only kkrt      that one again, the others as they are

The file is written after every run, so an interrupted round is not lost. `--scale` multiplies all numbers of rows and
ids, to try the whole thing in a minute.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shlex
import subprocess
import sys
import time
from argparse import Namespace
from pathlib import Path
from typing import Any

from benchmarks.options import positive
from vfl import __version__
from vfl.files import write_whole

_SMALL = "--active-features 10 --passive-features 10 --bins 32 --depth 5"
CASES = (
    f"train --rows 20000 {_SMALL} --trees 5",
    f"train --rows 100000 {_SMALL} --trees 5",
    f"train --rows 1000000 {_SMALL} --trees 1",
    "train --rows 100000 --active-features 10 --passive-features 50 --bins 255 --depth 5 --trees 1",
    f"train --rows 20000 {_SMALL} --trees 2 --scheme paillier",
    "histogram --rows 100000 --passive-features 10 --bins 32 --depth 5 --scheme lattice",
    "histogram --rows 10000 --passive-features 10 --bins 32 --depth 3 --scheme paillier",
    "psi --ids 1048576 --engine kkrt --repeats 1",
    "psi --ids 1048576 --engine x25519 --repeats 1",
    "ledger",
    "explain",
    "features",
    "scorecard",
    "evaluation",
    "evaluate",
    "growth",
)
"""In the order of the page."""
FILE = Path("docs/benchmarks.json")
_SCALED = re.compile(r"(--rows|--ids) (\d+)")


def parser() -> argparse.ArgumentParser:
    """The command line."""
    found = argparse.ArgumentParser(
        prog="python -m benchmarks all", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    found.add_argument("--out", type=Path, default=FILE, help="JSON file (default: docs/benchmarks.json)")
    found.add_argument("--only", metavar="WORDS", default="", help="run only the commands in which this occurs")
    found.add_argument("--scale", type=positive, default=1.0, help="of all numbers of rows and ids")
    return found


def main(words: list[str]) -> int:
    """Runs and keeps all figures; 1 when a benchmark gave none."""
    given = parser().parse_args(words)
    commands = [command(case, given.scale) for case in CASES]
    kept = _kept(given)
    chosen = [one for one in commands if given.only in one]
    failed = 0
    for number, one in enumerate(chosen, 1):
        print(f"[{number}/{len(chosen)}] {one}", file=sys.stderr, flush=True)
        start = time.perf_counter()
        found = measured(one)
        print(f"    {time.perf_counter() - start:.0f} seconds", file=sys.stderr, flush=True)
        if found is None:
            failed += 1
            continue
        if not found.get("within_limits", True):
            print("    above its limit", file=sys.stderr, flush=True)
        kept[one] = found
        runs = [{"command": known, **kept[known]} for known in commands if known in kept]
        write_whole(given.out, {"tallystick": __version__, "machine": machine(), "runs": runs})
    print(f"{len(chosen) - failed} of {len(chosen)} written to {given.out}", file=sys.stderr)
    return 1 if failed or not chosen else 0


def command(case: str, scale: float) -> str:
    """The whole command line of a case."""
    if scale != 1.0:
        case = _SCALED.sub(lambda found: f"{found[1]} {max(2, round(int(found[2]) * scale))}", case)
        case += f" --scale {scale:g}" if case == "growth" else ""
    return f"python -m benchmarks {case} --json"


def measured(one: str) -> dict[str, Any] | None:
    """The figures that a command prints; None when it prints none."""
    words = [sys.executable, *shlex.split(one)[1:]]
    done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=False)
    try:
        found: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        print(f"    no figures; exit code {done.returncode}", file=sys.stderr, flush=True)
        return None
    return found


def machine() -> dict[str, Any]:
    """What the figures depend on."""
    return {"processor": _processor(), "cores": os.cpu_count(), "python": platform.python_version()}


def _processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        text = ""
    found = re.search(r"^model name\s*: (.+)$", text, re.M)
    return " ".join(found[1].split()) if found else platform.machine()


def _kept(given: Namespace) -> dict[str, dict[str, Any]]:
    """The figures that stay, by command."""
    if not given.only or not given.out.exists():
        return {}
    runs = json.loads(given.out.read_text(encoding="utf-8"))["runs"]
    return {run["command"]: {key: value for key, value in run.items() if key != "command"} for run in runs}
