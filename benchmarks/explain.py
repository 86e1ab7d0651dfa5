"""CPU-seconds of exact Shapley attributions, beside LightGBM's own on the same merged model.

Trees are drawn at random over the columns of two parties; each split sends 10 to 90 % of a node's rows to the left.
Both sides must come to the same attributions. LightGBM has one thread.

    python -m benchmarks explain --json
    python -m benchmarks explain --rows 100000 --trees 30 --json
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import lightgbm
import numpy as np

from benchmarks.measure import peak_mb
from benchmarks.options import figures, new_parser, whole
from vfl.learn.ensemble import Ensemble
from vfl.learn.explain import shapley
from vfl.learn.lightgbm_text import lightgbm_text
from vfl.learn.tree import Cover, SplitRecord, Tree, TreeShape, go_left

LIMIT_CPU_SECONDS = 5.0
ROWS = 10_000
WIDTH = 10  # columns of each of the two parties
DIFFERENCE = 1e-9


def drawn_tree(values: list[np.ndarray], records: list[list[SplitRecord]], leaves: int, draw: np.random.Generator):
    """A tree grown leaf by leaf, always the one with the most rows."""
    shape, rows = TreeShape(), [np.arange(len(values[0]))]
    while len(rows) < leaves:
        leaf = int(np.argmax([len(its) for its in rows]))
        owner, feature = int(draw.integers(2)), int(draw.integers(WIDTH))
        threshold = float(np.quantile(values[owner][rows[leaf], feature], draw.uniform(0.1, 0.9)))
        records[owner].append(SplitRecord(feature, threshold, 0, True))
        shape.split(leaf, owner, len(records[owner]) - 1)
        left = go_left(values[owner][rows[leaf], feature], records[owner][-1])
        rows[leaf], right = rows[leaf][left], rows[leaf][~left]
        rows.append(right)
    counts = np.array([len(its) for its in rows], dtype=np.int64)
    return shape.tree(draw.normal(size=leaves), Cover(counts, counts * 0.2, np.array(shape.gains)))


def parser() -> argparse.ArgumentParser:
    """The command line."""
    found = new_parser("explain", __doc__)
    found.add_argument("--rows", type=whole(1), default=ROWS)
    found.add_argument("--trees", type=whole(1), default=100)
    found.add_argument("--leaves", type=whole(2), default=31)
    return found


def run(given: argparse.Namespace) -> dict[str, Any]:
    """Both attributions of all rows; AssertionError where they differ."""
    rows, trees, leaves = given.rows, given.trees, given.leaves
    draw = np.random.default_rng(0)
    values = [draw.normal(size=(rows, WIDTH)) for _ in range(2)]
    records: list[list[SplitRecord]] = [[], []]
    grown: list[Tree] = [drawn_tree(values, records, leaves, draw) for _ in range(trees)]
    features = (tuple(record.feature for record in records[1]),)
    model = Ensemble((-1.0,), tuple(grown), tuple(records[0]), features)
    decisions = [np.stack([go_left(of[:, r.feature], r) for r in its]) for of, its in zip(values, records, strict=True)]

    start = time.process_time()
    found = shapley(model, decisions, [WIDTH, WIDTH])
    ours = time.process_time() - start
    names = [[f"{party}.{column}" for column in range(WIDTH)] for party in ("active", "passive")]
    text = lightgbm_text(model, records, names, learning_rate=0.1)
    booster = lightgbm.Booster(model_str=text)
    start = time.process_time()
    due = booster.predict(np.column_stack(values), pred_contrib=True, num_threads=1)
    theirs = time.process_time() - start
    difference = float(np.abs(found.values - due[:, :-1]).max())
    assert difference < DIFFERENCE, difference
    found = {
        "cpu_seconds": {"active": round(ours, 3), "passive": None},
        "peak_mb": {"active": peak_mb(), "passive": None},
        "lightgbm_ratio": round(ours / theirs, 3),
        "lightgbm_cpu_seconds": round(theirs, 3),
        "largest_difference": difference,
        "within_limits": rows > ROWS or ours <= LIMIT_CPU_SECONDS,
    }
    return figures("explain", given, found)
