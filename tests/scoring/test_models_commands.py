"""`tallystick models` on a finished run, in a service that runs meanwhile, and between companies."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from company_kit import PASSPHRASE, companies
from run_kit import tallystick
from scoring_kit import policy, predictions, run
from test_between_processes import host_of, standing

from vfl.scoring.answers import Applicant
from vfl.scoring.policy import ServingPolicy
from vfl.scoring.serving import between_companies, simulated

Say = Callable[..., Any]


@pytest.fixture
def say(trees: Path, capfd: Any) -> Say:
    """A command upon the run in `trees`: what it says in JSON, or its error."""

    def command(*words: object, home: tuple[object, ...] = ("--run", trees)) -> Any:
        ended = tallystick(capfd, "models", *words, *home, "--json")
        return json.loads(ended.out) if ended.code == 0 else ended.err

    return command


def roles(told: Any) -> dict[str, str]:
    return {each["kind"]: each["role"] for each in told["models"]}


def test_from_the_first_model_to_the_next(say: Say, card: Path, trees: Path, capfd: Any) -> None:
    only = say("list")
    assert roles(only) == {"gbdt": "champion"}
    assert not (trees / "bank/scoring/models.json").exists(), "to look changes nothing"
    added = say("add", card)
    assert (added["what"], added["by"]) == ("added", ["local"])
    assert (card / "bank/scoring/standin.json").exists()
    assert say("canary", added["version"][:8], 0.25)["share"] == 0.25
    assert say("promote", added["version"][:8])["version"] == added["version"]
    told = say("list")
    assert roles(told) == {"scorecard": "champion", "gbdt": "challenger"}
    assert told["rollback_to"] == only["models"][0]["version"]
    assert say("compare")["applicants"] == 0
    assert say("rollback")["version"] == only["models"][0]["version"]
    assert say("retire", added["version"][:8])["what"] == "retired"
    assert "there are 0 challengers" in say("compare")
    assert say("compare", added["version"])["challenger"] == added["version"]
    assert tallystick(capfd, "models", "list", "--run", trees).out.count("retired") == 1
    words = ("models", "compare", added["version"], "--run", trees)
    assert "Nothing to compare yet" in tallystick(capfd, *words).out


def test_what_cannot_be_done_is_said(say: Say, card: Path, trees: Path) -> None:
    assert "no model decided before" in say("rollback")
    assert "here already" in say("add", trees)
    assert "0 models have a version" in say("promote", "abcdef")
    version = say("add", card)["version"]
    assert "here already" in say("add", card)
    assert "is champion, not a challenger" in say("promote", say("list")["models"][0]["version"])
    (trees / "api-keys.json").touch()
    assert "two clients with the scope admin must ask" in say("promote", version)
    assert "name a run directory" in say("add", trees / "bank")
    body = trees / "bank/scoring/models.json"
    body.write_text(body.read_text().replace('"local"', '"nobody"'))
    assert "models.json is damaged" in say("list")


@pytest.mark.slow
def test_a_running_service_follows_the_command_line(say: Say, card: Path, trees: Path) -> None:
    (row, *_) = predictions(trees)
    expected = {each["id"]: each["pd"] for each in predictions(card)}[row["id"]]

    async def work() -> None:
        async with simulated(trees, ServingPolicy()) as opened:
            await asyncio.wait_for(opened.service.ready(), 15)
            version = (await asyncio.to_thread(say, "add", card))["version"]
            async with asyncio.timeout(15):
                while not opened.service.lineup.challengers:
                    await asyncio.sleep(0.05)
                await opened.service.lineup.challengers[0].bench.ready()
            await asyncio.to_thread(say, "promote", version)
            async with asyncio.timeout(1.5):
                while opened.service.models()[0].version != version:
                    await asyncio.sleep(0.02)
            decision = await opened.service.score(Applicant(row["id"]), "tests")
            assert (decision.model.version, repr(decision.pd), decision.degraded) == (version, expected, False)
            await asyncio.to_thread(say, "rollback")
            await asyncio.to_thread(say, "retire", version)
            async with asyncio.timeout(15):
                while True:
                    try:
                        host_of("telecom", card)
                    except AssertionError:
                        break
                    await asyncio.sleep(0.05)
            assert host_of("telecom", trees)

    run(work())


@pytest.mark.slow
def test_a_company_promotes_the_model_of_another_run(tmp_path: Path, say: Say, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TALLYSTICK_PASSPHRASE", PASSPHRASE)
    made = companies(tmp_path, port=17457)
    runs = made.party("bank") / "state" / "runs"
    signed = made.sign(made.agreement, "bank", "telecom", "payroll")
    home = ("--config", made.party("bank"), "--name", "first")

    async def work() -> None:
        async with between_companies(standing(made, "bank"), "first", policy()) as opened:
            await asyncio.wait_for(opened.service.ready(), 20)
            version = (await asyncio.to_thread(say, "add", runs / "second", home=home))["version"]
            async with asyncio.timeout(15):
                while not opened.service.lineup.challengers:
                    await asyncio.sleep(0.05)
                await opened.service.lineup.challengers[0].bench.ready()
            await asyncio.to_thread(say, "promote", version, home=home)
            await opened.succession.catch_up()
            (row, *_) = predictions(runs / "second" / "bank")
            decision = await opened.service.score(Applicant(row["id"]), "tests")
            assert (decision.model.version, repr(decision.pd), decision.degraded) == (version, row["pd"], False)

    with made.serving("telecom", "payroll"):
        for name in ("first", "second"):
            ended = made.done("run", "--agreement", signed, "--config", made.party("bank"), "--run", name)
            assert ended.returncode == 0, ended.stderr
        assert "is no run of bank" in say("add", tmp_path, home=home)
        run(work())
