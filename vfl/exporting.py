"""Models out of a run directory: one party's share as JSON, or all shares merged into LightGBM's text."""

from __future__ import annotations

from pathlib import Path

from vfl.card_models import require_card
from vfl.errors import UsageError
from vfl.files import read_result
from vfl.merging import merged_text
from vfl.models import require_share
from vfl.retention import SHARES, require_kept
from vfl.seat import RunFile
from vfl.terms import SCORECARD


def share(directory: Path, party: str | None) -> bytes:
    """The share of `party`, by default of the active one: plain JSON, as the party keeps it.

    Raises UsageError if there is no such party, or its share is missing or another run's.
    """
    file = RunFile.read(directory, needs=())
    name = file.agreement.active.name if party is None else party
    if name not in file.keys:
        raise UsageError(f"no party {name!r} in this run", remedy=f"name one of {', '.join(file.keys)}")
    require_kept(directory, [name], [SHARES])
    found = read_result(directory / name / "share.json")
    check = require_card if file.terms.kind == SCORECARD else require_share
    check(found, file.agreement, name)
    return found


def merged(directory: Path) -> bytes:
    """The joint model as LightGBM's text.

    Raises AgreementError if the agreement does not allow it, UsageError if a share is missing or does not fit.
    """
    file = RunFile.read(directory, needs=[SHARES])
    if file.terms.kind == SCORECARD:
        raise UsageError("a scorecard is no LightGBM model", remedy="export the shares as json")
    shares = {member.name: read_result(directory / member.name / "share.json") for member in file.agreement.members}
    return merged_text(file.agreement, file.terms.parameters, shares).encode()
