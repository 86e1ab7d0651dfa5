"""A party's role in one attempt, as a process of its own: it can be ended at any moment, and nothing else with it.

    python -m vfl.party.worker DIR PARTY TIMEOUT

stdin   one JSON line {"identity": hex, "ends": {peer: descriptor}}, then silence: its end means that nobody supervises
        this process any more, and it ends itself
stdout  at most one JSON line: the error that ended it

It knows no network: the descriptors are sockets to the supervisor, which moves frames to and from the peers.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ledger.keys import Identity
from vfl.clock import SystemClock
from vfl.errors import UsageError, VflError
from vfl.files import alone, refusals, write_whole
from vfl.party.runs import PROGRESS
from vfl.processes import told
from vfl.seat import Seat
from vfl.transport import SocketLink, drive

_TRIES, _AGAIN = 100, 0.1  # seconds
_EVERY = 0.5  # seconds between two writings of progress within a phase


class Reporting:
    """Writes where the role stands into `progress.json`; tells `vfl.seat` nothing else."""

    def __init__(self, file: Path, seat: Seat) -> None:
        self._file, self._seat = file, seat
        self._phase, self._began, self._written = "", time.monotonic(), 0.0

    def enter(self, phase: str, round: int, rounds: int = 1) -> None:
        """`vfl.progress.Progress`."""
        now = time.monotonic()
        if phase == self._phase and now - self._written < _EVERY:
            return
        if phase != self._phase:
            self._phase, self._began = phase, now
        self._written, spent = now, now - self._began
        traffic = self._seat.desk.traffic.values()
        body: dict[str, Any] = {
            "phase": phase,
            "round": round,
            "rounds": rounds,
            "customers": self._seat.customers,
            "bytes": sum(sum(asdict(each).values()) for each in traffic),
            "rows_per_second": round_(self._seat.customers * round / spent) if round and spent else None,
            "seconds_left": round_(spent / round * (rounds - round)) if round else None,
        }
        write_whole(self._file, body)


def round_(value: float) -> int:
    """To a whole number; the name `round` means something else here."""
    return int(value + 0.5)


def main(words: Sequence[str]) -> int:
    """One attempt of one party."""
    root, party, timeout = Path(words[0]), words[1], float(words[2])
    given = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_supervisor, daemon=True).start()
    try:
        with refusals(root, remedy="free some space, then go on with the run"):
            _take_part(root, Identity(party, bytes.fromhex(given["identity"])), given["ends"], timeout)
    except VflError as error:
        sys.stdout.write(told(error))
        sys.stdout.flush()
        return 1
    return 0


def _take_part(root: Path, identity: Identity, ends: dict[str, int], timeout: float) -> None:
    lock, busy = root / identity.name / "lock", f"{root / identity.name} is played from by another process"
    with ExitStack() as held:
        for left in reversed(range(_TRIES)):
            # A process whose supervisor was killed ends itself, in a moment: until then the seat is taken.
            try:
                held.enter_context(alone(lock, busy))
                break
            except UsageError:
                if not left:
                    raise
                time.sleep(_AGAIN)
        _play(root, identity, ends, timeout)


def _play(root: Path, identity: Identity, ends: dict[str, int], timeout: float) -> None:
    seat = Seat(root, identity.name, SystemClock(), identity=identity)
    try:
        links = {peer: SocketLink(socket.socket(fileno=end), peer) for peer, end in ends.items()}
        seat.follow(Reporting(root / PROGRESS, seat))
        role = seat.role(links)
        seat.watch.start()
        with seat.accusing():
            drive(role, list(links.values()), timeout, seat.desk.idle)
    finally:
        seat.close(concurrent=True)


def _end_with_supervisor() -> None:
    sys.stdin.read()
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
