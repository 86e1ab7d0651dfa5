"""CPU time of a vertical scorecard's coefficients and standard errors, both parties in one process, timed by hand-over.

    python -m benchmarks scorecard --json
    python -m benchmarks scorecard --rows 2000 --scheme paillier --json

cpu_seconds                of the fit and the standard errors; keys and hints are counted in. The memory is that of both
                           parties together
plain_cpu_seconds          the same coefficients from the pooled columns, without encryption
numbers_told               numbers that the passive party told of every row
largest_gap                between a coefficient and that of the pooled columns; log_loss_gap: between the log-losses;
                           error_gap: between standard errors, relative
"""

from __future__ import annotations

import argparse
import time
from argparse import Namespace
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.measure import peak_mb
from benchmarks.options import figures, new_parser, rounded, whole
from vfl.channel import Channel, lockstep
from vfl.coded import Coded
from vfl.crypto.schemes import LEVELS
from vfl.crypto.weighted import ShareTerms
from vfl.desk import Desk, MemoryTranscript, NoNotary, memory_links
from vfl.learn.feature_parameters import BinningParameters
from vfl.learn.logistic import Logistic
from vfl.learn.rounds import Parts
from vfl.learn.scorecard_parameters import ScorecardParameters
from vfl.learn.woe import WoeFeature, fit_features, woe_matrix
from vfl.protocols import logistic, standard_errors
from vfl.randomness import Randomness

MIN_BIN = 20
SIDES = ("active", "passive")
TARGETS = {"coefficient": 1e-4, "log_loss": 1e-6}


def parser() -> argparse.ArgumentParser:
    """The command line."""
    found = new_parser("scorecard", __doc__)
    found.add_argument("--rows", type=whole(100), default=100_000)
    found.add_argument("--active-features", type=whole(1), default=10)
    found.add_argument("--passive-features", type=whole(1), default=10)
    found.add_argument("--scheme", choices=tuple(LEVELS), default=next(iter(LEVELS)))
    return found


def run(given: Namespace) -> dict[str, Any]:
    """The figures. AssertionError where the solution is not that of the pooled columns."""
    values, labels = _customers(given)
    binning, everybody = BinningParameters(), np.ones(given.rows, np.bool_)
    names = [f"f{number}" for number in range(values.shape[1])]
    features = fit_features(names, values, labels, everybody, binning, MIN_BIN)
    matrix = woe_matrix(features, values)
    start = time.process_time()
    due = Logistic.fit(matrix, labels, l1=0.0, l2=0.0, positive=False)
    plain = time.process_time() - start
    pair = _Pair(given, values, labels, features, binning)
    (fit, tests), (theirs, _) = pair.fit(matrix)
    found = np.concatenate([fit.joint.coefficients, theirs.coefficients])
    gap = float(np.abs(found - due.coefficients).max())
    losses = [_log_loss(scores, labels) for scores in (fit.joint.predictor(), due.predictor(matrix))]
    assert fit.converged
    assert gap < TARGETS["coefficient"]
    assert abs(losses[0] - losses[1]) < TARGETS["log_loss"]
    errors = due.inference(matrix).errors[: 1 + given.active_features]
    return figures(
        "scorecard",
        given,
        {
            "cpu_seconds": rounded(pair.seconds),
            "bytes": pair.bytes,
            "peak_mb": {"active": peak_mb(), "passive": None},
            "plain_cpu_seconds": round(plain, 3),
            "numbers_told": fit.told[0],
            "largest_gap": gap,
            "log_loss_gap": abs(losses[0] - losses[1]),
            "error_gap": float(np.abs(tests.errors / errors - 1.0).max()),
        },
    )


def _customers(given: Namespace) -> tuple[np.ndarray, np.ndarray]:
    """Columns that repeat each other somewhat, 5 % missing, and labels that all of them say something of."""
    rng = np.random.default_rng(given.seed)
    count = given.active_features + given.passive_features
    values = rng.normal(size=(given.rows, count)) @ (np.eye(count) + 0.1 * rng.normal(size=(count, count)))
    values[rng.random(values.shape) < 0.05] = np.nan
    points = np.nan_to_num(values) @ (0.2 + 0.3 * rng.random(count)) + rng.logistic(size=given.rows)
    return values, (points > np.quantile(points, 0.75)).astype(np.int8)


def _log_loss(scores: np.ndarray, labels: np.ndarray) -> float:
    return float((np.logaddexp(0.0, scores) - labels * scores).mean())


class _Pair:
    """Two parties over memory, their seconds and bytes."""

    def __init__(
        self, given: Namespace, values: np.ndarray, labels: np.ndarray, features: list[WoeFeature],
        binning: BinningParameters,
    ) -> None:  # fmt: skip
        self.own = given.active_features
        self.values, self.labels, self.features, self.binning = values, labels, features, binning
        self.parts = Parts(np.ones(given.rows, np.bool_), np.zeros(given.rows, np.bool_))
        self.parameters = ScorecardParameters()
        self.shares = ShareTerms(given.scheme, "benchmark", 2048, self.parameters.residual_bits)
        self.seconds, self.bytes = dict.fromkeys(SIDES, 0.0), dict.fromkeys(SIDES, 0)

    def fit(self, matrix: np.ndarray) -> tuple[Any, Any]:
        """What either party holds at the end: the fit and its tests."""
        tables = [one.counted for one in self.features[self.own :] if one.counted is not None]
        coded = Coded.told(tables, self.binning.woe_bits)
        rng = Randomness(bytes(32))

        async def active(passive: Channel) -> Any:
            own = matrix[:, : self.own]
            fit = await logistic.active(
                [passive], [coded], own, self.labels, self.parts, self.parameters, self.shares, rng.child("active")
            )
            return fit, await standard_errors.active([passive], fit, self.parameters)

        async def passive(active: Channel) -> Any:
            theirs, mine = (
                self.values[:, self.own :].copy(),
                [one.without_counts() for one in self.features[self.own :]],
            )
            bits = self.binning.woe_bits
            fit = await logistic.passive(active, mine, theirs, self.parameters, bits, self.shares, rng.child("passive"))
            return fit, await standard_errors.passive(active, fit, self.parameters)

        return self._drive(active, passive)

    def _drive(self, active: Callable[[Channel], Any], passive: Callable[[Channel], Any]) -> tuple[Any, Any]:
        ends = dict(zip(SIDES, memory_links(), strict=True))
        desks = {who: Desk(who, MemoryTranscript(), NoNotary()) for who in ends}
        roles = {
            "active": desks["active"].run(active(desks["active"].channel("passive", ends["active"]))),
            "passive": desks["passive"].run(passive(desks["passive"].channel("active", ends["passive"]))),
        }

        def clock(who: str, resume: Callable[[], None]) -> None:
            start = time.process_time()
            resume()
            self.seconds[who] += time.process_time() - start

        results = lockstep(roles, clock)
        sent = {who: sum(one.sent for one in desks[who].traffic.values()) for who in ends}
        self.bytes = {"active_to_passive": sent["active"], "passive_to_active": sent["passive"]}
        return results["active"], results["passive"]
