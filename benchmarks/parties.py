"""Parties as processes of their own: loopback sockets, keys, a transcript and a ledger on disk, as in a real run.

A benchmark says what the active party and what each passive party plays; here they are started, connected and heard.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import tempfile
import time
from argparse import Namespace
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, TypeVar

from benchmarks.measure import Meter, peak_mb
from ledger.keys import Identity
from ledger.store import SQLiteStore
from vfl.channel import Channel
from vfl.clock import SystemClock
from vfl.crypto.paillier_workers import WORKERS_VARIABLE
from vfl.desk import Desk
from vfl.notary import LedgerNotary, PeerKeys
from vfl.randomness import Randomness
from vfl.transcripts import FileTranscript
from vfl.transport import LOOPBACK, SocketLink, accept, connect, drive, listen

R = TypeVar("R")
RUN, ACTIVE, TIMEOUT = "benchmark", "active", 3600.0
_SPAWN = multiprocessing.get_context("spawn")


class Party:
    """One side in its own process."""

    def __init__(self, me: str, all_names: list[str], folder: Path, port: int, seed: int) -> None:
        """`port` 0: listen, others connect to `self.port`."""
        root = Randomness(seed.to_bytes(32, "big"))
        identities = {name: Identity(name, root.child(name).bytes(32)) for name in all_names}
        self._peers = [name for name in all_names if name != me] if me == ACTIVE else [ACTIVE]
        keys = {
            name: PeerKeys(identities[name].identity.verifying, identities[name].witness.verifying)
            for name in self._peers
        }
        store = SQLiteStore(folder / f"{me}.sqlite")
        notary = LedgerNotary(store, identities[me], RUN, "00" * 32, keys, SystemClock(), sign_messages=False)
        self.me, self.rng = me, root.child(f"{me}/protocol")
        self.desk = Desk(me, FileTranscript(folder / f"{me}.bin"), notary)
        clocks = {"cpu": time.process_time, "wall": time.perf_counter, "ledger": lambda: notary.cpu_seconds}
        self.meter = Meter(clocks)
        self.desk.on_enter = lambda phase, round: self.meter.enter(phase)
        self._server = None if port else listen()
        self.port = self._server.getsockname()[1] if self._server else port
        self._links: Mapping[str, SocketLink] = {}

    def meet(self) -> dict[str, Channel]:
        """Channels to all peers, once they are there."""
        if self._server:
            with self._server as server:
                self._links = accept(server, self._peers, TIMEOUT)
        else:
            self._links = {ACTIVE: connect(LOOPBACK, self.port, self.me, ACTIVE, TIMEOUT)}
        return {name: self.desk.channel(name, link) for name, link in self._links.items()}

    def drive(self, role: Coroutine[int, None, R]) -> R:
        """Run `role` to its end."""
        found = drive(self.desk.run(role), list(self._links.values()), TIMEOUT, self.desk.idle)
        self.meter.enter("end")
        return found

    def report(self) -> dict[str, Any]:
        """Seconds and bytes sent by phase, and memory."""
        sent = {phase: count.sent for phase, count in self.desk.traffic.items()}
        return {**self.meter.seconds, "sent": sent, "peak_mb": peak_mb()}


Play = Callable[[Party, Namespace], dict[str, Any]]
"""What a party does; returns what is to be told of it beside `Party.report`. A function of a module."""


def run_parties(active: Play, passive: Play, passives: int, given: Namespace) -> tuple[dict[str, Any], ...]:
    """Reports of the active party and of each passive party, in this order. RuntimeError when one of them fails."""
    names = [ACTIVE, *(f"passive{number}" for number in range(passives))]
    with tempfile.TemporaryDirectory() as folder, ExitStack() as running:
        words = (names, folder, given)
        pipes = [running.enter_context(started(_take_part, active, ACTIVE, *words, 0))]
        port = hear(pipes[0])["port"]
        for name in names[1:]:
            pipes.append(running.enter_context(started(_take_part, passive, name, *words, port)))
        told: dict[Connection, dict[str, Any]] = {}
        while waiting := [pipe for pipe in pipes if pipe not in told]:
            for pipe in wait(waiting):  # whoever comes first: one that failed keeps the others waiting
                assert isinstance(pipe, Connection)
                told[pipe] = hear(pipe)
        return tuple(told[pipe] for pipe in pipes)


@contextmanager
def started(target: Callable[..., None], *words: Any) -> Iterator[Connection]:
    """A process that runs `target(pipe, *words)`, and our end of the pipe; nothing of it is left behind."""
    here, there = _SPAWN.Pipe()
    process = _SPAWN.Process(target=target, args=(there, *words))
    process.start()
    there.close()
    try:
        yield here
        process.join()
    finally:
        if process.is_alive():
            process.terminate()
        process.join()
        here.close()


@contextmanager
def joined() -> Iterator[tuple[Connection, Connection]]:
    """Two ends of a pipe."""
    ends = _SPAWN.Pipe()
    try:
        yield ends
    finally:
        for end in ends:
            end.close()


def hear(pipe: Connection) -> dict[str, Any]:
    """The next thing a process says. RuntimeError when it ended without a word; its traceback is on standard error."""
    try:
        said: dict[str, Any] = json.loads(pipe.recv_bytes())
    except (EOFError, OSError):
        raise RuntimeError("a party's process ended before it was done") from None
    return said


def say(pipe: Connection, said: Mapping[str, Any]) -> None:
    """Tell the parent."""
    pipe.send_bytes(json.dumps(said).encode())


def _take_part(
    pipe: Connection, play: Play, me: str, names: list[str], folder: str, given: Namespace, port: int
) -> None:
    os.environ[WORKERS_VARIABLE] = "1"  # the CPU time of children would not be counted
    party = Party(me, names, Path(folder), port, given.seed)
    if not port:
        say(pipe, {"port": party.port})
    told = play(party, given)
    say(pipe, {**party.report(), **told})
