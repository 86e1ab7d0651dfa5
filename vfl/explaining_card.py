"""What a finished run says of its scorecard: every attribute with its points, and why features stayed or went.

A simulation has all parties' lines in one place. A real party reads those in its own folder.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vfl.card_models import read_card, read_share, require_card
from vfl.files import read_result
from vfl.seat import RunFile


def card_body(directory: Path, file: RunFile) -> dict[str, Any]:
    """The scorecard of the run in `directory`, JSON-ready. Raises UsageError where a share is missing or damaged."""
    agreement = file.agreement
    members = (agreement.active, *agreement.passives)
    shares = {member.name: read_result(directory / member.name / "share.json") for member in members}
    for name, share in shares.items():
        require_card(share, agreement, name)
    head = read_share(shares[agreement.active.name])
    return {
        "base_points": head["base_points"],
        "intercept": head["intercept"],
        "lines": [line for name, share in shares.items() for line in _lines(name, share)],
        "verdicts": head["verdicts"],
    }


def _lines(party: str, share: bytes) -> list[dict[str, Any]]:
    """A feature a line, with its attributes."""
    card = read_card(share)
    found = {line["feature"]: line for line in read_share(share)["lines"]}
    attributes: dict[str, list[dict[str, Any]]] = {name: [] for name in found}
    for one in card.attributes():
        attributes[one.feature].append({"attribute": one.attribute, "woe": one.woe, "points": one.points})
    return [
        {
            "party": party,
            "feature": name,
            **{key: line[key] for key in ("coefficient", "standard_error", "p_value")},
            "attributes": attributes[name],
        }
        for name, line in found.items()
    ]
