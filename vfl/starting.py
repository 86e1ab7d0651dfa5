"""A run that goes on from the model of another: new trees are grown where its trees end (LightGBM's `init_model`).

Each party brings its own share of that model; nobody's share moves. The agreement names the run it comes from
(`model.init_model`). Customers and bins may be others: shares decide by real values.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from vfl.agreement import Agreement, Scalar
from vfl.errors import UsageError
from vfl.files import read_result
from vfl.models import read_ensemble, require_share
from vfl.seat import INIT, RunFile
from vfl.terms import GBDT, INIT_MODEL


def added_clauses(directory: Path) -> dict[str, Scalar]:
    """What the agreement says about the model of a run that goes on from that of the run in `directory`."""
    return {INIT_MODEL: RunFile.read(directory).run}


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
        require_share(read_result(directory / member.name / "share.json"), earlier.agreement, member.name)
    read_ensemble(read_result(directory / earlier.agreement.active.name / "share.json"))


def hand_over(directory: Path, folder: Path, name: str) -> None:
    """Give the party `name` of the new run in `folder` its share of the earlier model."""
    target = folder / name / INIT
    target.parent.mkdir(exist_ok=True)
    shutil.copyfile(directory / name / "share.json", target)
