"""What `tallystick purge` does."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

import typer
from rich.console import Console

from ledger.clock import format_time
from vfl import outside_commands, purging
from vfl.agreement import Agreement
from vfl.clock import Clock, SystemClock
from vfl.console import say, table
from vfl.errors import UsageError
from vfl.local_logs import BUNDLE, PART_BUNDLE
from vfl.party.approvals import approved_of_run
from vfl.retention import (
    CATEGORIES,
    DECISIONS,
    OF_THE_RUN,
    Piece,
    last_day,
    notes,
    purgeable,
    require_due,
    status,
)  # fmt: skip
from vfl.seat import RunFile

DUE = "retention period ended"


def purge(
    directory: Path,
    party: str | None,
    what: str,
    older_than: int | None,
    reason: str | None,
    force: bool,
    yes: bool,
    dry_run: bool,
    status_only: bool,
    as_json: bool,
) -> None:
    """`tallystick purge`. older_than: days."""
    file = RunFile.read(directory, needs=())
    roles = {member.name: member.name == file.agreement.active.name for member in file.agreement.members}
    if status_only:
        _show_status(directory, roles, as_json)
        return
    parties, kinds = [party] if party is not None else list(roles), _kinds(what)
    clock = SystemClock()
    before = None if older_than is None else _before(older_than, kinds, clock)
    purging.require_parties(file, parties)
    if force and not (reason or "").strip():
        raise UsageError("--force is given without --reason", remedy="say why the agreed day does not count")
    if dry_run:
        _show_files(directory, file.agreement, {name: roles[name] for name in parties}, kinds, before, as_json)
        return
    if not force and not _begun(directory, parties):
        require_due(file.agreement, clock.now().date())
    if not yes:
        _ask(directory, parties, kinds, before)
    with approved_of_run(directory, "purge", clock.now()):
        done = purging.purge(directory, parties, kinds, reason or DUE, clock, force=force, before=before)
    outside = outside_commands.again(directory) if not (directory / PART_BUNDLE).exists() else []
    if as_json:
        sys.stdout.write(json.dumps({"when": done.when, "parties": done.parties, "outside": outside}) + "\n")
        return
    console = Console()
    for name, removed in done.parties.items():
        kinds_told = ", ".join(f"{kind} ({_counted(count)})" for kind, count in removed.items())
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


def _before(days: int, kinds: list[str], clock: Clock) -> str:
    """The time that is so many days ago. Raises UsageError for anything but decisions."""
    if kinds != [DECISIONS]:
        raise UsageError("--older-than is about decisions", remedy=f"Say --what {DECISIONS} with it.")
    return format_time(clock.now() - timedelta(days))


def _counted(count: Mapping[str, int]) -> str:
    return f"{count['records']} records" if "records" in count else f"{count['files']} files"


def _ask(directory: Path, parties: list[str], kinds: list[str], before: str | None) -> None:
    """Have a person confirm; a program must say --yes."""
    older = "" if before is None else f" from before {before[:16]}"
    words = f"{', '.join(kinds)}{older} of {', '.join(parties)} in {directory}"
    if not sys.stdin.isatty():
        raise UsageError(f"this would remove {words} for good", remedy="Say --yes to do it without being asked.")
    if not typer.confirm(f"Remove {words} for good?"):
        raise UsageError("nothing was removed")


def _begun(directory: Path, parties: list[str]) -> bool:
    """Whether a purge of these parties was interrupted, and has to go on."""
    return any(found and not found[-1]["done"] for name in parties if (found := notes(directory / name)))


def _show_files(
    directory: Path, agreement: Agreement, roles: dict[str, bool], kinds: list[str], before: str | None, as_json: bool
) -> None:
    """What a purge would remove."""
    last = last_day(agreement)
    files = {
        name: {
            kind: [_shown(directory, piece) for piece in pieces]
            for kind, pieces in purgeable(directory, name, kinds, active=active, before=before).items()
        }
        for name, active in roles.items()
    }
    if as_json:
        sys.stdout.write(json.dumps({"keep_until": last and last.isoformat(), "files": files}) + "\n")
        return
    lines = [
        f"{name} {kind} {one['file']} ({', '.join(f'{one[of]} {of}' for of in ('records', 'bytes') if of in one)})"
        for name, by in files.items()
        for kind, found in by.items()
        for one in found
    ]
    until = f"not before the day after {last}, as agreed" if last else "no day was agreed on"
    say(Console(), *(lines or ["nothing is left to purge"]), f"Nothing was removed; {until}.")


def _shown(directory: Path, piece: Piece) -> dict[str, str | int]:
    found: dict[str, str | int] = {"file": str(piece.path.relative_to(directory)), "bytes": piece.bytes}
    return found | ({"records": piece.records} if piece.below else {})


def _show_status(directory: Path, roles: dict[str, bool], as_json: bool) -> None:
    told = status(directory, roles)
    if as_json:
        sys.stdout.write(json.dumps(told) + "\n")
        return
    console, kept = Console(), table("files left of", *OF_THE_RUN, f"{DECISIONS} (records)")
    for name, found in told.items():
        cells = [found["kept"].get(kind) for kind in CATEGORIES]
        kept.add_row(name, *(str(cell.get("records", cell["files"])) if cell else "-" for cell in cells))
    console.print(kept)
    for name, found in told.items():
        for note in found["purges"]:
            state = "" if note["done"] else "; not finished: purge again"
            say(console, f"{name}: {', '.join(note['what'])} purged on {note['when']} ({note['reason']}){state}")
