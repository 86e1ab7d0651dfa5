"""Partners as processes, over mutual TLS: killed under load they come back, and nothing is lost or comes twice."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from company_kit import HOSTS, Companies, companies
from scoring_kit import cosigned_by, policy, predictions, run, verify
from test_volumes import counted

from vfl.clock import Clock, FixedClock, SystemClock
from vfl.errors import AgreementError, UsageError
from vfl.party.config import read_party_file
from vfl.party.opening import standing_of
from vfl.party.runs import RunFolder
from vfl.party.scoring import ScoringPartners
from vfl.party.standing import Standing
from vfl.scoring.answers import Applicant, Decision
from vfl.scoring.opening import Opened
from vfl.scoring.serving import between_companies, simulated

pytestmark = pytest.mark.slow


async def score(opened: Opened, customer: str, key: str | None = None) -> Decision:
    return await opened.service.score(Applicant(customer), "tests", key)


async def until_up(opened: Opened, name: str, seconds: float = 15.0) -> None:
    async with asyncio.timeout(seconds):
        while opened.service.partners()[name].state != "up":
            await asyncio.sleep(0.02)


def host_of(name: str, root: Path) -> int:
    """The process of a partner: ours, by its command line."""
    for place in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = place.read_bytes().split(b"\0")
        except OSError:
            continue
        if b"vfl.scoring.host" in words and words[-2] == name.encode() and str(root).encode() in words:
            return int(place.parent.name)
    raise AssertionError(f"no process of {name}")


def kill(name: str, root: Path, number: int) -> None:
    os.kill(host_of(name, root), number)


def test_a_partner_killed_twice_under_load_loses_nothing_and_logs_nothing_twice(card: Path) -> None:
    ids, rows = [row["id"] for row in predictions(card)], {row["id"]: row["pd"] for row in predictions(card)}

    async def work() -> list[tuple[str, str, Decision]]:
        answered: list[tuple[str, str, Decision]] = []
        async with simulated(card, policy(deadline_ms=300, breaker_seconds=1)) as opened:
            await asyncio.wait_for(opened.service.ready(), 15)
            going = True

            async def client(number: int) -> None:
                at = 0
                while going:
                    customer, key = ids[(number * 31 + at) % len(ids)], f"{number}-{at}"
                    answered.append((customer, key, await score(opened, customer, key)))
                    at += 1

            clients = [asyncio.create_task(client(number)) for number in range(8)]
            for _ in range(2):
                await asyncio.sleep(0.7)
                kill("telecom", card, signal.SIGKILL)
                await asyncio.sleep(0.3)
                await until_up(opened, "telecom")
            await asyncio.sleep(0.7)
            going = False
            await asyncio.gather(*clients)
            for customer, key, decision in answered[:: len(answered) // 50]:
                assert await score(opened, customer, key) == decision
                found = await opened.service.find(decision.decision_id)
                assert found is not None
                assert found[0] == decision
                verify(found[1])
        return answered

    answered = run(work())
    assert counted(card) == (len(answered), len(answered))
    assert len({decision.receipt.leaf for *_, decision in answered}) == len(answered)
    states = Counter(decision.parties["telecom"].state for *_, decision in answered)
    assert states["ok"] > 100
    assert states["down"] + states["late"] > 0
    for customer, _, decision in answered:
        assert decision.degraded == (
            decision.parties["telecom"].state != "ok" or decision.parties["payroll"].state != "ok"
        )
        assert decision.degraded or repr(decision.pd) == rows[customer]
    assert not decision.degraded, "it came back"


def test_a_partner_that_hangs_is_late_and_then_not_waited_for(card: Path) -> None:
    (row, *_) = predictions(card)

    async def work() -> None:
        async with simulated(card, policy(deadline_ms=150, breaker_failures=2, breaker_seconds=1)) as opened:
            await asyncio.wait_for(opened.service.ready(), 15)
            kill("payroll", card, signal.SIGSTOP)
            try:
                for _ in range(2):
                    assert (await score(opened, row["id"])).parties["payroll"].state == "late"
                down = await score(opened, row["id"])
                assert (down.parties["payroll"].state, down.parties["telecom"].state) == ("down", "ok")
                assert down.parties["payroll"].ms < 100
            finally:
                kill("payroll", card, signal.SIGCONT)
            await until_up(opened, "payroll")
            await asyncio.sleep(1.1)
            assert not (await score(opened, row["id"])).degraded

    run(work())


# -- companies --------------------------------------------------------------------------------------------------------

PER_DAY = 40


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Companies:
    """Companies after a run, under an agreement that bounds the scores of a day."""

    made = companies(tmp_path_factory.mktemp("companies"), port=17447)
    assert made.agreement.contract is not None
    budgets = {"scores_per_day": PER_DAY, "scores": 60}
    bounded = replace(made.agreement, contract=replace(made.agreement.contract, budgets=budgets))
    signed = made.sign(bounded, *HOSTS)
    with made.serving("telecom", "payroll"):
        ended = made.done("run", "--agreement", signed, "--config", made.party("bank"), "--run", "first")
        assert ended.returncode == 0, ended.stderr
    return made


def standing(made: Companies, name: str, clock: Clock | None = None) -> Standing:
    return standing_of(read_party_file(made.party(name)), made.keys[name], clock or SystemClock())


def test_companies_score_under_their_agreement_and_its_budget(ran: Companies) -> None:
    root = ran.party("bank") / "state" / "runs" / "first"
    ids = [row["id"] for row in predictions(root / "bank")]

    async def work() -> None:
        async with between_companies(standing(ran, "bank"), "first", policy()) as opened:
            await asyncio.wait_for(opened.service.ready(), 20)
            batch = await opened.service.score_batch([Applicant(each) for each in ids[:30]], "tests")
            assert [repr(one.pd) for one in batch] == [row["pd"] for row in predictions(root / "bank")[:30]]
            assert not any(one.degraded for one in batch)
            assert not any([(await score(opened, each)).degraded for each in ids[:10]])
            spent = await score(opened, ids[0])
            assert {name: one.state for name, one in spent.parties.items()} == {
                "telecom": "budget",
                "payroll": "budget",
            }
            assert opened.service.partners()["telecom"].left == 0
            await opened.service.cosign()
            found = await opened.service.find(batch[0].decision_id)
            assert found is not None
            verify(found[1])
            assert cosigned_by(found[1], root) == {"telecom", "payroll"}

    with ran.serving("telecom", "payroll"):
        run(work())


def test_a_company_that_comes_back_is_asked_again(ran: Companies) -> None:
    (row, *_) = predictions(ran.party("bank") / "state" / "runs" / "first" / "bank")

    async def work() -> None:
        async with between_companies(standing(ran, "bank"), "first", policy()) as opened:
            assert (await score(opened, row["id"])).parties["telecom"].state == "down"
            with ran.serving("telecom", "payroll"):
                await until_up(opened, "telecom")
                await until_up(opened, "payroll")
                assert (await score(opened, row["id"])).parties["telecom"].state in ("budget", "ok")

    run(work())


def _open(who: Standing, name: str = "first", **rules: Any) -> None:
    async def work() -> None:
        async with between_companies(who, name, policy(**rules)):
            pass

    run(work())


def test_what_companies_do_not_score_with(ran: Companies) -> None:
    with pytest.raises(UsageError, match="no finished run other"):
        _open(standing(ran, "bank"), "other")
    with pytest.raises(AgreementError, match="bank scores under this agreement, not telecom"):
        _open(standing(ran, "telecom"))
    over = FixedClock(datetime(2100, 1, 1, tzinfo=UTC))
    with pytest.raises(AgreementError, match="expired"):
        _open(standing(ran, "bank", over))
    with pytest.raises(UsageError, match="scores_per_day is for simulations"):
        _open(standing(ran, "bank"), scores_per_day=5)


def test_a_partner_whose_agreement_has_ended_does_not_answer(ran: Companies) -> None:
    over = FixedClock(datetime(2100, 1, 1, tzinfo=UTC))
    who = standing(ran, "telecom", over)
    folder = RunFolder(who.runs, "first")
    with pytest.raises(AgreementError, match="expired"):
        ScoringPartners(who, over).partner(folder)
    now = standing(ran, "telecom")
    partners = ScoringPartners(now, SystemClock())
    first = partners.partner(folder)
    assert partners.partner(folder) is first
    table = now.table.table
    table.write_bytes(table.read_bytes())  # the same content, written anew
    again = partners.partner(folder)
    assert again is not first
    assert again.budget is first.budget, "one count, whatever becomes of the table"
    (ran.party("telecom") / "state" / "peers" / "bank.card").rename(ran.folder / "bank.card")
    try:
        with pytest.raises(AgreementError, match="bank"):
            partners.require_in_force(folder)
    finally:
        (ran.folder / "bank.card").rename(ran.party("telecom") / "state" / "peers" / "bank.card")
