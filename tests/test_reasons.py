"""Reasons: adverse contributions only, the largest first, in the words that were agreed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vfl.agreement import Agreement, Member
from vfl.reasons import MOST, Column, Reason, columns_of, reasons, words_of

AGREED = Agreement(
    scenario="small",
    purpose="joint credit default model",
    members=(
        Member("telecom", "passive", ("calls",)),
        Member("bank", "active", ("income", "credit_limit"), {"income": "Income is low"}),
        Member("bureau", "passive", ("late_30", "late_60", "debt"), {"late_30": "Late", "late_60": "Late"}),
    ),
    model={}, privacy={}, psi={}, holdout={},
)  # fmt: skip
COLUMNS = columns_of(AGREED)


def test_columns_stand_in_the_order_of_the_attributions_with_their_words() -> None:
    assert [column.party for column in COLUMNS] == ["bank", "bank", "telecom", "bureau", "bureau", "bureau"]
    assert [column.words for column in COLUMNS] == ["Income is low", "Credit limit", "Calls", "Late", "Late", "Debt"]


@pytest.mark.parametrize(
    ("feature", "words"),
    [
        ("credit_limit", "Credit limit"),
        ("creditLimit", "Credit Limit"),
        ("credit-limit.eur", "Credit limit eur"),
        ("PAY_0", "PAY 0"),
        ("pay_amt1", "Pay amt1"),
        ("  age ", "Age"),
        ("___", "___"),
        ("年龄", "年龄"),
        ("", ""),
    ],
)
def test_words_of_a_name(feature: str, words: str) -> None:
    assert words_of(feature) == words


def test_reasons_are_adverse_ranked_and_joined_by_their_words() -> None:
    found = reasons([0.3, -9.0, 0.1, 0.2, 0.25, 0.0], COLUMNS)
    assert found == [
        Reason("bureau", "Late", pytest.approx(0.45)), Reason("bank", "Income is low", 0.3),
        Reason("telecom", "Calls", 0.1),
    ]  # fmt: skip


def test_words_that_weigh_up_to_nothing_are_no_reason() -> None:
    assert reasons([0.0, 0.0, 0.0, 0.5, -0.5, 0.0], COLUMNS) == []
    assert [r.words for r in reasons([0.0, 0.0, 0.0, 0.5, -0.6, 0.1], COLUMNS)] == ["Debt"]


def test_the_same_words_of_two_parties_are_two_reasons() -> None:
    columns = [Column("bank", "a", "Late"), Column("bureau", "b", "Late")]
    assert [r.party for r in reasons([0.1, 0.2], columns)] == ["bureau", "bank"]


@given(st.lists(st.sampled_from([-1.0, 0.0, 0.25, 0.5]), min_size=12, max_size=12), st.integers(1, 12))
def test_of_equal_reasons_the_first_is_first(values: list[float], most: int) -> None:
    columns = [Column("bank", f"f{i}", f"words {i}") for i in range(12)]
    found = reasons(values, columns, most)
    adverse = [(-value, i) for i, value in enumerate(values) if value > 0]
    assert [r.words for r in found] == [f"words {i}" for _, i in sorted(adverse)[:most]]
    assert len(reasons([1.0] * 12, columns)) == MOST
