"""What all pages have in common: language, forms, headers, and who may post."""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import parse_qs, urlsplit

from starlette.requests import Request

from vfl.errors import UsageError
from vfl.wording import LANGUAGES

COOKIE = "lang"
MOST_BYTES = 64 * 1024
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",  # with none at all, browsers hide where a form was posted from
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}
"""Of every answer. Pages hold what people entered: nobody keeps them."""
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?", re.ASCII)
_CHOICE = re.compile(r"\s*([A-Za-z]{1,8})(?:-[A-Za-z0-9-]*)?\s*(?:;\s*q=([0-9.]{1,5}))?\s*")


def language_of(request: Request) -> str:
    """`?lang=`, else what this browser chose before, else the first of its languages that there is."""
    for chosen in (request.query_params.get("lang"), request.cookies.get(COOKIE)):
        if chosen in LANGUAGES:
            return chosen
    wanted: list[tuple[float, str]] = []
    for part in request.headers.get("accept-language", "").split(",")[:20]:
        if (match := _CHOICE.fullmatch(part)) and match[1].lower() in LANGUAGES:
            wanted.append((-_weight(match[2]), match[1].lower()))
    return min(wanted, default=(0.0, LANGUAGES[0]), key=lambda one: one[0])[1]


def _weight(text: str | None) -> float:
    try:
        return 1.0 if text is None else float(text)
    except ValueError:
        return 0.0


def from_this_page(request: Request) -> bool:
    """Whether a page of this server posted a form: a page elsewhere must not decide in the name of its reader."""
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    if site is not None:
        return site in ("same-origin", "none")
    return origin is None or urlsplit(origin).netloc == request.headers.get("host")


async def form_of(request: Request) -> Mapping[str, str]:
    """The fields of a posted form, each once. Raises UsageError for one that is too large or of another kind."""
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/x-www-form-urlencoded":
        raise UsageError("a form is expected")
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > MOST_BYTES:
            raise UsageError(f"the form has more than {MOST_BYTES} bytes")
    try:
        fields = parse_qs(body.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=2_000)
    except ValueError:
        raise UsageError("the form cannot be read") from None
    return {name: values[-1] for name, values in fields.items()}


def number_of(text: str) -> float:
    """A decimal number as people write it. Raises ValueError for anything else, and for one that is not finite."""
    if not _NUMBER.fullmatch(text):
        raise ValueError(text[:40])
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise ValueError(text[:40])
    return value
