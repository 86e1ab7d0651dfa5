"""A run that goes on from the model of another: new trees are grown where its trees end (LightGBM's `init_model`).

Each party brings its own share of that model; nobody's share moves. The agreement names the run it comes from
(`model.init_model`). Customers and bins may be others: shares decide by real values.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from vfl.agreement import Agreement, Scalar
from vfl.errors import UsageError
from vfl.models import read_ensemble, require_share
from vfl.seat import INIT, RunFile
from vfl.terms import GBDT


def added_clauses(directory: Path) -> dict[str, Scalar]:
    """What the agreement says about the model of a run that goes on from that of the run in `directory`."""
    return {"init_model": RunFile.read(directory).run}


def require_alike(directory: Path, agreement: Agreement) -> None:
    """Raise UsageError unless the run in `directory` made trees of the same parties, columns and objective."""
    earlier = RunFile.read(directory)
    if earlier.terms.kind != GBDT or agreement.model["kind"] != GBDT:
        raise UsageError("only boosted trees go on from a model", remedy="leave --init-model out")
    then, now = ([(m.name, m.role, m.features) for m in of.members] for of in (earlier.agreement, agreement))
    if then != now:
        raise UsageError(
            f"the model of {directory} is of other parties or columns", remedy="keep them, or train a new model"
        )
    for name in ("objective", "num_class"):
        if earlier.agreement.model[name] != agreement.model[name]:
            raise UsageError(
                f"the model of {directory} has {name} {earlier.agreement.model[name]!r}, not {agreement.model[name]!r}",
                remedy="keep it as it was, or train a new model",
            )
    for member in earlier.agreement.members:
        require_share(_share(directory, member.name), earlier.agreement, member.name)
    read_ensemble(_share(directory, earlier.agreement.active.name))


def hand_over(directory: Path, folder: Path, name: str) -> None:
    """Give the party `name` of the new run in `folder` its share of the earlier model."""
    target = folder / name / INIT
    target.parent.mkdir(exist_ok=True)
    shutil.copyfile(directory / name / "share.json", target)


def _share(directory: Path, name: str) -> bytes:
    try:
        return (directory / name / "share.json").read_bytes()
    except OSError:
        raise UsageError(
            f"there is no share.json in {directory / name}", remedy="name the directory of a finished run"
        ) from None
