"""The listener of an API: uvicorn with bounds of our own, TLS 1.3, and a start that is refused where it is not safe.

Outside loopback nothing is served without TLS, and nothing to callers that nobody knows.
"""

from __future__ import annotations

import asyncio
import contextlib
import resource
import signal
import socket
import threading
from collections.abc import Iterator

from fastapi import FastAPI
from uvicorn import Config, Server

from vfl.api.connections import Bounds, Connection, Connections
from vfl.api.gate import Gate
from vfl.api.tls import Tls, TlsContext
from vfl.errors import UsageError
from vfl.party.addresses import is_loopback, written
from vfl.party.service import Log

_FILES_BESIDE = 256  # that the process needs besides connections
_BACKLOG = 2048
_LOOK = 5  # ticks of a tenth of a second between two looks at connections and files
_KEEP = 20  # and between two times that the counts of the day are kept


class HttpServer:
    """A listener for an application made by `vfl.api.app.make_app`."""

    def __init__(
        self, app: FastAPI, host: str, port: int, tls: Tls | None = None, bounds: Bounds | None = None
    ) -> None:
        """Take the address at once; port 0 takes a free one. Raises UsageError if it is not to be had or not safe."""
        self._gate: Gate = app.state.gate
        self._log: Log = app.state.log
        _require_safe(host, self._gate, tls)
        self._tls = TlsContext(tls, self._clients()) if tls else None
        allowed = _with_files(bounds or Bounds())
        self._socket = _listen(host, port)
        self.port: int = self._socket.getsockname()[1]
        self.url = f"{'https' if tls else 'http'}://{written(host, self.port)}"
        self.connections = Connections(allowed, app.state.meters)
        config = Config(
            app,
            http="httptools",
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="critical",  # what uvicorn says has words of callers in it; the guard keeps a log without
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=int(allowed.idle),
            timeout_graceful_shutdown=int(allowed.ending),
        )
        self._server = _Server(config, self)

    @property
    def start_line(self) -> str:
        """What a person is told once it listens."""
        how = "" if self._gate.ring else "; AUTHENTICATION IS OFF: everybody on this machine may call"
        return f"listening on {self.url}{how}"

    async def serve(self) -> None:
        """Serve until `stop`, SIGTERM or Ctrl-C; what is under way then is still answered."""
        loop = asyncio.get_running_loop()
        numbers = (signal.SIGTERM, signal.SIGINT) if threading.current_thread() is threading.main_thread() else ()
        for number in numbers:
            loop.add_signal_handler(number, self.stop)
        try:
            await self._server.serve()
        finally:
            for number in numbers:
                loop.remove_signal_handler(number)
            self._socket.close()
            await self.keep()

    def stop(self) -> None:
        """Answer what is under way, and nobody more."""
        self._server.should_exit = True

    def close(self) -> None:
        """Let go of the address, where nothing was ever served."""
        self._socket.close()

    async def listen(self) -> asyncio.Server:
        """Admit connections."""
        loop = asyncio.get_running_loop()
        config = self._server.config
        return await loop.create_server(
            lambda: Connection(config, self.connections, loop),
            sock=self._socket,
            backlog=_BACKLOG,
            ssl=self._tls.context if self._tls else None,
            ssl_handshake_timeout=self.connections.bounds.arriving if self._tls else None,
        )

    def look(self) -> None:
        """End what takes too long, and take up changed certificates."""
        self.connections.sweep(asyncio.get_running_loop().time())
        if self._tls:
            # Files that are being written, or are wrong: what was shown before goes on.
            with contextlib.suppress(UsageError):
                self._tls.look(self._clients())

    async def keep(self) -> None:
        """Have the counts of the day outlive the process."""
        counts = self._gate.limits.changed()
        if counts is not None:
            try:
                await asyncio.to_thread(self._gate.limits.keep, counts)
            except UsageError as error:
                self._log("counts cannot be kept", error=type(error.__cause__).__name__)

    def _clients(self) -> frozenset[str]:
        return self._gate.ring.certificates() if self._gate.ring else frozenset()


async def serve_http(app: FastAPI, host: str, port: int, tls: Tls | None = None, bounds: Bounds | None = None) -> None:
    """Serve until the process is asked to end."""
    await HttpServer(app, host, port, tls, bounds).serve()


class _Server(Server):
    """uvicorn's, with a listener and a table of connections of ours."""

    def __init__(self, config: Config, of: HttpServer) -> None:
        super().__init__(config)
        self._of = of
        self.server_state = of.connections.state

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self.servers = [await self._of.listen()]
        self.started = True

    async def on_tick(self, counter: int) -> bool:
        if counter % _LOOK == 0:
            self._of.look()
        if counter % _KEEP == 0:
            await self._of.keep()
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        async def look() -> None:
            while True:
                self._of.look()
                await asyncio.sleep(_LOOK / 10)

        looking = asyncio.create_task(look())  # what arrives too slowly must not hold up the end
        await super().shutdown(sockets)
        looking.cancel()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """`HttpServer.serve` has its own: they end it and nothing else."""
        yield


def _require_safe(host: str, gate: Gate, tls: Tls | None) -> None:
    if tls and tls.require_client and gate.ring is None:
        raise UsageError("client certificates are required, but there is no file of API keys that registers them")
    if is_loopback(host):
        return
    if gate.ring is None:
        raise UsageError(
            f"the address {host} can be reached from elsewhere, and authentication is off",
            remedy="make keys with `tallystick api-key new`, or serve on 127.0.0.1",
        )
    if tls is None:
        raise UsageError(
            f"the address {host} can be reached from elsewhere, and there is no TLS: keys could be read on the way",
            remedy="name a certificate and its key, or serve on 127.0.0.1",
        )


def _listen(host: str, port: int) -> socket.socket:
    try:
        # Named TCP, so that small answers are sent at once: asyncio asks a socket for that only if it says so.
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        made = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        try:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            made.bind((host, port))
            made.listen(_BACKLOG)
        except OSError:
            made.close()
            raise
    except OSError as error:
        raise UsageError(
            f"the address {written(host, port)} is not to be had: {error.strerror}", remedy="name another"
        ) from None
    made.setblocking(False)
    return made


def _with_files(bounds: Bounds) -> Bounds:
    """The bounds, with no more connections than the process may have files open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = bounds.connections + _FILES_BESIDE
    if soft < wanted and soft != resource.RLIM_INFINITY:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return bounds
    return Bounds(max(16, soft - _FILES_BESIDE), bounds.arriving, bounds.idle, bounds.stalled, bounds.ending)
