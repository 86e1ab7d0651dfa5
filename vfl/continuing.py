"""A run that goes on from another: the customers are aligned already, and hints of equal bins are on disk.

The agreement says which run aligned the customers (`psi.aligned_in`) and the how-manieth training on them this is
(`psi.training`): answers under the same hints add up, so each training is made as private as if it had been run that
often. All of n trainings together show at most 2^-40 (1 + 1/2 + ... + 1/n) beyond their sums.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from vfl.agreement import Agreement, Scalar
from vfl.errors import UsageError
from vfl.files import read_json, write_private
from vfl.holding import Holding
from vfl.seat import EARLIER, HINTS, RunFile

ADDED = ("aligned_in", "training")
"""Clauses of `psi` that only such a run has."""


def added_clauses(directory: Path) -> dict[str, Scalar]:
    """What the agreement of a run says that goes on from the one in `directory`."""
    earlier = RunFile.read(directory)
    psi = earlier.agreement.psi
    return {"aligned_in": str(psi.get("aligned_in", earlier.run)), "training": int(psi.get("training", 1)) + 1}


def require_alike(directory: Path, agreement: Agreement, holdings: Mapping[str, Holding]) -> None:
    """Raise UsageError unless the run in `directory` is finished and has the same parties, customers and terms."""
    earlier = RunFile.read(directory).agreement
    if [(m.name, m.role) for m in earlier.members] != [(m.name, m.role) for m in agreement.members]:
        raise UsageError(f"{directory} is a run of other parties", remedy="name a run of the same parties")
    if "decoys" in earlier.psi:
        raise UsageError(f"{directory} has decoy rows", remedy="leave --aligned out: decoys are drawn for each run")
    then, now = ({k: v for k, v in of.psi.items() if k not in ADDED} for of in (earlier, agreement))
    for clause, old, new in (("psi", then, now), ("holdout", earlier.holdout, agreement.holdout)):
        if old != new:
            raise UsageError(f"{directory} was run with another [{clause}]", remedy="keep it as it was, or align again")
    for name, holding in holdings.items():
        found = read_json(directory / name / "customers.json", "the folder of a party of a finished run")
        if found["digest"] != holding.digest:
            raise UsageError(f"the customers of {name} are not those of {directory}", remedy="align again")


def hand_over(directory: Path, folder: Path, name: str) -> None:
    """Give the party `name` of the new run in `folder` what it has from the one in `directory`."""
    old, new = directory / name, folder / name / EARLIER
    (new / HINTS).mkdir(parents=True, exist_ok=True)
    shutil.copyfile(old / "rows.npy", new / "rows.npy")
    first = old / EARLIER if (old / EARLIER / "seed").exists() else old
    write_private(new / "seed", (first / "seed").read_text(encoding="utf-8"))
    for found in (old / EARLIER / HINTS, old / HINTS):
        for path in sorted(found.glob("*.hint")):
            _link(path, new / HINTS / path.name)


def _link(path: Path, copy: Path) -> None:
    """The same file under a second name where the disk allows it."""
    if copy.exists():
        return
    try:
        os.link(path, copy)
    except OSError:
        shutil.copyfile(path, copy)
