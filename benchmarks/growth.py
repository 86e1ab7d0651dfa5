"""How the cost of joint training grows with rows, passive features, bins, depth and passive parties.

Each of the five grows through three sizes while the others stay at the base point; every point is a run of
`python -m benchmarks train`. Through the three points go two curves, by least squares:

    cost = a + b x          a: what is paid anyway, b: for each row, feature, bin, level or party
    cost ~ x^exponent       the slope in logarithms: 1 where double the size is double the cost, less where a fixed
                            cost dominates

    python -m benchmarks growth --json
    python -m benchmarks growth --scheme paillier --scale 0.02 --json

`--scale` multiplies all numbers of rows. Of the training data nothing is kept but the figures.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from argparse import Namespace
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks import train
from benchmarks.options import figures, new_parser, positive, settle_scheme, whole
from vfl.crypto.schemes import LEVELS

BASE = {"rows": 50_000, "passive_features": 10, "bins": 32, "depth": 4, "parties": 1}
SIZES: Mapping[str, tuple[int, ...]] = {
    "rows": (50_000, 100_000, 200_000),
    "passive_features": (10, 20, 40),
    "bins": (32, 64, 128),
    "depth": (3, 4, 5),
    "parties": (1, 2, 4),
}
COSTS = ("cpu_seconds_per_tree", "hint_cpu_seconds", "wall_seconds_per_tree", "bytes_per_tree", "hint_bytes")
"""What grows; keys of `train`."""
KEPT = (*COSTS, "cpu_seconds", "wall_seconds", "bytes", "peak_mb", "overhead_fraction", "auc", "lightgbm_ratio")


def parser() -> argparse.ArgumentParser:
    """The command line."""
    found = new_parser("growth", __doc__)
    found.add_argument("--trees", type=whole(1), default=3, help="of each run")
    found.add_argument("--active-features", type=whole(1), default=10)
    found.add_argument("--scheme", choices=list(LEVELS))
    found.add_argument("--level", choices=list(LEVELS.values()))
    found.add_argument("--scale", type=positive, default=1.0, help="of all numbers of rows")
    return found


def run(given: Namespace) -> dict[str, Any]:
    """Every point once, then the curves."""
    settle_scheme(parser(), given)
    points: dict[str, dict[str, Any]] = {}
    axes = {}
    for name, wanted in SIZES.items():
        sizes = tuple(_scaled(size, given.scale) if name == "rows" else size for size in wanted)
        chosen = [_command(given, {name: size}) for size in sizes]
        for command in chosen:
            if command not in points:
                points[command] = _measured(command, len(points) + 1)
        found = [points[command] for command in chosen]
        axes[name] = {
            "sizes": list(sizes),
            "commands": chosen,
            "fits": {cost: fit(sizes, [point[cost] for point in found]) for cost in COSTS},
        }
    base = {**BASE, "rows": _scaled(BASE["rows"], given.scale)}
    return figures("growth", given, {"base": base, "points": points, "axes": axes})


def fit(sizes: Sequence[float], costs: Sequence[float]) -> dict[str, float | None]:
    """`a` and `b` of a + b x, and the exponent of a power of x, by least squares; no exponent for a cost of nothing."""
    x, y = np.array(sizes, dtype=np.float64), np.array(costs, dtype=np.float64)
    b, a = np.polyfit(x, y, 1)
    found: dict[str, float | None] = {"a": _plain(a, y.max()), "b": _plain(b, y.max() / x.max()), "exponent": None}
    if (y > 0).all():
        found["exponent"] = _plain(np.polyfit(np.log(x), np.log(y), 1)[0], 1.0)
    return found


def _plain(value: float, scale: float) -> float:
    """Four figures; 0 where it is nothing but the rounding of numbers of this scale."""
    return 0.0 if abs(value) < 1e-9 * scale else float(f"{value:.4g}")


def _command(given: Namespace, changed: Mapping[str, int]) -> str:
    """The command of one point."""
    point = {**BASE, "rows": _scaled(BASE["rows"], given.scale), **changed}
    words = [f"--{name.replace('_', '-')} {value}" for name, value in point.items()]
    words += [f"--active-features {given.active_features}", f"--trees {given.trees}", f"--scheme {given.scheme}"]
    return " ".join(["python -m benchmarks train", *words, f"--seed {given.seed} --no-plaintext --json"])


def _measured(command: str, number: int) -> dict[str, Any]:
    print(f"growth, point {number}: {command}", file=sys.stderr, flush=True)
    found = train.run(train.parser().parse_args(shlex.split(command)[4:]))
    return {key: found[key] for key in KEPT}


def _scaled(rows: int, scale: float) -> int:
    return max(1, round(rows * scale))
