"""Valuations of real runs: the same shares again, whoever works them out, whoever is killed, whoever splits in two."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from recompute import millionths as again
from run_kit import TOML, Runs
from scoring_kit import copied
from settling_kit import CLAUSE, SETTLED

from vfl.errors import UsageError
from vfl.seat import RunFile
from vfl.settle import valuing
from vfl.settle.contribution import Contribution, game_of, result_of
from vfl.settle.patterns import Patterns
from vfl.settle.shares import Player
from vfl.settle.valuing import value
from vfl.settlement import Settlement

SEED = b"7" * 32
CLEAR = Settlement(approve=0.7, profit_good=100, loss_bad=300)


def valued(root: Path, clause: Settlement = CLEAR, **told: Any) -> Contribution:
    return value(root, RunFile.read(root), clause, SEED, told.get("told", lambda *_: None))


@pytest.fixture(scope="module")
def root(finished: Runs, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run to value, with the models of coalitions that were trained already."""
    return copied(finished(SETTLED).out, tmp_path_factory.mktemp("valued"))


CLAUSES = {
    "profit": CLEAR,
    "bad-rate": replace(CLEAR, value="bad-rate"),
    "the bank plays": replace(CLEAR, label_owner="player"),
    "one entity": replace(CLEAR, entities={"telecom": "Group", "payroll": "Group"}),
    "a cluster, the first": replace(CLEAR, similarity=0.5, in_cluster="first"),
}


@pytest.mark.parametrize("name", CLAUSES)
def test_anybody_gets_the_same_shares(root: Path, name: str) -> None:
    found = valued(root, CLAUSES[name])
    result = result_of(found)
    assert sum(result.ppm.values()) == 1_000_000
    assert dict(result.ppm) == again(found.to_json())
    body = json.loads(json.dumps(found.to_json()))
    assert Contribution.from_json(body).to_json() == body
    assert result_of(Contribution.from_json(body)) == result
    if name == "the bank plays":
        assert found.players[-1].parties == ("bank",)
        assert sum(one.value for one in result.worths) == sum(one.value for one in result_of(valued(root)).worths)
    if name == "one entity":
        assert [one.name for one in found.players] == ["Group"]


def test_from_a_bundle_with_a_page_of_python(settled_made: Path) -> None:
    words = [
        sys.executable,
        Path(__file__).with_name("recompute.py"),
        settled_made / "settlement" / "settlement.bundle",
    ]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    shares = json.loads((settled_made / "settlement" / "shares.json").read_text())
    assert json.loads(done.stdout) == shares["ppm"]
    imports = {
        line.split()[1] for line in Path(words[1]).read_text().splitlines() if line.startswith(("import", "from"))
    }
    assert imports <= {"hashlib", "json", "sys", "zipfile", "fractions", "itertools", "math", "numpy"}


