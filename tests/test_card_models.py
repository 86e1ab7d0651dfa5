"""Shares of a scorecard as files: what is written is read, and what does not fit together is named."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import numpy as np
import pytest

from vfl.agreement import Agreement, Member
from vfl.card_models import card_share, card_table, read_card, require_card, verdict_lines, verdict_table
from vfl.errors import UsageError
from vfl.learn.feature_parameters import BinningParameters
from vfl.learn.logistic import Inference
from vfl.learn.scorecard import Card, Scaling
from vfl.learn.scorecard_parameters import ScorecardParameters
from vfl.learn.selection import Candidate, Verdict
from vfl.learn.woe import WoeFeature

RNG = np.random.default_rng(8)
VALUES = RNG.normal(size=(600, 2)).round(2)
VALUES[RNG.random(VALUES.shape) < 0.1] = np.nan
VALUES[::7, 1] = -999.0
LABELS = (np.nan_to_num(VALUES[:, 0]) + RNG.logistic(size=600) > 0.5).astype(np.int8)
FEATURES = tuple(
    WoeFeature.fit(name, column, LABELS, BinningParameters(significance=1.0), 10, special=special)
    for name, column, special in zip(("late", "use"), VALUES.T, ((), (-999.0,)), strict=True)
)
CARD = Card(FEATURES, np.array([0.9, 0.0]), Scaling.of(ScorecardParameters()))
TESTS = Inference(np.array([0.125, np.nan]), np.array([7.2, np.nan]), np.array([1e-9, np.nan]))
MEMBERS = Member("bank", "active", ("late", "use")), Member("bureau", "passive", ("debt",))


@pytest.fixture(scope="module")
def agreement() -> Agreement:
    return Agreement("cards", "test", MEMBERS, {"kind": "scorecard"}, {}, {}, {})


@pytest.fixture(scope="module")
def share(agreement: Agreement) -> bytes:
    return card_share(agreement, "bank", CARD, TESTS, {"intercept": -1.5})


def test_what_is_written_is_read(share: bytes) -> None:
    found = read_card(share)
    assert found.predictor(VALUES).tobytes() == CARD.predictor(VALUES).tobytes()
    assert found.points(VALUES).tolist() == CARD.points(VALUES).tolist()
    assert [one.attribute for one in found.attributes()] == [one.attribute for one in CARD.attributes()]


def test_whose_share_it_is(share: bytes, agreement: Agreement) -> None:
    require_card(share, agreement, "bank")
    with pytest.raises(UsageError, match="of another party: 'bank', not 'bureau'"):
        require_card(share, agreement, "bureau")


def damaged(share: bytes, change: Any) -> bytes:
    body = json.loads(share)
    change(body)
    return json.dumps(body).encode()


@pytest.mark.parametrize(
    "change",
    [
        lambda body: body["lines"][0].pop("bins"),
        lambda body: body["lines"][0]["woe"].pop(),
        lambda body: body["lines"][1]["bins"].update(special=[1.0, 2.0]),
        lambda body: body["lines"][0]["bins"].update(groups=[]),
        lambda body: body["lines"][0].update(coefficient="much"),
        lambda body: body.update(scaling=None),
    ],
)
def test_a_damaged_share_is_refused(share: bytes, change: Any) -> None:
    with pytest.raises(UsageError, match="is damaged"):
        read_card(damaged(share, change))


@pytest.mark.parametrize("content", [b"", b"[]", b"\xff", b'{"format": "other"}', b"[" * 100_000])
def test_what_is_no_share_is_refused(content: bytes) -> None:
    with pytest.raises(UsageError, match="not a share of a scorecard"):
        read_card(content)


def test_a_table_has_a_row_for_each_attribute() -> None:
    everything = Inference(*(np.append(0.25, one) for one in (TESTS.errors, TESTS.z, TESTS.p_values)))
    rows = list(csv.DictReader(io.StringIO(card_table(CARD, TESTS, (-1.5, 530, everything)).decode())))
    assert (rows[0]["feature"], rows[0]["points"], rows[0]["standard_error"]) == ("(base)", "530", "0.25")
    assert len(rows) == 1 + sum(one.n_bins for one in FEATURES)
    assert {row["standard_error"] for row in rows if row["feature"] == "late"} == {"0.125"}
    assert {row["p_value"] for row in rows if row["feature"] == "use"} == {""}, "at 0 there is nothing to test"


def test_verdicts_as_lines() -> None:
    verdicts = [
        Verdict(Candidate(0, "late", 4, 0.5, 0.01), True, "kept", 1.25),
        Verdict(Candidate(1, "debt", 2, 0.3), False, "the others say it together", float("inf")),
    ]
    lines = verdict_lines(["bank", "bureau"], verdicts)
    assert lines[0] | {"reason": ""} == {
        "party": "bank", "feature": "late", "bins": 4, "iv": 0.5, "psi": 0.01, "vif": 1.25, "kept": True, "reason": "",
    }  # fmt: skip
    assert (lines[1]["psi"], lines[1]["vif"]) == (None, None)
    rows = list(csv.DictReader(io.StringIO(verdict_table(lines).decode())))
    assert [(row["party"], row["kept"], row["psi"]) for row in rows] == [("bank", "yes", "0.01"), ("bureau", "no", "")]
