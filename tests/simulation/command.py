"""The command line of the simulation: replay a seed, play many, plant a bug."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from contextlib import nullcontext

from .bugs import BUGS
from .playing import Told, simulate


def main(words: Sequence[str]) -> int:
    """0 if every promise was kept."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("seed", nargs="?", type=int, help="the seed to play")
    parser.add_argument("--seeds", nargs=2, type=int, metavar=("FIRST", "LAST"), help="play many, the last included")
    parser.add_argument("--trace", action="store_true", help="print everything that happened")
    parser.add_argument("--bug", choices=BUGS, help="plant one of the known bugs")
    given = parser.parse_args(words)
    if (given.seed is None) == (given.seeds is None):
        parser.error("name a SEED, or --seeds FIRST LAST")
    first, last = given.seeds or (given.seed, given.seed)
    started, broken = time.process_time(), 0
    for seed in range(first, last + 1):
        told = simulate(seed, BUGS.get(given.bug, nullcontext))
        broken += told.broken is not None
        if told.broken or given.seed is not None:
            say(told, trace=given.trace, bug=given.bug)
    spent = time.process_time() - started
    played = last + 1 - first
    print(f"{played} seeds in {spent:.1f} s of CPU time, {played / spent:.0f} a second; {broken} broke a promise")
    return 1 if broken else 0


def say(told: Told, *, trace: bool, bug: str | None) -> None:
    """How a seed ended, and how to see it again."""
    print(f"seed {told.seed}: {told.ending}, after {told.attempts} attempts; {told.mix}")
    if trace:
        print("\n".join(told.trace))
    if told.broken:
        planted = f" --bug {bug}" if bug else ""
        print(f"again: python -m tests.simulation {told.seed} --trace{planted}")
    sys.stdout.flush()
