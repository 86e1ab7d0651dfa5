"""CPU-seconds of an evaluation: what the end of a run computes, and all of `tallystick evaluate`, for three models.

Two models that tell the classes apart and one that does so less, on customers of whom a quarter is bad; as many trained
as are judged.

    python -m benchmarks evaluation --json
    python -m benchmarks evaluation --rows 30000 --resamples 500 --json

cpu_seconds            of everything, the intervals counted in
interval_cpu_seconds   of the bootstrap intervals alone, which every run computes: at most 2 s at 10,000 customers
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np

from benchmarks.measure import peak_mb
from benchmarks.options import figures, new_parser, whole
from vfl.evaluating import intervals, judge
from vfl.learn.evaluation_parameters import EvaluationParameters
from vfl.learn.objective import sigmoid
from vfl.scores import MODELS, PARTS, Scores

LIMIT_CPU_SECONDS = 2.0
ROWS = 10_000


def parser() -> argparse.ArgumentParser:
    """The command line."""
    found = new_parser("evaluation", __doc__)
    found.add_argument("--rows", type=whole(100), default=ROWS, help="of the hold-out")
    found.add_argument("--resamples", type=whole(50, 100_000), default=EvaluationParameters().resamples)
    return found


def run(given: argparse.Namespace) -> dict[str, Any]:
    """The figures."""
    scores, parameters = drawn(given.rows, given.seed), EvaluationParameters(resamples=given.resamples)
    start = time.process_time()
    around = intervals(scores, parameters)
    alone = time.process_time() - start
    start = time.process_time()
    body = judge(scores, parameters, [0.2])
    whole_of_it = time.process_time() - start
    usual = (given.rows, given.resamples) == (ROWS, EvaluationParameters().resamples)
    found = {
        "cpu_seconds": {"active": round(whole_of_it, 3), "passive": None},
        "peak_mb": {"active": peak_mb(), "passive": None},
        "auc": body["models"]["federated"]["auc"]["value"],
        "interval_cpu_seconds": round(alone, 3),
        "interval": around["federated"]["auc"],
        "within_limits": not usual or alone <= LIMIT_CPU_SECONDS,
    }
    return figures("evaluation", given, found)


def drawn(rows: int, seed: int) -> Scores:
    """Customers who trained and as many who were held out."""
    rng = np.random.default_rng(seed)
    labels = (rng.random(2 * rows) < 0.25).astype(np.int8)
    part = np.where(np.arange(2 * rows) < rows, PARTS.index("train"), PARTS.index("holdout")).astype(np.int8)
    weights = dict(zip(MODELS, (1.3, 0.6, 1.3), strict=True))
    scores = {name: sigmoid(w * labels + rng.normal(-1.5, 1.0, 2 * rows)) for name, w in weights.items()}
    return Scores([str(number) for number in range(2 * rows)], part, labels, scores)
