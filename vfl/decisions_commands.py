"""What `tallystick decisions` does."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import msgspec
from rich.console import Console

from vfl.console import say
from vfl.retention import DECISIONS, notes
from vfl.scoring.bundling import write_bundles
from vfl.scoring.subject import Found, decided_about
from vfl.seat import RunFile


def decisions(directory: Path, identifier: str, as_json: bool) -> None:
    """`tallystick decisions`."""
    file = RunFile.read(directory, needs=())
    purged = [note for note in notes(directory / file.agreement.active.name) if DECISIONS in note["what"]]
    gone = [{name: note[name] for name in ("when", "reason", "before") if name in note} for note in purged]
    found = list(decided_about(directory, file, identifier))
    if as_json:
        body = {"decisions": msgspec.to_builtins(found), "purged": gone}
        sys.stdout.write(json.dumps(body, ensure_ascii=False) + "\n")
        return
    say(Console(), *([_line(one) for one in found] or ["nothing is on record about this applicant"]))
    for note in gone:
        older = f" from before {note['before'][:16]}" if "before" in note else ""
        say(Console(), f"Records{older} were purged on {note['when']} ({note['reason']}).")


def write(directory: Path, out: Path, as_json: bool) -> None:
    """`tallystick decisions --bundles`."""
    written = write_bundles(directory, RunFile.read(directory, needs=()), out)
    if as_json:
        sys.stdout.write(json.dumps({"bundles": [str(path) for path in written]}) + "\n")
        return
    checks = [f"python -m ledger verify {path} --policy {directory}/policy.txt" for path in written]
    say(Console(), f"{len(written)} bundles. Check them:", *checks)


def _line(one: Found) -> str:
    said = one.record
    where = f"{one.receipt.log} entry {one.receipt.entry} leaf {one.receipt.leaf}"
    if one.decision_id is None:
        return f"{said['time']}  refused: {said['refused']['code']}  {where}"
    how = f"{said['decision']}  {said['points']} points  PD {float(said['pd']):.2%}  band {said['band']}"
    return f"{said['time']}  {one.decision_id}  {how}{'  degraded' if said['degraded'] else ''}  {where}"
