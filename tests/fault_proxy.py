"""A TCP proxy on loopback between two parties, with a network's faults: what passes is late, slow, altered or lost.

It knows no TLS and no message. Where it hurts is drawn from a seed; when a thread runs is the machine's affair, so the
same seed brings the same faults to the same bytes, and not always at the same moment.
"""

from __future__ import annotations

import contextlib
import queue
import random
import socket
import struct
import threading
import time
from dataclasses import dataclass
from typing import Any

CHUNK = 8192  # bytes
WINDOW = 32  # chunks under way in each direction


@dataclass
class Faults:
    """What is wrong with the network; may change while it carries.

    latency, jitter: seconds.   rate: bytes a second.   reset, half_close: bytes after which a connection is reset, or
    one of its directions ended; each connection draws its own number up to twice that.   flip: chance that a chunk has
    a bit changed.
    """

    latency: float = 0.0
    jitter: float = 0.0
    rate: float = 0.0
    reset: int = 0
    half_close: int = 0
    flip: float = 0.0


class FaultProxy:
    """Carries connections to one address."""

    def __init__(self, host: str, port: int, seed: int = 0, **faults: Any) -> None:
        self.faults = Faults(**faults)
        self.happened: dict[str, int] = {}
        self.carried = 0  # bytes
        self._to, self._chance = (host, port), random.Random(seed)
        self._open = threading.Event()  # not set: everything disappears into a hole, and arrives later
        self._open.set()
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listening.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> FaultProxy:
        return self

    def __exit__(self, *_: object) -> None:
        hang_up(self._listening)
        self._open.set()
        for pair in self._pairs:
            for end in pair:
                hang_up(end)

    def mend(self) -> None:
        """From now on nothing is wrong."""
        self.faults = Faults()

    def blackhole(self, seconds: float) -> None:
        """Nothing arrives for a while, in no direction, and nobody is told."""
        self._note("blackhole")
        self._open.clear()
        threading.Timer(seconds, self._open.set).start()

    def reset(self) -> None:
        """Every connection is reset now."""
        for pair in self._pairs:
            self._reset(pair)

    def _note(self, what: str) -> None:
        self.happened[what] = self.happened.get(what, 0) + 1

    def _accept(self) -> None:
        while True:
            try:
                caller, _ = self._listening.accept()
            except OSError:
                return
            self._open.wait()
            try:
                called = socket.create_connection(self._to, timeout=5)
            except OSError:
                caller.close()
                continue
            called.settimeout(None)
            pair = (caller, called)
            self._pairs.append(pair)
            for source, sink in (pair, pair[::-1]):
                _Direction(self, pair, source, sink)

    def limit(self, mean: int) -> int:
        """After how many bytes something is to happen to a connection; 0 for never."""
        return self._chance.randint(1, 2 * mean) if mean else 0

    def _reset(self, pair: tuple[socket.socket, socket.socket]) -> None:
        for end in pair:
            with contextlib.suppress(OSError):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            hang_up(end, socket.SHUT_RD)
            end.close()


class _Direction:
    """One direction of one connection: a thread that takes in, and one that lets out what is due."""

    def __init__(self, proxy: FaultProxy, pair: Any, source: socket.socket, sink: socket.socket) -> None:
        self._proxy, self._pair, self._source, self._sink = proxy, pair, source, sink
        self._under_way: queue.Queue[tuple[float, bytes]] = queue.Queue(WINDOW)
        self._reset_at = proxy.limit(proxy.faults.reset)
        self._ends_at = proxy.limit(proxy.faults.half_close)
        for act in (self._take_in, self._let_out):
            threading.Thread(target=act, daemon=True).start()

    def _take_in(self) -> None:
        chunk = b"begin"
        while chunk:
            try:
                chunk = self._source.recv(CHUNK)
            except OSError:
                chunk = b""
            faults, chance = self._proxy.faults, self._proxy._chance
            self._under_way.put((time.monotonic() + faults.latency + chance.uniform(0, faults.jitter), chunk))

    def _let_out(self) -> None:
        passed = 0
        with contextlib.suppress(OSError):
            while True:
                due, chunk = self._under_way.get()
                time.sleep(max(0.0, due - time.monotonic()))
                self._proxy._open.wait()
                if not chunk:
                    break
                self._sink.sendall(self._altered(chunk))
                passed += len(chunk)
                self._proxy.carried += len(chunk)
                if self._proxy.faults.rate:
                    time.sleep(len(chunk) / self._proxy.faults.rate)
                if self._reset_at and passed >= self._reset_at:
                    self._proxy._note("reset")
                    self._proxy._reset(self._pair)
                    return
                if self._ends_at and passed >= self._ends_at:
                    self._proxy._note("half close")
                    break
        hang_up(self._sink, socket.SHUT_WR)
        while chunk:  # whoever still sends is not made to wait
            chunk = self._under_way.get()[1]

    def _altered(self, chunk: bytes) -> bytes:
        chance = self._proxy._chance
        if chance.random() >= self._proxy.faults.flip:
            return chunk
        self._proxy._note("flip")
        at = chance.randrange(len(chunk))
        return chunk[:at] + bytes([chunk[at] ^ 1 << chance.randrange(8)]) + chunk[at + 1 :]


def hang_up(end: socket.socket, how: int = socket.SHUT_RDWR) -> None:
    """Also under a thread that waits for it."""
    with contextlib.suppress(OSError):
        end.shutdown(how)
    if how == socket.SHUT_RDWR:
        end.close()
