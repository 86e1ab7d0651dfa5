"""A party that puts nonsense, false dates or too much into its ledger harms nobody: the others play on, and see it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from settling_kit import bundle_of, changed, checked, desk, entry
from test_penalties import fork

from vfl.clock import Clock
from vfl.errors import UsageError
from vfl.settle import settling
from vfl.settle.book import CALL, ORDER
from vfl.settle.desk import Desk
from vfl.settle.history import ordered
from vfl.settle.replica import NO_CALL, Replica

HOURS_48 = 48 * 3600


class Ahead:
    """A clock that somebody put forward."""

    def __init__(self, clock: Clock, by: timedelta) -> None:
        self._clock, self._by = clock, by

    def now(self) -> datetime:
        return self._clock.now() + self._by

    def monotonic_ns(self) -> int:
        return self._clock.monotonic_ns()


def put_forward(mine: Desk, party: str, by: timedelta) -> None:
    log: Any = mine.books[party].log
    log._clock = Ahead(log._clock, by)


def goes_on(root: Path, mine: Desk) -> None:
    """The next call of somebody else is played, the desk can be left and opened, and the bundle holds."""
    mine.deposit("payroll", 5, "after it all")
    (played,) = mine.must(mine.turn())
    assert played.ok
    settling.write_files(mine)
    digest = mine.replica.digest
    with desk(root) as again:
        assert again.replica.digest == digest
    assert checked(bundle_of(root), root).faults == []


@pytest.mark.parametrize(
    "params",
    [
        {"function": "withdraw"},
        {"data": "00"},
        {},
        {"function": "withdraw", "data": "no hex"},
        {"function": "withdraw", "data": ""},
        {"function": "no such function", "data": "00000000"},
        {"function": ["withdraw"], "data": {"a": 1}},
    ],
)
def test_an_entry_that_is_no_call_is_refused_and_holds_up_nobody(settled: Path, params: dict[str, Any]) -> None:
    with desk(settled) as mine:
        mine.books["telecom"].note(CALL, params)
        (played,) = mine.turn()
        assert (played.party, played.ok, played.reason, played.events) == ("telecom", False, NO_CALL, ())
        goes_on(settled, mine)


def test_a_call_under_the_name_of_another_is_refused(settled: Path) -> None:
    """Else it would be shown as what it is not."""
    with desk(settled) as mine:
        data = mine.replica.calls.encode("challenge", mine.job, "slot", mine.replica.genesis.addresses["payroll"])
        mine.books["telecom"].note(CALL, {"function": "withdraw", "data": data.hex()})
        (played,) = mine.turn()
        assert (played.ok, played.reason) == (False, NO_CALL)
        goes_on(settled, mine)


def test_bytes_that_are_no_text_are_shown_as_bytes(settled: Path) -> None:
    with desk(settled) as mine:
        data = mine.replica.calls.encode("challenge", mine.job, "XXXX", mine.replica.genesis.addresses["payroll"])
        data = data.replace(b"XXXX", b"a\xff\xfe\x00")
        mine.books["telecom"].note(CALL, {"function": "challenge", "data": data.hex()})
        (played,) = mine.turn()
        assert played.events[0].values["slot"] == "a\\xff\\xfe\x00"
        goes_on(settled, mine)


def test_a_call_as_long_as_an_entry_can_be(settled: Path) -> None:
    """What came of it is longer than an entry, and goes into the state all the same."""
    with desk(settled) as mine:
        data = mine.replica.calls.encode("challenge", mine.job, "slot", mine.replica.genesis.addresses["payroll"])
        mine.books["telecom"].note(CALL, {"function": "challenge", "data": (data + bytes(32_000)).hex()})
        (played,) = mine.turn()
        assert played.ok
        goes_on(settled, mine)


def test_more_calls_than_one_order_holds(settled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vfl.settle.desk._AN_ORDER", 3)
    with desk(settled) as mine:
        before = sum(1 for _ in mine.books.leader.entries(ORDER))
        for number in range(7):
            mine.deposit("telecom", 1, f"small {number}")
        assert len(mine.turn()) == 7
        assert sum(1 for _ in mine.books.leader.entries(ORDER)) == before + 3
        assert mine.replica.credits()["telecom"] == 7
        goes_on(settled, mine)


def test_a_clock_that_is_put_forward_runs_out_no_deadline(settled: Path) -> None:
    """A partner asks another, and says two days later, by its own clock, that there was no answer."""
    with desk(settled) as mine:
        address = mine.replica.genesis.addresses["payroll"]
        mine.call("telecom", "challenge", mine.job, "slot", address)
        mine.must(mine.turn())
        asked = mine.replica.played[-1].time
        put_forward(mine, "telecom", timedelta(seconds=HOURS_48 + 60))
        mine.call("telecom", "timeout", mine.job, "slot", address)
        (played,) = mine.turn()
        assert (played.ok, played.reason) == (False, "challenge: may still be answered")
        assert played.time < asked + 60
        goes_on(settled, mine)


def test_a_label_owner_that_puts_its_clock_forward_is_seen(settled: Path) -> None:
    """Its order decides how late it is. Others cosigned that order before the time that it names."""
    with desk(settled) as mine:
        mine.call("bank", "challenge", mine.job, "slot", mine.replica.genesis.addresses["payroll"])
        mine.must(mine.turn())
        put_forward(mine, "bank", timedelta(seconds=HOURS_48 + 60))
        mine.call("bank", "timeout", mine.job, "slot", mine.replica.genesis.addresses["payroll"])
        (played,) = mine.turn()
        assert played.ok, "a replica has no clock of its own"
        settling.write_files(mine)
    (fault,) = checked(bundle_of(settled), settled).faults
    assert fault.startswith("ledgers: entry ")
    assert "saw it before" in fault


def test_clocks_that_differ_by_minutes_are_no_fault(settled: Path) -> None:
    with desk(settled) as mine:
        put_forward(mine, "bank", timedelta(minutes=4))
        mine.deposit("payroll", 5, "soon")
        mine.must(mine.turn())
        settling.write_files(mine)
    assert checked(bundle_of(settled), settled).faults == []


def test_whose_state_is_another_is_on_record_and_named(settled: Path) -> None:
    """A party whose machine counts wrong says so under its own signature."""
    with desk(settled) as mine:
        theirs: Any = mine.replicas["telecom"]
        theirs._digest = bytes(32)
        with pytest.raises(UsageError, match=r"bank, payroll: [0-9a-f]{16}\.\.; telecom: ") as told:
            settling.slash(mine, fork(settled), "bank")
        assert "tallystick settle check" in told.value.remedy
    found = checked(bundle_of(settled), settled)
    assert found.code == 1
    (fault,) = found.faults
    assert fault.startswith("contract: telecom put another state on record than 15 calls give: entry ")
    with desk(settled) as mine:
        assert mine.replica.stakes(mine.job)["telecom"] == 0


def test_an_address_that_is_not_ones_own_is_not_played(settled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever has it signs in another's place."""
    with desk(settled) as mine:
        strange = mine.key("bank")
    honest = Desk.key
    monkeypatch.setattr(Desk, "key", lambda mine, party: strange if party == "telecom" else honest(mine, party))
    with pytest.raises(UsageError, match=r"the contract names 0x\w+ for telecom, whose key"), desk(settled):
        pass


