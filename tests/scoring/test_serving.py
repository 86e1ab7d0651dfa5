"""Partners that are late, away, used up or say too little: the answer says so; who does not count is not asked."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from run_kit import TOML, frames, scenario
from run_kit import here as command
from scoring_kit import policy, predictions, run, sessions, table

from vfl.errors import UsageError
from vfl.protocols.score_online import TOKEN, Masked
from vfl.scoring.answers import Applicant, Decision, PartnerAway, Refused, UnknownApplicant

ONE_SPLIT = TOML.replace("num_iterations = 3", "num_iterations = 1").replace("num_leaves = 4", "num_leaves = 2")


def ids(root: Path) -> list[str]:
    return [row["id"] for row in predictions(root)]


def states(decision: Decision) -> dict[str, str]:
    return {name: one.state for name, one in decision.parties.items()}


async def until(fact: Any, seconds: float = 5.0) -> None:
    deadline = time.monotonic() + seconds
    while not fact():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


def test_a_late_partner_is_named_and_its_answer_dropped(card: Path) -> None:
    async def work() -> None:
        async with table(card, policy(deadline_ms=60)) as here:
            joint = await here.score(ids(card)[0])
            here.stages["telecom"].mute = True
            late = await here.score(ids(card)[0])
            assert states(late) == {"telecom": "late", "payroll": "ok"}
            assert late.degraded
            assert late.pd != joint.pd
            assert {reason.party for reason in late.reasons} <= {"bank"}
            assert 50 <= late.parties["telecom"].ms < 500
            here.stages["telecom"].mute = False
            again = await here.score(ids(card)[0])
            assert (again.degraded, again.pd) == (False, joint.pd)

    run(work())


@pytest.mark.slow
def test_the_stand_in_says_the_same_whoever_is_away(trees: Path) -> None:
    async def work() -> None:
        async with table(trees, policy(deadline_ms=60)) as here:
            found = []
            for name in here.stages:
                here.stages[name].mute = True
                found.append(await here.score(ids(trees)[1]))
                here.stages[name].mute = False
                await here.score(ids(trees)[1])
            unknown = await here.score(ids(trees)[1])
            assert not unknown.degraded
            assert len({one.pd for one in found}) == 1
            assert all(one.degraded for one in found)

    run(work())


def test_the_breaker_opens_and_closes(card: Path) -> None:
    """While it is open nobody waits, and the partner is not asked; afterwards it is."""

    async def work() -> None:
        async with table(card, policy(deadline_ms=40, breaker_failures=2, breaker_seconds=1)) as here:
            stage = here.stages["payroll"]
            stage.mute = True
            for _ in range(2):
                assert states(await here.score(ids(card)[0]))["payroll"] == "late"
            health = here.service.partners()["payroll"]
            assert health.state == "open circuit"
            asked, began = len(stage.asked), time.monotonic()
            assert states(await here.score(ids(card)[0])) == {"telecom": "ok", "payroll": "down"}
            assert time.monotonic() - began < 0.04
            assert len(stage.asked) == asked
            stage.mute = False
            await until(lambda: here.service.partners()["payroll"].state == "up")
            for _ in range(20):  # 40 ms are short on a busy machine
                if not (await here.score(ids(card)[0])).degraded:
                    return
            raise AssertionError("the partner is up, and nobody asks it")

    run(work())


def test_who_gave_a_question_up_is_not_asked_about(card: Path) -> None:
    """A question that waited behind a late one until nobody wanted it costs no budget and tells the partner nothing."""

    async def work() -> None:
        async with table(card, policy(deadline_ms=60, breaker_failures=100)) as here:
            stage = here.stages["telecom"]
            stage.mute = True
            await asyncio.gather(*(here.score(each) for each in ids(card)[:3]))
            await here.score(ids(card)[3])
            stage.mute = False
            assert not (await here.score(ids(card)[4])).degraded
            assert len(stage.asked) == 2

    run(work())


@pytest.mark.slow
def test_a_partner_that_goes_comes_back_by_itself(card: Path) -> None:
    async def work() -> None:
        async with table(card) as here:
            stage = here.stages["telecom"]
            stage.away = True
            stage.drop()
            await until(lambda: here.service.partners()["telecom"].state == "connecting")
            assert states(await here.score(ids(card)[0])) == {"telecom": "down", "payroll": "ok"}
            dialled = stage.dialled
            await until(lambda: stage.dialled > dialled + 1)
            assert len(list(sessions(card, "bank"))) == 2, "no session begins where nobody answers"
            stage.away = False
            await until(lambda: here.service.partners()["telecom"].state == "up")
            assert not (await here.score(ids(card)[0])).degraded

    run(work())


def test_a_partner_may_be_away_from_the_start(card: Path) -> None:
    async def work() -> None:
        async with table(card, wait=False) as here:
            here.stages["telecom"].away = True
            await until(lambda: here.service.partners()["payroll"].state == "up")
            assert states(await here.score(ids(card)[0])) == {"telecom": "down", "payroll": "ok"}
            here.stages["telecom"].away = False
            await until(lambda: here.service.partners()["telecom"].state == "up")
            assert not (await here.score(ids(card)[0])).degraded

    run(work())


def test_something_unforeseen_does_not_silence_a_line_for_good(card: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from vfl.scoring import link

    async def work() -> None:
        async with table(card) as here:
            real = link.Session

            def broken(*words: Any, **named: Any) -> Any:
                monkeypatch.setattr(link, "Session", real)
                raise RuntimeError("nobody foresaw this")

            monkeypatch.setattr(link, "Session", broken)
            here.stages["telecom"].drop()
            await until(lambda: "out of order" in here.service.partners()["telecom"].detail)
            await until(lambda: here.service.partners()["telecom"].state == "up")
            assert not (await here.score(ids(card)[0])).degraded

    run(work())


def test_the_policy_may_be_to_refuse(card: Path) -> None:
    from test_volumes import counted

    async def work() -> None:
        async with table(card, policy(deadline_ms=60, absent="refuse")) as here:
            here.stages["telecom"].mute = True
            with pytest.raises(PartnerAway):
                await here.score(ids(card)[0], "k")
            here.stages["telecom"].mute = False
            assert counted(card) == (0, 0)
            assert not (await here.score(ids(card)[0], "k")).degraded  # the key was not used up

    run(work())


@pytest.mark.parametrize("unknown", ["stand-in", "refuse"])
def test_an_applicant_whom_a_partner_does_not_know(card: Path, unknown: str) -> None:
    """Fresh values of somebody in nobody's table."""
    strangers = [Applicant("+34299999999", {"income": 0.1, "limit": None}), Applicant(ids(card)[0])]

    async def work() -> None:
        async with table(card, policy(unknown=unknown)) as here:
            stranger, known = await here.service.score_batch(strangers, "tests")
            assert not known.degraded
            if unknown == "refuse":
                assert isinstance(stranger, Refused)
                assert stranger.code == "partner-away"
                with pytest.raises(PartnerAway):
                    await here.service.score(strangers[0], "tests")
            else:
                assert stranger.degraded
                assert set(states(stranger).values()) == {"unknown"}

    run(work())


