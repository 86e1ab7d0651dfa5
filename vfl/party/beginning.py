"""How a run begins at one party: its folder under an agreement, and what must not have changed when it goes on."""

from __future__ import annotations

import hashlib
import os
from dataclasses import replace
from pathlib import Path

from vfl import __version__
from vfl.accusing import FOLDER as EVIDENCE
from vfl.agreement import require_same
from vfl.errors import AgreementError, RunEnded, UsageError
from vfl.files import read_json, write_data, write_whole
from vfl.party.runs import OFFERED, OVER, SIGNED, RunFolder, Status, all_runs
from vfl.party.standing import Admitted, Standing
from vfl.seat import RunFile, new_seat, set_engine

_BEGUN = "begun.json"


def begin(who: Standing, run: str, admitted: Admitted, when: str) -> RunFolder:
    """The folder of the run, new or as it was left. Raises AgreementError if it is another run or is over."""
    folder = RunFolder(who.runs, run)
    agreement = admitted.agreement
    if folder.exists:
        require_same(RunFile.read(folder.path).agreement.encode(), agreement.encode(), "the offer")
        status = folder.status()
        if status.state in OVER:
            raise RunEnded(f"the run {run} is {status.state}: {status.reason}")
        if found := sorted((folder.path / who.name / EVIDENCE).glob("*.json")):
            raise AgreementError(
                f"the run {run} was ended because a party misbehaved",
                remedy=f"{found[0]} is for whoever has to decide; start a new one",
            )
        set_engine(folder.path / who.name, who.table.engine)
        return folder
    member = agreement.member(who.name)
    begun = [RunFile.read(one.path, needs=()) for one in all_runs(who.runs)]
    admitted.require_budget(sum(one.agreement == agreement for one in begun))
    folder.clear()
    seat = folder.path / who.name
    table = replace(who.table, name=who.name, role=member.role, features=member.features, reasons=member.reasons)
    new_seat(seat, table, who.seed_of(run))
    write_data(folder.path / SIGNED, admitted.data)
    write_whole(folder.path / _BEGUN, _now(who))
    RunFile(run, agreement, admitted.keys).write(folder.path)
    folder.set(Status(run, OFFERED, agreement.active.name, changed=when))
    return folder


def require_unchanged(who: Standing, folder: RunFolder) -> None:
    """Raise AgreementError if this program, the party's table or its columns are others than when the run began."""
    began = read_json(folder.path / _BEGUN, "a run of `tallystick runs list`")
    for what, now in _now(who).items():
        if began.get(what) != now:
            raise AgreementError(
                f"the {what} changed since the run {folder.run} began",
                remedy="restore it, or start a new run",
            )


def _now(who: Standing) -> dict[str, str]:
    columns = repr((who.table.id, who.table.label, who.table.weight, who.table.special, who.table.categorical))
    return {
        "version of tallystick": __version__,
        "table": _digest(who.table.table),
        "description of the table": hashlib.sha256(columns.encode()).hexdigest(),
    }


def _digest(table: Path) -> str:
    """SHA-256 of a file."""
    try:
        with table.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UsageError(f"{table} cannot be read: {os.strerror(error.errno or 0)}") from None
