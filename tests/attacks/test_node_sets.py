"""A partner guesses labels: from the nodes it is shown, and from which of its own splits are chosen."""

from __future__ import annotations

import json
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from attack_kit import EVEN, STRONG, WEAK, card_case, essence, run, scores, view
from protocols.boosting import Case, clear, credit, lattice, paillier
from run_kit import frames, scenario, tallystick

from vfl.attacks.logistic import fit
from vfl.attacks.node_sets import KNOWN, NodeSetFigure, node_sets
from vfl.attacks.views import PassiveView
from vfl.errors import UsageError
from vfl.learn.metrics import auc
from vfl.randomness import Randomness

SPLITS = {"weak": WEAK, "even": EVEN, "strong": STRONG}
DRAWS, FEWER = {40: 80, 200: 24}, {40: 48}
assert tuple(DRAWS) == KNOWN


@cache
def attacked(name: str, named: bool, quick: bool) -> tuple[Case, object, float, dict[int, NodeSetFigure]]:
    case = card_case(SPLITS[name])
    tapes = run(case, clear(named))
    seen, labels = view(case, tapes["telecom"]), case.labels[case.parts.train]
    held_out = ~case.parts.fit
    model = auc(case.labels[held_out], scores(case, tapes)[held_out])
    draws = FEWER if quick else DRAWS
    figures = {known: node_sets(seen, labels, known, Randomness(bytes(32)), count) for known, count in draws.items()}
    return case, essence(tapes, case), model, figures


@pytest.mark.parametrize(
    ("name", "quick"), [("even", True), *(pytest.param(name, False, marks=pytest.mark.slow) for name in SPLITS)]
)
def test_hidden_nodes_say_nothing_and_named_ones_much(name: str, quick: bool) -> None:
    """10 trees of depth 4 on 20,000 real customers, the same in both levels."""
    _, hidden_model, hidden_auc, hidden = attacked(name, False, quick)
    _, named_model, named_auc, disclosed = attacked(name, True, quick)
    assert hidden_model == named_model
    assert hidden_auc == named_auc > 0.76
    for known in hidden:
        print(f"\n{name} split, {known} known: hidden {hidden[known]}\n  disclosed {disclosed[known]}")
        assert hidden[known].sets == 0 < disclosed[known].sets
        assert hidden[known].own == disclosed[known].own
        assert hidden[known].noise < 0.003
        assert hidden[known].advantage <= 0.005
        # Which splits are chosen is no node set, and a hint at every level: most to whoever has the strongest columns.
        assert hidden[known].split_hint <= (0.01 if name == "strong" else 0.005)
        assert disclosed[known].noise < 0.006
        assert disclosed[known].advantage > {"weak": 0.1, "even": 0.03, "strong": 0.01}[name]


@pytest.mark.parametrize("scheme", ["paillier", "lattice"])
def test_real_schemes_give_the_views_of_the_clear_one(scheme: str) -> None:
    case = credit(90, num_iterations=2, num_leaves=5)
    real = paillier(512) if scheme == "paillier" else None
    if real is None:
        case, real = lattice(case)
    seen = view(case, run(case, real)["telecom"])
    plain = view(case, run(case, clear(scheme == "paillier"))["telecom"])
    for name in ("train", "codes", "shown", "splits"):
        assert np.array_equal(getattr(seen, name), getattr(plain, name)), name
    assert len(seen.splits)
    assert bool(len(seen.shown)) == (scheme == "paillier")


def test_the_shown_sets_are_the_nodes() -> None:
    """Each set that a partner is shown is a union of leaves of one tree."""
    case = credit(120, num_iterations=1, num_leaves=6)
    tapes = run(case, clear(True))
    seen = view(case, tapes["telecom"])
    # With one tree a row's score is its leaf's value.
    leaf = scores(case, tapes)[case.parts.train].round(12)
    assert len(np.unique(leaf)) > 3
    for members in seen.shown:
        assert not set(leaf[members]) & set(leaf[~members])


# The attack itself


def made_view(n: int = 3000, sets: np.ndarray | None = None) -> tuple[PassiveView, np.ndarray]:
    rng = np.random.default_rng(5)
    labels = (rng.random(n) < 0.3).astype(np.int8)
    codes = rng.integers(0, 8, (n, 2)).astype(np.uint8)
    shown = np.zeros((0, n), np.bool_) if sets is None else sets
    return PassiveView(np.ones(n, np.bool_), codes, (8, 8), shown, np.zeros((0, n), np.bool_)), labels


def test_sets_that_follow_the_label_are_found_and_random_ones_are_not() -> None:
    _, labels = made_view()
    rng = np.random.default_rng(6)
    telling = (labels == 1) ^ (rng.random(len(labels)) < 0.2)
    idle = rng.random(len(labels)) < 0.5
    found = {}
    for name, sets in (("telling", telling), ("idle", idle)):
        seen, labels = made_view(sets=sets[None])
        found[name] = node_sets(seen, labels, 40, Randomness(bytes(32)), 30)
    assert found["telling"].advantage > 0.2
    assert found["idle"].advantage < 0.01
    assert abs(found["idle"].own - 0.5) < 0.02


def test_same_seed_same_figure_and_none_from_too_few() -> None:
    seen, labels = made_view()
    first, again = (node_sets(seen, labels, 40, Randomness(bytes(32)), 5) for _ in range(2))
    assert first == again
    with pytest.raises(UsageError, match="too few for 2000 known labels"):
        node_sets(seen, labels, 2000, Randomness(bytes(32)), 5)
    with pytest.raises(UsageError, match="too few"):
        node_sets(seen, np.zeros_like(labels), 40, Randomness(bytes(32)), 5)


def test_the_regression_is_at_its_minimum() -> None:
    rng = np.random.default_rng(1)
    rows, labels = rng.normal(size=(60, 9)), (rng.random(60) < 0.4).astype(np.int8)
    weights = fit(rows, labels, 3.0)

    def loss(w: np.ndarray) -> float:
        shift = np.linspace(-5, 5, 4001)
        z = (rows @ w)[:, None] + shift
        return float((np.logaddexp(0.0, z) - labels[:, None] * z).sum(axis=0).min() + 1.5 * w @ w)

    best = loss(weights)
    assert all(loss(weights + 0.05 * rng.normal(size=9)) > best for _ in range(50))


# On the files of a run


def test_the_command_and_the_summary_of_a_run(tmp_path: Path, capfd: Any) -> None:
    command = partial(tallystick, capfd)
    done = command("run", scenario(tmp_path / "own", tables=frames(900)), "--out", tmp_path / "out", "--json")
    assert done.code == 0, done.err
    told = json.loads(done.out)["attacks"]["node_sets"]["telecom"]
    assert abs(json.loads(done.out)["attacks"]["metadata"]["telecom"] - 0.5) < 0.15, "some 280 rows are guessed"
    assert [figure["known"] for figure in told] == [40, 200]
    assert all(figure["sets"] == 0 == figure["advantage"] for figure in told)
    ended = command("attack", "node-sets", tmp_path / "out", "--party", "telecom", "--known", "40", "--json")
    assert ended.code == 0, ended.err
    figure = json.loads(ended.out)
    assert (figure["party"], figure["known"], figure["level"]) == ("telecom", 40, "hidden")
    assert figure["advantage"] <= 0.005
    assert "Label inference by partners: advantage +0.000 AUC" in command("attack", "all", tmp_path / "out").out
    wrong = command("attack", "node-sets", tmp_path / "out", "--party", "bank")
    assert wrong.code == 2
    assert "name one of telecom" in wrong.err
