"""CPU time of weights of evidence and of selection, both parties in one process, the clock turned at every hand-over.

    python -m benchmarks features --json
    python -m benchmarks features --rows 5000 --scheme paillier --json

cpu_seconds                of both protocols; keys and hints are counted in. The memory is that of both parties together
cpu_seconds_by_protocol    `woe`: bins of all features, labels encrypted, summed and decrypted; `correlate`: every
                           column of the active party against every feature of the passive one
plain_cpu_seconds          the same bins and correlations of the pooled columns, without encryption
largest_gap                between a correlation and that of the pooled columns
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
from vfl.crypto.schemes import LEVELS, SchemeTerms
from vfl.desk import Desk, MemoryTranscript, NoNotary, memory_links
from vfl.learn.collinearity import correlations
from vfl.learn.feature_parameters import METHODS, BinningParameters, SelectionParameters
from vfl.learn.rounds import Parts
from vfl.learn.woe import fit_features, woe_matrix
from vfl.protocols import correlate, woe
from vfl.randomness import Randomness

MIN_BIN = 20
SIDES = (("active", "passive"), ("passive", "active"))


def parser() -> argparse.ArgumentParser:
    """The command line."""
    found = new_parser("features", __doc__)
    found.add_argument("--rows", type=whole(100), default=100_000)
    found.add_argument("--active-features", type=whole(1), default=10)
    found.add_argument("--passive-features", type=whole(1), default=10)
    found.add_argument("--method", choices=METHODS, default=BinningParameters().method)
    found.add_argument("--scheme", choices=tuple(LEVELS), default=next(iter(LEVELS)))
    return found


def run(given: Namespace) -> dict[str, Any]:
    """The figures. AssertionError where the encrypted bins are not those of the pooled columns."""
    rng = np.random.default_rng(given.seed)
    count = given.active_features + given.passive_features
    values = rng.normal(size=(given.rows, count)) @ (np.eye(count) + 0.2 * rng.normal(size=(count, count)))
    values[rng.random(values.shape) < 0.05] = np.nan
    points = np.nan_to_num(values) @ rng.normal(size=count) + rng.normal(size=given.rows) * np.sqrt(count)
    labels = (points > np.quantile(points, 0.75)).astype(np.int8)
    pair = _Pair(given, values, labels)
    start = time.process_time()
    features = fit_features(pair.names, values, labels, pair.parts.train, pair.binning, MIN_BIN)
    whole = correlations(woe_matrix(features, values))
    plain = time.process_time() - start
    report, mine = pair.weigh()
    for found, due in zip(mine, features[given.active_features :], strict=True):
        assert found.woe.tolist() == due.woe.tolist()
    selection = pair.compare(report, mine)
    assert selection.matrix.shape == whole.shape
    total = {who: sum(by[who] for by in pair.seconds.values()) for who in ("active", "passive")}
    found = {
        "cpu_seconds": rounded(total),
        "bytes": {f"{who}_to_{other}": sum(by[who] for by in pair.bytes.values()) for who, other in SIDES},
        "peak_mb": {"active": peak_mb(), "passive": None},
        "cpu_seconds_by_protocol": {name: rounded(by) for name, by in pair.seconds.items()},
        "bytes_by_protocol": pair.bytes,
        "plain_cpu_seconds": round(plain, 3),
        "largest_gap": float(np.abs(selection.matrix - whole).max()),
    }
    return figures("features", given, found)


class _Pair:
    """Two parties over memory, their seconds and bytes by protocol."""

    def __init__(self, given: Namespace, values: np.ndarray, labels: np.ndarray) -> None:
        self.given, self.labels = given, labels
        self.own, self.theirs = values[:, : given.active_features], values[:, given.active_features :].copy()
        self.names = [f"f{number}" for number in range(values.shape[1])]
        self.parts = Parts(np.ones(given.rows, np.bool_), np.zeros(given.rows, np.bool_))
        self.binning = BinningParameters(method=given.method)
        self.selecting = SelectionParameters(min_iv=0.0, max_correlation=1.0, max_vif=0.0)
        self.seconds: dict[str, dict[str, float]] = {}
        self.bytes: dict[str, dict[str, int]] = {}

    def terms(self, queries: int) -> SchemeTerms:
        cells = self.given.passive_features * self.binning.max_prebins
        return SchemeTerms(self.given.scheme, "benchmark", 2048, cells, trees=queries, queries=queries, fixed_bits=20)

    def weigh(self) -> tuple[Any, Any]:
        terms, rows, own = self.terms(1), self.given.rows, self.names[: self.given.active_features]

        async def active(passive: Channel) -> Any:
            mine = fit_features(own, self.own, self.labels, self.parts.train, self.binning, MIN_BIN)
            key = terms.key_holder(rows, Randomness(bytes(32)).child("key"))
            rng, counts = Randomness(bytes(32)).child("active"), [self.given.passive_features]
            return await woe.active([passive], counts, mine, self.labels, self.parts, self.binning, MIN_BIN, key, rng)

        async def passive(active: Channel) -> Any:
            names, rng = self.names[self.given.active_features :], Randomness(bytes(32)).child("passive")
            return await woe.passive(active, names, self.theirs, self.binning, MIN_BIN, terms.evaluator, rng)

        return self._drive("woe", active, passive)

    def compare(self, report: Any, mine: Any) -> Any:
        terms, rows = self.terms((self.given.active_features + 1) // 2), self.given.rows

        async def active(passive: Channel) -> Any:
            key = terms.key_holder(rows, Randomness(bytes(32)).child("another key"))
            names, rng = [self.names[self.given.active_features :]], Randomness(bytes(32)).child("active/2")
            return await correlate.active(
                [passive], names, report.partners, report.own, self.own, self.parts, self.selecting, key,
                rng,
            )  # fmt: skip

        async def passive(active: Channel) -> Any:
            rng, columns = Randomness(bytes(32)).child("passive/2"), self.given.active_features
            return await correlate.passive(active, mine, self.theirs, columns, self.selecting, terms.evaluator, rng)

        return self._drive("correlate", active, passive)[0]

    def _drive(self, name: str, active: Callable[[Channel], Any], passive: Callable[[Channel], Any]) -> tuple[Any, Any]:
        ends = dict(zip(("active", "passive"), memory_links(), strict=True))
        desks = {who: Desk(who, MemoryTranscript(), NoNotary()) for who in ends}
        roles = {
            "active": desks["active"].run(active(desks["active"].channel("passive", ends["active"]))),
            "passive": desks["passive"].run(passive(desks["passive"].channel("active", ends["passive"]))),
        }
        seconds = dict.fromkeys(ends, 0.0)

        def clock(who: str, resume: Callable[[], None]) -> None:
            start = time.process_time()
            resume()
            seconds[who] += time.process_time() - start

        results = lockstep(roles, clock)
        self.seconds[name] = seconds
        self.bytes[name] = {who: sum(one.sent for one in desks[who].traffic.values()) for who in ends}
        return results["active"], results["passive"]
