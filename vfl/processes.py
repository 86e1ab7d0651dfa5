"""Every party as an operating-system process of its own, over loopback sockets: same roles, same bytes.

The active party listens, the others connect. Children talk to the parent in JSON lines on stdout only: the port, the
place reached, and how they ended.
"""

from __future__ import annotations

import json
import selectors
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from vfl import errors
from vfl.clock import SystemClock
from vfl.errors import TransportError, VflError
from vfl.progress import Lines, Progress
from vfl.seat import RunFile, Seat, peers_of
from vfl.transport import LOOPBACK, SocketLink, accept, connect, drive, listen


def run_processes(folder: Path, file: RunFile, timeout: float, progress: Progress) -> None:
    """Start every party's process and wait for all. Raises the error of the first party that failed."""
    active = file.agreement.active.name
    children = {active: _start(folder, active, timeout, port=0)}
    try:
        port = _port(children[active])
        for member in file.agreement.passives:
            children[member.name] = _start(folder, member.name, timeout, port)
        _watch(children, active, progress)
    finally:
        for child in children.values():
            if child.poll() is None:
                child.kill()
            child.wait()
            for stream in (child.stdout, child.stderr):
                if stream is not None:
                    stream.close()


def _start(folder: Path, party: str, timeout: float, port: int) -> subprocess.Popen[str]:
    words = [sys.executable, "-m", "vfl.processes", str(folder), party, str(timeout), str(port)]
    # Our own interpreter and module, and no shell.
    return subprocess.Popen(  # noqa: S603
        words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def _port(child: subprocess.Popen[str]) -> int:
    line = _out(child).readline()
    try:
        said = json.loads(line)
    except ValueError:
        raise TransportError(f"the active party's process ended before it listened: {_last_words(child)}") from None
    if "error" in said:
        raise _error(said)
    return int(said["port"])


def _watch(children: Mapping[str, subprocess.Popen[str]], active: str, progress: Progress) -> None:
    """Pass on the active party's progress until every child has ended."""
    failures: dict[str, VflError] = {}
    with selectors.DefaultSelector() as selector:
        for name, child in children.items():
            selector.register(_out(child), selectors.EVENT_READ, name)
        while selector.get_map():
            for key, _ in selector.select():
                line = key.fileobj.readline()  # type: ignore[union-attr]
                if not line:
                    selector.unregister(key.fileobj)
                    continue
                said = json.loads(line)
                if "error" in said:
                    failures[key.data] = _error(said)
                elif key.data == active and "phase" in said:
                    progress.enter(said["phase"], said["round"], said["rounds"])
    for name, child in children.items():
        if child.wait() != 0 and name not in failures:
            failures[name] = TransportError(
                f"the process of {name} ended with {child.returncode}: {_last_words(child)}"
            )
    if failures:
        raise _cause(failures)


def _cause(failures: Mapping[str, VflError]) -> VflError:
    """The failure that explains the others: a lost connection is what the rest see when one party stops."""
    ranked = sorted(failures.values(), key=lambda error: isinstance(error, TransportError))
    return ranked[0]


def _out(child: subprocess.Popen[str]) -> IO[str]:
    assert child.stdout is not None
    return child.stdout


def _last_words(child: subprocess.Popen[str]) -> str:
    child.wait()
    text = child.stderr.read() if child.stderr is not None else ""
    return text.strip().splitlines()[-1] if text.strip() else "it said nothing"


def _error(said: Mapping[str, Any]) -> VflError:
    kind = getattr(errors, said["error"], VflError)
    found: VflError = kind(said["message"], remedy=said["remedy"])
    return found


@dataclass
class _Told:
    """A party's last line: how it ended."""

    error: str
    message: str
    remedy: str


def main(words: Sequence[str]) -> int:
    """One party's process: FOLDER PARTY TIMEOUT PORT (0: listen, and tell the port)."""
    folder, party, timeout, port = Path(words[0]), words[1], float(words[2]), int(words[3])
    try:
        _take_part(folder, party, timeout, port)
    except VflError as error:
        told = _Told(type(error).__name__, str(error), error.remedy)
        sys.stdout.write(json.dumps(vars(told)) + "\n")
        sys.stdout.flush()
        return 1
    return 0


def _take_part(folder: Path, party: str, timeout: float, port: int) -> None:
    seat = Seat(folder, party, SystemClock())
    try:
        links = _links(seat, timeout, port)
        seat.follow(Lines(sys.stdout))
        seat.watch.start()
        drive(seat.role(links), list(links.values()), timeout)
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
