"""What can be wrong with a request: one table of stable codes, told as problem JSON (RFC 9457).

No problem repeats anything of the request but the names of our own fields: bodies of errors end up in logs.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import msgspec

Headers = list[tuple[bytes, bytes]]
MEDIA = b"application/problem+json"
_TYPE = "urn:tallystick:problem:"


@dataclass(frozen=True)
class Kind:
    """One kind of problem: its HTTP status, what it is called, and what the caller does about it."""

    status: int
    title: str
    remedy: str


KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        "malformed-request": Kind(400, "The request is no well-formed HTTP", "send what RFC 9112 allows"),
        "malformed-header": Kind(400, "A header is not what it should be", "mend the header that is named"),
        "malformed-json": Kind(400, "The body is no JSON", "send one JSON object in UTF-8"),
        "unauthorized": Kind(401, "No valid key, token or certificate", "send Authorization: Bearer KEY"),
        "not-permitted": Kind(403, "The key is not for this", "ask for a key with the scope that is named"),
        "cross-origin": Kind(403, "A page from elsewhere asks", "call from a program, or from the service's own pages"),
        "not-found": Kind(404, "There is no such page", "see /openapi.json"),
        "unknown-applicant": Kind(404, "The applicant is in no table", "send the features along, or correct the id"),
        "unknown-decision": Kind(404, "There is no such decision", "use the decision_id of an answer"),
        "unknown-file": Kind(404, "There is no such file in the jobs folder", "put it there, as a file of its own"),
        "unknown-job": Kind(404, "There is no such job", "begin it by POST /v1/jobs"),
        "unknown-model": Kind(404, "No such model can score", "see /v1/models"),
        "method-not-allowed": Kind(405, "The page is not for this method", "use one that Allow names"),
        "key-in-use": Kind(409, "The first request with this idempotency key is under way", "ask again a little later"),
        "job-conflict": Kind(409, "Another result or job has that file", "name another `out`"),
        "not-agreed": Kind(409, "It is not allowed by what was agreed", "see the detail"),
        "body-too-large": Kind(413, "The body is too large", "send fewer applicants at once"),
        "unsupported-media-type": Kind(415, "The body is of another kind", "send Content-Type: application/json"),
        "wrong-host": Kind(421, "The service is not known under this name", "call it by a loopback address"),
        "invalid-request": Kind(422, "The JSON is not what is asked for", "see the detail and /openapi.json"),
        "not-finite": Kind(422, "A number is not finite", "send a finite number, or null where a value is missing"),
        "refused-input": Kind(422, "The model cannot take this", "see the detail and /v1/models"),
        "key-reused": Kind(422, "The idempotency key was used for another request", "take a new key per request"),
        "too-many-requests": Kind(429, "Too many requests", "wait as long as Retry-After says"),
        "quota-used-up": Kind(429, "The decisions of today are used up", "wait until Retry-After, or ask for more"),
        "head-too-large": Kind(431, "URL and headers are too large", "send fewer and shorter headers"),
        "internal": Kind(500, "Something failed here", "tell the operator the incident; ask again with the same key"),
        "partner-away": Kind(503, "A partner takes no part, and none is done without", "ask again after Retry-After"),
    }
)


class RefusedRow(msgspec.Struct, frozen=True):
    """A row of an inference request that has no decision."""

    row: int
    code: str


class ProblemBody(msgspec.Struct, frozen=True, omit_defaults=True):
    """An error (RFC 9457). `code` is stable, words may change.

    at: where in the request, as a path of our own field names.   incident: under which it stands in the service's log.
    rows: of an inference request, those without a decision.   error: the words once more, for /v2 clients.
    """

    type: str
    title: str
    status: int
    code: str
    detail: str = ""
    at: str = ""
    incident: str = ""
    rows: tuple[RefusedRow, ...] = ()
    error: str = ""


class Problem(Exception):
    """A request that is answered with an error."""

    def __init__(
        self,
        code: str,
        detail: str = "",
        *,
        at: str = "",
        headers: Sequence[tuple[bytes, bytes]] = (),
        incident: str = "",
        rows: tuple[RefusedRow, ...] = (),
    ) -> None:
        super().__init__(code)
        self.code, self.status = code, KINDS[code].status
        self.headers = headers
        self._more = (detail or KINDS[code].remedy, at, incident, rows)

    def body(self, path: str) -> bytes:
        """The JSON, in the form for clients of `path`."""
        kind, (detail, at, incident, rows) = KINDS[self.code], self._more
        error = f"{self.code}: {detail}" if path == "/v2" or path.startswith("/v2/") else ""
        shown = ProblemBody(_TYPE + self.code, kind.title, kind.status, self.code, detail, at, incident, rows, error)
        return msgspec.json.encode(shown)


def retry_after(seconds: float) -> tuple[bytes, bytes]:
    """The header that says when to ask again: whole seconds, rounded up, at least one."""
    return b"retry-after", str(max(1, -int(-seconds // 1))).encode()


_AT = re.compile(r" - at `(?P<at>\$[A-Za-z0-9_.\[\]]*)`$")
_BYTE = re.compile(r"\(byte (\d+)\)$")
_OURS = re.compile(
    r"Expected `[a-z0-9 |]+`(, got `[a-z]+`| of length [<>]= \d+| [<>]=? -?\d+)|Object missing required .*"
)
_NOT_FINITE = re.compile(rb"NaN|Infinity")


def unreadable(error: Exception, body: bytes) -> Problem:
    """Why a body cannot be taken, in words of ours alone: those of the decoder may repeat the body's."""
    words = str(error)
    if isinstance(error, msgspec.ValidationError):
        found = _AT.search(words)
        said, at = (words[: found.start()], found["at"]) if found else (words, "$")
        if said == "Number out of range":
            return Problem("not-finite", at=at)
        if said.startswith("Object contains unknown field"):
            return Problem("invalid-request", "has a field that is not known here", at=at)
        said = said.replace("`", "") if _OURS.fullmatch(said) else "is none of the values allowed"
        return Problem("invalid-request", said, at=at)
    place = _BYTE.search(words) if isinstance(error, msgspec.DecodeError) else None
    if place is None:
        return Problem("malformed-json")
    # The decoder names the first byte that cannot be: after the sign, where there is one.
    if _NOT_FINITE.match(body, int(place[1])):
        return Problem("not-finite")
    return Problem("malformed-json", f"is no JSON at byte {place[1]}")