BAD = {
    "bad-id": Applicant("no phone"),
    "unknown-applicant": Applicant("+34299999999"),
    "lacks limit": Applicant("+34299999999", {"income": 1.0}),
    "has 1 names": Applicant("+34299999999", {"income": 1.0, "limit": 1.0, "calls": 1.0}),
    "not finite": Applicant("+34299999999", {"income": float("inf"), "limit": 1.0}),
}


def test_applicants_that_cannot_be_scored_are_told_why(card: Path) -> None:
    async def work() -> None:
        async with table(card) as here:
            *refused, good = await here.service.score_batch([*BAD.values(), Applicant(ids(card)[0])], "tests")
            assert good.pd > 0
            for name, one in zip(BAD, refused, strict=True):
                assert isinstance(one, Refused)
                assert name in f"{one.code}: {one.detail}"
                assert "34299999999" not in one.detail
            with pytest.raises(UnknownApplicant):
                await here.service.score(BAD["unknown-applicant"], "tests")
            with pytest.raises(UsageError, match="not finite"):
                await here.service.score(BAD["not finite"], "tests")
            for count in (0, 10_001):
                with pytest.raises(UsageError, match=f"1 to 10000 applicants, not {count}"):
                    await here.service.score_batch([Applicant("x")] * count, "tests")

    run(work())


def test_a_batch_is_one_message_to_each_partner(card: Path) -> None:
    async def work() -> None:
        async with table(card) as here:
            await here.batch(ids(card))
            for stage in here.stages.values():
                (size,) = stage.asked
                assert TOKEN * len(ids(card)) <= size <= TOKEN * len(ids(card)) + 60

    run(work())


