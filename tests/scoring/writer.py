"""A process that writes decisions into volumes as fast as it can, and says which are durable: to be killed.

python writer.py FOLDER START      prints `volume entry number` for each group once it is acknowledged
"""

from __future__ import annotations

import sys
from pathlib import Path

from ledger.keys import Identity
from vfl.clock import SystemClock
from vfl.scoring.keys import Asked
from vfl.scoring.volumes import Group, Volumes

RUN, AGREEMENT, BANK, KEY = "run-7", "a" * 64, Identity("bank", b"\1" * 32), b"s" * 32


def volumes(folder: Path, most: int = 40) -> Volumes:
    return Volumes(folder, RUN, AGREEMENT, BANK, KEY, SystemClock(), most)


def record(number: int, place: int = 0) -> bytes:
    return b'{"number":%d,"place":%d}' % (number, place)


def group(number: int) -> Group:
    """Every third one is a batch."""
    batch = number % 3 == 0
    records = (record(number, place) for place in range(3 if batch else 1))
    return Group(b"\n".join(records), {"batch": batch}, Asked("tests", f"key-{number}", b"%032d" % number))


def main(folder: Path, start: int) -> None:
    found = volumes(folder)
    number = start
    while True:
        several = 1 + number % 4
        numbers = range(number, number + several)
        kept = found.write([group(each) for each in numbers])
        for each, one in zip(numbers, kept, strict=True):
            sys.stdout.write(f"{one.volume} {one.entry} {each}\n")
        sys.stdout.flush()
        number += several


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
