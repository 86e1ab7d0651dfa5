"""Progress of a run, for people on a terminal (rich) or for a parent process (one JSON object a line)."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Protocol, TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Display

PHASES = {
    "prepare": "reading tables",
    "start": "each party reading its own",
    "handshake": "comparing agreements",
    "psi": "finding common customers",
    "align": "confirming the common order",
    "woe": "weights of evidence from encrypted labels",
    "correlate": "selecting features",
    "correlate_partners": "selecting features across partners",
    "init": "scoring with the earlier model",
    "bins": "binning, exchanging keys",
    "train": "training on encrypted histograms",
    "fit": "fitting coefficients to encrypted residuals",
    "errors": "standard errors",
    "score": "scoring the hold-out",
    "freeze": "freezing the model",
    "compare": "training the comparisons",
    "audit": "writing the audit bundle",
}


class Progress(Protocol):
    """Is told where the run stands."""

    def enter(self, phase: str, round: int, rounds: int = 1) -> None:
        """`round` of at most `rounds` of `phase` begins."""
        ...


def tell(out: TextIO, text: str) -> None:
    """Write `text`; that nobody listens any more is no reason to stop."""
    try:
        out.write(text)
        out.flush()
    except BrokenPipeError:
        nobody(out)


def nobody(out: IO[str]) -> None:
    """From now on `out` leads nowhere: else Python ends with 120, where its last flush fails."""
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), out.fileno())


class Silent:
    """Shows nothing."""

    def enter(self, phase: str, round: int, rounds: int = 1) -> None:
        """Ignored."""


class Lines:
    """One JSON object a line: how a party's process reports to the one that started it."""

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def enter(self, phase: str, round: int, rounds: int = 1) -> None:
        self._out.write(json.dumps({"phase": phase, "round": round, "rounds": rounds}) + "\n")
        self._out.flush()


class Plain:
    """One line a phase on a stream that is no terminal, and a line now and then while training."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._phase = ""
        self._shown = self._began = time.monotonic()

    def enter(self, phase: str, round: int, rounds: int = 1) -> None:
        now = time.monotonic()
        if phase != self._phase:
            text = PHASES.get(phase, phase)
        elif now - self._shown > 5:
            text = f"round {round + 1} of {rounds}"
        else:
            return
        self._phase, self._shown = phase, now
        tell(self._out, f"[{now - self._began:6.1f} s] {text}\n")


@contextmanager
def shown() -> Iterator[Progress]:
    """Progress on stderr: a live display on a terminal, plain lines elsewhere."""
    if not sys.stderr.isatty():
        yield Plain(sys.stderr)
        return
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Display(*columns, console=Console(stderr=True)) as display:
        live = _Live(display)
        yield live
        live.finish()


class _Live:
    def __init__(self, display: Display) -> None:
        self._display = display
        self._task: TaskID | None = None
        self._phase = ""

    def enter(self, phase: str, round: int, rounds: int = 1) -> None:
        if phase != self._phase:
            self.finish()
            self._task = self._display.add_task(PHASES.get(phase, phase), total=rounds)
            self._phase = phase
        elif self._task is not None:
            self._display.update(self._task, completed=round)

    def finish(self) -> None:
        """The phase shown last is done."""
        if self._task is not None:
            self._display.update(self._task, completed=self._display.tasks[self._task].total)
