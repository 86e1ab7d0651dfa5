"""A run settled from its value to its payments: what is on record, what is paid, and what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from run_kit import TOML, Runs, here
from scoring_kit import copied
from settling_kit import SETTLED, bundle_of, checked, desk, said

from ledger.bundle import read_bundle
from vfl.errors import UsageError
from vfl.settle import desk as desks
from vfl.settle import settling
from vfl.settle.book import CALL
from vfl.settle.payments import read_settlement

PARTIES = ["bank", "telecom", "payroll"]


def test_what_was_decided_is_paid_by_what_is_worth(settled_made: Path) -> None:
    with desk(settled_made) as mine:
        (usage,) = settling.usage_of(mine)
        assert (usage.answers, usage.decisions, usage.degraded, usage.billable) == (3, 44, 3, 41)
        shares = settling.valued(mine)
        assert sum(shares["ppm"].values()) == 1_000_000
        assert shares["ppm"]["bank"] == 0, "the bank pays"
        amount = 41 * 25
        credits, stakes, totals = mine.replica.credits(), mine.replica.stakes(mine.job), mine.replica.totals()
        assert stakes == dict.fromkeys(PARTIES, 1001)
        assert totals == (3 * 1001 + amount, amount)
        assert sum(credits.values()) + sum(stakes.values()) + totals[1] == totals[0]
        assert {replica.digest for replica in mine.replicas.values()} == {mine.replica.digest}
        payments, currency = read_settlement(next((settled_made / "settlement").glob("payments-*.csv")))
        assert currency == "EUR"
        assert sum(one.amount for one in payments) == amount
        assert {one.party: one.entity for one in payments}.get("telecom", "Telecom plc") == "Telecom plc"
        for one in payments:
            assert abs(one.amount - amount * shares["ppm"][one.party] / 1_000_000) < 1


def test_it_all_follows_from_the_bundle(settled_made: Path) -> None:
    found = checked(bundle_of(settled_made), settled_made)
    assert (found.code, found.faults, found.skipped) == (0, [], [])
    assert [line.split(":")[0] for line in found.passed] == [
        "ledgers", "agreement", "record", "seed", "shares", "usage", "contract",
    ]  # fmt: skip
    assert found.balances == dict.fromkeys(PARTIES, 0)
    logs = read_bundle(settled_made / "settlement" / "settlement.bundle").logs()
    assert list(logs) == sorted(PARTIES)


def test_the_commands_say_so(settled: Path) -> None:
    shown = said("show", settled)
    assert [one["name"] for one in shown["events"]].count("Paid") == 3
    assert {one["party"] for one in shown["events"] if one["name"] == "Paid"} == set(PARTIES), "names, not addresses"
    (usage,) = said("usage", settled)["periods"]
    assert usage["amount"] == 41 * 25
    for words in (["show", settled], ["usage", settled]):
        done = here("settle", *words)
        assert done.returncode == 0, done.stderr
        assert "10.25" in done.stdout
    told = here("settle", "check", settled / "settlement" / "settlement.bundle", "--policy", settled / "policy.txt")
    assert told.returncode == 0
    assert "The settlement holds." in told.stdout
    again = here("settle", "pay", settled, "--period", usage["period"])
    assert again.returncode == 2
    assert "was settled before" in again.stderr
    never = here("settle", "pay", settled, "--period", "1999-01")
    assert "nothing was decided in 1999-01" in never.stderr
    assert usage["period"] in never.stderr
    assert "the contract is there already" in here("settle", "open", settled).stderr


def test_step_by_step_on_the_command_line(finished: Runs, tmp_path: Path) -> None:
    root = copied(finished(SETTLED).out, tmp_path)
    assert "nothing is settled yet" in here("settle", "show", root).stdout
    assert "there is no contract yet" in here("settle", "pay", root).stderr or "was not valued" in here(
        "settle", "pay", root
    ).stderr  # fmt: skip
    first = here("settle", "value", root)
    assert first.returncode == 0, first.stderr
    assert "6 of 6 coalitions" in first.stderr
    assert "noise (null)" in first.stdout
    assert said("value", root)["ppm"] == said("show", root)["shares"]["ppm"], "the same again, from what is kept"
    opened = said("open", root, "--chain-id", 31_337)
    assert opened["balances"] == {name: {"credit": 0, "stake": 1001} for name in PARTIES}
    assert opened["chain_id"] == 31_337
    assert "no decisions yet" in here("settle", "usage", root).stdout
    assert checked(bundle_of(root), root).code == 0


def test_without_a_clause_or_a_seed_nothing_is_settled(finished: Runs, settled: Path) -> None:
    told = here("settle", "value", finished(TOML).out)
    assert told.returncode == 2
    assert "has no clause of settlement" in told.stderr
    (settled / "telecom" / "seed").unlink()
    assert "has no seed of telecom" in here("settle", "show", settled).stderr


def test_a_desk_goes_on_where_it_was(settled: Path) -> None:
    """Killed after a call was noted and before it was played: the next turn plays it."""
    with desk(settled) as mine:
        before = mine.replica.digest
        mine.deposit("telecom", 7, "later")
        mine.books.commit()
    with desk(settled) as mine:
        assert mine.replica.digest == before
        (played,) = mine.turn()
        assert (played.function, played.ok) == ("deposit", True)
        assert mine.replica.credits()["telecom"] == 7
        after = mine.replica.digest
    with desk(settled) as mine:
        assert mine.replica.digest == after
        settling.write_files(mine)
    assert checked(bundle_of(settled), settled).code == 0


def test_what_the_contract_refuses_is_on_record(settled: Path) -> None:
    with desk(settled) as mine:
        mine.withdraw("telecom", 10**9)
        (played,) = mine.turn()
        assert (played.ok, played.reason, played.events) == (False, "credit: too small", ())
        with pytest.raises(UsageError, match="the contract refuses withdraw of telecom: credit: too small"):
            mine.must([played])
        settling.write_files(mine)
    assert checked(bundle_of(settled), settled).code == 0


def test_parties_that_come_to_different_states_are_noticed(settled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with desk(settled) as mine:
        theirs = mine.replicas["telecom"]
        monkeypatch.setattr(theirs, "_digest", bytes(32))
        mine.deposit("telecom", 7, "x")
        with pytest.raises(UsageError, match=r"come to different states \(bank, payroll: .*; telecom: "):
            mine.turn()


def test_a_contract_of_other_bytes_is_not_taken_for_it(settled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with desk(settled) as mine:
        genesis = mine.replica.genesis
    wrong = type(genesis)(**{**vars(genesis), "code": {**genesis.code, "consortium": "0" * 64}})
    with pytest.raises(UsageError, match="the bytecode of consortium is not that of the ledger"):
        desks.Replica(wrong)


def test_orders_of_what_is_no_call_are_refused(settled: Path) -> None:
    with desk(settled) as mine:
        mine.books.leader.note("order", {"calls": [["telecom", 99]]})
        mine.books.commit()
    with pytest.raises(UsageError, match="orders telecom's entry 99, no call that waits"), desk(settled):
        pass


def test_a_settlement_goes_with_its_run_directory(settled: Path, tmp_path: Path) -> None:
    moved = Path(shutil.move(settled, tmp_path / "elsewhere"))
    with desk(moved) as mine:
        assert mine.replica.played
        assert sum(1 for _ in mine.books["bank"].entries(CALL)) > 5


def test_shares_json_is_read_as_it_was_written(settled_made: Path) -> None:
    body: Any = json.loads((settled_made / "settlement" / "shares.json").read_text())
    assert body["format"] == "tallystick-shares-v1"
    assert {one["name"] for one in body["players"]} == {"Telecom plc", "payroll"}
