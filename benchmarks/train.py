"""CPU time of joint training: two parties, real protocol, real keys, one process; LightGBM on the same trees beside it.

Defaults are the size that the field quotes: 10,000 rows, 13 + 10 features, one tree of depth 3, 2048 bits.

    python -m benchmarks.train --json
"""

from __future__ import annotations

import argparse
import json
import resource
import time

import numpy as np

from vfl.channel import lockstep
from vfl.comparison import lightgbm_scores
from vfl.crypto import schemes
from vfl.crypto.scheme import Evaluator, Lanes
from vfl.desk import Desk, MemoryTranscript, NoNotary, memory_links
from vfl.learn.columns import Columns
from vfl.learn.ensemble import Parts
from vfl.learn.metrics import auc
from vfl.learn.objective import sigmoid
from vfl.learn.parameters import GBDTParameters
from vfl.protocols import boost
from vfl.randomness import Randomness

LIMIT_CPU_SECONDS = 15.0
MIN_BIN = 1


def data(rows: int, features: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Features float64[rows, features] and labels int8[rows], a quarter of them bad."""
    draw = np.random.default_rng(seed)
    values = draw.normal(size=(rows, features))
    score = values @ draw.normal(size=features) + draw.normal(size=rows) * np.sqrt(features)
    return values, (score > np.quantile(score, 0.75)).astype(np.int8)


def run(rows: int, mine: int, theirs: int, options: dict[str, object], bits: int, seed: int) -> dict[str, object]:
    """Train once; CPU seconds and bytes by party, AUC on the training rows, and LightGBM's time for the same trees."""
    parameters = GBDTParameters.from_mapping(options)
    values, labels = data(rows, mine + theirs, seed)
    parts = Parts(np.ones(rows, np.bool_), np.zeros(rows, np.bool_))
    lanes = Lanes(rows, g_max=parameters.scale, h_max=parameters.scale // 4)
    cpu = {"active": 0.0, "passive": 0.0}
    rng = Randomness(bytes(32))
    desks = {name: Desk(name, MemoryTranscript(), NoNotary()) for name in cpu}
    link, back = memory_links()

    def evaluators(scheme: str, public: bytes, count: int) -> Evaluator:
        return schemes.evaluator(scheme, "paillier", public, lanes, "benchmark", bits)

    start = time.process_time()
    key = schemes.key_holder("paillier", lanes, "benchmark", bits, rng.child("key"))
    columns = Columns.fit([f"a{i}" for i in range(mine)], values[:, :mine], parts.train, parameters, MIN_BIN)
    cpu["active"] += time.process_time() - start
    names = [f"p{i}" for i in range(theirs)]
    channel, other = desks["active"].channel("passive", link), desks["passive"].channel("active", back)
    roles = {
        "active": boost.active([channel], [theirs], columns, labels, parts, parameters, key, rng.child("active")),
        "passive": boost.passive(other, names, values[:, mine:], parameters, MIN_BIN, evaluators, rng.child("passive")),
    }

    def timed(name: str, resume: object) -> None:
        began = time.process_time()
        resume()  # type: ignore[operator]
        cpu[name] += time.process_time() - began

    wall = time.perf_counter()
    done = lockstep(roles, timed)  # type: ignore[arg-type, type-var]
    wall = time.perf_counter() - wall
    model, (passive_columns, records) = done["active"], done["passive"]
    pd = sigmoid(model.predict_raw([columns.left_values(model.records), passive_columns.left_values(records)]))
    start = time.process_time()
    lightgbm_scores(values, labels, parts, parts.train, parameters)
    plain = time.process_time() - start
    moved = {phase: (count.sent, count.received) for phase, count in desks["active"].traffic.items()}
    total = sum(cpu.values())
    return {
        "name": "train",
        "options": {"rows": rows, "active_features": mine, "passive_features": theirs, "bits": bits, **options},
        "cpu_seconds": {name: round(seconds, 3) for name, seconds in cpu.items()},
        "total_cpu_seconds": round(total, 3),
        "cpu_seconds_per_tree": round(total / max(1, len(model.trees)), 3),
        "wall_seconds": round(wall, 3),
        "bytes": {
            "active_to_passive": sum(sent for sent, _ in moved.values()),
            "passive_to_active": sum(received for _, received in moved.values()),
        },
        "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "auc": round(auc(labels, pd), 6),
        "lightgbm_ratio": round(total / plain, 1),
    }


def main() -> None:
    """Prints the figures; exits 1 above the limit at the default size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--active-features", type=int, default=13)
    parser.add_argument("--passive-features", type=int, default=10)
    parser.add_argument("--bins", type=int, default=32)
    parser.add_argument("--depth", type=int, default=3)
    parser.add_argument("--trees", type=int, default=1)
    parser.add_argument("--bits", type=int, default=2048)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
    given = parser.parse_args()
    options: dict[str, object] = {
        "num_iterations": given.trees, "max_depth": given.depth, "num_leaves": 2**given.depth, "max_bin": given.bins,
    }  # fmt: skip
    result = run(given.rows, given.active_features, given.passive_features, options, given.bits, given.seed)
    if given.json:
        print(json.dumps(result))
    else:
        for key, value in result.items():
            print(f"{key:>22} {value}")
    sizes = (given.rows, given.active_features, given.passive_features, given.depth, given.trees)
    if sizes == (10_000, 13, 10, 3, 1) and float(str(result["total_cpu_seconds"])) > LIMIT_CPU_SECONDS:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
