"""Decisions before they have a place in the ledger: graded, written as records, and read again.

Formats: docs/spec/scoring.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from ledger.canonical import Json, decode
from ledger.errors import LedgerError
from vfl.errors import UsageError
from vfl.scoring.answers import Applicant, Decision, Partner, Reason, Receipt, Refused, Scored
from vfl.scoring.bench import Verdict
from vfl.scoring.contender import Contender
from vfl.scoring.volumes import Kept

VERSION = 2  # of a record
MOST_OF_A_RECORD = 1 << 20  # bytes
_NOWHERE = Receipt("", 0, "")
_AWAY = Refused("partner-away", "a partner takes no part, and the policy is to refuse then")


def draft_of(verdict: Verdict, contender: Contender) -> Decision | Refused:
    """What a model decides."""
    if verdict.pd is None:
        return _AWAY
    grades = contender.grades
    return Decision(
        decision_id="", pd=verdict.pd, points=verdict.points, band=grades.band(verdict.points),
        decision=grades.outcome(verdict.pd), reasons=verdict.reasons, degraded=verdict.degraded,
        model=contender.scored, parties=verdict.parties, receipt=_NOWHERE,
    )  # fmt: skip


def counts_of(drafts: Sequence[Decision | Refused]) -> dict[str, Json]:
    """How many decisions there are, how many of them degraded, and how often each partner was in which state."""
    made = [draft for draft in drafts if isinstance(draft, Decision)]
    parties: dict[str, dict[str, int]] = {}
    for decision in made:
        for name, partner in decision.parties.items():
            states = parties.setdefault(name, {})
            states[partner.state] = states.get(partner.state, 0) + 1
    told: dict[str, Json] = {name: {**states} for name, states in parties.items()}
    return {"decisions": len(made), "degraded": sum(draft.degraded for draft in made), "parties": told}


def record_of(applicant: Applicant, draft: Decision | Refused, time: str) -> bytes:
    """What was decided about an applicant; real numbers as the shortest text that gives the same float64 again."""
    fresh = sorted((applicant.features or {}).items())  # in pairs: a name may be in any script, a key may not
    features: Json = [[name, _text(value)] for name, value in fresh] or None
    return _encoded({"v": VERSION, "id": applicant.id, "time": time, "features": features, **_said(draft)})


def shadow_of(decision: str, draft: Decision | Refused, time: str) -> bytes:
    """What a challenger would have decided, beside the decision of that id, which says about whom."""
    return _encoded({"v": VERSION, "beside": decision, "time": time, **_said(draft)})


def _said(draft: Decision | Refused) -> dict[str, Json]:
    if isinstance(draft, Refused):
        return {"refused": {"code": draft.code, "detail": draft.detail}}
    return {
        "pd": repr(draft.pd), "points": draft.points, "band": draft.band, "decision": draft.decision,
        "degraded": draft.degraded,
        "reasons": [{"code": one.code, "party": one.party, "words": one.text} for one in draft.reasons],
        "model": {"name": draft.model.name, "version": draft.model.version, "agreement": draft.model.agreement},
        "parties": {name: {"state": one.state, "us": round(1000 * one.ms)} for name, one in draft.parties.items()},
    }  # fmt: skip


def placed(draft: Decision | Refused, kept: Kept, place: int | None) -> Decision | Refused:
    """With its id and receipt. `place`: in a batch."""
    if isinstance(draft, Refused):
        return draft
    name = f"{kept.volume:06d}-{kept.entry}" + ("" if place is None else f"-{place}")
    return msgspec.structs.replace(draft, decision_id=name, receipt=Receipt(kept.log, kept.entry, kept.leaf))


def _encoded(body: Json) -> bytes:
    """Canonical JSON, as `ledger.canonical.encode` writes it, but fast: bodies of ours hold nothing that it refuses."""
    return msgspec.json.encode(body, order="sorted")


def _text(value: float | None) -> str | None:
    return None if value is None else repr(float(value))


def read_record(data: bytes) -> tuple[str, Decision | Refused]:
    """Time and content of a record, without its place. Raises UsageError where it is damaged."""
    try:
        body: Any = decode(data, limit=MOST_OF_A_RECORD)
        if "refused" in body:
            return body["time"], Refused(**body["refused"])
        reasons = tuple(Reason(one["code"], one["words"], one["party"]) for one in body["reasons"])
        parties = {name: Partner(one["state"], one["us"] / 1000) for name, one in body["parties"].items()}
        return body["time"], Decision(
            "", float(body["pd"]), body["points"], body["band"], body["decision"], reasons, body["degraded"],
            Scored(**body["model"]), parties, Receipt("", 0, ""),
        )  # fmt: skip
    except (LedgerError, KeyError, TypeError, ValueError) as error:
        raise UsageError(f"the record of a decision is damaged: {error!r}", remedy="restore it from a backup") from None


def beside_of(data: bytes) -> str:
    """The id of the decision that a challenger's record stands beside. Raises UsageError where it is damaged."""
    body: Any = decode(data, limit=MOST_OF_A_RECORD)
    return str(body["beside"])
