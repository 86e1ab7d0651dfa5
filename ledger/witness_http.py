"""The HTTP side of a witness: one path, bounded bodies, bounded waiting, a bounded number of connections.

`/healthz` answers 200 while the process lives, for whoever supervises it; the report does not mention it.

Speaks plain HTTP, so it is meant for loopback: where others are to reach it, a server that speaks TLS stands in front.
Requests need no authentication: a checkpoint carries its log's signature, and nothing else changes the store.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TypeAlias, cast

from ledger.witness_service import ADD_CHECKPOINT, Reply, WitnessService

MAX_BODY_BYTES = 256 * 1024
SECONDS = 10.0
MAX_CONNECTIONS = 64
HEALTH = "/healthz"

Report: TypeAlias = Callable[[Reply], None]


class WitnessServer(ThreadingHTTPServer):
    """Serves `service` under `prefix` until `shutdown()`; `report` hears of every answer."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], service: WitnessService, report: Report, prefix: str = "") -> None:
        """Binds `address` (host, port; port 0 takes a free one); raises OSError."""
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self.service, self.report = service, report
        self.path = f"/{prefix.strip('/')}/{ADD_CHECKPOINT}".replace("//", "/")
        self._free = threading.BoundedSemaphore(MAX_CONNECTIONS)
        super().__init__(address, _Handler)

    @property
    def url(self) -> str:
        """The submission prefix that clients are given."""
        host, port = self.server_address[:2]
        name = f"[{host!s}]" if ":" in str(host) else str(host)
        return f"http://{name}:{port}{self.path.removesuffix(f'/{ADD_CHECKPOINT}')}"

    def process_request(self, request: object, client_address: object) -> None:
        """Give the connection a thread, or hang up when all are busy: waiting clients must not use up memory."""
        connection = cast("socket.socket", request)
        if not self._free.acquire(blocking=False):
            self.shutdown_request(connection)
            return
        super().process_request(connection, cast("tuple[str, int]", client_address))

    def process_request_thread(self, request: object, client_address: object) -> None:
        """Serve one connection and give its place back."""
        try:
            super().process_request_thread(cast("socket.socket", request), cast("tuple[str, int]", client_address))
        finally:
            self._free.release()

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hangs up is no event."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "tallystick-witness"
    sys_version = ""
    timeout = SECONDS
    wbufsize = -1
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        self._answer(self._reply())

    def do_GET(self) -> None:
        if self.path == HEALTH:
            self._say(Reply(HTTPStatus.OK, "alive\n"))
            return
        known = self.path == self._house.path
        status = HTTPStatus.METHOD_NOT_ALLOWED if known else HTTPStatus.NOT_FOUND
        self._answer(Reply(status, f"this witness answers POST {self._house.path}\n"))

    do_PUT = do_DELETE = do_PATCH = do_HEAD = do_OPTIONS = do_GET  # noqa: N815

    @property
    def _house(self) -> WitnessServer:
        return cast("WitnessServer", self.server)

    def _reply(self) -> Reply:
        length = self.headers.get("Content-Length", "")
        if self.path != self._house.path:
            return Reply(HTTPStatus.NOT_FOUND, f"this witness answers POST {self._house.path}\n")
        if "Transfer-Encoding" in self.headers or not (length.isascii() and length.isdigit()):
            return Reply(HTTPStatus.LENGTH_REQUIRED, "a request needs its Content-Length\n")
        if len(length) > 9 or int(length) > MAX_BODY_BYTES:
            return Reply(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a request has at most {MAX_BODY_BYTES} bytes\n")
        body = self.rfile.read(int(length))
        if len(body) != int(length):
            return Reply(HTTPStatus.BAD_REQUEST, "the request ended before its Content-Length\n")
        self._read = True
        return self._house.service.add_checkpoint(body)

    def _answer(self, reply: Reply) -> None:
        self._say(reply)
        self._house.report(reply)

    def _say(self, reply: Reply) -> None:
        data = reply.body.encode()
        self.send_response(reply.status)
        self.send_header("Content-Type", reply.content_type)
        self.send_header("Content-Length", str(len(data)))
        if not self.__dict__.pop("_read", False):
            self.close_connection = True  # the rest of an unread body would be taken for a request
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)
        self.wfile.flush()

    def log_message(self, format: str, *arguments: object) -> None:
        """Nothing: `report` tells what an operator needs."""
