"""Sums over decisions: windows that move, quantiles, drift, and nothing about anybody."""

from __future__ import annotations

import json

import numpy as np
import pytest
from board_kit import Hands, made, points_of

from vfl.board.observed import _EDGES, LEAST, MINUTES, MOST_POINTS, Observed, quantile
from vfl.learn.stability import score_stability

PDS = np.linspace(0.01, 0.4, 1000)
REFERENCE = [points_of(pd) for pd in PDS]


@pytest.fixture
def hands() -> Hands:
    return Hands()


def test_minutes_are_counted_and_leave_after_an_hour(hands: Hands) -> None:
    observed = Observed(hands)
    observed.add(made(0.05), 0.002)
    hands.forward(minutes=1)
    observed.add(made(0.05, degraded=True), 0.002)
    look = observed.look()
    assert [minute["count"] for minute in look["minutes"][-2:]] == [1, 1]
    assert (look["hour"]["count"], look["hour"]["degraded"]) == (2, 1)
    hands.forward(minutes=MINUTES - 1)
    assert observed.look()["hour"] == {"count": 1, "degraded": 1, **_latency(observed)}
    hands.forward(minutes=1)
    assert observed.look()["hour"] == {"count": 0, "degraded": 0, "p50_ms": None, "p99_ms": None}
    assert observed.look()["day"]["count"] == 2


def _latency(observed: Observed) -> dict[str, float]:
    hour = observed.look()["hour"]
    return {name: hour[name] for name in ("p50_ms", "p99_ms")}


def test_a_day_is_forgotten_after_it(hands: Hands) -> None:
    observed = Observed(hands)
    for _ in range(3):
        observed.add(made(0.05), 0.001)
    hands.forward(hours=23)
    observed.add(made(0.3), 0.001)
    day = observed.look()["day"]
    assert day["points"] == {points_of(0.3): 1, points_of(0.05): 3}
    assert day["bands"] == {"B": 3, "D": 1}
    assert day["outcomes"] == {"approve": 3, "decline": 1}
    hands.forward(hours=2)
    assert observed.look()["day"]["count"] == 1


def test_a_batch_counts_as_its_decisions_do(hands: Hands) -> None:
    batch = [made(pd, degraded=pd > 0.2) for pd in (0.05, 0.05, 0.3, 0.1)] + [made(0.05, points=10**9)]
    together, apart = Observed(hands, REFERENCE), Observed(hands, REFERENCE)
    together.add_all(batch, 0.25)
    for one in batch:
        apart.add(one, 0.25)
    assert together.look() == apart.look()
    assert together.look()["day"]["count"] == 5


def test_memory_is_bounded(hands: Hands) -> None:
    observed = Observed(hands, REFERENCE)
    for _ in range(5 * 24 * 6):
        observed.add(made(0.05), 0.001)
        hands.forward(minutes=10)
    assert len(observed._minutes) <= MINUTES
    assert len(observed._stretches) <= 2 * 24 * 6
    observed.add(made(0.05, points=10**9), 0.001)
    assert max(observed.look()["day"]["points"]) == MOST_POINTS


@pytest.mark.parametrize("ms", [0.06, 1.0, 3.7, 50.0, 900.0])
def test_quantiles_are_never_too_low_and_a_seventh_too_high_at_most(hands: Hands, ms: float) -> None:
    observed = Observed(hands)
    for _ in range(99):
        observed.add(made(0.05), ms / 1000)
    observed.add(made(0.05), 50 * ms / 1000)
    hour = observed.look()["hour"]
    assert ms <= hour["p50_ms"] <= 1.14 * ms
    assert ms <= hour["p99_ms"] <= 1.14 * ms
    observed.add(made(0.05), 50 * ms / 1000)
    assert 50 * ms <= observed.look()["hour"]["p99_ms"] <= 1.14 * 50 * ms


def test_a_latency_beyond_the_histogram_is_its_end() -> None:
    counts = np.zeros(len(_EDGES) + 1, np.int64)
    counts[-1] = 1
    assert quantile(counts, 0.5) == _EDGES[-1]


def test_drift_is_the_index_of_the_day_against_the_reference(hands: Hands) -> None:
    observed = Observed(hands, REFERENCE)
    pds = np.linspace(0.02, 0.6, LEAST)
    for pd in pds[:-1]:
        observed.add(made(float(pd)), 0.001)
    assert observed.look()["stability"]["psi"] is None
    observed.add(made(float(pds[-1])), 0.001)
    found = observed.look()["stability"]
    wanted = score_stability(REFERENCE, [points_of(pd) for pd in pds]).psi
    assert found["psi"] == pytest.approx(wanted, abs=1e-12)
    assert found["band"] == "unstable"
    assert found["steps"][-1] == found["psi"]
    assert found["steps"][:-1] == [None] * 143
    hands.forward(hours=25)
    later = observed.look()["stability"]
    assert later["psi"] is None
    assert [psi for psi in later["steps"] if psi is not None] == [found["psi"]] * (143 - 6)


def test_without_a_reference_there_is_no_drift(hands: Hands) -> None:
    assert Observed(hands).look()["stability"] is None
    assert Observed(hands).look()["reference"] == {}


def test_the_same_scores_as_the_reference_are_stable(hands: Hands) -> None:
    observed = Observed(hands, REFERENCE)
    for pd in PDS:
        observed.add(made(float(pd)), 0.001)
    found = observed.look()["stability"]
    assert found["psi"] == pytest.approx(0, abs=1e-12)
    assert found["band"] == "stable"
    assert found["chance"] == pytest.approx(9 * (1 / 1000 + 1 / 1000))


def test_what_is_told_is_json_and_holds_no_identifier(hands: Hands) -> None:
    observed = Observed(hands, REFERENCE)
    observed.add(made(0.05, number=4711), 0.001)
    text = json.dumps(observed.look(), allow_nan=False)
    assert "000001-4711" not in text
    assert "bureau" not in text
