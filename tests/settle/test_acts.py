"""The scenario `consortium`, whole: from stakes to payments, with noise, a copy and a lie."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from run_kit import Runs, here
from settling_kit import SETTLED, checked, said

from scenarios import acts, describe, materialise
from scenarios.split import Act
from vfl import acts_commands
from vfl.config import load_scenario
from vfl.errors import UsageError

PARTIES = ("bank", "telecom", "payroll")


def test_the_story_is_a_scenario_like_any_other(tmp_path: Path) -> None:
    told = describe("consortium")
    assert "adnet" in told
    scenario = load_scenario(materialise("consortium", tmp_path, ["bank", "bureau", "broker"]))
    assert scenario.settlement is not None
    assert dict(scenario.settlement.entities) == {
        "bank": "Harbour Bank", "bureau": "Island Bureau", "broker": "Mirror Data",
    }  # fmt: skip
    assert [act.name for act in acts("consortium")] == ["honest", "noise", "copycat", "liar"]
    assert acts("pos-loan") == acts("nothing") == ()


def test_an_act_on_a_small_run(
    finished: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    own = finished(SETTLED).own
    monkeypatch.setattr(acts_commands, "acts", lambda _: (Act("small", "a lie", (*PARTIES,), liar="telecom"),))
    monkeypatch.setattr(acts_commands, "loader", lambda *_: ("small", lambda _: load_scenario(own)))
    monkeypatch.setattr("vfl.settle.acts.APPLICANTS", 50)
    acts_commands.run_acts("small", tmp_path / "out", "seed", as_json=False)
    said = capsys.readouterr()
    assert "telecom shows a ledger that it rewrote: proof in" in said.err
    (told,) = json.loads((tmp_path / "out" / "acts.json").read_text())["acts"]
    amount = f"{told['amount'] / 100:.2f}"
    assert f"50 decisions for {amount}. telecom lost its stake of 10.01." in said.out
    assert f"came in = 10.01 credit + 20.02 at stake + {amount} paid out" in said.out
    assert told["balanced"]
    root = tmp_path / "out" / "small"
    assert checked((root / "settlement" / "settlement.bundle").read_bytes(), root).code == 0
    with pytest.raises(UsageError, match="exists already"):
        acts_commands.run_acts("small", tmp_path / "out", None, as_json=True)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_it_ends_as_it_should(tmp_path: Path) -> None:
    done = here("run", "consortium", "--out", tmp_path / "out", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told == json.loads((tmp_path / "out" / "acts.json").read_text())
    assert told["seconds"] < 180
    assert told["balanced"]
    honest, noise, copycat, liar = told["acts"]
    for act in told["acts"]:
        assert act["decisions"] == 10_000
        assert sum(act["credits"].values()) + sum(act["stakes"].values()) + act["paid"] == act["booked"]
        assert sum(act["earned"].values()) == act["amount"] == act["paid"]
        root = Path(act["run"])
        found = checked((root / "settlement" / "settlement.bundle").read_bytes(), root)
        assert (found.code, found.faults) == (0, [])
    share = {
        act["act"]: {p["name"]: [float(x) for x in p["share"]] for p in act["shares"]["players"]}
        for act in told["acts"]
    }
    _, low, high = share["noise"]["Lantern Ads"]
    assert low <= 0.0 <= high
    assert noise["earned"].get("adnet", 0) <= noise["amount"] / 100
    original, cluster = share["honest"]["Island Bureau"][0], share["copycat"]["Island Bureau + Mirror Data"][0]
    assert abs(original - cluster) <= 0.01
    assert abs(copycat["earned"]["bureau"] - copycat["earned"]["broker"]) <= 1
    assert liar["slashed"] == {"telecom": 1_000_000}
    assert (liar["stakes"]["telecom"], honest["stakes"]["telecom"]) == (0, 1_000_000)
    evidence = Path(liar["run"]) / "bank" / "evidence" / "fork-1.json"
    assert "accused: punished before" in here("settle", "slash", evidence, "--run", liar["run"]).stderr
    assert "exists already" in here("run", "consortium", "--out", tmp_path / "out").stderr
    assert said("show", honest["run"])["balances"]["bank"] == {"credit": 0, "stake": 1_000_000}
