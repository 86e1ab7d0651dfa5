"""Benchmarks: figures, not tests.

python -m benchmarks NAME [options] [--json]    one of histogram, train, psi, ledger, explain, features,
                                                scorecard, evaluation, evaluate, serving, growth, scale,
                                                whole
python -m benchmarks all [options]              all of them, kept as docs/benchmarks.json
python -m benchmarks page [options]             docs/benchmarks.md and its picture, from that file

Every NAME has --help; it is a module here with `parser()` and `run(given)`, which returns the JSON object. Exit code 1:
a figure is above its limit, or a benchmark gave none.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from collections.abc import Sequence

from benchmarks import page, suite

NAMES = (
    "histogram",
    "train",
    "psi",
    "ledger",
    "explain",
    "features",
    "scorecard",
    "evaluation",
    "evaluate",
    "serving",
    "growth",
    "scale",
    "whole",
)


def parser_of(name: str) -> argparse.ArgumentParser:
    """The command line of a benchmark. KeyError for one that is not there."""
    if name not in NAMES:
        raise KeyError(name)
    found: argparse.ArgumentParser = importlib.import_module(f"benchmarks.{name}").parser()
    return found


def main(words: Sequence[str]) -> int:
    """One benchmark, all, or the page."""
    name, rest = (words[0] if words else ""), list(words[1:])
    if name == "all":
        return suite.main(rest)
    if name == "page":
        return page.main(rest)
    if name not in NAMES:
        print(__doc__, file=sys.stderr)
        return 2
    given = parser_of(name).parse_args(rest)
    found = importlib.import_module(f"benchmarks.{name}").run(given)
    print(json.dumps(found) if given.json else "\n".join(f"{key:>36} {value}" for key, value in found.items()))
    return 0 if found.get("within_limits", True) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
