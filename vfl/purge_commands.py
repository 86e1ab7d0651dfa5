"""What `tallystick purge` does."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import typer
from rich.console import Console

from vfl import outside_commands, purging
from vfl.clock import SystemClock
from vfl.console import say, table
from vfl.errors import UsageError
from vfl.local_logs import BUNDLE, PART_BUNDLE
from vfl.retention import CATEGORIES, status
from vfl.seat import RunFile


def purge(
    directory: Path, party: str | None, what: str, reason: str, yes: bool, status_only: bool, as_json: bool
) -> None:
    """`tallystick purge`."""
    file = RunFile.read(directory, needs=())
    roles = {member.name: member.name == file.agreement.active.name for member in file.agreement.members}
    if status_only:
        _show_status(directory, roles, as_json)
        return
    parties, kinds = [party] if party is not None else list(roles), _kinds(what)
    if not yes:
        _ask(directory, parties, kinds)
    done = purging.purge(directory, parties, kinds, reason, SystemClock())
    outside = outside_commands.again(directory) if not (directory / PART_BUNDLE).exists() else []
    if as_json:
        sys.stdout.write(json.dumps({"when": done.when, "parties": done.parties, "outside": outside}) + "\n")
        return
    console = Console()
    for name, removed in done.parties.items():
        kinds_told = ", ".join(f"{kind} ({count['files']} files)" for kind, count in removed.items())
        say(console, f"{name}: removed {kinds_told}; its ledger says so")
    say(console, *outside) if outside else None
    bundle = next(path for name in (PART_BUNDLE, BUNDLE) if (path := directory / name).exists())
    words = f"python -m ledger verify {bundle} --policy {directory / 'policy.txt'}"
    say(console, "The audit bundle tells of it and still verifies:", f"  {words}")


def _kinds(what: str) -> list[str]:
    kinds = [kind.strip() for kind in what.split(",")]
    if unknown := [kind for kind in kinds if kind not in CATEGORIES]:
        raise UsageError(f"--what names {', '.join(unknown)}", remedy=f"Name some of {', '.join(CATEGORIES)}.")
    return kinds


def _ask(directory: Path, parties: list[str], kinds: list[str]) -> None:
    """Have a person confirm; a program must say --yes."""
    words = f"{', '.join(kinds)} of {', '.join(parties)} in {directory}"
    if not sys.stdin.isatty():
        raise UsageError(f"this would remove {words} for good", remedy="Say --yes to do it without being asked.")
    if not typer.confirm(f"Remove {words} for good?"):
        raise UsageError("nothing was removed")


def _show_status(directory: Path, roles: dict[str, bool], as_json: bool) -> None:
    told = status(directory, roles)
    if as_json:
        sys.stdout.write(json.dumps(told) + "\n")
        return
    console, kept = Console(), table("files left of", *CATEGORIES)
    for name, found in told.items():
        cells = [found["kept"].get(kind) for kind in CATEGORIES]
        kept.add_row(name, *(str(cell["files"]) if cell else "-" for cell in cells))
    console.print(kept)
    for name, found in told.items():
        for note in found["purges"]:
            state = "" if note["done"] else "; not finished: purge again"
            say(console, f"{name}: {', '.join(note['what'])} purged on {note['when']} ({note['reason']}){state}")
