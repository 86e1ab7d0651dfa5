"""One route of the API: what it is for, who may call it, what comes in and goes out.

The same table makes the routes and the OpenAPI document, so that neither can say what the other does not.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from vfl.api.calls import SEEN, Answer, Call, Caller, encode
from vfl.api.gate import LOCAL, Gate
from vfl.api.problems import unreadable

MOST_OF_ONE = 65_536  # bytes
MOST_OF_MANY = 16 << 20
_NO_STORE = ((b"cache-control", b"no-store"),)


@dataclass(frozen=True)
class Operation:
    """act: gets the call and the decoded body (None without one); returns an Answer, or what becomes JSON.

    scopes: of which one is enough; none of them where everybody may call.   body, answer: types, for decoding and for
    the document.   query: a type of which each field is a parameter.   others: types by status, if not `answer`.
    problems: codes besides those of every route.
    """

    method: str
    path: str
    name: str
    about: str
    act: Callable[[Call, Any], Awaitable[object]]
    scopes: frozenset[str] = frozenset()
    body: Any = None
    most: int = MOST_OF_ONE
    query: Any = None
    answer: Any = None
    media: str = "application/json"
    status: tuple[int, ...] = (200,)
    others: Mapping[int, Any] = field(default_factory=dict)
    idempotent: bool = False
    problems: tuple[str, ...] = ()
    examples: Mapping[str, Any] = field(default_factory=dict)

    def route(self, gate: Gate) -> Route:
        """For the router."""
        return Route(self.path, _Endpoint(self, gate), methods=[self.method], name=self.name)


class _Endpoint:
    """An operation as an ASGI application."""

    def __init__(self, operation: Operation, gate: Gate) -> None:
        self._operation, self._gate = operation, gate
        self._decode = msgspec.json.Decoder(operation.body).decode if operation.body is not None else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope[SEEN].route = self._operation.path
        caller = self._admitted(scope)
        call = Call(scope, receive, caller, scope["path_params"])
        body = None
        if self._decode is not None:
            raw = await call.body(self._operation.most)
            try:
                body = self._decode(raw)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                raise unreadable(error, raw) from None
        answer = await self._operation.act(call, body)
        if not isinstance(answer, Answer):
            answer = Answer(encode(answer), headers=_NO_STORE)
        await answer.send(send)

    def _admitted(self, scope: Scope) -> Caller:
        return self._gate.admit(scope, self._operation.scopes) if self._operation.scopes else LOCAL
