"""CPU-seconds of one encrypted tree under the `paillier` scheme, both parties in one process.

10,000 rows; the active party has 13 features of its own (no cryptography) and the passive party 10 features of 32 bins.
One tree of depth d needs 2**(d - 1) encrypted histograms when siblings come from plaintext subtraction: the root, its
smaller child, the smaller child of each of those two, and so on. `--skew` is the share of rows that every feature has
in one bin. CPU-seconds are those of this process; with `--workers` above 1 only the wall-clock time is comparable.

    python -m benchmarks.histogram --json
    python -m benchmarks.histogram --rows 20000 --depth 5 --json
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from typing import TypeVar

import numpy as np

from vfl.crypto.packing import FixedPoint
from vfl.crypto.paillier import PaillierEvaluator, PaillierKeyHolder
from vfl.crypto.paillier_random import seal
from vfl.crypto.scheme import CellLayout, Lanes
from vfl.randomness import Randomness

T = TypeVar("T")
LIMIT_CPU_SECONDS = 15.0
CONTEXT = b"benchmark"


class Clock:
    """CPU-seconds of this process and wall-clock seconds by name of the step."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.wall: dict[str, float] = {}

    def __call__(self, step: str, work: Callable[[], T]) -> T:
        start, wall = time.process_time(), time.perf_counter()
        result = work()
        self.seconds[step] = self.seconds.get(step, 0.0) + time.process_time() - start
        self.wall[step] = self.wall.get(step, 0.0) + time.perf_counter() - wall
        return result


def smaller_children(rows: int, depth: int, draw: np.random.Generator) -> list[np.ndarray]:
    """The nodes that are asked for in a tree whose every split halves a node at random: bool, shape (rows,), each."""
    level, asked = [np.ones(rows, dtype=np.bool_)], [np.ones(rows, dtype=np.bool_)]
    for _ in range(depth - 1):
        halves = [(node & (side := draw.random(rows) < 0.5), node & ~side) for node in level]
        asked += [min(pair, key=np.count_nonzero) for pair in halves]
        level = [node for pair in halves for node in pair]
    return asked


def run(
    rows: int, features: int, bins: int, bits: int, depth: int, skew: float, trees: int, workers: int
) -> dict[str, object]:
    """Some equal trees; returns where the CPU-seconds went and what was moved. AssertionError when a sum is wrong."""
    clock, rng, draw = Clock(), Randomness(bytes(32)), np.random.default_rng(0)
    point = FixedPoint()
    lanes = Lanes(rows, point.largest(1.0), point.largest(0.25))
    chance = draw.uniform(0.01, 0.99, rows)
    g = point.encode(chance - (draw.random(rows) < chance), 1.0, "g")
    h = point.encode(chance * (1 - chance), 0.25, "h")
    codes = draw.integers(0, bins, (rows, features)).astype(np.uint8)
    codes[draw.random((rows, features)) < skew] = 0
    layout = CellLayout((bins,) * features)
    nodes = smaller_children(rows, depth, draw)

    holder = clock(
        "key and proof",
        lambda: PaillierKeyHolder(lanes, CONTEXT, rng.child("active"), bits=bits, trees=trees, workers=workers),
    )
    evaluator = clock(
        "check of proof",
        lambda: PaillierEvaluator(holder.public(), lanes, CONTEXT, queries=trees * len(nodes), workers=workers),
    )
    holder.expect_hint("passive", layout)
    list(evaluator.hint(codes, layout, rng.child("hint")))
    sent = 0
    for number, member in enumerate(nodes * trees):
        if number % len(nodes) == 0:
            stream = rng.child(f"tree/{number}")
            blocks = clock("encrypt", lambda: holder.open_tree(g, h, stream))  # noqa: B023
            clock("check of rows", lambda: evaluator.open_tree(blocks))  # noqa: B023
        answer = _answer(clock, evaluator, member, rng.child(f"node/{number}"))
        sent += len(answer)
        found = clock("decrypt", lambda answer=answer: holder.decrypt("passive", [answer], layout)[0])  # type: ignore[misc]
        for feature in range(features):
            for column, values in enumerate((g, h)):
                wanted = np.zeros(bins, dtype=np.int64)
                np.add.at(wanted, codes[member, feature], values[member])
                assert np.array_equal(found[feature * bins : (feature + 1) * bins, column], wanted)
    holder.close()
    evaluator.close()
    total = sum(clock.seconds.values())
    return {
        "rows": rows, "features": features, "bins": bins, "bits": bits, "depth": depth, "nodes": len(nodes),
        "skew": skew, "trees": trees, "workers": workers,
        "cpu_seconds": {step: round(value, 3) for step, value in clock.seconds.items()},
        "total_cpu_seconds": round(total, 3),
        "wall_seconds": {step: round(value, 3) for step, value in clock.wall.items()},
        "total_wall_seconds": round(sum(clock.wall.values()), 3),
        "bytes_to_passive": sum(map(len, blocks)) + len(holder.public()), "bytes_to_active": sent,
    }  # fmt: skip


def _answer(clock: Clock, evaluator: PaillierEvaluator, member: np.ndarray, rng: Randomness) -> bytes:
    """`PaillierEvaluator.answer`, taken apart to time its three steps."""
    codes, layout, randomisers = evaluator._codes, evaluator._layout, evaluator._randomisers
    assert randomisers is not None
    assert codes is not None
    assert layout is not None
    sums = clock("sum", lambda: evaluator._sums(codes, layout, member))
    packed = clock("pack", lambda: evaluator._pack(sums))
    return clock("seal", lambda: seal(packed, randomisers, rng))


def main() -> None:
    """Prints the figures; exits 1 above the limit at the default size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--features", type=int, default=10, help="features of the passive party")
    parser.add_argument("--bins", type=int, default=32)
    parser.add_argument("--bits", type=int, default=2048)
    parser.add_argument("--depth", type=int, default=3)
    parser.add_argument("--skew", type=float, default=0.0)
    parser.add_argument("--trees", type=int, default=1)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
    given = parser.parse_args()
    result = run(
        given.rows, given.features, given.bins, given.bits, given.depth, given.skew, given.trees, given.workers
    )  # fmt: skip
    if given.json:
        print(json.dumps(result))
    else:
        for step, seconds in result["cpu_seconds"].items():  # type: ignore[attr-defined]
            print(f"{step:>16} {seconds:8.3f}")
        print(f"{'total':>16} {result['total_cpu_seconds']:8.3f} CPU-seconds")
        print(f"{'':>16} {result['total_wall_seconds']:8.3f} seconds")
    default = (given.rows, given.features, given.bins, given.bits, given.trees) == (10_000, 10, 32, 2048, 1)
    if default and given.depth == 3 and float(str(result["total_cpu_seconds"])) > LIMIT_CPU_SECONDS:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
