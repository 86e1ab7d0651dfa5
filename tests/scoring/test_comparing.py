"""Champion and challenger side by side: figures of few pairs, computed by hand."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from vfl.learn.stability import score_stability
from vfl.scoring.answers import Decision, Receipt, Refused, Scored
from vfl.scoring.comparing import LEAST, Pairs, comparison


def decided(pd: float, outcome: str = "approve", *, degraded: bool = False) -> Decision:
    return Decision(
        "", pd, 600, "A", outcome, (), degraded, Scored("loans", "0", "0"), {}, Receipt("", 0, "")  # type: ignore[arg-type]
    )  # fmt: skip


def paired(pds: Sequence[tuple[float, float]], outcomes: Sequence[tuple[str, str]]) -> Pairs:
    found = Pairs()
    for (one, other), (mine, its) in zip(pds, outcomes, strict=True):
        found.add(decided(one, mine), decided(other, its))
    return found


def test_differences_and_agreement() -> None:
    outcomes = [("approve", "approve"), ("approve", "decline"), ("approve", "decline"), ("refer", "approve")]
    told = comparison(paired([(0.1, 0.2), (0.1, 0.4), (0.2, 0.1), (0.4, 0.4)], outcomes))
    assert told["applicants"] == 4
    assert told["pd"]["champion"]["mean"] == pytest.approx(0.2)
    assert told["pd"]["challenger"]["mean"] == pytest.approx(0.275)
    assert told["pd"]["mean_difference"] == pytest.approx(0.075)
    assert told["pd"]["mean_abs_difference"] == pytest.approx(0.125)
    assert told["pd"]["champion"]["p50"] == pytest.approx(0.15)
    assert told["decisions"]["agree"] == 0.25
    assert told["decisions"]["champion"] == {"approve": 0.75, "refer": 0.25, "decline": 0.0}
    assert told["decisions"]["challenger"] == {"approve": 0.5, "refer": 0.0, "decline": 0.5}
    assert told["decisions"]["both"]["approve"] == {"approve": 1, "refer": 0, "decline": 2}
    assert told["psi"] is None, "of four nothing is said"


def test_the_index_is_that_of_the_reports() -> None:
    grid = np.linspace(0.01, 0.9, LEAST)
    told = comparison(paired([(pd, pd**2) for pd in grid.tolist()], [("approve", "approve")] * LEAST))
    expected = score_stability(grid, grid**2)
    assert told["psi"] == {"pd": expected.psi, "band": "unstable"}
    same = comparison(paired([(pd, pd) for pd in grid.tolist()], [("approve", "approve")] * LEAST))
    assert same["psi"] == {"pd": 0.0, "band": "stable"}


def test_who_is_left_out() -> None:
    pairs = Pairs()
    pairs.add(decided(0.1, degraded=True), decided(0.1))
    pairs.add(decided(0.1), decided(0.1, degraded=True))
    pairs.add(decided(0.1), Refused("bad-features", ""))
    assert comparison(pairs) == {
        "applicants": 0, "left_out": {"degraded": 2, "refused": 1}, "pd": None, "decisions": None, "psi": None
    }  # fmt: skip
