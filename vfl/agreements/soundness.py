"""Whether the clauses of an agreement are ones that a run can be made of: what a scenario file would be refused for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vfl.agreement import Agreement, Member
from vfl.config import scenario_from_mapping
from vfl.errors import AgreementError, UsageError

_ID, _LABEL = "the id", "the label"  # tables and their keys are each party's own affair


def require_sound(agreement: Agreement) -> None:
    """Raise AgreementError naming the clause that no run can follow: the same rules as for a scenario file."""
    raw = {
        "scenario": {"name": agreement.scenario},
        "party": {member.name: _table(member) for member in agreement.members},
        "model": dict(agreement.model),
        "privacy": dict(agreement.privacy),
        "psi": dict(agreement.psi),
        "holdout": dict(agreement.holdout),
    }
    try:
        scenario_from_mapping(raw, Path("agreement"))
    except UsageError as error:
        raise AgreementError(f"no run can follow the {error}", remedy=error.remedy) from None


def _table(member: Member) -> dict[str, Any]:
    told = {
        "role": member.role,
        "table": "elsewhere",
        "id": _ID,
        "features": list(member.features),
        "reasons": dict(member.reasons),
        "monotone": dict(member.monotone),
    }
    return told | ({"label": _LABEL} if member.role == "active" else {})
