"""Decisions are metered from their ledger: by month and model, without those that used no partner's data."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.entry import Entry
from vfl.errors import UsageError
from vfl.settle.usage import Usage, meter

A, B = "a" * 64, "b" * 64


def entry(when: str, step: str = "decision", seq: int = 2, **params: Any) -> Entry:
    job = "decisions-0123456789ab-000001"
    return Entry(
        log=f"bank/{job}", seq=seq, prev="0" * 64, ts=when, mono=0, job=job, agreement="c" * 64, phase="serve", round=0,
        step=step, slot=f"serve/0/{step}/bank>bank/{seq}", actor="bank", peer=None, dir="local", payload=None, refs=(),
        commit=(), params=params, env=None,
    )  # fmt: skip


def made(when: str, decisions: int, degraded: int = 0, model: str = A, **more: Any) -> Entry:
    return entry(when, model=model, decisions=decisions, degraded=degraded, **more)


def test_by_month_and_model() -> None:
    said = [
        made("2026-10-31T23:59:59.999999Z", 1),
        made("2026-11-01T00:00:00.000000Z", 100, 7),
        made("2026-11-30T00:00:00.000000Z", 1, 1),
        made("2026-11-30T00:00:00.000000Z", 3, model=B),
        entry("2026-11-30T00:00:00.000000Z", "serving", model=A),
        entry("2026-11-30T00:00:00.000000Z", "shadow", model=B, decisions=50, degraded=0),
    ]
    november = Usage("2026-11", A, 2, 101, 8)
    assert meter(said) == [Usage("2026-10", A, 1, 1, 0), november, Usage("2026-11", B, 1, 3, 0)]
    assert november.billable == 93
    assert november.amount(25) == 2325
    assert [one.period for one in meter(said, "year")] == ["2026", "2026"]
    assert len(meter(said, "day")) == 4


def test_of_a_batch_with_a_canary_each_model_has_its_own() -> None:
    both = {A: {"decisions": 8, "degraded": 1}, B: {"decisions": 2, "degraded": 0}}
    assert meter([made("2026-11-30T00:00:00.000000Z", 10, 1, models=both)]) == [
        Usage("2026-11", A, 1, 8, 1),
        Usage("2026-11", B, 0, 2, 0),
    ]


@pytest.mark.parametrize(
    "params",
    [{"model": A}, {"model": A, "decisions": 1, "degraded": 2}, {"model": A, "decisions": True, "degraded": 0},
     {"model": A, "decisions": "1", "degraded": 0}, {"model": A, "decisions": 1, "degraded": -1},
     {"model": A, "models": 3}],
)  # fmt: skip
def test_what_does_not_count_its_decisions_is_named(params: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="bank/decisions-0123456789ab-000001: entry 2 does not say what was decided"):
        meter([entry("2026-11-30T00:00:00.000000Z", **params)])


def test_an_unknown_period() -> None:
    with pytest.raises(UsageError, match="period is 'week'"):
        meter([], "week")


@given(st.lists(st.tuples(st.integers(1, 12), st.integers(0, 50), st.integers(0, 50), st.sampled_from([A, B]))))
def test_nothing_is_lost_or_counted_twice(rows: list[tuple[int, int, int, str]]) -> None:
    said = [made(f"2026-{month:02}-01T00:00:00.000000Z", good + bad, bad, model) for month, good, bad, model in rows]
    for period in ("year", "month", "day"):
        found = meter(said, period)
        assert sum(one.billable for one in found) == sum(good for _, good, _, _ in rows)
        assert sum(one.degraded for one in found) == sum(bad for _, _, bad, _ in rows)
        assert sum(one.answers for one in found) == len(rows)
