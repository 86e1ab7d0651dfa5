"""Other terms than the agreement's do not check; a settlement that was killed goes on to the same payments."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from run_kit import Runs
from scoring_kit import copied, run
from settling_kit import SETTLED, bundle_of, changed, checked, desk, score

from vfl.errors import UsageError
from vfl.settle import settling
from vfl.settle.desk import Desk
from vfl.settle.history import ordered
from vfl.settle.replica import NO_CALL, Ordered, Played
from vfl.settlement import Settlement

Turn = Callable[[Desk], Sequence[Played]]


@pytest.fixture(scope="module")
def owed_made(finished: Runs, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Valued, with a contract, and scored with; nothing is paid yet."""
    root = copied(finished(SETTLED).out, tmp_path_factory.mktemp("owed"))
    with desk(root) as mine:
        settling.value_run(mine, lambda *_: None)
        settling.open_contract(mine)
    run(score(root))
    return root


@pytest.fixture
def owed(owed_made: Path, tmp_path: Path) -> Path:
    return copied(owed_made, tmp_path)


def pay(root: Path) -> settling.Paid:
    with desk(root) as mine:
        return settling.pay(mine, settling.usage_of(mine)[-1].period)


class Killed(Exception):
    """As if the process had ended."""


def dies(at: int, *, played: bool) -> Turn:
    """A turn that ends for good the `at`-th time: with calls on record that are not played, or after they were."""
    real, count = Desk.turn, iter(range(10))

    def turn(self: Desk) -> Sequence[Played]:
        if next(count) != at:
            return real(self)
        if played:
            real(self)
        self.books.commit()
        raise Killed

    return turn


@pytest.mark.parametrize("played", [False, True])
@pytest.mark.parametrize("at", [0, 1])
def test_payments_that_are_killed_go_on(owed: Path, monkeypatch: pytest.MonkeyPatch, at: int, played: bool) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Desk, "turn", dies(at, played=played))
        with pytest.raises(Killed):
            pay(owed)
    paid = pay(owed)
    assert sum(one.amount for one in paid.payments) == paid.amount == 41 * 25
    with desk(owed) as mine:
        assert set(mine.replica.credits().values()) == {0}
        assert sum(one.function == "distribute" for one in mine.replica.played) == 1
    assert checked(bundle_of(owed), owed).code == 0
    with pytest.raises(UsageError, match="was settled before"):
        pay(owed)


def test_a_contract_whose_beginning_was_killed_goes_on(
    finished: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = copied(finished(SETTLED).out, tmp_path)
    with monkeypatch.context() as patch, desk(root) as mine:
        patch.setattr(Desk, "turn", dies(0, played=False))
        with pytest.raises(Killed):
            settling.open_contract(mine)
    with desk(root) as mine:
        settling.open_contract(mine)
        assert set(mine.replica.stakes(mine.job).values()) == {1001}
        with pytest.raises(UsageError, match="the contract is there already"):
            settling.open_contract(mine)
    assert not checked(bundle_of(root), root).faults


@pytest.mark.parametrize(
    ("change", "words"),
    [({"price": 26}, "26 EUR a decision is not the agreed price"), ({"currency": "USD"}, "25 USD a decision")],
)
def test_another_price_is_told(owed: Path, change: dict[str, object], words: str) -> None:
    with desk(owed) as mine:
        mine.clause = replace(mine.clause, **change)
        settling.pay(mine, settling.usage_of(mine)[-1].period)
    found = checked(bundle_of(owed), owed)
    assert found.code == 1
    assert any(words in fault for fault in found.faults), found.faults


@pytest.mark.parametrize(
    ("change", "words"),
    [({"respond_hours": 1}, "other windows than the agreement"), ({"stake": 900}, "the job was opened with 900")],
)
def test_another_contract_is_told(finished: Runs, tmp_path: Path, change: dict[str, object], words: str) -> None:
    root = copied(finished(SETTLED).out, tmp_path)
    with desk(root) as mine:
        assert isinstance(mine.clause, Settlement)
        mine.clause = replace(mine.clause, **change)
        settling.open_contract(mine)
    found = checked(bundle_of(root), root)
    assert any(words in fault for fault in found.faults), found.faults


def test_a_period_is_billed_once_and_not_before_it_begins(owed: Path) -> None:
    with desk(owed) as mine:
        usage = settling.usage_of(mine)[-1]
        terms = {"price": 25, "amount": usage.amount(25), "currency": "EUR"}
        mine.books.leader.note("usage", {**vars(usage), **terms, "period": "2999-01"})
        mine.books.commit()
        mine.books.countersign()
        settling.write_files(mine)
    assert any("2999-01 was billed before, or is no" in fault for fault in checked(bundle_of(owed), owed).faults)


def test_the_agreement_is_that_of_the_ledgers(owed: Path) -> None:
    data = changed(bundle_of(owed), "artefacts/agreement.json", lambda old: old.replace(b'"price":25', b'"price":24'))
    assert any("under another agreement than" in fault for fault in checked(data, owed).faults)


def test_a_clock_that_runs_ahead_moves_no_deadline(owed: Path) -> None:
    """The time of a call is at most that of the order which names it."""
    with desk(owed) as mine:
        (*_, last) = ordered(mine.entries(), mine.payer)
        ahead = Ordered(replace(last.call, ts="2999-01-01T00:00:00.000000Z"), last.order)
        assert mine.replica.play(ahead).time == mine.replicas["telecom"].play(last).time
        strange = mine.replica.play(Ordered(replace(last.call, params={"function": "withdraw"}), last.order))
        assert (strange.ok, strange.reason) == (False, NO_CALL)