@pytest.mark.slow
def test_who_comes_while_a_question_is_under_way_shares_the_next(card: Path) -> None:
    async def work() -> None:
        async with table(card) as here:
            await asyncio.gather(*map(here.score, ids(card)))
            for stage in here.stages.values():
                assert len(stage.asked) <= len(ids(card)) / 10
                assert sum(size // TOKEN for size in stage.asked) >= len(ids(card))

    run(work())


def test_a_partner_without_a_column_in_the_model_is_never_asked(tmp_path: Path, finished: Any) -> None:
    from scoring_kit import copied

    root = copied(finished(ONE_SPLIT).out, tmp_path)

    async def work() -> None:
        async with table(root) as here:
            (splits,) = [name for name, count in here.opened.home.bench.model.splits.items() if count] or ["nobody"]
            decision = await here.score(ids(root)[0])
            assert set(decision.parties) == {splits} - {"nobody"}
            assert [repr(one.pd) for one in await here.batch(ids(root))] == [row["pd"] for row in predictions(root)]
            for name, stage in here.stages.items():
                assert (stage.dialled > 0) == (name == splits)

    run(work())


@pytest.mark.slow
def test_a_model_that_needs_no_partner_asks_none(tmp_path: Path) -> None:
    tables = frames()
    tables["bank"]["default"] = (tables["bank"]["income"].fillna(0.0) > 0.2).astype(int)
    own = scenario(tmp_path / "own", ONE_SPLIT, tables)
    assert command("run", own, "--out", tmp_path / "run").returncode == 0
    root = tmp_path / "run"

    async def work() -> None:
        async with table(root) as here:
            decision = await here.score(ids(root)[0])
            assert (decision.parties, decision.degraded) == ({}, False)
            assert [repr(one.pd) for one in await here.batch(ids(root))] == [row["pd"] for row in predictions(root)]
            assert not any(stage.dialled for stage in here.stages.values())

    run(work())


@pytest.mark.slow
def test_masks_that_do_not_cancel_make_no_score(card: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One of the partners answers something else than its masked part; nobody can tell which: the stand-in scores."""
    from vfl.scoring.masks import Masks

    async def work() -> None:
        async with table(card, policy(masked=True)) as here:
            assert not (await here.score(ids(card)[0])).degraded
            real = Masks.hide

            def lies(self: Masks, *words: Any) -> Masked:
                told = real(self, *words)
                return Masked(told.known, told.predictor + np.uint64(2**40), told.points)

            monkeypatch.setattr(Masks, "hide", lies)
            one = await here.score(ids(card)[0])
            assert one.degraded
            assert set(states(one).values()) == {"down"}

    run(work())


def test_of_an_applicant_whom_one_partner_does_not_know_masked_sums_say_nothing(card: Path) -> None:
    """telecom and payroll know different customers of the bank; an answer needs both."""

    async def everybody(masked: bool) -> list[Any]:
        async with table(card, policy(masked=masked)) as here:
            rows = list(here.opened.home.table.rows)
            return list(await here.batch(rows[:200]))

    plain, masked = run(everybody(False)), run(everybody(True))
    assert [(one.pd, one.points, one.degraded) for one in plain] == [
        (one.pd, one.points, one.degraded) for one in masked
    ]
    assert [states(one) for one in plain] == [states(one) for one in masked]
    assert {frozenset(states(one).values()) for one in plain} >= {frozenset({"ok"}), frozenset({"ok", "unknown"})}


def test_sums_are_masked_of_scorecards_with_two_partners(trees: Path) -> None:
    with pytest.raises(UsageError, match="masked is for scorecards with two partners or more"):
        run(_open(trees))


async def _open(root: Path) -> None:
    async with table(root, policy(masked=True)):
        pass


def test_sessions_end_with_both_ledgers_cosigned(card: Path) -> None:
    from vfl.own_ledger import open_store

    async def work() -> None:
        async with table(card) as here:
            await here.batch(ids(card))

    run(work())
    for party, peer in (("bank", "telecom"), ("telecom", "bank")):
        (ledger,) = [each for each in sessions(card, party) if each.name.startswith(peer)]
        store = open_store(ledger, "x")
        head = store.checkpoints()[-1]
        assert len(store.cosignatures(head.size)) == 1
        last = list(store.rows())[head.size :]
        assert len(last) <= 1
        store.close()


@pytest.mark.slow
def test_rounds_are_cosigned_while_there_is_work(card: Path) -> None:
    """At least once a second here: not at once after each question, and not never."""
    from vfl.own_ledger import open_store

    async def work() -> None:
        async with table(card) as here:
            until_ = time.monotonic() + 2.4
            while time.monotonic() < until_:
                await here.score(ids(card)[0])
                await asyncio.sleep(0.02)
            (ledger,) = [each for each in sessions(card, "bank") if each.name.startswith("telecom")]
            store = open_store(ledger, "x")
            assert 1 <= len(store.checkpoints()) <= 4
            store.close()

    run(work())
