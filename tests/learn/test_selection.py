"""Selection: a verdict for each feature, in words, and always the feature with more information that stays."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vfl.learn.collinearity import correlations, known_inflation
from vfl.learn.feature_parameters import SelectionParameters
from vfl.learn.selection import Candidate, Verdict, screen, select

PARAMETERS = SelectionParameters()


def candidate(iv: float = 0.2, party: int = 0, bins: int = 4, psi: float | None = None, name: str = "f") -> Candidate:
    return Candidate(party, name, bins, iv, psi)


@pytest.mark.parametrize(
    ("one", "options", "reason"),
    [
        (candidate(bins=1, iv=0.0), {}, "one bin only: too few different values, or no difference in bad rate"),
        (candidate(0.01), {}, "information value 0.0100 below 0.02: useless"),
        (candidate(0.9), {"max_iv": 0.5}, "information value 0.9000 above 0.5: does it know the outcome?"),
        (candidate(psi=0.3), {}, "stability index 0.300 above 0.25: unstable since training"),
        (candidate(0.9), {}, ""),
        (candidate(psi=0.3), {"max_psi": 0.0}, ""),
        (candidate(psi=0.2), {}, ""),
    ],
)
def test_what_a_feature_shows_alone(one: Candidate, options: dict[str, Any], reason: str) -> None:
    assert screen([one], SelectionParameters(**options)) == [Verdict(one, not reason, reason)]


def test_of_two_that_repeat_each_other_the_better_stays() -> None:
    three = [candidate(0.1, name="a"), candidate(0.3, 1, name="b"), candidate(0.05, 2, name="c")]
    matrix = np.array([[1.0, -0.9, 0.2], [-0.9, 1.0, np.nan], [0.2, np.nan, 1.0]])
    found = select(screen(three, PARAMETERS), matrix, PARAMETERS)
    assert [verdict.kept for verdict in found] == [False, True, True]
    assert found[0].reason == "correlation -0.90 with 'b' of party 1, which has more information (0.3000)"
    assert found[1].reason == "kept: information value 0.3000, strong"
    assert found[2].reason == "kept: information value 0.0500, weak"
    assert found[1].vif == pytest.approx(1.0)


def test_a_feature_that_others_say_together_goes() -> None:
    rng = np.random.default_rng(1)
    columns = rng.normal(size=(400, 4))
    columns[:, 3] = columns[:, :3].sum(axis=1) + 0.1 * rng.normal(size=400)
    four = [candidate(0.3, name=name) for name in "abcd"]
    found = select(screen(four, PARAMETERS), correlations(columns), PARAMETERS)
    assert [verdict.kept for verdict in found] == [True, True, True, False]
    assert found[3].reason.startswith("variance inflation ")
    assert found[3].reason.endswith(" above 10: the others say it together")
    unlimited = SelectionParameters(max_vif=0.0)
    assert all(verdict.kept for verdict in select(screen(four, unlimited), correlations(columns), unlimited))


def test_of_equal_factors_the_feature_with_less_information_goes() -> None:
    copies = [candidate(0.2, name="a"), candidate(0.3, name="b")]
    parameters = SelectionParameters(max_correlation=1.0)
    found = select(screen(copies, parameters), np.ones((2, 2)), parameters)
    assert [verdict.kept for verdict in found] == [False, True]
    assert found[0].vif == np.inf


def test_those_rejected_before_keep_their_place_and_reason() -> None:
    three = [candidate(0.0), candidate(0.2), candidate(0.2, bins=1)]
    found = select(screen(three, PARAMETERS), np.eye(1), PARAMETERS)
    assert [verdict.kept for verdict in found] == [False, True, False]
    assert found[0] == screen(three, PARAMETERS)[0]
    assert select([], np.zeros((0, 0)), PARAMETERS) == []


@settings(deadline=None, max_examples=100)
@given(st.integers(0, 2**32 - 1), st.sampled_from([0.2, 0.5, 0.9]), st.sampled_from([1.5, 5.0, 0.0]))
def test_what_stays_keeps_to_the_limits_and_nothing_goes_for_nothing(number: int, most: float, vif: float) -> None:
    rng = np.random.default_rng(number)
    columns = rng.normal(size=(30, 7)) @ rng.normal(size=(7, 7))
    owners = np.array([0, 0, 0, 1, 1, 2, 2])
    matrix = correlations(columns)
    matrix[3:5, 5:] = matrix[5:, 3:5] = np.nan
    everyone = [candidate(float(iv), int(owner)) for iv, owner in zip(rng.random(7), owners, strict=True)]
    parameters = SelectionParameters(min_iv=0.0, max_correlation=most, max_vif=vif)
    found = select(screen(everyone, parameters), matrix, parameters)
    stay = np.flatnonzero([verdict.kept for verdict in found])
    left = matrix[np.ix_(stay, stay)]
    off = left[~np.eye(len(stay), dtype=bool)]
    assert (np.abs(off[np.isfinite(off)]) <= most).all()
    if vif:
        assert known_inflation(left, owners[stay]).max(initial=0.0) <= vif
    best = max(range(7), key=lambda place: everyone[place].iv)
    assert found[best].kept or "variance inflation" in found[best].reason
    assert all(verdict.reason for verdict in found)
    assert len(stay) > 0
