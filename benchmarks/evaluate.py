"""A finished model on one row and on many, as a scoring service evaluates it; CPU time, one core.

Trees are drawn as in `explain`, 8 and 31 leaves each, over the columns of two parties; a scorecard of as many columns
as one party has. All answers are checked against the plain code's first, to the last bit but for attributions (1e-12).

    python -m benchmarks evaluate --json
    python -m benchmarks evaluate --rows 20000 --trees 30 --json

decide    the active party's splits of its own values      scores    probabilities from all parties' decisions
reasons   attributions, and the four largest               card      log-odds and points of one party's part
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.explain import WIDTH, drawn_tree
from benchmarks.measure import peak_mb
from benchmarks.options import figures, new_parser, whole
from vfl.learn.columns import left_values
from vfl.learn.compiled_card import CompiledCard
from vfl.learn.compiled_reasons import CompiledReasons, top_reasons
from vfl.learn.compiled_splits import CompiledSplits
from vfl.learn.compiled_trees import CompiledTrees
from vfl.learn.ensemble import Ensemble
from vfl.learn.explain import shapley
from vfl.learn.feature_parameters import BinningParameters
from vfl.learn.scorecard import Card, Scaling
from vfl.learn.scorecard_parameters import ScorecardParameters
from vfl.learn.tree import SplitRecord
from vfl.learn.woe import WoeFeature

ROWS, TREES, LEAVES = 20_000, 100, (8, 31)
MOST_MICROSECONDS = {"decide_8_leaves": 20, "scores_8_leaves": 100, "reasons_8_leaves": 100, "card": 50}
LEAST_ROWS_A_SECOND = {"scores_8_leaves": 1_000_000, "reasons_8_leaves": 100_000}
LEAST_SECONDS = 0.1
Columns = np.ndarray


def parser() -> argparse.ArgumentParser:
    """The command line."""
    found = new_parser("evaluate", __doc__)
    found.add_argument("--rows", type=whole(100), default=ROWS)
    found.add_argument("--trees", type=whole(1), default=TREES)
    return found


def run(given: argparse.Namespace) -> dict[str, Any]:
    """The figures; AssertionError where an answer differs from the plain code's."""
    draw = np.random.default_rng(given.seed)
    found: dict[str, float] = {}
    for leaves in LEAVES:
        found |= _of_trees(given, leaves, draw)
    found |= _of_card(given.rows, draw)
    usual = (given.rows, given.trees) == (ROWS, TREES)
    quick = all(found[f"{name}_us_one_row"] <= most for name, most in MOST_MICROSECONDS.items())
    fast = all(found[f"{name}_rows_per_second"] >= least for name, least in LEAST_ROWS_A_SECOND.items())
    more = {"peak_mb": {"active": peak_mb(), "passive": None}, "within_limits": not usual or (quick and fast)}
    return figures("evaluate", given, {**found, **more})


def _of_trees(given: argparse.Namespace, leaves: int, draw: np.random.Generator) -> dict[str, float]:
    values, widths = [draw.normal(size=(given.rows, WIDTH)) for _ in range(2)], [WIDTH, WIDTH]
    records: list[list[SplitRecord]] = [[], []]
    trees = tuple(drawn_tree(values, records, leaves, draw) for _ in range(given.trees))
    model = Ensemble((-1.0,), trees, tuple(records[0]), (tuple(record.feature for record in records[1]),))
    decisions = [left_values(of, its) for of, its in zip(values, records, strict=True)]
    stacked, groups = np.vstack(decisions), np.arange(2 * WIDTH)

    splits, scores, attributed = (
        CompiledSplits.of(records[0]),
        CompiledTrees.of(model),
        CompiledReasons.of(model, widths),
    )
    assert np.array_equal(splits.left(values[0]), decisions[0])
    assert scores.predict(stacked).tobytes() == model.predict(decisions).tobytes()
    gap = np.abs(attributed.attributions(stacked) - shapley(model, decisions, widths).values)
    assert gap.max() < 1e-12

    def reasons(of: Columns) -> Columns:
        return top_reasons(attributed.attributions(of), groups, 4)

    return {
        **_figures(f"decide_{leaves}_leaves", splits.left, values[0], values[0][:1], given.rows),
        **_figures(f"scores_{leaves}_leaves", scores.predict, stacked, stacked[:, :1].copy(), given.rows),
        **_figures(f"reasons_{leaves}_leaves", reasons, stacked, stacked[:, :1].copy(), given.rows),
    }


def _of_card(rows: int, draw: np.random.Generator) -> dict[str, float]:
    values = np.where(draw.random((rows, WIDTH)) < 0.05, np.nan, np.round(draw.normal(size=(rows, WIDTH)), 3))
    values[draw.random(values.shape) < 0.1] = -9.0
    labels = (np.nan_to_num(values).mean(axis=1) + draw.logistic(size=rows) > 0.5).astype(np.int8)
    features = tuple(
        WoeFeature.fit(f"f{number}", column, labels, BinningParameters(), 20, (-9.0,))
        for number, column in enumerate(values.T)
    )
    card = Card(features, draw.uniform(0.2, 1.0, WIDTH), Scaling.of(ScorecardParameters()))
    compiled = CompiledCard.of(card)
    predictor, points, _ = compiled.parts(values)
    assert predictor.tobytes() == card.predictor(values).tobytes()
    assert np.array_equal(points, card.points(values))
    return _figures("card", compiled.parts, values, values[:1], rows)


def _figures(name: str, work: Callable[[Columns], object], many: Columns, one: Columns, rows: int) -> dict[str, float]:
    """Microseconds of one row, and rows a second of so many."""
    return {
        f"{name}_us_one_row": round(1e6 * _seconds(lambda: work(one)), 1),
        f"{name}_rows_per_second": round(rows / _seconds(lambda: work(many))),
    }


def _seconds(work: Callable[[], object]) -> float:
    """CPU-seconds of a call, the least of five means, each over LEAST_SECONDS or more."""
    best = float("inf")
    for _ in range(5):
        start, calls = time.process_time(), 0
        while (spent := time.process_time() - start) < LEAST_SECONDS or not calls:
            work()
            calls += 1
        best = min(best, spent / calls)
    return best
