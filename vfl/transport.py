"""Bytes between processes: length-prefixed frames over loopback TCP. Knows no message.

    frame = length (4 bytes, big-endian) || bytes

The seam for real networks is here and nowhere else: whatever ends in a socket can carry a run; `vfl.net` puts a gRPC
stream behind one. Plain sockets authenticate nobody, so addresses outside loopback are refused.
"""

from __future__ import annotations

import contextlib
import ipaddress
import selectors
import socket
import time
from collections import deque
from collections.abc import Coroutine, Mapping, Sequence
from itertools import islice
from typing import TypeVar

from vfl.channel import Idle, no_work
from vfl.desk import MAX_FRAME
from vfl.errors import Malformed, TimedOut, Unreachable, UsageError

R = TypeVar("R")
_CHUNK = 1 << 18  # bytes: larger frames get memory of their own
_MOST_PARTS = 64  # of one write
_MOST_PENDING = 2 * MAX_FRAME  # bytes that wait to leave before a sender waits too
_MOST_UNREAD = 8 * MAX_FRAME  # bytes that wait for the role before no more are taken from the network
_PER_FRAME = 128  # bytes that a frame costs beside its contents
_NAME_LIMIT = 64  # bytes of the name in the first frame
LOOPBACK = "127.0.0.1"


class SocketLink:
    """One peer behind a connected stream socket. Never blocks: `drive` waits."""

    def __init__(self, connection: socket.socket, peer: str) -> None:
        connection.setblocking(False)
        if connection.family != socket.AF_UNIX:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket = connection
        self.peer = peer
        self._out: deque[memoryview] = deque()
        self._frames: deque[bytes] = deque()
        self._waiting = self._unread = 0  # bytes that are to leave, and that arrived
        self._coming = _Coming(peer)
        self._closed = False

    def push(self, frame: bytes) -> None:
        self._out += (memoryview(len(frame).to_bytes(4, "big")), memoryview(frame))
        self._waiting += len(frame) + 4
        self.flush()

    def pull(self) -> bytes | None:
        if self._frames:
            frame = self._frames.popleft()
            self._unread -= len(frame) + _PER_FRAME
            return frame
        self._coming.check()
        if self._closed:
            raise Unreachable(f"{self.peer} closed the connection", remedy="look at its own error, then resume the run")
        return None

    @property
    def full(self) -> bool:
        return self._waiting > _MOST_PENDING and not self._closed

    @property
    def crowded(self) -> bool:
        """Whether so much waits for the role that the network has to wait."""
        return self._unread > _MOST_UNREAD

    @property
    def pending(self) -> bool:
        """Whether bytes wait to leave."""
        return bool(self._out)

    @property
    def closed(self) -> bool:
        """Whether nothing more will arrive."""
        return self._closed

    def close(self) -> None:
        """Let go of the connection."""
        self.socket.close()

    def flush(self) -> None:
        """Send as much as the network takes now."""
        try:
            while self._out:
                sent = self.socket.sendmsg([*islice(self._out, _MOST_PARTS)])
                self._waiting -= sent
                while self._out and sent >= len(self._out[0]):
                    sent -= len(self._out.popleft())
                if sent:
                    self._out[0] = self._out[0][sent:]
        except BlockingIOError:
            pass
        except OSError:
            # What the peer said before it went is still to be read: `fill` finds it, and the loss after that.
            self._out.clear()
            self._waiting = 0

    def fill(self) -> None:
        """Take in what has arrived."""
        try:
            count = self.socket.recv_into(self._coming.room)
        except BlockingIOError:
            return
        except OSError:
            count = 0
        arrived = self._coming.take(count)
        self._frames += arrived
        self._unread += sum(map(len, arrived)) + _PER_FRAME * len(arrived)
        self._closed = self._closed or not count


class _Coming:
    """The frame that is arriving: bytes go straight to where they stay."""

    def __init__(self, peer: str) -> None:
        self._peer = peer
        self._small = bytearray(_CHUNK)  # for what comes between large frames
        self._held = 0  # bytes in `_small`
        self._large: bytearray | None = None
        self._filled = 0
        self._refused = 0  # size that a frame announced beyond the limit

    @property
    def room(self) -> memoryview:
        """Where the next bytes go."""
        if self._large is not None:
            return memoryview(self._large)[self._filled :]
        return memoryview(self._small)[self._held :]

    def take(self, count: int) -> list[bytes]:
        """So many bytes arrived in `room`; the frames that are complete."""
        if self._large is not None:
            self._filled += count
            if self._filled < len(self._large):
                return []
            whole, self._large = bytes(self._large), None
            return [whole]
        self._held += count
        return self._split()

    def _split(self) -> list[bytes]:
        frames, start = [], 0
        while self._held - start >= 4 and not self._refused:
            size = int.from_bytes(self._small[start : start + 4], "big")
            if size > MAX_FRAME:
                self._refused = size
            elif start + 4 + size <= self._held:
                frames.append(bytes(memoryview(self._small)[start + 4 : start + 4 + size]))
                start += 4 + size
            elif size + 4 > _CHUNK:
                self._large, self._filled = bytearray(size), self._held - start - 4
                self._large[: self._filled] = self._small[start + 4 : self._held]
                start = self._held
            else:
                break
        rest = self._small[start : self._held]
        self._small[: len(rest)] = rest
        self._held = len(rest)
        return frames

    def check(self) -> None:
        """Raises Malformed if the peer announced a frame beyond the limit."""
        if self._refused:
            raise Malformed(f"announces a frame of {self._refused} bytes, the limit is {MAX_FRAME}", peer=self._peer)


