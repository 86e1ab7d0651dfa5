"""Where a passphrase comes from: a file, the environment or a person; never the command line, which others can list."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import typer

from vfl.errors import UsageError
from vfl.party.keystore import require_private

VARIABLE = "TALLYSTICK_PASSPHRASE"
LEAST = 12  # characters of a new one


def passphrase(file: Path | None, asks: str = "Passphrase", *, new: bool = False, env: bool = True) -> str:
    """The passphrase: of `file`, else of the environment, else typed. Raises UsageError if there is none.

    `new`: it is to be chosen: it must be long enough, and whoever types it types it twice.   env: whether the
    environment counts; it holds the old one where a new one is asked for.
    """
    found = _of_file(file) if file is not None else (env and os.environ.get(VARIABLE)) or _typed(asks, new, env)
    if not found:
        raise UsageError("the passphrase is empty", remedy=f"choose one of {LEAST} characters or more")
    if new and len(found) < LEAST:
        raise UsageError(
            f"the passphrase has {len(found)} characters", remedy=f"choose one of {LEAST} or more, such as five words"
        )
    return found


def _of_file(path: Path) -> str:
    require_private(path)
    try:
        return path.read_text(encoding="utf-8").removesuffix("\n").removesuffix("\r")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise UsageError(f"the passphrase file {path} cannot be read: {why}") from None


def _typed(asks: str, twice: bool, env: bool) -> str:
    if not sys.stdin.isatty():
        raise UsageError(
            f"there is nobody to ask for: {asks}",
            remedy=f"name a file with --passphrase-file, or set {VARIABLE}" if env else "name a file with --new-file",
        )
    asks += f" ({LEAST} characters or more)" if twice else ""
    return str(typer.prompt(asks, hide_input=True, confirmation_prompt=twice, err=True))
