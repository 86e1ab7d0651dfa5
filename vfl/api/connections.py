"""Connections: what a caller may send, how long it may take, and when it has to make room.

    arriving    a connection has opened or a request begun: the whole of it within 5 s, or 64 kB/s of body from then on
    answering   the caller waits for us
    idle        between requests: as long as keep-alive says
    stalled     an answer that is not taken: it must move within 30 s

A connection too many makes the one go that has been arriving longest: half-open ones never keep others out. What is no
HTTP is answered with 400 and ended; so is a head of more than 32 kB (431).
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol
from uvicorn.server import ServerState

from vfl.api.meters import Meters
from vfl.api.operation import MOST_OF_MANY
from vfl.api.problems import MEDIA, Problem
from vfl.api.tls import pin_of_peer

MOST_OF_A_HEAD = 32_768  # bytes of the target and the header lines
_MOST_ARRIVING = 2 * MOST_OF_MANY + MOST_OF_A_HEAD  # bytes of a request on the wire, in chunks of any size
_PACE = 65_536  # bytes a second


@dataclass(frozen=True)
class Bounds:
    """Of a listener. connections: at a time.   arriving, idle, stalled, ending: seconds for each of these states."""

    connections: int = 4096
    arriving: float = 5.0
    idle: float = 65.0
    stalled: float = 30.0
    ending: float = 10.0


class Connections:
    """All connections of a listener; they come and go in one event loop."""

    def __init__(self, bounds: Bounds, meters: Meters) -> None:
        self.bounds, self.meters = bounds, meters
        self.state = ServerState()
        # Both in the order of time: whoever has taken longest stands first.
        self._arriving: dict[Connection, float] = {}
        self._stalled: dict[Connection, tuple[float, int]] = {}

    def opened(self, connection: Connection, now: float) -> None:
        """One more; if that is one too many, whoever has been arriving longest goes."""
        self._arriving[connection] = now
        if len(self.state.connections) > self.bounds.connections:
            self._cut(next(iter(self._arriving)))

    def begun(self, connection: Connection, now: float) -> None:
        """Something arrives."""
        self._arriving.setdefault(connection, now)

    def complete(self, connection: Connection) -> None:
        """A request has arrived whole."""
        self._arriving.pop(connection, None)

    def stalls(self, connection: Connection, now: float) -> None:
        """Its answer is not taken as fast as it is written."""
        self._stalled.setdefault(connection, (now, connection.unsent))

    def flows(self, connection: Connection) -> None:
        """It is again."""
        self._stalled.pop(connection, None)

    def gone(self, connection: Connection) -> None:
        """It is no more."""
        self._arriving.pop(connection, None)
        self._stalled.pop(connection, None)

    def sweep(self, now: float) -> None:
        """End those that take too long."""
        self.meters.open = len(self.state.connections)
        for connection, since in list(self._arriving.items()):
            if now - since < self.bounds.arriving:
                break
            del self._arriving[connection]
            if connection.has_moved(self.bounds.arriving):
                self._arriving[connection] = now
            else:
                self._cut(connection)
        for connection, (since, before) in list(self._stalled.items()):
            if now - since < self.bounds.stalled:
                break
            del self._stalled[connection]
            if connection.unsent < before:
                self._stalled[connection] = (now, connection.unsent)
            else:
                self._cut(connection)

    def _cut(self, connection: Connection) -> None:
        self.meters.cut += 1
        self.gone(connection)
        connection.transport.abort()


class Connection(HttpToolsProtocol):
    """One connection. The pin of a client's certificate is in `scope["state"]["pin"]`, where no header can put it."""

    def __init__(self, config: Config, all_of_them: Connections, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(config=config, server_state=all_of_them.state, app_state={}, _loop=loop)
        self._all = all_of_them
        self._taken = 0  # bytes of the request that is arriving
        self._looked = 0  # of them, those that had been taken at the last look
        self._begun = 0  # requests, in the bytes that are being read
        self._between = True  # one request has arrived whole, the next has not begun
        self._in_head = True
        self._head = 0  # bytes of its head
        self._fault = "malformed-request"

    @property
    def unsent(self) -> int:
        """Bytes of answers that wait to be taken."""
        return self.transport.get_write_buffer_size()

    def has_moved(self, seconds: float) -> bool:
        """Whether enough arrived since the last look, or nothing had to: what came before is not answered yet."""
        moved, self._looked = self._taken - self._looked, self._taken
        return self._busy or (not self._in_head and moved >= _PACE * seconds)

    @property
    def _busy(self) -> bool:
        cycle = self.cycle
        waits = cycle is not None and not cycle.response_complete and not cycle.more_body
        return waits or bool(self.pipeline) or self.flow.read_paused

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if pin := pin_of_peer(transport):
            self.app_state = {"pin": pin}
        self._all.opened(self, self.loop.time())

    def connection_lost(self, exc: Exception | None) -> None:
        self._all.gone(self)
        self._unset_keepalive_if_required()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        self._all.begun(self, self.loop.time())
        self._begun, between = 0, self._between
        super().data_received(data)
        # Where a request begins behind another in the same bytes, its part of them is not known: they are few.
        if self._begun == 0 or (self._begun == 1 and between):
            self._taken += len(data)
        if self._in_head and self._taken > MOST_OF_A_HEAD and not self.transport.is_closing():
            self._fault = "head-too-large"
            self.send_400_response("")
        elif self._taken > _MOST_ARRIVING:
            self.transport.abort()

    def send_400_response(self, msg: str) -> None:
        """Tell what is wrong as every other problem is told, and end the connection."""
        problem = Problem(self._fault)
        body = problem.body("")
        lines = [b"content-type: " + MEDIA, b"content-length: %d" % len(body), b"connection: close", b"", body]
        self.transport.write(STATUS_LINE[problem.status] + b"\r\n".join(lines))
        self.transport.close()
        self._all.meters.request("none", "other", problem.status, 0.0)

    # ---- from the parser

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._all.begun(self, self.loop.time())
        self._begun += 1
        self._taken = self._looked = self._head = 0
        self._in_head, self._between = True, False

    def on_url(self, url: bytes) -> None:
        self._in_bounds(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_head:  # a field behind the body would slip into the head of a request that is under way
            self._in_bounds(len(name) + len(value) + 4)
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._in_head = False
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._all.complete(self)
        self._between = True
        super().on_message_complete()

    def _in_bounds(self, more: int) -> None:
        self._head += more
        if self._head > MOST_OF_A_HEAD:
            self._fault = "head-too-large"
            raise httptools.HttpParserCallbackError("the head is too large")

    # ---- from the transport

    def pause_writing(self) -> None:
        self._all.stalls(self, self.loop.time())
        super().pause_writing()

    def resume_writing(self) -> None:
        self._all.flows(self)
        super().resume_writing()

    def timeout_keep_alive_handler(self) -> None:
        # Whatever of an answer was not taken by now never will be.
        self.transport.abort()

    def handle_websocket_upgrade(self) -> Any:
        """There are none."""
        self.send_400_response("")
