"""What a partner answers a day and in all is counted by itself, on record before it is given, and survives crashes."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from scoring_kit import policy, predictions, run, sessions, table

from ledger.entry import Entry
from ledger.store import SQLiteStore
from vfl.errors import UsageError
from vfl.scoring.budget import BLOCK, FILE, Budget


class Days:
    """A clock that is set."""

    def __init__(self) -> None:
        self.time = datetime(2026, 1, 30, 12, tzinfo=UTC)

    def now(self) -> datetime:
        return self.time

    def monotonic_ns(self) -> int:
        return 0


def nothing(day: str, reserved: int, total: int) -> None: ...


def kept(folder: Path) -> dict[str, object]:
    body: dict[str, object] = json.loads((folder / FILE).read_text())
    return body


def test_a_day_has_so_many_and_the_next_day_as_many_again(tmp_path: Path) -> None:
    clock = Days()
    budget = Budget(tmp_path, 10, None, clock)
    assert budget.take(6, nothing)
    assert not budget.take(5, nothing)
    assert budget.left() == 4
    assert budget.take(4, nothing)
    assert not budget.take(1, nothing)
    clock.time += timedelta(hours=11, minutes=59)
    assert budget.left() == 0
    clock.time += timedelta(minutes=1)  # UTC, whatever day it is here
    assert budget.left() == 10
    assert budget.take(10, nothing)
    clock.time -= timedelta(hours=1)  # a clock that is set back gives nothing twice
    assert budget.left() == 0
    assert not budget.take(1, nothing)


def test_all_in_all_is_counted_over_days(tmp_path: Path) -> None:
    clock = Days()
    budget = Budget(tmp_path, 10, 15, clock)
    assert budget.take(10, nothing)
    clock.time += timedelta(days=1)
    assert budget.left() == 5
    assert not budget.take(6, nothing)
    assert budget.take(5, nothing)
    clock.time += timedelta(days=1)
    assert budget.left() == 0


def test_without_a_bound_it_counts_all_the_same(tmp_path: Path) -> None:
    budget = Budget(tmp_path, None, None, Days())
    assert budget.left() is None
    assert all(budget.take(700, nothing) for _ in range(3))
    assert kept(tmp_path) == {"day": "2026-01-30", "reserved": 3 * BLOCK, "total": 3 * BLOCK}


def test_a_block_is_told_and_kept_before_any_of_it_is_given(tmp_path: Path) -> None:
    """Whoever fails then gives nothing: neither the ledger nor the file may lag behind."""
    told: list[tuple[str, int, int]] = []

    def before(day: str, reserved: int, total: int) -> None:
        assert not (tmp_path / FILE).exists() or kept(tmp_path)["total"] < total
        told.append((day, reserved, total))

    def refuses(day: str, reserved: int, total: int) -> None:
        raise OSError("disk full")

    budget = Budget(tmp_path, None, 5 * BLOCK, Days())
    with pytest.raises(OSError, match="disk full"):
        budget.take(1, refuses)
    assert not (tmp_path / FILE).exists()
    assert budget.left() == 5 * BLOCK
    assert budget.take(1, before)
    assert told == [("2026-01-30", 50, 50)]
    assert kept(tmp_path)["total"] == 50
    assert budget.take(BLOCK, before)
    assert told[1:] == [("2026-01-30", BLOCK + 1, BLOCK + 1)]


def test_where_the_file_cannot_be_written_nothing_is_given(tmp_path: Path) -> None:
    folder = tmp_path / "seat"
    folder.mkdir()
    budget = Budget(folder, None, None, Days())
    (folder / f"{FILE}.part").mkdir()  # in the way
    with pytest.raises(OSError, match="directory"):
        budget.take(1, nothing)
    (folder / f"{FILE}.part").rmdir()
    calls: list[int] = []
    assert budget.take(1, lambda day, reserved, total: calls.append(reserved))
    assert calls == [BLOCK], "the block that could not be kept is not there"


def test_a_crash_loses_what_was_left_of_a_block_and_an_end_does_not(tmp_path: Path) -> None:
    first = Budget(tmp_path, 1000, None, Days())
    assert first.take(3, nothing)
    after_crash = Budget(tmp_path, 1000, None, Days())
    assert after_crash.left() == 990
    assert after_crash.take(1, nothing)
    after_crash.close()
    assert Budget(tmp_path, 1000, None, Days()).left() == 989


def test_a_small_budget_has_small_blocks(tmp_path: Path) -> None:
    assert Budget(tmp_path, 5, None, Days()).take(1, nothing)
    assert Budget(tmp_path, 5, None, Days()).left() == 4


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "7",
        '{"day": "2026-01-30", "reserved": 1}',
        '{"day": "2026-01-30", "reserved": -1, "total": 1}',
        '{"day": "2026-01-30", "reserved": 2, "total": 1}',
        '{"day": "2026-01-30", "reserved": true, "total": 1}',
        '{"day": "2026-01-30", "reserved": "1", "total": 1}',
        '{"day": "2026-01-30", "reserved": 1.0, "total": 1}',
        '{"day": "20260130", "reserved": 1, "total": 1}',
        '{"day": "yesterday", "reserved": 1, "total": 1}',
        '{"day": 5, "reserved": 1, "total": 1}',
        '{"day": "2026-01-30", "reserved": 1, "total": 1, "more": 0}',
    ],
)
def test_a_damaged_file_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE).write_text(text)
    with pytest.raises(UsageError, match=r"budget.json is damaged") as caught:
        Budget(tmp_path, 10, None, Days())
    assert "ledgers of sessions" in caught.value.remedy


def budget_entries(ledger: Path) -> list[Entry]:
    store = SQLiteStore(ledger)
    found = [Entry.from_bytes(row.body) for row in store.rows()]
    store.close()
    return found


def test_budgets_stand_in_the_ledger_of_the_session_before_the_answer(card: Path) -> None:
    """And what is beyond them is not answered: the stand-in scores, and says why."""
    ids = [row["id"] for row in predictions(card)]

    async def work() -> None:
        async with table(card, policy(scores_per_day=30)) as here:
            assert not any(one.degraded for one in await here.batch(ids[:25]))
            late = await here.batch(ids[:6])
            assert all(one.degraded and one.parties["telecom"].state == "budget" for one in late)
            assert here.service.partners()["telecom"].left == 5
            assert not any(one.degraded for one in await here.batch(ids[:5]))
            assert (await here.score(ids[0])).parties["payroll"].state == "budget"
            assert here.service.partners()["payroll"].left == 0

    run(work())
    for party in ("telecom", "payroll"):
        (ledger,) = sessions(card, party)
        entries = budget_entries(ledger)
        steps = [entry.step for entry in entries]
        blocks = [entry for entry in entries if entry.step == "budget"]
        assert [entry.params["total"] for entry in blocks] == [25, 30]
        assert all(entry.params["per_day"] == 30 and "in_all" not in entry.params for entry in blocks)
        assert steps.index("budget") < steps.index("Parts")
        assert kept(card / party / "scoring")["total"] == 30
