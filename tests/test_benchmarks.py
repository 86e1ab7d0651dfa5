"""The benchmarks measure what they say, at sizes that take no time; how fast anything is, no test asks."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from benchmark_parties import fails, waits

from benchmarks import data, evaluate, growth, histogram, ledger, measure, parties, psi, scale, train, whole
from benchmarks.__main__ import NAMES, main, parser_of
from benchmarks.options import COMMON
from vfl.crypto.schemes import LEVELS
from vfl.learn import compiled_leaves

TINY = "--active-features 2 --passive-features 2 --bins 4 --depth 2"


def run(name: str, words: str) -> dict[str, Any]:
    given = parser_of(name).parse_args(words.split())
    known = {"train": train, "histogram": histogram, "psi": psi, "ledger": ledger, "scale": scale, "whole": whole}
    found: dict[str, Any] = known[name].run(given)
    assert list(found)[: len(COMMON)] == list(COMMON)
    assert found["name"] == name
    assert found["options"].keys() == vars(given).keys() - {"json"}
    assert json.loads(json.dumps(found)) == found
    return found


# ---- what a run tells ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained() -> dict[str, Any]:
    return run("train", f"--rows 400 {TINY} --trees 2 --parties 2 --seed 3")


def test_train_with_two_passive_parties(trained: dict[str, Any]) -> None:
    assert trained["options"]["level"] == "hidden"
    assert trained["auc"] == trained["auc_plaintext"] == pytest.approx(trained["auc_lightgbm"], abs=0.01)
    assert 0.5 < trained["auc"] < 1
    assert trained["cpu_seconds_per_tree"] == pytest.approx(sum(trained["cpu_seconds"].values()) / 2, abs=2e-3)
    assert 0 < trained["overhead_fraction"] < 1
    assert trained["hint_cpu_seconds"] > 0
    assert trained["wall_seconds"] >= 2 * trained["wall_seconds_per_tree"] - 0.01
    assert min(trained["peak_mb"].values()) > 20
    assert trained["lightgbm_ratio"] > 0


def test_the_steps_of_training_add_up(trained: dict[str, Any]) -> None:
    steps, cpu = trained["steps_cpu_seconds"], trained["cpu_seconds"]
    assert steps["active"].keys() == {"encrypt", "decrypt", "ledger", "rest"}
    assert steps["passive"].keys() == {"check", "sum", "ahead", "ledger", "rest"}
    for side, found in steps.items():
        assert sum(found.values()) == pytest.approx(cpu[side], abs=5e-3)
        assert found["ledger"] > 0
        assert found["rest"] >= 0
    work = sum(found[step] for found in steps.values() for step in found if step in measure.IN_TRAINING)
    assert trained["overhead_fraction"] == pytest.approx(1 - work / sum(cpu.values()), abs=0.1)


def test_bytes_are_those_of_all_passive_parties(trained: dict[str, Any]) -> None:
    alone = run("train", f"--rows 400 {TINY} --trees 2 --seed 3 --no-plaintext")
    assert alone["auc_plaintext"] is None
    assert alone["lightgbm_ratio"] > 0
    for key in ("hint_bytes", "bytes_per_tree"):
        assert trained[key] == pytest.approx(2 * alone[key], rel=0.2)
    assert trained["hint_bytes"] > 2 * 8 * 4096 * 6  # 8 bytes a coefficient, at most 8 cells with a hint for each party
    assert sum(trained["bytes"].values()) > trained["hint_bytes"] + 2 * trained["bytes_per_tree"]


@pytest.mark.slow
def test_train_disclosed_is_paillier() -> None:
    found = run("train", f"--rows 60 {TINY} --level disclosed --no-plaintext")
    assert found["options"]["scheme"] == "paillier"
    assert found["steps_cpu_seconds"]["active"]["encrypt"] > 0
    assert found["bytes"]["active_to_passive"] > 60 * 512


@pytest.mark.parametrize("scheme", list(LEVELS))
def test_histogram(scheme: str) -> None:
    found = run("histogram", f"--rows 300 {TINY} --scheme {scheme} --trees 2 --skew 0.3")
    assert found["options"]["level"] == LEVELS[scheme]
    assert found["nodes"] == 2
    assert min(*found["cpu_seconds"].values(), *found["bytes"].values(), *found["peak_mb"].values()) > 0
    for side, steps in found["steps_cpu_seconds"].items():
        assert sum(steps.values()) == pytest.approx(found["cpu_seconds"][side], abs=5e-3)
    assert found["within_limits"]


def test_a_side_that_fails_ends_the_histogram(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(RuntimeError, match="a party's process ended before it was done"):
        run("histogram", f"--rows 300 {TINY} --key-bits 512 --scheme paillier")
    assert "UsageError" in capfd.readouterr().err


@pytest.mark.parametrize("engine", ["x25519", "kkrt"])
def test_psi(engine: str) -> None:
    found = run("psi", f"--ids 301 --engine {engine} --repeats 1")
    assert found["common"] == 151
    assert min(*found["cpu_seconds"].values(), *found["bytes"].values(), *found["peak_mb"].values()) > 0
    for side, cpu in found["cpu_seconds"].items():
        phases = found["match_cpu_seconds"][side] + found["confirm_cpu_seconds"][side]
        assert cpu == pytest.approx(phases, abs=2e-3)
    assert all(value > 0 for value in found["parts_us"].values())


@pytest.mark.slow
@pytest.mark.parametrize("what", ["--ids 301", "--rows 400 --active-features 2 --features 2 --bins 8"])
def test_scale(what: str) -> None:
    found = run("scale", what)
    assert found["within_limits"]
    assert found["common"] == (151 if "ids" in what else None)
    assert all(0 < found["peak_mb"][side] < found["process_peak_mb"][side] for side in ("active", "passive"))
    assert found["digest"].keys() == {"active", "passive"}


@pytest.mark.slow
def test_a_whole_run() -> None:
    found = run("whole", "--rows 600 --active-features 2 --features 2 --bins 8 --depth 2 --trees 2")
    assert found["within_limits"]
    assert (found["verdict"], found["rows"]["intersection"], found["rows"]["holdout"]) == ("valid", 600, 120)
    assert found["peak_mb"].keys() == found["cpu_seconds"].keys() | {"command"}
    assert min(*found["peak_mb"].values(), *found["cpu_seconds"].values()) > 0
    assert 0.5 < found["auc"] == pytest.approx(found["auc_lightgbm"], abs=0.05)


def test_a_whole_run_that_fails_is_no_figure(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(RuntimeError, match="tallystick run ended with code 2"):
        run("whole", "--rows 20 --active-features 1 --features 1 --bins 2 --depth 1 --trees 1")
    assert "to do:" in capfd.readouterr().err


def test_scale_is_of_ids_or_of_rows(capsys: pytest.CaptureFixture[str]) -> None:
    for what in ("", "--ids 300 --rows 300"):
        with pytest.raises(SystemExit):
            run("scale", what)
        assert "give either --ids or --rows" in capsys.readouterr().err


def test_ledger() -> None:
    found = run("ledger", "--entries 20 --batches 1,5")
    assert found["entries"] == 41  # the first says who writes
    assert list(found["durable_entries_per_second_by_batch"]) == ["1", "5"]
    assert found["verdict"] == "valid"
    assert found["hashes_per_cpu_second"] > found["signatures_per_cpu_second"] > 0


# ---- growth ----------------------------------------------------------------------------------------------------------


def of_a_law(given: argparse.Namespace) -> dict[str, Any]:
    """A run whose costs follow a law."""
    cost = 3 + 2 * given.passive_features
    return {
        **dict.fromkeys(growth.KEPT, 0),
        "cpu_seconds_per_tree": cost, "hint_cpu_seconds": 5 * given.rows**0.5, "bytes_per_tree": 7 * given.parties,
        "hint_bytes": 1e7,
    }  # fmt: skip


def test_growth_finds_the_law(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[argparse.Namespace] = []

    def measured(given: argparse.Namespace) -> dict[str, Any]:
        asked.append(given)
        return of_a_law(given)

    monkeypatch.setattr(train, "run", measured)
    given = growth.parser().parse_args(["--scale", "0.5", "--trees", "2", "--seed", "4"])
    found = growth.run(given)
    assert len(asked) == len(found["points"]) == 11, "the base point is measured once"
    assert {(one.trees, one.seed, one.scheme, one.no_plaintext) for one in asked} == {(2, 4, "lattice", True)}
    assert found["axes"]["rows"]["sizes"] == [25_000, 50_000, 100_000]
    fits = {axis: one["fits"] for axis, one in found["axes"].items()}
    assert fits["passive_features"]["cpu_seconds_per_tree"] == {
        "a": 3.0,
        "b": 2.0,
        "exponent": pytest.approx(0.92, 0.1),
    }
    assert fits["rows"]["hint_cpu_seconds"]["exponent"] == 0.5
    assert fits["parties"]["bytes_per_tree"] == {"a": 0.0, "b": 7.0, "exponent": 1.0}
    assert fits["depth"]["hint_bytes"] == {"a": 1e7, "b": 0.0, "exponent": 0.0}
    assert fits["depth"]["wall_seconds_per_tree"] == {"a": 0.0, "b": 0.0, "exponent": None}


@pytest.mark.slow
def test_growth_of_real_runs() -> None:
    found = growth.run(growth.parser().parse_args(["--scale", "0.01", "--trees", "1"]))
    fits = {axis: one["fits"] for axis, one in found["axes"].items()}
    assert fits["passive_features"]["hint_bytes"]["exponent"] == pytest.approx(1, abs=0.05)
    assert fits["parties"]["hint_bytes"]["exponent"] == pytest.approx(1, abs=0.05)
    assert fits["rows"]["hint_bytes"]["exponent"] == pytest.approx(0, abs=0.05)


# ---- the command line ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("train --rows 0", "'0'; allowed: 1 or more"),
        ("train --parties 17", "'17'; allowed: 1 to 16"),
        ("train --bins 1", "'1'; allowed: 2 to 65536"),
        ("train --scheme rot13", "invalid choice: 'rot13'"),
        (
            "train --scheme paillier --level hidden",
            "scheme paillier has level 'disclosed', not 'hidden': leave one out",
        ),
        ("histogram --skew 2", "'2'; allowed: 0 to 1"),
        ("histogram --level open", "invalid choice: 'open'"),
        ("psi --ids -5", "'-5'; allowed: 2 or more"),
        ("ledger --batches 1,x", "'x'; allowed: 1 or more"),
        ("growth --scale 0", "'0'; allowed: above 0, below 1000"),
        ("growth --scale x", "'x'; allowed: above 0, below 1000"),
        ("growth --level disclosed --scheme lattice", "scheme lattice has level 'hidden'"),
    ],
)
def test_bad_options_are_refused(words: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words.split())
    assert ended.value.code == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("words", [[], ["speed"]])
def test_an_unknown_name_gets_the_names(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    assert all(name in capsys.readouterr().err for name in NAMES[:1])
    with pytest.raises(KeyError):
        parser_of("speed")


def test_one_benchmark_prints_json_or_lines(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ledger", "--entries", "5", "--batches", "5", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["verdict"] == "valid"
    assert main(["ledger", "--entries", "5", "--batches", "5"]) == 0
    assert "verdict valid" in capsys.readouterr().out


def test_above_the_limit_is_exit_code_one(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(ledger, "run", lambda given: {"within_limits": False})
    assert main(["ledger"]) == 1


# ---- the measuring tools ---------------------------------------------------------------------------------------------


class Slow:
    """A scheme whose calls burn CPU."""

    name = "slow"

    def query(self, blocks: int) -> Iterator[bytes]:
        for _ in range(blocks):
            burn(0.02)
            yield b""

    def decrypt(self) -> None:
        burn(0.03)
        raise ValueError("not today")


def burn(seconds: float) -> None:
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


def test_only_the_calls_of_the_scheme_count_as_its_time() -> None:
    timed = measure.Timed(Slow(), "holder")
    assert timed.name == "slow"
    for _ in timed.query(3):
        burn(0.05)  # the caller's own
    with pytest.raises(ValueError, match="not today"):
        timed.decrypt()
    assert timed.training() == {"encrypt": pytest.approx(0.06, abs=0.015), "decrypt": pytest.approx(0.03, abs=0.015)}


def test_a_meter_counts_by_phase() -> None:
    now = iter([1.0, 3.0, 4.0, 10.0])
    meter = measure.Meter({"clock": lambda: next(now)})
    for phase in ("train", "score", "train"):
        meter.enter(phase)
    assert meter.seconds == {"clock": {"start": 2.0, "train": 1.0, "score": 6.0}}


def test_each_party_makes_its_own_columns() -> None:
    whole = data.columns(50, range(5), 7)
    assert np.array_equal(np.hstack([data.columns(50, range(2), 7), data.columns(50, range(2, 5), 7)]), whole)
    assert not np.array_equal(whole, data.columns(50, range(5), 8))
    labels = data.labels(400, 5, 7)
    assert labels.dtype == np.int8
    assert labels.sum() == 100


def test_a_party_that_fails_ends_the_benchmark(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(RuntimeError, match="ended before it was done"):
        parties.run_parties(waits, fails, 1, argparse.Namespace(seed=0))
    assert "passive0 gives up" in capfd.readouterr().err


def test_an_evaluation_is_timed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluation", "--rows", "200", "--resamples", "50", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    low, high = found["interval"]
    assert low < found["auc"] < high
    assert 0 < found["interval_cpu_seconds"] < found["cpu_seconds"]["active"]


def test_a_finished_model_is_timed(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluate, "LEAST_SECONDS", 0.0)
    assert main(["evaluate", "--rows", "200", "--trees", "2", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    for what in ("decide_8_leaves", "scores_31_leaves", "reasons_8_leaves", "card"):
        assert 0 < found[f"{what}_us_one_row"] < 1e6
        assert found[f"{what}_rows_per_second"] > 200


def test_an_answer_that_differs_has_no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    add = compiled_leaves.Tables.add
    monkeypatch.setattr(compiled_leaves.Tables, "add", lambda self, sums, of: add(self, sums, ~of))
    with pytest.raises(AssertionError):
        main(["evaluate", "--rows", "200", "--trees", "2"])
