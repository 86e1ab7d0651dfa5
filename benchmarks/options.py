"""Pieces of the benchmarks' command lines, and the form of what they print."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from typing import Any

from vfl.crypto.schemes import LEVELS

COMMON = (
    "name", "options", "cpu_seconds", "cpu_seconds_per_tree", "hint_cpu_seconds", "wall_seconds", "bytes", "peak_mb",
    "overhead_fraction", "auc", "auc_plaintext", "lightgbm_ratio",
)  # fmt: skip
"""Keys of every benchmark's JSON; null where a benchmark has no such thing. Some have keys of their own besides."""
_SIDED = {"cpu_seconds": ("active", "passive"), "peak_mb": ("active", "passive"),
          "bytes": ("active_to_passive", "passive_to_active")}  # fmt: skip


def new_parser(name: str, about: str | None) -> argparse.ArgumentParser:
    """A parser with the options that all benchmarks have. `about`: the module's docstring."""
    parser = argparse.ArgumentParser(
        prog=f"python -m benchmarks {name}", description=about, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seed", type=whole(0), default=0, help="of data and keys")
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
    return parser


def add_shape(parser: argparse.ArgumentParser, rows: int, depth: int) -> None:
    """The options about data, trees and encryption."""
    parser.add_argument("--rows", type=whole(1), default=rows)
    parser.add_argument("--active-features", type=whole(1), default=13)
    parser.add_argument("--passive-features", "--features", type=whole(1), default=10, help="of each passive party")
    parser.add_argument("--bins", type=whole(2, 1 << 16), default=32)
    parser.add_argument("--depth", type=whole(1, 16), default=depth)
    parser.add_argument("--trees", type=whole(1), default=1)
    parser.add_argument("--scheme", choices=list(LEVELS), help=f"default: {next(iter(LEVELS))}, or as --level says")
    parser.add_argument("--level", choices=list(LEVELS.values()), help="whether passive parties see who is in a node")
    parser.add_argument("--key-bits", "--bits", type=whole(1), default=2048, help="of Paillier keys")


def settle_scheme(parser: argparse.ArgumentParser, given: argparse.Namespace) -> argparse.Namespace:
    """`given` with scheme and level both set. Ends the program when they contradict each other."""
    named = {level: scheme for scheme, level in LEVELS.items()}
    given.scheme = given.scheme or named.get(given.level, next(iter(LEVELS)))
    given.level = given.level or LEVELS[given.scheme]
    if given.level != LEVELS[given.scheme]:
        parser.error(f"scheme {given.scheme} has level {LEVELS[given.scheme]!r}, not {given.level!r}: leave one out")
    return given


def whole(low: int, high: int | None = None) -> Callable[[str], int]:
    """Reads a whole number of at least `low`, and at most `high`."""

    def read(text: str) -> int:
        allowed = f"{low} or more" if high is None else f"{low} to {high}"
        if not text.isascii() or not text.isdigit() or int(text) < low or (high is not None and int(text) > high):
            raise argparse.ArgumentTypeError(f"{text!r}; allowed: {allowed}")
        return int(text)

    return read


def positive(text: str) -> float:
    """Reads a number above 0 and below 1000."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 1000:
        raise argparse.ArgumentTypeError(f"{text!r}; allowed: above 0, below 1000")
    return value


def share(text: str) -> float:
    """Reads a number from 0 to 1."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r}; allowed: 0 to 1")
    return value


def figures(name: str, given: argparse.Namespace, found: Mapping[str, Any]) -> dict[str, Any]:
    """The JSON object of a benchmark: the common keys first, then its own."""
    options = {key: value for key, value in vars(given).items() if key != "json"}
    common = {key: dict.fromkeys(_SIDED[key]) if key in _SIDED else None for key in COMMON}
    return {**common, "name": name, "options": options, **found}


def rounded(seconds: Mapping[str, float], places: int = 3) -> dict[str, float]:
    """Figures for people."""
    return {name: round(value, places) for name, value in seconds.items()}
