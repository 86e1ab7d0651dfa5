"""Takes docs/images/console.png: the first page of a running console, as a browser shows it.

python -m docs.console_picture ADDRESS                               as it is now
python -m docs.console_picture ADDRESS runs/demo/predictions.csv 5   after scoring these customers for 5 minutes

Needs Chromium (on Debian: apt-get install chromium).
"""

from __future__ import annotations

import csv
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlencode
from urllib.request import urlopen

from docs.photograph import photograph

TARGET = Path(__file__).resolve().parent / "images/console.png"
_WIDTH, _HEIGHT = 1280, 780
_APART = 0.4  # seconds between two customers
_FOR_SCRIPTS = 4000  # ms


def score(address: str, customers: Sequence[str], seconds: float) -> None:
    """Score one customer after the other through the form, as a person would."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for customer in customers:
            if time.monotonic() >= end:
                break
            with urlopen(address, urlencode({"id": customer}).encode(), timeout=10):  # noqa: S310 - as given
                time.sleep(_APART)


def main(words: Sequence[str]) -> int:
    """The command line; see the module's docstring."""
    if len(words) not in (1, 3) or not words[0].startswith("http://"):
        sys.stderr.write(__doc__ or "")
        return 2
    if len(words) == 3:
        with Path(words[1]).open(newline="", encoding="utf-8") as file:
            customers = [line["id"] for line in csv.DictReader(file)]
        score(words[0], customers, 60 * float(words[2]))
    photograph(words[0], TARGET, _WIDTH, _HEIGHT, _FOR_SCRIPTS)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