def test_sampled_orders_come_near_and_anybody_gets_them(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    exact = result_of(valued(root))
    monkeypatch.setattr(valuing, "MOST_EXACT", 1)
    for clause in (CLEAR, replace(CLEAR, label_owner="player")):
        sampled = valued(root, clause)
        assert sampled.pairs % 8 == 0
        assert sampled.pairs
        assert dict(result_of(sampled).ppm) == again(sampled.to_json())
    for one, other in zip(exact.worths, result_of(valued(root)).worths, strict=True):
        assert abs(one.value - other.value) <= abs(sum(each.value for each in exact.worths)) / 20


def test_a_valuation_goes_on_where_it_was_killed(finished: Runs, tmp_path: Path) -> None:
    root = copied(finished(SETTLED).out, tmp_path)

    class Killed(Exception):
        pass

    def dies(done: int, *_: object) -> None:
        if done == 3:
            raise Killed

    with pytest.raises(Killed):
        valued(root, told=dies)
    kept = {path: path.stat().st_mtime_ns for path in root.glob("bank/settlement/*.npy")}
    assert len(kept) == 3
    found = valued(root)
    assert {path: path.stat().st_mtime_ns for path in kept} == kept, "nothing is trained again"
    other = copied(finished(SETTLED).out, tmp_path / "other")
    assert found.to_json() == valued(other).to_json(), "and the same comes of it as without a pause"


def test_splitting_one_entity_in_two_changes_nothing(finished: Runs, tmp_path: Path) -> None:
    """The payroll provider, and the same columns under two names of one legal entity."""
    half = TOML[TOML.index("[party.payroll]") : TOML.index("[model]")]
    two = half.replace('table = "payroll.csv"', 'table = "payroll.csv"\nfeatures = ["salary"]')
    two += half.replace("party.payroll", "party.pension").replace(
        'table = "payroll.csv"', 'table = "payroll.csv"\nfeatures = ["months"]'
    )
    clause = CLAUSE + 'payroll = "Payroll"\npension = "Payroll"\n'
    whole = valued(copied(finished(TOML + CLAUSE).out, tmp_path / "whole"))
    split = valued(
        copied(finished(TOML.replace(half, two) + clause).out, tmp_path / "split"),
        replace(CLEAR, entities={"payroll": "Payroll", "pension": "Payroll"}),
    )
    assert [one.name for one in split.players] == ["telecom", "Payroll"]
    one, other = result_of(whole), result_of(split)
    assert other.ppm["payroll"] + other.ppm["pension"] == pytest.approx(one.ppm["payroll"], abs=2)
    assert other.ppm["telecom"] == pytest.approx(one.ppm["telecom"], abs=2)


def test_scorecards_are_valued_too(finished: Runs, tmp_path: Path) -> None:
    card = TOML[: TOML.index("[model]")] + '[model]\nkind = "scorecard"\n' + TOML[TOML.index("[privacy]") :]
    found = valued(copied(finished(card).out, tmp_path))
    assert len({one["model"] for one in found.coalitions}) == 6
    assert dict(result_of(found).ppm) == again(found.to_json())


def test_runs_that_cannot_be_valued(finished: Runs, tmp_path: Path) -> None:
    decoys = finished(TOML.replace("[psi]", "[psi]\ndecoys = 0.5")).out
    with pytest.raises(UsageError, match="a run with decoys is not valued"):
        valued(decoys)
    with pytest.raises(UsageError, match="has no cosignature"):
        valuing.seed_of("a\n1\nx\n\n— a AAAAAAAA\n")


def test_damage_is_named(root: Path) -> None:
    body = valued(root).to_json()
    for change in ({"format": "x"}, {"seed": "zz"}, {"players": 3}, {"clause": {}}, {"patterns": []}, {"more": 1}):
        with pytest.raises(UsageError, match="damaged"):
            Contribution.from_json({**body, **change})
    with pytest.raises(UsageError, match="lacks the coalition of players"):
        result_of(Contribution.from_json({**body, "coalitions": [*body["coalitions"][:-1], body["coalitions"][0]]}))


def test_nobody_is_paid_for_what_is_nobodys() -> None:
    """Coalitions that approve the same customers are worth the same: the bank keeps it all."""
    patterns = Patterns.from_json([[0, "111111", 90], [1, "000000", 10]])
    coalitions = [{"players": each, "null": False} for each in ([], [0], [1], [0, 1])]
    coalitions += [{"players": each, "null": True} for each in ([], [0, 1])]
    players = tuple(Player(((name, (name,)),)) for name in ("a", "b"))
    found = Contribution("r", "a", SEED, CLEAR, ("bank", "a", "b"), players, 0, tuple(coalitions), patterns)
    assert result_of(found).ppm == {"bank": 1_000_000, "a": 0, "b": 0}
    assert again(found.to_json()) == {"bank": 1_000_000, "a": 0, "b": 0}
    assert game_of(2, CLEAR, SEED, 0).coalitions[0] == frozenset()
