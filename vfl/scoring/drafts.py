"""Decisions before they have a place in the ledger: graded, written as records, and read again.

Made column by column; what many applicants have in common is written once. Formats: docs/spec/scoring.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np

from ledger.canonical import Json, decode
from ledger.errors import LedgerError
from vfl.errors import UsageError
from vfl.scoring.answers import Applicant, Decision, Outcome, Partner, Reason, Receipt, Refused, Scored
from vfl.scoring.grading import Grades
from vfl.scoring.verdicts import Parties, Verdicts
from vfl.scoring.volumes import Kept

VERSION = 2  # of a record
MOST_OF_A_RECORD = 1 << 20  # bytes
AWAY = Refused("partner-away", "a partner takes no part, and the policy is to refuse then")
_ENCODER = msgspec.json.Encoder()


class _Record(msgspec.Struct):
    """Fields in the order of canonical JSON. Real numbers are the shortest texts that give the same float64 again."""

    band: str
    decision: str
    degraded: bool
    features: list[tuple[str, str | None]] | None
    id: str
    model: msgspec.Raw
    parties: msgspec.Raw
    pd: str
    points: int
    reasons: msgspec.Raw
    time: str
    v: int


class _RefusedRecord(msgspec.Struct):
    features: list[tuple[str, str | None]] | None
    id: str
    refused: Refused
    time: str
    v: int


class _Shadow(msgspec.Struct):
    band: str
    beside: str
    decision: str
    degraded: bool
    model: msgspec.Raw
    parties: msgspec.Raw
    pd: str
    points: int
    reasons: msgspec.Raw
    time: str
    v: int


class _RefusedShadow(msgspec.Struct):
    beside: str
    refused: Refused
    time: str
    v: int


@dataclass(frozen=True)
class _Why:
    """Reasons, and how a record says them."""

    reasons: tuple[Reason, ...]
    raw: msgspec.Raw


@dataclass(frozen=True)
class _Took:
    """How partners took part, and how a record says it."""

    parties: Parties
    raw: msgspec.Raw


_Row = tuple[float, int, str, Outcome, _Why, bool, _Took]
"""PD, points, band, decision, reasons, degraded, partners."""


class Drafts:
    """What is decided about applicants."""

    def __init__(
        self, applicants: Sequence[Applicant], refused: Mapping[int, Refused], verdicts: Verdicts, grades: Grades,
        model: Scored,
    ) -> None:  # fmt: skip
        """`refused`: who was not asked about, by place.   verdicts: of all others, in their order."""
        self._applicants, self._verdicts, self._model = applicants, verdicts, model
        took = [_Took(each, _raw(_states(each))) for each in verdicts.parties]
        self._rows: list[_Row | Refused] = [
            AWAY if away else (pd, points, band, outcome, why, degraded, took[party])
            for away, pd, points, band, outcome, why, degraded, party in zip(
                verdicts.refused.tolist(), verdicts.pd.tolist(), verdicts.points.tolist(),
                grades.bands(verdicts.points), grades.outcomes(verdicts.pd), _whys(verdicts),
                verdicts.degraded.tolist(), verdicts.party.tolist(), strict=True,
            )
        ]  # fmt: skip
        for place in sorted(refused):
            self._rows.insert(place, refused[place])

    @property
    def model(self) -> Scored:
        """By what is decided."""
        return self._model

    @property
    def first(self) -> Refused | None:
        """Why the first applicant has no decision."""
        row = self._rows[0]
        return row if isinstance(row, Refused) else None

    def counts(self) -> dict[str, Json]:
        """How many decisions there are, how many of them degraded, and how often each partner was in which state."""
        said = self._verdicts
        made = ~said.refused
        parties: dict[str, dict[str, int]] = {}
        for each, count in zip(said.parties, np.bincount(said.party[made], minlength=len(said.parties)), strict=True):
            for name, partner in each.items() if count else ():
                states = parties.setdefault(name, {})
                states[partner.state] = states.get(partner.state, 0) + int(count)
        decisions, degraded = int(made.sum()), int((said.degraded & made).sum())
        counted: Json = {name: dict(states) for name, states in parties.items()}
        return {"decisions": decisions, "degraded": degraded, "parties": counted}

    def records(self, time: str) -> bytes:
        """Of each applicant a line of canonical JSON."""
        model = self._raw_model()
        found: list[_Record | _RefusedRecord] = []
        for applicant, row in zip(self._applicants, self._rows, strict=True):
            features = None if applicant.features is None else _texts(applicant.features)
            if isinstance(row, Refused):
                found.append(_RefusedRecord(features, applicant.id, row, time, VERSION))
                continue
            pd, points, band, outcome, why, degraded, took = row
            found.append(_Record(
                band, outcome, degraded, features, applicant.id, model, took.raw, repr(pd), points, why.raw, time,
                VERSION,
            ))  # fmt: skip
        return _ENCODER.encode_lines(found)

    def shadows(self, beside: Sequence[str], time: str) -> bytes:
        """Of each applicant a line: what would have been decided, beside the decision of that id."""
        model = self._raw_model()
        found: list[_Shadow | _RefusedShadow] = []
        for decision, row in zip(beside, self._rows, strict=True):
            if isinstance(row, Refused):
                found.append(_RefusedShadow(decision, row, time, VERSION))
                continue
            pd, points, band, outcome, why, degraded, took = row
            found.append(_Shadow(
                band, decision, outcome, degraded, model, took.raw, repr(pd), points, why.raw, time, VERSION,
            ))  # fmt: skip
        return _ENCODER.encode_lines(found)

    def _raw_model(self) -> msgspec.Raw:
        model = self._model
        return _raw({"agreement": model.agreement, "name": model.name, "version": model.version})

    def decisions(
        self, kept: Kept, *, batch: bool, places: Sequence[int] | None = None
    ) -> list[Decision | Refused]:  # fmt: skip
        """With their ids and receipts. `places`: theirs in the batch, if they are not all of it."""
        receipt, start, model = Receipt(kept.log, kept.entry, kept.leaf), _name(kept), self._model
        found: list[Decision | Refused] = []
        for place, row in zip(places or range(len(self._rows)), self._rows, strict=True):
            if isinstance(row, Refused):
                found.append(row)
                continue
            pd, points, band, outcome, why, degraded, took = row
            name = f"{start}-{place}" if batch else start
            found.append(
                Decision(name, pd, points, band, outcome, why.reasons, degraded, model, took.parties, receipt)
            )  # fmt: skip
        return found


def placed(draft: Decision | Refused, kept: Kept, place: int | None) -> Decision | Refused:
    """One that was read from a record, with its id and receipt. `place`: in a batch."""
    if isinstance(draft, Refused):
        return draft
    name = _name(kept) + ("" if place is None else f"-{place}")
    return msgspec.structs.replace(draft, decision_id=name, receipt=Receipt(kept.log, kept.entry, kept.leaf))


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
    """The id of the decision that a shadow's record stands beside."""
    body: Any = decode(data, limit=MOST_OF_A_RECORD)
    return str(body["beside"])


