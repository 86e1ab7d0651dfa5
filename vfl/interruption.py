"""Ctrl-C: what it leaves, and the command line that goes on from there."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from vfl.progress import tell

INTERRUPTED = 130  # what shells report of a process that Ctrl-C ended


def interrupted(kept: Path | None, words: Sequence[str]) -> NoReturn:
    """End the process: say what stays in `kept`, None for nothing, and how the command of these `words` goes on."""
    if kept is None:
        tell(sys.stderr, "interrupted: nothing is kept\n")
    else:
        going_on(kept, [*words, "--resume"])
    sys.exit(INTERRUPTED)


def going_on(kept: Path, words: Sequence[str]) -> NoReturn:
    """End the process: say what stays in `kept`, and that the command of these `words` goes on from there."""
    again = shlex.join(["tallystick", *words])
    tell(sys.stderr, f"interrupted: what was reached is in {kept}\n")
    tell(sys.stderr, f"  to do: go on with `{again}`, or remove the directory\n")
    sys.exit(INTERRUPTED)
