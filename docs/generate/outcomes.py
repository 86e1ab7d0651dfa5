"""How a command can end: steps of verification, exit codes, errors."""

from __future__ import annotations

import inspect
import re

import ledger.verify
from vfl import cli, errors
from vfl.errors import UsageError
from vfl.interruption import INTERRUPTED
from vfl.loading import loader

from .markdown import table


def verification_steps() -> str:
    """The numbered steps in the verifier's own docstring."""
    found = re.findall(r"^\((\d+)\) {1,2}(.{14}) (.*)$", inspect.getdoc(ledger.verify) or "", re.M)
    rows = [(number, name.strip(), text) for number, name, text in found]
    if [row[0] for row in rows] != [str(number) for number in range(len(rows))]:
        raise ValueError("the steps in the docstring of ledger.verify are not numbered from 0")
    return table(("step", "what", "must hold"), rows)


def exit_codes() -> str:
    """Of `tallystick`."""
    rows = [
        ("0", "done", ""),
        (str(cli.EXIT_USAGE), "fix the input", "`UsageError`, `AgreementError`, a wrong command line"),
        (str(cli.EXIT_PROTOCOL), "a party misbehaved", "`ProtocolError` and its kinds; party and step are named"),
        (str(cli.EXIT_TRANSPORT), "try again", "`TransportError` and its kinds; the run can be resumed"),
        (str(INTERRUPTED), "interrupted by Ctrl-C", "none; the run can be resumed"),
    ]
    return table(("exit code", "what to do", "errors"), rows)


def error_example() -> str:
    """What the command line says of a scenario that is not there."""
    try:
        loader("pos-loann", None)
    except UsageError as error:
        return f"```text\nerror: {error}\n  to do: {error.remedy}\n```"
    raise ValueError("a scenario of that name is there")


def error_families() -> str:
    """Every error class with its explanation, below its parent."""
    rows = []
    for name, kind in vars(errors).items():
        if isinstance(kind, type) and issubclass(kind, errors.VflError):
            parent = kind.__base__.__name__ if kind is not errors.VflError and kind.__base__ else ""
            rows.append((f"`{name}`", f"`{parent}`" if parent else "", inspect.getdoc(kind) or ""))
    return table(("error", "is a", "meaning"), rows)
