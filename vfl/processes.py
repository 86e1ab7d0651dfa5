"""Every party as an operating-system process of its own, over loopback sockets: same roles, same bytes.

The active party listens, the others connect. Children talk to the parent in JSON lines on stdout only: the port, the
place reached, and how they ended.
"""

from __future__ import annotations

import json
import math
import os
import selectors
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from vfl import errors
from vfl.attacks.cheating import CHEATS
from vfl.clock import SystemClock
from vfl.errors import TransportError, VflError
from vfl.files import read_json, refusals
from vfl.progress import Lines, Progress
from vfl.seat import WAITING, RunFile, Seat, peers_of
from vfl.transport import LOOPBACK, SocketLink, accept, connect, drive, listen

GRACE = 5.0  # seconds that the others have to end by themselves after one party failed


def run_processes(
    folder: Path, file: RunFile, timeout: float, progress: Progress, cheats: Mapping[str, str] | None = None
) -> None:
    """Start every party's process and wait for all. Raises the error of the party that failed first.

    `cheats`: passive parties that cheat, and how, in a scenario that shows it.
    """
    active = file.agreement.active.name
    children = {active: _Child(folder, active, timeout, port=0)}
    try:
        port = _port(children[active])
        for member in file.agreement.passives:
            cheat = [cheats[member.name]] if cheats and member.name in cheats else []
            children[member.name] = _Child(folder, member.name, timeout, port, *cheat)
        _watch(children, active, progress)
    except TransportError as error:
        error.remedy = _owed(folder, children) or error.remedy
        raise
    finally:
        for child in children.values():
            child.end()


def _owed(folder: Path, parties: Iterable[str]) -> str:
    """What the first party that stopped in silence waited for, and what can be done about it."""
    for party in parties:
        if (folder / party / WAITING).exists():
            waiting = read_json(folder / party / WAITING, "a party's own note")
            return (
                f"{waiting['peer']} owes {party} {waiting['slot']}: go on with --resume, or challenge it: "
                "tallystick challenge --help"
            )
    return ""


class _Child:
    """A party's process, and what it said so far."""

    def __init__(self, folder: Path, party: str, timeout: float, port: int, cheat: str = "") -> None:
        self.party = party
        self.failure: VflError | None = None
        words = [sys.executable, "-m", "vfl.processes", str(folder), party, str(timeout), str(port)]
        words += [cheat] if cheat else []
        # A pipe that nobody empties would stop the process. Closed in `end`.
        self._cries = tempfile.TemporaryFile()  # noqa: SIM115
        # Our own interpreter and module, and no shell.
        self.process = subprocess.Popen(  # noqa: S603
            words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self._cries
        )
        assert self.process.stdout is not None
        self.out = self.process.stdout
        self._unread = b""

    def hear(self) -> list[dict[str, Any]] | None:
        """The lines that arrived since the last time, waiting for some; None when there will be no more."""
        chunk = os.read(self.out.fileno(), 1 << 16)
        *lines, self._unread = (self._unread + chunk).split(b"\n")
        return [json.loads(line) for line in lines] if chunk else None

    def ended(self) -> None:
        """Wait for the end; an end that was not announced is a failure too."""
        code = self.process.wait()
        if code and self.failure is None:
            self._cries.seek(0)
            said = self._cries.read().decode(errors="replace").strip().splitlines()
            how = f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"
            self.failure = _Died(
                f"the process of {self.party} {how}: {said[-1] if said else 'it said nothing'}",
                remedy="when the cause is gone, go on with --resume",
            )

    def end(self) -> None:
        """Stop it if it still runs, and leave nothing of it behind."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.out.close()
        self._cries.close()


class _Died(TransportError):
    """A process that ended without a word."""


def _port(child: _Child) -> int:
    while (lines := child.hear()) is not None:
        for said in lines:
            if "port" in said:
                return int(said["port"])
            child.failure = told_error(said)
    child.ended()
    raise child.failure or TransportError(f"the process of {child.party} ended before it listened")


def _watch(children: Mapping[str, _Child], active: str, progress: Progress) -> None:
    """Pass on the active party's progress until every process has ended, or one has failed and the rest had time to."""
    deadline = math.inf
    with selectors.DefaultSelector() as selector:
        for child in children.values():
            selector.register(child.out, selectors.EVENT_READ, child)
        while selector.get_map() and (left := deadline - time.monotonic()) > 0:
            for key, _ in selector.select(None if math.isinf(left) else left):
                child = key.data
                lines = child.hear()
                if lines is None:
                    selector.unregister(key.fileobj)
                    child.ended()
                for said in lines or ():
                    if "error" in said:
                        child.failure = told_error(said)
                    elif child.party == active and "phase" in said:
                        progress.enter(said["phase"], said["round"], said["rounds"])
                if child.failure is not None:
                    deadline = min(deadline, time.monotonic() + GRACE)
    failures = [child.failure for child in children.values() if child.failure is not None]
    if failures:
        raise min(failures, key=_distance)


def _distance(failure: VflError) -> int:
    """How far a failure is from its cause: a lost connection is what the others see when one party stops."""
    return 0 if not isinstance(failure, TransportError) else 1 if isinstance(failure, _Died) else 2


def told(error: VflError) -> str:
    """A party's last line, if it ended badly."""
    return json.dumps({"error": type(error).__name__, "message": str(error), "remedy": error.remedy}) + "\n"


def told_error(said: Mapping[str, Any]) -> VflError:
    """What a party's last line says."""
    kind = getattr(errors, said["error"], VflError)
    found: VflError = kind(said["message"], remedy=said["remedy"])
    return found


def main(words: Sequence[str]) -> int:
    """One party's process: FOLDER PARTY TIMEOUT PORT (0: listen, and tell the port) [CHEAT]."""
    folder, party, timeout, port = Path(words[0]), words[1], float(words[2]), int(words[3])
    try:
        with refusals(folder, remedy="free some space or name another --out"):
            _take_part(folder, party, timeout, port, *words[4:])
    except VflError as error:
        sys.stdout.write(told(error))
        sys.stdout.flush()
        return 1
    return 0


def _take_part(folder: Path, party: str, timeout: float, port: int, cheat: str = "") -> None:
    seat = Seat(folder, party, SystemClock(), CHEATS.get(cheat))
    try:
        links = _links(seat, timeout, port)
        seat.follow(Lines(sys.stdout))
        role = seat.role(links)
        seat.watch.start()
        with seat.accusing():
            drive(role, list(links.values()), timeout, seat.desk.idle)
    finally:
        seat.close(concurrent=True)


def _links(seat: Seat, timeout: float, port: int) -> dict[str, SocketLink]:
    names = [member.name for member in peers_of(seat.file.agreement, seat.name)]
    if port:
        return {names[0]: connect(LOOPBACK, port, seat.name, names[0], timeout)}
    with listen() as server:
        sys.stdout.write(json.dumps({"port": server.getsockname()[1]}) + "\n")
        sys.stdout.flush()
        return dict(accept(server, names, timeout))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
