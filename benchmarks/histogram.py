"""CPU-seconds of one encrypted tree under the `paillier` scheme, both parties in one process.

10,000 rows; the active party has 13 features of its own (no cryptography) and the passive party 10 features of 32 bins.
One tree of depth 3 needs four encrypted histograms when siblings come from plaintext subtraction: the root, its smaller
child, and the smaller child of each of those two.

    python -m benchmarks.histogram --json
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from typing import TypeVar

import numpy as np

from vfl.crypto.packing import FixedPoint
from vfl.crypto.paillier import PaillierEvaluator, PaillierKeyHolder, cell_sums, pack_cells, seal
from vfl.crypto.scheme import CellLayout, Lanes
from vfl.randomness import Randomness

T = TypeVar("T")
LIMIT_CPU_SECONDS = 15.0
CONTEXT = b"benchmark"


class Clock:
    """CPU-seconds of this process by name of the step."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def __call__(self, step: str, work: Callable[[], T]) -> T:
        start = time.process_time()
        result = work()
        self.seconds[step] = self.seconds.get(step, 0.0) + time.process_time() - start
        return result


def run(rows: int, features: int, bins: int, bits: int) -> dict[str, object]:
    """One tree; returns the split of CPU-seconds and what was moved. Raises AssertionError when a sum is wrong."""
    clock, rng, draw = Clock(), Randomness(bytes(32)), np.random.default_rng(0)
    point = FixedPoint()
    lanes = Lanes(rows, point.largest(1.0), point.largest(0.25))
    chance = draw.uniform(0.01, 0.99, rows)
    g = point.encode(chance - (draw.random(rows) < chance), 1.0, "g")
    h = point.encode(chance * (1 - chance), 0.25, "h")
    codes = draw.integers(0, bins, (rows, features)).astype(np.uint8)
    layout = CellLayout((bins,) * features)
    left = draw.random(rows) < 0.5
    nodes = [np.ones(rows, dtype=np.bool_), left, left & (codes[:, 0] < bins // 2), ~left & (codes[:, 1] < bins // 2)]

    holder = clock("key and proof", lambda: PaillierKeyHolder(lanes, CONTEXT, rng.child("active"), bits=bits))
    evaluator = clock("check of proof", lambda: PaillierEvaluator(holder.public(), lanes, CONTEXT))
    holder.accept_hint("passive", evaluator.hint(codes, layout, rng.child("hint")), layout)
    blocks = clock("encrypt", lambda: holder.open_tree(g, h, rng.child("tree")))
    clock("check of rows", lambda: evaluator.open_tree(blocks))
    sent = 0
    for number, member in enumerate(nodes):
        answer = _answer(clock, evaluator, member, rng.child(f"node/{number}"))
        sent += len(answer)
        found = clock("decrypt", lambda answer=answer: holder.decrypt("passive", answer, layout))  # type: ignore[misc]
        for feature in range(features):
            for column, values in enumerate((g, h)):
                wanted = np.zeros(bins, dtype=np.int64)
                np.add.at(wanted, codes[member, feature], values[member])
                assert np.array_equal(found[feature * bins : (feature + 1) * bins, column], wanted)
    total = sum(clock.seconds.values())
    return {
        "rows": rows, "features": features, "bins": bins, "bits": bits, "nodes": len(nodes),
        "cpu_seconds": {step: round(value, 3) for step, value in clock.seconds.items()},
        "total_cpu_seconds": round(total, 3),
        "bytes_to_passive": sum(map(len, blocks)) + len(holder.public()), "bytes_to_active": sent,
    }  # fmt: skip


def _answer(clock: Clock, evaluator: PaillierEvaluator, member: np.ndarray, rng: Randomness) -> bytes:
    """`PaillierEvaluator.answer`, taken apart to time its three steps."""
    public, rows, codes, layout = evaluator._public, evaluator._rows, evaluator._codes, evaluator._layout
    assert rows is not None
    assert codes is not None
    assert layout is not None
    sums = clock("sum", lambda: cell_sums(rows, codes, layout, member, evaluator._randomisers.modulus))
    packed = clock("pack", lambda: pack_cells(sums, public, evaluator._lanes))
    return clock("seal", lambda: seal(packed, evaluator._randomisers, rng))


def main() -> None:
    """Prints the figures; exits 1 above the limit at the default size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--features", type=int, default=10, help="features of the passive party")
    parser.add_argument("--bins", type=int, default=32)
    parser.add_argument("--bits", type=int, default=2048)
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
    given = parser.parse_args()
    result = run(given.rows, given.features, given.bins, given.bits)
    if given.json:
        print(json.dumps(result))
    else:
        for step, seconds in result["cpu_seconds"].items():  # type: ignore[attr-defined]
            print(f"{step:>16} {seconds:8.3f}")
        print(f"{'total':>16} {result['total_cpu_seconds']:8.3f} CPU-seconds")
    default = (given.rows, given.features, given.bins, given.bits) == (10_000, 10, 32, 2048)
    if default and float(str(result["total_cpu_seconds"])) > LIMIT_CPU_SECONDS:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