def _name(kept: Kept) -> str:
    return f"{kept.volume:06d}-{kept.entry}"


def _whys(verdicts: Verdicts) -> list[_Why]:
    """Of each applicant; those with the same reasons share one."""
    width = len(verdicts.words) + 1
    keys = np.zeros(len(verdicts), np.int64)
    for column in verdicts.reasons.T:  # four digits to the base `width`, 0 for none
        keys = keys * width + (column + 1)
    known: dict[int, _Why] = {}
    for row, key in enumerate(keys.tolist()):
        if key not in known:
            reasons = tuple(verdicts.words[number] for number in verdicts.reasons[row].tolist() if number >= 0)
            told: Json = [{"code": one.code, "party": one.party, "words": one.text} for one in reasons]
            known[key] = _Why(reasons, _raw(told))
    return [known[key] for key in keys.tolist()]


def _states(parties: Parties) -> Json:
    return {name: {"state": one.state, "us": round(1000 * one.ms)} for name, one in parties.items()}


def _texts(features: Mapping[str, float | None]) -> list[tuple[str, str | None]]:
    """In pairs: a name may be in any script, a key of canonical JSON may not."""
    return [(name, None if value is None else repr(float(value))) for name, value in sorted(features.items())]


def _raw(body: Json) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(body, order="sorted"))
