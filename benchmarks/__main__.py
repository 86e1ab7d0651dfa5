"""Run one benchmark: python -m benchmarks NAME [options]; see python -m benchmarks NAME --help."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Sequence

NAMES = ("histogram", "train", "psi", "ledger", "growth")


def main(words: Sequence[str]) -> int:
    if not words or words[0] not in NAMES:
        print(f"{__doc__}\nnames: {', '.join(NAMES)}", file=sys.stderr)
        return 2
    module = importlib.import_module(f"benchmarks.{words[0]}")
    given = module.parser().parse_args(words[1:])
    found = module.run(given)
    print(json.dumps(found) if given.json else "\n".join(f"{key:>28} {value}" for key, value in found.items()))
    return 0 if found.get("within_limits", True) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
