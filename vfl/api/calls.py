"""One request as the routes see it, and one answer as they give it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar
from urllib.parse import parse_qsl

import msgspec
from starlette.types import Receive, Scope, Send

from vfl.api.problems import MEDIA, Problem, unreadable

T = TypeVar("T")
JSON = b"application/json"
encode = msgspec.json.Encoder(order="deterministic").encode
"""An answer as JSON: what is the same is written the same, so that one asked for again is equal byte for byte."""
_KEY = re.compile(rb"[\x21-\x7e]{1,255}")
SEEN = "tallystick.seen"
"""Under this name a scope keeps what the log and the counts will say of the request."""


@dataclass(slots=True)
class Seen:
    """What of a request may be told: never its path or its query, which can hold identifiers."""

    route: str = ""
    client: str = ""
    incident: str = ""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks. `per_day`: decisions it may have, None without bound."""

    name: str
    scopes: frozenset[str]
    per_day: int | None = None


class ClientGone(Exception):
    """Whoever asked hung up before the request was complete."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes out, when it is not an object that becomes JSON with status 200."""

    body: bytes
    status: int = 200
    media: bytes = JSON
    headers: Sequence[tuple[bytes, bytes]] = ()

    async def send(self, send: Send) -> None:
        """Send it whole."""
        length = (b"content-length", str(len(self.body)).encode())
        headers = [(b"content-type", self.media), length, *self.headers]
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": self.body})


def answer_of(problem: Problem, path: str) -> Answer:
    """How a problem is told."""
    return Answer(problem.body(path), problem.status, MEDIA, problem.headers)


@dataclass(slots=True)
class Call:
    """A request that was let in."""

    scope: Scope
    receive: Receive
    caller: Caller
    path: Mapping[str, str] = field(default_factory=dict)

    def header(self, name: bytes) -> bytes | None:
        """The value of a header. Raises Problem if it is there twice."""
        return header(self.scope, name)

    def idempotency_key(self) -> str | None:
        """The caller's key for this very request. Raises Problem unless it is 1 to 255 visible ASCII characters."""
        value = self.header(b"idempotency-key")
        if value is None:
            return None
        if not _KEY.fullmatch(value):
            raise Problem("malformed-header", "Idempotency-Key has 1 to 255 visible ASCII characters")
        return value.decode()

    def query(self, kind: type[T]) -> T:
        """The query as a `kind`. Raises Problem for unknown names, repeated ones and wrong values."""
        try:
            pairs = parse_qsl(
                self.scope["query_string"].decode("ascii"),
                keep_blank_values=True,
                strict_parsing=bool(self.scope["query_string"]),
                errors="strict",
                max_num_fields=16,
            )
            found = dict(pairs)
            if len(found) < len(pairs):
                raise Problem("invalid-request", "a name stands twice in the query")
            return msgspec.convert(found, kind, strict=False)
        except msgspec.ValidationError as error:
            raise unreadable(error, b"") from None
        except ValueError:  # UnicodeDecodeError is one too
            raise Problem("invalid-request", "the query is not well-formed") from None

    async def body(self, most: int, media: bytes = JSON) -> bytes:
        """The whole body. Raises Problem if it is of another kind or larger than `most` bytes, however it is sent."""
        kind = (self.header(b"content-type") or b"").partition(b";")[0].strip().lower()
        if kind != media:
            raise Problem("unsupported-media-type", f"Content-Type is not {media.decode()}")
        announced = self.header(b"content-length")
        if announced is not None and int(announced) > most:
            raise Problem("body-too-large", f"more than {most} bytes")
        parts, size, more = [], 0, True
        while more:
            message = await self.receive()
            if message["type"] != "http.request":
                raise ClientGone
            parts.append(message["body"])
            size, more = size + len(message["body"]), message["more_body"]
            if size > most:
                raise Problem("body-too-large", f"more than {most} bytes")
        return b"".join(parts)


def header(scope: Scope, name: bytes) -> bytes | None:
    """The value of a header. Raises Problem if it is there twice."""
    found: list[bytes] = [value for each, value in scope["headers"] if each == name]
    if len(found) > 1:
        raise Problem("malformed-header", f"{name.decode()} is there twice")
    return found[0] if found else None
