"""Records of decisions are canonical JSON, whatever an applicant is called and whatever the words are."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.canonical import Json, decode, encode
from vfl.learn.scorecard import Scaling
from vfl.learn.scorecard_parameters import ScorecardParameters
from vfl.scoring.answers import Applicant, Decision, Partner, Reason, Refused, Scored, State
from vfl.scoring.drafts import AWAY, Drafts, placed, read_record
from vfl.scoring.grading import Grades
from vfl.scoring.verdicts import Verdicts
from vfl.scoring.volumes import Kept

TIME, KEPT = "2026-01-31T12:00:00.000000Z", Kept("bank/decisions", 7, 12, "ab" * 32)
GRADES = Grades(Scaling.of(ScorecardParameters()), 0.5, 0.25, np.array([600, 500, 400]))
MODEL = Scored('a "model"', "cd" * 32, "ef" * 32)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)
WORDS = st.lists(st.builds(Reason, TEXTS, TEXTS, TEXTS), max_size=5)
FEATURES = st.none() | st.dictionaries(TEXTS, st.none() | st.floats(allow_nan=False, allow_infinity=False), max_size=3)
STATES: list[State] = ["ok", "unknown", "late"]


@st.composite
def drafts(draw: st.DrawFn) -> tuple[Drafts, list[Applicant], dict[int, Refused], Verdicts]:
    """Of up to six applicants, some of whom are refused before anybody is asked, or after."""
    applicants = draw(st.lists(st.builds(Applicant, TEXTS, FEATURES), min_size=1, max_size=6))
    refused = {k: Refused("no", "because") for k in range(len(applicants)) if draw(st.booleans())}
    n, words = len(applicants) - len(refused), draw(WORDS)
    parties = [{"telecom": Partner(state, 1.25)} for state in STATES]

    def array(values: st.SearchStrategy[Any], kind: type) -> Any:
        return np.array(draw(st.lists(values, min_size=n, max_size=n)), kind)

    order = [draw(st.permutations(range(-1, len(words))))[:4] for _ in range(n)]
    said = Verdicts(
        array(st.floats(0.0, 1.0), np.float64), array(st.integers(300, 700), np.int64),
        np.array([[*each, -1, -1, -1, -1][:4] for each in order], np.int64).reshape(n, 4), words,
        array(st.booleans(), np.bool_), array(st.booleans(), np.bool_), array(st.integers(0, 2), np.int64), parties,
    )  # fmt: skip
    return Drafts(applicants, refused, said, GRADES, MODEL), applicants, refused, said


def bodies(applicants: list[Applicant], refused: dict[int, Refused], said: Verdicts) -> list[Json]:
    """What the records say, by docs/spec/scoring.md, one after the other."""
    found: list[Json] = []
    rows = iter(range(len(said)))
    for place, one in enumerate(applicants):
        pairs: Json = [[k, None if v is None else repr(float(v))] for k, v in sorted((one.features or {}).items())]
        body: dict[str, Json] = {
            "v": 2, "id": one.id, "time": TIME, "features": None if one.features is None else pairs
        }  # fmt: skip
        row = None if place in refused else next(rows)
        if row is None or said.refused[row]:
            why = refused.get(place, AWAY)
            found.append({**body, "refused": {"code": why.code, "detail": why.detail}})
            continue
        points, pd, state = int(said.points[row]), float(said.pd[row]), STATES[int(said.party[row])]
        reasons = [said.words[number] for number in said.reasons[row] if number >= 0]
        found.append({
            **body, "pd": repr(pd), "points": points,
            "band": "A" if points >= 600 else "B" if points >= 500 else "C" if points >= 400 else "D",
            "decision": "decline" if pd > 0.5 else "refer" if pd >= 0.25 else "approve",
            "degraded": bool(said.degraded[row]),
            "reasons": [{"code": one.code, "party": one.party, "words": one.text} for one in reasons],
            "model": {"name": MODEL.name, "version": MODEL.version, "agreement": MODEL.agreement},
            "parties": {"telecom": {"state": state, "us": 1250}},
        })  # fmt: skip
    return found


@given(drafts())
def test_records_are_canonical_and_say_what_was_decided(
    made: tuple[Drafts, list[Applicant], dict[int, Refused], Verdicts],
) -> None:
    found, what = made[0], bodies(*made[1:])
    lines = found.records(TIME).splitlines()
    assert lines == [encode(body) for body in what]
    assert [decode(line, limit=1 << 20) for line in lines] == what


@given(drafts())
def test_an_answer_is_what_its_record_says(
    made: tuple[Drafts, list[Applicant], dict[int, Refused], Verdicts],
) -> None:
    found = made[0]
    answered = found.decisions(KEPT, batch=True)
    read = [placed(read_record(line)[1], KEPT, k) for k, line in enumerate(found.records(TIME).splitlines())]
    assert answered == read
    decided = [one for one in answered if isinstance(one, Decision)]
    assert all(one.decision_id.startswith("000007-12-") for one in decided)
    told = found.counts()
    assert (told["decisions"], told["degraded"]) == (len(decided), sum(one.degraded for one in decided))
    states: dict[str, int] = {}
    for one in decided:
        states[one.parties["telecom"].state] = states.get(one.parties["telecom"].state, 0) + 1
    assert told["parties"] == ({"telecom": states} if states else {})


@pytest.mark.parametrize("value", [0.1, 5e-324, 1e22, -0.0, 1.0 / 3.0])
def test_numbers_come_back_bit_for_bit(value: float) -> None:
    said = Verdicts(
        np.array([value]), np.array([500]), np.full((1, 4), -1), (), np.array([False]), np.array([False]),
        np.array([0]), [{}],
    )  # fmt: skip
    (line,) = Drafts([Applicant("A", {"x": value})], {}, said, GRADES, MODEL).records(TIME).splitlines()
    _, read = read_record(line)
    assert isinstance(read, Decision)
    assert (read.pd, math.copysign(1.0, read.pd)) == (value, math.copysign(1.0, value))