def drive(role: Coroutine[int, None, R], links: Sequence[SocketLink], timeout: float, idle: Idle = no_work) -> R:
    """Run `role` to its end, waiting on `links` whenever it waits for a message, and calling `idle` while it waits.

    Raises TimedOut naming the peers when nothing moves for `timeout` seconds.
    """
    left = timeout
    try:
        while True:
            role.send(None)
            # A closed connection is readable for ever: whoever still waits for it was told so by `pull`.
            left = _await_bytes([link for link in links if not link.closed], left, timeout, idle)
    except StopIteration as stop:
        _drain(links, timeout)
        result: R = stop.value
        return result
    finally:
        role.close()


def _await_bytes(links: Sequence[SocketLink], left: float, timeout: float, idle: Idle) -> float:
    """Return when something was read, or a full link has room again: the seconds of silence that are left.

    Meanwhile send what is pending, and do what can be done without the peers. That a peer goes is no word from it:
    whoever is silent is not given more time by the others, who go because of that.
    """
    deadline, moved, word, busy = time.monotonic() + left, False, False, True
    while not moved:
        left = max(0.0, deadline - time.monotonic())
        with selectors.DefaultSelector() as selector:
            for link in links:
                if events := _awaited(link):
                    selector.register(link.socket, events, link)
            ready = selector.select(0.0 if busy else left)
        if not ready and busy and left:
            busy = idle()
            continue
        if not ready:
            names = ", ".join(link.peer for link in links)
            raise TimedOut(
                f"no word from {names} for {timeout:.0f} seconds",
                remedy="see whether they still run, then go on with --resume",
            )
        for key, events in ready:
            if events & selectors.EVENT_WRITE:
                full = key.data.full
                key.data.flush()
                word |= full and not key.data.full
                moved |= word
            if events & selectors.EVENT_READ:
                key.data.fill()
                moved, word = True, word or not key.data.closed
    return timeout if word else max(0.0, deadline - time.monotonic())


def _awaited(link: SocketLink) -> int:
    return (0 if link.crowded else selectors.EVENT_READ) | (selectors.EVENT_WRITE if link.pending else 0)


def _drain(links: Sequence[SocketLink], timeout: float) -> None:
    for link in links:
        link.socket.setblocking(True)
        link.socket.settimeout(timeout)
        link.flush()


def require_loopback(host: str) -> None:
    """Refuse any address that leaves this machine: plain sockets authenticate and encrypt nothing."""
    try:
        safe = ipaddress.ip_address(host).is_loopback
    except ValueError:
        safe = False
    if not safe:
        raise UsageError(f"plain sockets are for loopback only, not for {host!r}", remedy=f"use {LOOPBACK}")


def listen(host: str = LOOPBACK, port: int = 0) -> socket.socket:
    """A listening socket on loopback; port 0 takes a free one."""
    require_loopback(host)
    return socket.create_server((host, port), backlog=16)


def accept(server: socket.socket, peers: Sequence[str], timeout: float) -> Mapping[str, SocketLink]:
    """Wait until every one of `peers` has connected and said its name. Raises TimedOut naming who is missing."""
    links: dict[str, SocketLink] = {}
    deadline = time.monotonic() + timeout
    while missing := [peer for peer in peers if peer not in links]:
        server.settimeout(max(0.01, deadline - time.monotonic()))
        try:
            connection, _ = server.accept()
        except TimeoutError:
            for link in links.values():
                link.close()
            raise TimedOut(
                f"{', '.join(missing)} did not connect within {timeout:.0f} seconds",
                remedy="see whether they run, then go on with --resume",
            ) from None
        name = _read_name(connection, deadline)
        if name in missing:
            links[name] = SocketLink(connection, name)
        else:
            connection.close()
    return {peer: links[peer] for peer in peers}


def connect(host: str, port: int, me: str, peer: str, timeout: float) -> SocketLink:
    """Connect to `peer` and say who we are. Raises Unreachable when it cannot be reached in time."""
    require_loopback(host)
    deadline = time.monotonic() + timeout
    while True:
        try:
            connection = socket.create_connection((host, port), timeout=max(0.01, deadline - time.monotonic()))
            break
        except OSError as error:
            if time.monotonic() >= deadline:
                raise Unreachable(f"{peer} cannot be reached at {host}:{port}: {error}") from None
            time.sleep(0.05)
    link = SocketLink(connection, peer)
    link.push(me.encode())
    return link


def _read_name(connection: socket.socket, deadline: float) -> str:
    """The name a new connection gives; empty if it gives none in time (then nobody expects it)."""
    connection.settimeout(max(0.01, min(5.0, deadline - time.monotonic())))
    with contextlib.suppress(OSError, UnicodeDecodeError):
        size = int.from_bytes(_read_exactly(connection, 4), "big")
        return _read_exactly(connection, size).decode() if size <= _NAME_LIMIT else ""
    return ""


def _read_exactly(connection: socket.socket, size: int) -> bytes:
    """`size` bytes and not one more: what follows belongs to the link."""
    data = b""
    while len(data) < size:
        if not (chunk := connection.recv(size - len(data))):
            raise ConnectionResetError
        data += chunk
    return data