def of_stranger(params: dict[str, Any]) -> None:
    params["addresses"].pop("telecom")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda e: e["params"].update(time=e["params"]["time"] + 3600), "begins a contract at a time that is yet to"),
        (lambda e: of_stranger(e["params"]), "parties or members are not those of the ledgers"),
        (lambda e: e["params"].update(members=e["params"]["members"][:1]), "parties or members are not those"),
        (lambda e: e["params"].update(threshold=1), "threshold is no majority"),
        (lambda e: e["params"].update(operator="0x" + "11" * 20), "operator is not the label owner"),
        (lambda e: e["params"].update(respond_seconds=1), "other windows than the agreement"),
    ],
)
def test_a_contract_that_was_not_agreed_on_is_named(
    settled_made: Path, change: Callable[[dict[str, Any]], object], said: str
) -> None:
    found = checked(changed(bundle_of(settled_made), *entry("bank", change, "genesis")))
    assert any(fault.startswith("contract: ") and said in fault for fault in found.faults), found.faults


def test_an_order_of_a_stranger_names_who_gave_it(settled: Path) -> None:
    with desk(settled) as mine:
        mine.withdraw("telecom", 1)
        mine.turn()
        last, genesis = ordered(mine.entries(), mine.payer)[-1], mine.replica.genesis
        others = {party: address for party, address in genesis.addresses.items() if party != "telecom"}
        with pytest.raises(
            UsageError, match=r"bank/settle-\w+: entry \d+ orders a call of telecom, who has no address"
        ):
            Replica(replace(genesis, addresses=others)).play(last)
