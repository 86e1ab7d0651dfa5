"""Killed wherever it is, `settle open` and `settle pay` go on when they are said again, and nothing is paid twice."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from run_kit import Runs, here
from scoring_kit import copied, run
from settling_kit import SETTLED, bundle_of, checked, desk, score

from ledger.log import Log
from vfl.errors import UsageError
from vfl.settle import settling
from vfl.settle.book import Book, Books
from vfl.settle.desk import Desk
from vfl.settle.payments import read_settlement


class Killed(BaseException):
    """The process is gone."""


STEPS: list[tuple[Any, str]] = [
    (Book, "note"), (Books, "commit"), (Desk, "_play"), (Books, "countersign"), (settling, "write_settlement"),
    (settling, "write_files"), (Log, "commit"), (Log, "checkpoint"),
]  # fmt: skip


def killed_at(number: int, do: Callable[[], object]) -> bool:
    """Do it, and be killed before the step of this number; False when there are fewer steps."""
    left = [number]

    def counted(true: Callable[..., Any]) -> Callable[..., Any]:
        def step(*words: Any, **more: Any) -> Any:
            left[0] -= 1
            if left[0] < 0:
                raise Killed
            return true(*words, **more)

        return step

    with pytest.MonkeyPatch.context() as patch, suppress(Killed):
        for where, name in STEPS:
            patch.setattr(where, name, counted(getattr(where, name)))
        do()
        return False
    return True


def opened(root: Path) -> None:
    with desk(root) as mine:
        settling.open_contract(mine)


def paid(root: Path) -> None:
    with desk(root) as mine:
        settling.pay(mine, settling.usage_of(mine)[-1].period)


def everywhere(do: Callable[[Path], None], of: Path, tmp_path: Path, check: Callable[[Path], None]) -> int:
    """Killed at each of its steps, each time in a fresh copy; how many there are."""
    number = 0
    while True:
        root = copied(of, tmp_path / str(number))
        if not killed_at(number, lambda root=root: do(root)):  # type: ignore[misc]
            check(root)
            return number
        with suppress(UsageError):  # killed when all was done but the bundle
            do(root)
        check(root)
        number += 1


@pytest.fixture(scope="module")
def valued(finished: Runs, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = copied(finished(SETTLED).out, tmp_path_factory.mktemp("valued"))
    with desk(root) as mine:
        settling.value_run(mine, lambda *_: None)
    return root


@pytest.mark.slow
def test_a_contract_is_opened_once(valued: Path, tmp_path: Path) -> None:
    def check(root: Path) -> None:
        with desk(root) as mine:
            stakes = dict.fromkeys(mine.parties, 1001)
            assert (mine.replica.stakes(mine.job), mine.replica.totals()) == (stakes, (3003, 0))
            events = [event.name for one in mine.replica.played for event in one.events]
            assert (events.count("JobOpened"), events.count("Anchored")) == (1, 3)
            with pytest.raises(UsageError, match="the contract is there already"):
                settling.open_contract(mine)
        assert checked(bundle_of(root), root).code == 0

    assert everywhere(opened, valued, tmp_path, check) > 10


@pytest.mark.slow
def test_a_period_is_paid_once(valued: Path, tmp_path: Path) -> None:
    before = copied(valued, tmp_path / "before")
    opened(before)
    run(score(before))

    def check(root: Path) -> None:
        with desk(root) as mine:
            amount, (booked, withdrawn) = 41 * 25, mine.replica.totals()
            assert (booked, withdrawn) == (3003 + amount, amount)
            assert mine.replica.credits() == dict.fromkeys(mine.parties, 0)
            (period,) = {one.period for one in settling.usage_of(mine)}
            with pytest.raises(UsageError, match="was settled before"):
                settling.pay(mine, period)
        (file,) = (root / "settlement").glob("payments-*.csv")
        payments, _ = read_settlement(file)
        assert sum(one.amount for one in payments) == amount
        assert checked(bundle_of(root), root).code == 0

    assert everywhere(paid, before, tmp_path, check) > 10


def test_a_period_that_was_left_in_the_middle(settled: Path) -> None:
    """Its revenue is distributed, nobody has withdrawn: the quick one of the above."""
    (file,) = (settled / "settlement").glob("payments-*.csv")
    period, text = file.stem.removeprefix("payments-"), file.read_bytes()
    file.unlink()
    told = here("settle", "pay", settled, "--period", period)
    assert told.returncode == 0, told.stderr
    assert file.read_bytes() == text, "lost, and written again from what is on record"
    assert "was settled before" in here("settle", "pay", settled, "--period", period).stderr
