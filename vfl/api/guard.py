"""Around every request: who may be meant by it, what is told of it, and what happens when something fails.

Plain ASGI: what wraps the answer in a task of its own costs more than all the rest of the way.
"""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from vfl.api.calls import SEEN, ClientGone, Seen, answer_of, header
from vfl.api.meters import Meters
from vfl.api.problems import Problem
from vfl.clock import Clock
from vfl.party.addresses import is_loopback
from vfl.party.service import Log
from vfl.randomness import fresh_bytes

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_HUNG_UP = 499
_PLAIN = [(b"x-content-type-options", b"nosniff")]
_OPEN = [*_PLAIN, (b"x-tallystick-authentication", b"off")]


class Guard:
    """The outermost layer that is ours."""

    def __init__(self, app: ASGIApp, *, authenticates: bool, meters: Meters, clock: Clock, log: Log) -> None:
        self._app, self._meters, self._clock, self._log = app, meters, clock, log
        self._authenticates = authenticates
        self._headers = _PLAIN if authenticates else _OPEN

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, seen, status = self._clock.monotonic_ns(), Seen(), 0
        scope[SEEN] = seen

        async def tell(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], *self._headers]
            await send(message)

        try:
            self._require_meant(scope)
            await self._app(scope, receive, tell)
        except Problem as problem:
            await answer_of(problem, scope["path"]).send(tell)
        except ClientGone:
            status = _HUNG_UP
        except Exception as error:
            if status:  # half an answer is out: the server ends the connection
                raise
            failure = Problem("internal", incident=self._incident(seen, error))
            await answer_of(failure, scope["path"]).send(tell)
        finally:
            self._tell(scope, seen, status or _HUNG_UP, self._clock.monotonic_ns() - started)

    def _require_meant(self, scope: Scope) -> None:
        """Refuse what a browser was made to send by a page from elsewhere.

        A service that asks nobody who he is answers to loopback names alone: else a page under a name that leads to
        127.0.0.1 could read it.
        """
        host = header(scope, b"host")
        if not self._authenticates and not is_loopback(_without_port(host or b"")):
            raise Problem("wrong-host")
        if scope["method"] not in ("GET", "HEAD"):
            origin = header(scope, b"origin")
            if origin is not None and origin.partition(b"://")[2] != host:
                raise Problem("cross-origin")

    def _incident(self, seen: Seen, error: Exception) -> str:
        seen.incident = fresh_bytes(8).hex()
        # The words of an error may hold anything; where it came from holds nothing.
        places = [
            f"{Path(each.filename).name}:{each.lineno}" for each in traceback.extract_tb(error.__traceback__)[-6:]
        ]
        self._log("failure", incident=seen.incident, error=type(error).__name__, places=places)
        return seen.incident

    def _tell(self, scope: Scope, seen: Seen, status: int, took: int) -> None:
        route = seen.route or _path_of(scope.get("route"))
        method = scope["method"] if scope["method"] in _METHODS else "other"
        self._meters.request(route, method, status, took / 1e9)
        words: Mapping[str, Any] = {
            "route": route,
            "method": method,
            "status": status,
            "ms": round(took / 1e6, 3),
            "client": seen.client,
        }
        self._log("request", **words, **({"incident": seen.incident} if seen.incident else {}))


def _path_of(route: object) -> str:
    """The template of a page that is none of our operations; what was asked for is never told."""
    return str(getattr(route, "path", "")) or "none"


def _without_port(host: bytes) -> str:
    text = host.decode("latin-1")
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.rpartition(":")[0] or text
