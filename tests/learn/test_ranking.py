"""Lift, gain, approvals and profit against plain counting."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vfl.errors import UsageError
from vfl.learn.ranking import Ranking

ROWS = st.lists(st.tuples(st.integers(0, 1), st.integers(-4, 4)), min_size=2, max_size=50).filter(
    lambda rows: len({row[0] for row in rows}) == 2
)
Rows = list[tuple[int, int]]


@given(ROWS, st.integers(2, 12))
def test_groups_hold_everybody_once(rows: Rows, groups: int) -> None:
    y, score = zip(*rows, strict=True)
    found = Ranking.of(y, score).lift(groups)
    assert found.customers.sum() == len(y)
    assert found.customers.max() - found.customers.min() <= 1
    assert found.bads.sum() == pytest.approx(sum(y))
    assert found.captured[-1] == pytest.approx(1.0)
    assert found.cumulative_lift[-1] == pytest.approx(1.0)
    assert found.lift * np.mean(y) == pytest.approx(found.bad_rate)
    assert (np.diff(found.lowest) <= 0).all()


@given(ROWS, st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_matter(rows: Rows, random: object) -> None:
    mixed = list(rows)
    random.shuffle(mixed)  # type: ignore[attr-defined]
    one, other = (Ranking.of(*zip(*these, strict=True)) for these in (rows, mixed))
    assert one.bads == pytest.approx(other.bads)
    assert one.lift(5).bads == pytest.approx(other.lift(5).bads)


@given(ROWS, st.integers(-5, 5))
def test_a_cut_off_approves_who_scores_up_to_it(rows: Rows, cutoff: int) -> None:
    y, score = (np.array(column) for column in zip(*rows, strict=True))
    taken = score <= cutoff
    found = Ranking.of(y, score).at_cutoffs([cutoff], 2.0, 5.0)
    assert found.approved[0] == pytest.approx(taken.mean())
    assert found.bad_rate[0] == pytest.approx(y[taken].mean() if taken.any() else 0.0)
    assert found.profit[0] == pytest.approx((2.0 * (y[taken] == 0).sum() - 5.0 * y[taken].sum()) / len(y))
    assert found.cutoff[0] == (score[taken].max() if taken.any() else -np.inf)


@given(ROWS)
def test_the_best_cut_off_is_the_best_of_all(rows: Rows) -> None:
    y, score = (np.array(column) for column in zip(*rows, strict=True))
    ranking = Ranking.of(y, score)
    every = ranking.at_cutoffs([-99, *np.unique(score)], 1.0, 3.0)
    best = ranking.best(1.0, 3.0)
    assert best.profit[0] == pytest.approx(every.profit.max(), abs=1e-12)
    lower = every.cutoff < best.cutoff[0]
    assert (every.profit[lower] < best.profit[0] + 1e-12).all()


def test_lift_by_hand() -> None:
    found = Ranking.of([1, 1, 0, 1, 0, 0, 0, 0], [8, 7, 6, 5, 4, 3, 2, 1]).lift(4)
    assert found.bads.tolist() == [2, 1, 0, 0]
    assert found.lift == pytest.approx([8 / 3, 4 / 3, 0, 0])
    assert found.captured == pytest.approx([2 / 3, 1, 1, 1])
    assert found.cumulative_lift == pytest.approx([8 / 3, 2, 4 / 3, 1])
    assert found.lowest.tolist() == [7, 5, 3, 1]


def test_customers_who_score_alike_count_with_their_average() -> None:
    found = Ranking.of([1, 0, 0, 0], [5, 5, 5, 5])
    assert found.at_shares([0.0, 0.5, 1.0], 1.0, 1.0).bad_rate == pytest.approx([0.0, 0.25, 0.25])
    assert found.lift(2).lift == pytest.approx([1, 1])


def test_nobody_is_approved_where_nobody_pays() -> None:
    best = Ranking.of([1, 1, 0], [1, 2, 3]).best(1.0, 100.0)
    assert (best.approved[0], best.profit[0], best.cutoff[0]) == (0.0, 0.0, -np.inf)


def test_what_cannot_be_ranked() -> None:
    with pytest.raises(UsageError, match="1 scores are not a number"):
        Ranking.of([0, 1], [np.nan, 1.0])
