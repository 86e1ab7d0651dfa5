"""What comes out of a run from every seat: the pooled model, by any scheme, and what was committed to before."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from memory_run import ACTIVE, Told, World, clear_schemes, fingerprint, play
from run_worlds import PAILLIER, WORLD, WORLDS, assert_pooled_model, customers, encrypted_run

from ledger.errors import BadProof
from vfl.commitments import commit_seeds, open_block
from vfl.learn.objective import sigmoid
from vfl.models import read_ensemble, read_records
from vfl.randomness import Randomness


@pytest.mark.parametrize("partners", [("telecom",), ("telecom", "retailer"), ("retailer", "telecom")])
@pytest.mark.parametrize("named", [True, False], ids=["named", "hidden"])
def test_a_run_comes_to_the_pooled_model(partners: tuple[str, ...], named: bool) -> None:
    world = World.of(partners)
    with clear_schemes(named):
        told = play(world)
    aligned = customers(world, told, ACTIVE)
    assert all(customers(world, told, name) == aligned for name in partners)
    assert set(aligned) == set.intersection(*(set(holding.tokens) for holding in world.holdings.values()))
    assert_pooled_model(world, told)


def test_early_stopping_on_rows_chosen_by_the_agreement() -> None:
    world = World.of(
        ("telecom",), 120, validation_fraction=0.3, early_stopping_round=2, num_iterations=20, learning_rate=1.0
    )
    told = play(world)
    bank = told.outcomes[ACTIVE]
    assert len(bank.model.trees) < len(bank.model.validation_losses) < 20
    assert not (bank.parts.validation & bank.holdout).any()
    assert_pooled_model(world, told)


def test_encryption_changes_neither_model_nor_scores(real: tuple[World, Told]) -> None:
    world, found = real
    assert_pooled_model(world, found)
    with clear_schemes(world is PAILLIER):
        plain = play(world)
    for name, outcome in plain.outcomes.items():
        assert found.outcomes[name].share == outcome.share
    np.testing.assert_array_equal(found.outcomes[ACTIVE].pd, plain.outcomes[ACTIVE].pd)


@pytest.mark.usefixtures("encrypted")
def test_schemes_come_to_the_same_scores() -> None:
    """So few rows afford the lattice scheme all the gradient bits that were asked for."""
    bits = {world.terms.scheme.bits(28) for world in WORLDS.values()}
    assert bits == {WORLD.terms.parameters.gradient_bits}
    scores = [encrypted_run(scheme).outcomes[ACTIVE].pd for scheme in WORLDS]
    np.testing.assert_array_equal(*scores)


@pytest.mark.usefixtures("encrypted")
def test_fewer_gradient_bits_where_the_flood_needs_the_room() -> None:
    """Both sides come to the same bits; the model is the pooled one of those bits."""
    world = World.of(("telecom",), gradient_bits=32, num_iterations=40, max_bin=4096, num_leaves=3)
    assert 24 < world.terms.scheme.bits(28) < 32
    assert_pooled_model(world, play(world))


def test_shares_hold_the_model(told: Told) -> None:
    bank = told.outcomes[ACTIVE]
    model = read_ensemble(bank.share)
    decisions = [
        told.outcomes[name].columns.left_values(read_records(told.outcomes[name].share)) for name in told.commits
    ]
    raw = model.predict_raw([left[:, bank.holdout] for left in decisions])
    np.testing.assert_array_equal(sigmoid(raw), bank.pd)


def test_the_same_seeds_give_the_same_run(told: Told) -> None:
    assert play(WORLD).essence() == told.essence()


@pytest.mark.usefixtures("encrypted")
def test_the_order_of_hashes_changes_nothing() -> None:
    code = "import memory_run; print(memory_run.fingerprint())"
    here = Path(__file__).parents[1]
    found = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(here)},
            check=True,
            capture_output=True,
            text=True,
        ).stdout.strip()
        for seed in ("0", "1")
    }
    assert found == {fingerprint()}


# What was put on record before anything was learned


def test_commitments_open_with_the_party_s_own_seed(told: Told) -> None:
    holding, outcome = WORLD.holdings["telecom"], told.outcomes["telecom"]
    values, committed = holding.values[outcome.rows], told.commits["telecom"]["aligned"]
    rng = Randomness(hashlib.sha256(b"seed" + bytes([WORLD.seeds["telecom"]])).digest())
    for place, name in enumerate(holding.names):
        salts = rng.child("commit").child(f"column/{name}")
        open_block(values[:, place], salts, 0).verify(committed[f"column/{name}"])
        wrong = values[:, place].copy()
        wrong[3] += 1
        with pytest.raises(BadProof):
            open_block(wrong, salts, 0).verify(committed[f"column/{name}"])
    seeds = [rng.child("boost").child(f"tree/{number}") for number in range(committed["seeds/rounds"].count)]
    assert committed["seeds/rounds"] == commit_seeds("seeds/rounds", seeds)
    assert committed["seeds/protocol"] == commit_seeds("seeds/protocol", [rng])


def test_columns_labels_holdout_and_seeds_are_committed_to_before_and_scores_after(told: Told) -> None:
    columns = {f"column/{name}" for name in WORLD.holdings[ACTIVE].names}
    assert {step: set(made) for step, made in told.commits[ACTIVE].items()} == {
        "aligned": {*columns, "labels", "holdout", "seeds/rounds", "seeds/hint", "seeds/protocol"},
        "scored": {"pd"},
    }
