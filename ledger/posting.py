"""One HTTP request to a service outside, with bounds on time and size."""

from __future__ import annotations

import http.client
import ssl
from typing import NamedTuple
from urllib.parse import SplitResult, urlsplit

MAX_ANSWER_BYTES = 64 * 1024
SECONDS = 10.0


class Answer(NamedTuple):
    """Status, media type and body of a response."""

    status: int
    kind: str
    body: bytes


def web_address(url: str) -> SplitResult:
    """The parts of an http or https address without query and fragment; raises ValueError for anything else."""
    parts = urlsplit(url)
    fits = parts.scheme in ("http", "https") and parts.hostname and not parts.query and not parts.fragment
    if not fits or parts.port == 0 or any(sign <= " " or sign == "\x7f" for sign in url):
        raise ValueError(f"{url!r:.200} is no web address")
    return parts


def post(url: SplitResult, path: str, body: bytes, kind: str, seconds: float = SECONDS) -> Answer:
    """POST `body` and read the answer, of which no more than one byte beyond MAX_ANSWER_BYTES.

    `seconds` bounds each step. Raises OSError or HTTPException.
    """
    host = url.hostname or ""
    connection = (
        http.client.HTTPSConnection(host, url.port, timeout=seconds, context=ssl.create_default_context())
        if url.scheme == "https"
        else http.client.HTTPConnection(host, url.port, timeout=seconds)
    )
    try:
        connection.request("POST", path, body, {"Content-Type": kind})
        response = connection.getresponse()
        return Answer(response.status, response.headers.get_content_type(), response.read(MAX_ANSWER_BYTES + 1))
    finally:
        connection.close()
