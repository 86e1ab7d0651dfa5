"""Another model decides in a running service: at once, nothing lost, on record first; shadows only go on record."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import time
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from scoring_kit import SHORT, Table, cosigned_by, policy, predictions, run, speaker, table, verify
from test_serving import until

from vfl.api.releases import UnknownModel
from vfl.clock import SystemClock
from vfl.errors import AgreementError, UsageError
from vfl.protocols.score_online import TOKEN
from vfl.records import below_which, forget_records
from vfl.releasing import Releasing, Rule
from vfl.scoring.comparing import comparison, pairs_of
from vfl.scoring.contender import described
from vfl.scoring.opening import joint_model
from vfl.scoring.policy import ModelRules, ServingPolicy
from vfl.scoring.registry import Registry
from vfl.seat import RunFile
from vfl.settle.usage import decided as decisions_of
from vfl.settle.usage import meter

SHADOW = ServingPolicy(record=SHORT, models=ModelRules(shadow=True))


def entered(home: Path, *others: Path) -> tuple[str, ...]:
    """Have the registry of `home` know other runs; the versions of all."""
    registry = Registry(home / "bank" / "scoring", SystemClock())
    versions = []
    for root in (home, *others):
        file = RunFile.read(root)
        versions.append(joint_model(speaker(root, SystemClock()), file).version)
        registry.enter("added", versions[-1], ("local",), place=str(root), model=described(file))
    return tuple(versions)


def rule(here: Table) -> Rule:
    return Rule(here.opened.succession.registry, None, here.root / "api-keys.json", SystemClock())


def releasing(here: Table) -> Releasing:
    return Releasing(rule(here), here.opened.succession)


async def promoted(here: Table, version: str) -> None:
    await releasing(here).promote(version, "tests")


def pds(root: Path) -> dict[str, str]:
    return {row["id"]: row["pd"] for row in predictions(root)}


async def entries(here: Table) -> list[dict[str, Any]]:
    return [json.loads(entry) for entry in (await here.service.ledger(None, 0, 1000)).entries]


def test_promoted_and_rolled_back_without_a_pause(card: Path, trees: Path) -> None:
    a, b = entered(card, trees)
    customer = next(iter(pds(card)))

    async def work() -> None:
        async with table(card) as here:
            assert [(one.version, one.role) for one in here.service.models()] == [(a, "champion"), (b, "challenger")]
            before = await here.score(customer, "key")
            assert (before.model.version, repr(before.pd)) == (a, pds(card)[customer])
            going, answers = True, []

            async def client() -> None:
                while going:
                    answers.append(await here.score(customer))

            clients = [asyncio.create_task(client()) for _ in range(4)]
            await asyncio.sleep(0.1)
            for word, version in (("promote", b), ("rollback", b), ("promote", b)):
                began = time.monotonic()
                await getattr(releasing(here), word)(version, "tests")
                assert time.monotonic() - began < 1.0
                await asyncio.sleep(0.1)
            going = False
            await asyncio.gather(*clients)
            runs = [one.model.version for one in answers]
            assert {repr(one.pd) for one in answers if one.model.version == b} == {pds(trees)[customer]}
            assert {repr(one.pd) for one in answers if one.model.version == a} == {pds(card)[customer]}
            assert not any(one.degraded for one in answers)
            assert Counter(runs).keys() == {a, b}
            after = await here.score(customer)
            assert (after.model.version, repr(after.pd)) == (b, pds(trees)[customer])
            assert await here.score(customer, "key") == before, "an idempotency key keeps its answer"
            found = await here.service.find(before.decision_id)
            assert found is not None
            assert found[0] == before
            steps = [(each["step"], each["params"]) for each in await entries(here)]
            changes = [(step, said) for step, said in steps if "change" in said]
            assert [step for step, _ in changes] == ["added", "added", "promoted", "rolled-back", "promoted"]
            assert changes[2][1]["by"] == ["tests"]
            assert (changes[2][1]["previous"], changes[2][1]["version"]) == (a, b)
            first = next(
                number for number, (step, said) in enumerate(steps) if step == "decision" and said["model"] == b
            )
            assert first > steps.index(changes[2]), "on record before it decides"

    run(work())


def test_after_a_restart_the_same_one_decides(card: Path, trees: Path) -> None:
    _, b = entered(card, trees)
    customer = next(iter(pds(card)))

    async def work() -> None:
        async with table(card) as here:
            await promoted(here, b)
        Registry(card / "bank" / "scoring", SystemClock()).enter("rolled-back", here.opened.home.version, ("x",))
        async with table(card) as here:
            assert (await here.score(customer)).model.version == here.opened.home.version
            steps = [each["step"] for each in await entries(here)]
            assert steps.count("rolled-back") == steps.count("promoted") == 1, "noted once, whoever made the change"
            await promoted(here, b)
        async with table(card) as here:
            decision = await here.score(customer)
            assert decision.model.version == b
            await here.service.cosign()
            found = await here.service.find(decision.decision_id)
            assert found is not None
            verify(found[1])
            assert cosigned_by(found[1], card) == {"telecom", "payroll"}, "by the partners of the log's own run"

    run(work())


def test_a_canary_decides_about_the_same_ones_again(card: Path, trees: Path) -> None:
    a, b = entered(card, trees)
    expected = {a: pds(card), b: pds(trees)}
    ids = sorted(expected[a].keys() & expected[b].keys())

    async def work() -> dict[str, str]:
        async with table(card) as here:
            await releasing(here).canary(b, 0.3, "tests")
            made = await here.batch(["no phone", *ids])
            assert made[0].code == "bad-id"
            decided = dict(zip(ids, made[1:], strict=True))
            assert {one.receipt.entry for one in decided.values()} == {made[1].receipt.entry}
            for customer, one in decided.items():
                assert repr(one.pd) == expected[one.model.version][customer]
                assert not one.degraded
            (entry,) = [each for each in await entries(here) if each["step"] == "decision"]
            counted = Counter(one.model.version for one in decided.values())
            assert {name: each["decisions"] for name, each in entry["params"]["models"].items()} == counted
            assert entry["params"]["model"] == a
            used = {one.model: one for one in meter(decisions_of(card / "bank"))}
            assert {name: one.billable for name, one in used.items()} == counted
            assert (used[a].answers, used[b].answers) == (1, 0)
            for customer in ids[:20]:
                assert (await here.score(customer)).model.version == decided[customer].model.version
            found = await here.service.find(decided[ids[0]].decision_id)
            assert found is not None
            assert found[0] == decided[ids[0]]
            return {customer: one.model.version for customer, one in decided.items()}

    first = run(work())
    share = Counter(first.values())[b] / len(first)
    assert 0.15 < share < 0.45, "about 0.3 of 170"


@pytest.mark.slow
def test_a_canary_is_the_same_after_a_restart(card: Path, trees: Path) -> None:
    _, b = entered(card, trees)
    ids = list(pds(card))

    async def versions() -> list[str]:
        async with table(card) as here:
            await releasing(here).canary(b, 0.3, "tests")
            return [one.model.version for one in await here.batch(ids)]

    assert run(versions()) == run(versions())


def asked(here: Table, other: Path) -> int:
    """Applicants that partners were asked about for another run's model, or a few more: messages hold more."""
    return sum(size // TOKEN for size in here.others[other]["telecom"].asked)


def test_challengers_are_not_asked_unless_the_policy_says_so(card: Path, trees: Path) -> None:
    entered(card, trees)

    async def work() -> None:
        async with table(card) as here:
            await here.batch(list(pds(card))[:20])
            await asyncio.sleep(0.4)
            assert asked(here, trees) == 0
            assert here.service.shadows.waiting == 0

    run(work())


def test_shadows_are_on_record_and_never_answered(card: Path, trees: Path) -> None:
    a, b = entered(card, trees)
    ids = sorted(pds(card).keys() & pds(trees).keys())

    async def work() -> None:
        async with table(card, SHADOW) as here:
            await here.batch(["no phone"])
            made = [*await here.batch(ids), await here.score(ids[0])]
            assert {one.model.version for one in made} == {a}
            await until(lambda: asked(here, trees) > len(ids))
            await until(lambda: shadows(card))
            assert [decision.decision_id for _, decision in await here.service.recent(3)] == [
                made[len(ids)].decision_id, made[len(ids) - 1].decision_id, made[len(ids) - 2].decision_id
            ]  # fmt: skip
            (entry,) = [each for each in await entries(here) if each["step"] == "shadow"]
            assert (entry["params"]["model"], entry["params"]["decisions"]) == (b, len(ids) + 1)
            assert await here.service.find(f"000001-{entry['seq']}-0") is None, "a shadow is no decision"

    run(work())
    pairs = pairs_of(card / "bank" / "scoring", a, b)
    assert [repr(one.pd) for one in pairs.champion] == [pds(card)[each] for each in (*ids, ids[0])]
    assert [repr(one.pd) for one in pairs.challenger] == [pds(trees)[each] for each in (*ids, ids[0])]
    told = comparison(pairs)
    assert told["applicants"] == sum(sum(row.values()) for row in told["decisions"]["both"].values()) == len(ids) + 1
    volume = card / "bank" / "scoring" / "volumes" / "000001.sqlite"
    with closing(sqlite3.connect(volume)) as db:
        ((salts,),) = db.execute("SELECT salt FROM shadow").fetchall()  # 32 bytes each, over several pages
    assert salts[:32] in volume.read_bytes()
    forget_records(volume, below_which(volume))
    assert not below_which(volume)
    assert salts[:32] not in volume.read_bytes()
    assert not pairs_of(card / "bank" / "scoring", a, "0" * 64).champion


@pytest.mark.slow
def test_shadows_stand_beside_the_champions_decisions_alone(card: Path, trees: Path) -> None:
    a, b = entered(card, trees)

    async def work() -> int:
        async with table(card, SHADOW) as here:
            await releasing(here).canary(b, 0.5, "tests")
            made = await here.batch(list(pds(card)))
            await until(lambda: shadows(card))
            beside = sum(each["params"]["decisions"] for each in await entries(here) if each["step"] == "shadow")
            assert beside == sum(one.model.version == a for one in made)
            return int(beside)

    mine = run(work())
    pairs = pairs_of(card / "bank" / "scoring", a, b)
    assert 0 < mine == len(pairs.champion) < len(pds(card))


def shadows(root: Path) -> bool:
    return b"/shadow/" in (root / "bank/scoring/volumes/000001.sqlite-wal").read_bytes()


def test_shadows_delay_nobody_and_are_counted_when_too_many_wait(card: Path, trees: Path) -> None:
    """Partners who are mute towards the challenger keep no caller waiting."""
    a, b = entered(card, trees)
    ids = list(pds(card))
    rules = ServingPolicy(partners=policy(deadline_ms=300).partners, record=SHORT, models=ModelRules(True, 30))

    async def work() -> None:
        async with table(card, rules) as here:
            await until(lambda: all(line.up.is_set() for line in here.service.lineup.challengers[0].bench.lines))
            for stage in here.others[trees].values():
                stage.mute = True
            await here.batch(ids[:40])
            began = time.monotonic()
            for customer in ids[:10]:
                assert not (await here.score(customer)).degraded
            assert time.monotonic() - began < 0.3, "less than one deadline for ten"
            assert (here.service.shadows.dropped, here.service.shadows.waiting) == (20, 30)
            await until(lambda: here.service.shadows.waiting == 0)
            await until(lambda: shadows(card))
            for stage in here.others[trees].values():
                stage.mute = False

    run(work())
    pairs = pairs_of(card / "bank" / "scoring", a, b)
    assert pairs.left_out == {"degraded": 30, "too many waited": 20}
    assert not pairs.champion
    assert comparison(pairs)["pd"] is None


@pytest.mark.slow
def test_a_model_that_cannot_be_opened_does_not_stop_the_others(card: Path, trees: Path) -> None:
    _, b = entered(card, trees)
    share = trees / "bank" / "share.json"
    kept = share.read_bytes()
    share.write_bytes(b"{}")

    async def work() -> None:
        async with table(card) as here:
            assert b in here.opened.succession.failures
            with pytest.raises(AgreementError, match="could not open it"):
                await promoted(here, b)
            with pytest.raises(UnknownModel):
                await promoted(here, "0" * 64)
            assert not (await here.score(next(iter(pds(card))))).degraded
        Registry(card / "bank" / "scoring", SystemClock()).enter("promoted", b, ("x",))
        with pytest.raises(UsageError):
            async with table(card):
                pass
        share.write_bytes(kept)
        async with table(card) as here:
            assert (await here.score(next(iter(pds(card))))).model.version == b

    run(work())


@pytest.mark.slow
def test_a_retired_model_goes_when_it_has_finished(card: Path, trees: Path) -> None:
    _, b = entered(card, trees)

    async def work() -> None:
        async with table(card, policy(deadline_ms=5000)) as here:
            rivals = here.service.lineup.challengers[0]
            ended = asyncio.Event()
            loop = asyncio.get_running_loop()
            rivals.ended = lambda: loop.call_soon_threadsafe(ended.set)
            await promoted(here, b)
            real, go = here.service._earlier, asyncio.Event()

            async def slow(asked: Any) -> Any:
                await go.wait()
                return await real(asked)

            here.service._earlier = slow
            decision = asyncio.create_task(here.score(next(iter(pds(card))), "key"))
            await asyncio.sleep(0.05)
            await releasing(here).rollback(b, "tests")
            rule(here).at_keyboard("retired", b)
            await here.opened.succession.catch_up()
            await asyncio.sleep(0.2)
            assert not ended.is_set()
            go.set()
            made = await asyncio.wait_for(decision, 5)
            assert (made.model.version, made.degraded) == (b, False)
            await asyncio.wait_for(ended.wait(), 5)
            assert [one.role for one in here.service.models()] == ["champion", "retired"]
            assert not here.service.lineup.has(b)

    run(work())
