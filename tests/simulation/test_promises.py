"""Seeds keep every promise, planted bugs break one, and a seed is the same run wherever it is played."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from .bugs import BUGS
from .command import main
from .playing import simulate
from .promises import PROMISES

ROOT = Path(__file__).parent.parent.parent
QUICK, SLOW, BLOCK = 120, 2000, 20
WITHIN = 500  # seeds that a bug may take
QUICK_BUGS = ("said_again_although_held", "others_asked_for_too_early", "slots_entered_again")


def blocks() -> list[object]:
    """The first seeds in every run of the suite, 2,000 with the slow tests."""
    slow = [pytest.param(first, marks=pytest.mark.slow) for first in range(QUICK, SLOW, BLOCK)]
    return [*range(0, QUICK, BLOCK), *slow]


@pytest.mark.parametrize("first", blocks())
def test_every_promise_is_kept(first: int) -> None:
    for seed in range(first, first + BLOCK):
        told = simulate(seed)
        assert told.broken is None, f"{told.ending}\npython -m tests.simulation {seed} --trace"
        assert told.ending in ("a model", "refused", "given up")


@pytest.mark.slow
def test_every_fault_happens_somewhere() -> None:
    left = {
        "a partition", "a full disk", "a flipped bit", "an old backup", "another version", "gone for good",
        "before a record", "after a record", "before a transaction", "after a transaction",
        "Malformed", "Unexpected", "BrokenPromise",
    }  # fmt: skip
    seed = 0
    while left:
        left -= set(simulate(seed).faults)
        seed += 1
        assert seed < WITHIN, left


@pytest.mark.parametrize(
    "name", [name if name in QUICK_BUGS else pytest.param(name, marks=pytest.mark.slow) for name in BUGS]
)
def test_a_planted_bug_is_found(name: str) -> None:
    assert BUGS[name].__doc__
    assert any(simulate(seed, BUGS[name]).broken for seed in range(WITHIN)), f"{name} was not found"


def test_there_are_bugs_and_promises_enough() -> None:
    assert len(BUGS) >= 12
    assert tuple(f"P{n}" for n in range(1, 10)) == PROMISES
    page = (ROOT / "docs/guide/simulation.md").read_text("utf-8")
    assert all(f"| {promise} |" in page for promise in PROMISES)


def test_a_seed_is_the_same_everywhere() -> None:
    script = "import sys; sys.path[:0] = ['tests']; from simulation.playing import simulate; print(simulate(3).digest)"
    environment = os.environ | {"PYTHONHASHSEED": "77", "PYTHONPATH": str(ROOT)}
    words = [sys.executable, "-c", script]
    there = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=True)
    assert there.stdout.strip() == simulate(3).digest == simulate(3).digest
    assert simulate(4).digest != simulate(3).digest


def test_one_command_replays_a_seed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["0", "--trace"]) == 0
    told = capsys.readouterr().out
    assert "begins attempt 1" in told
    assert "0 broke a promise" in told
    assert main(["0", "--bug", "slots_entered_again"]) == 1
    assert "again: python -m tests.simulation 0 --trace --bug slots_entered_again" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main([])
