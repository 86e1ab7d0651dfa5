"""OAuth2 client credentials (RFC 6749, 4.4): a key is exchanged for a token that is short-lived.

    POST /oauth2/token   grant_type=client_credentials [scope=...]   client: HTTP Basic, or client_id, client_secret
    -> {"access_token", "token_type": "Bearer", "expires_in", "scope"}

client_id is the id of a key, client_secret the whole key. Tokens are opaque; their digests are kept in memory alone. A
token is good for no more than its key, and not longer than that key counts.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl, unquote_plus

import msgspec

from vfl.api.calls import Answer, Call
from vfl.api.keys import SCOPES, Credential, KeyRing, digest
from vfl.api.limits import Limits
from vfl.clock import Clock
from vfl.randomness import fresh_bytes

SECONDS = 600
MOST_FORM = 4096  # bytes
FORM = b"application/x-www-form-urlencoded"
PREFIX = "tst_"
_MOST_OF_A_KEY = 100
_NO_STORE = ((b"cache-control", b"no-store"), (b"pragma", b"no-cache"))


class Token(msgspec.Struct, frozen=True):
    """What a client gets for its key."""

    access_token: str
    token_type: str
    expires_in: int
    scope: str


class TokenRefused(msgspec.Struct, frozen=True):
    """Why it gets none (RFC 6749, 5.2)."""

    error: str
    error_description: str


@dataclass(frozen=True, slots=True)
class _Held:
    key: str  # the id of the key that it was given for
    scopes: frozenset[str]
    until: int  # monotonic nanoseconds


class _Refusal(Exception):
    def __init__(self, error: str, words: str) -> None:
        super().__init__(error)
        self.body = TokenRefused(error, words)


class Tokens:
    """Tokens that have been given out."""

    def __init__(self, ring: KeyRing, limits: Limits, clock: Clock) -> None:
        self._ring, self._limits, self._clock = ring, limits, clock
        self._held: dict[str, _Held] = {}

    def find(self, token: str) -> tuple[Credential, frozenset[str]] | None:
        """The key behind a token and its scopes, if both still count."""
        held = self._held.get(digest(token))
        if held is None or self._clock.monotonic_ns() >= held.until:
            return None
        key = self._ring.by_id(held.key)
        return (key, held.scopes & frozenset(key.scopes)) if key else None

    async def give(self, call: Call, _: None) -> Answer:
        """The route."""
        try:
            form = _form(await call.body(MOST_FORM, FORM))
            token = self._given(form, call.header(b"authorization"))
        except _Refusal as refusal:
            unknown = refusal.body.error == "invalid_client"
            challenge = ((b"www-authenticate", b'Basic realm="tallystick"'),) if unknown else ()
            return Answer(msgspec.json.encode(refusal.body), 401 if unknown else 400, headers=(*_NO_STORE, *challenge))
        return Answer(msgspec.json.encode(token), headers=_NO_STORE)

    def _given(self, form: Mapping[str, str], authorization: bytes | None) -> Token:
        which, secret = _client(form, authorization)
        key = self._ring.by_key(secret)
        if key is None or key.id != which:
            raise _Refusal("invalid_client", "the client is not known, or the key is not its own")
        self._limits.request(key.client, key.per_minute)
        if (kind := form.get("grant_type")) != "client_credentials":
            raise _Refusal(
                "unsupported_grant_type" if kind else "invalid_request", "grant_type is not client_credentials"
            )
        asked = form.get("scope", " ".join(key.scopes)).split(" ")
        if not asked or not set(asked) <= set(key.scopes):
            raise _Refusal("invalid_scope", f"the key has the scopes {' '.join(key.scopes)}")
        token = PREFIX + base64.urlsafe_b64encode(fresh_bytes(32)).decode().rstrip("=")
        self._make_room(key.id)
        until = self._clock.monotonic_ns() + SECONDS * 1_000_000_000
        self._held[digest(token)] = _Held(key.id, frozenset(asked), until)
        return Token(token, "Bearer", SECONDS, " ".join(each for each in SCOPES if each in asked))

    def _make_room(self, key: str) -> None:
        """Forget what has run out, and the oldest of a key that asks for more and more."""
        now = self._clock.monotonic_ns()
        for each in [each for each, held in self._held.items() if held.until <= now]:
            del self._held[each]
        own = [each for each, held in self._held.items() if held.key == key]
        for each in own[: max(0, len(own) - _MOST_OF_A_KEY + 1)]:
            del self._held[each]


def basic(value: str) -> tuple[str, str] | None:
    """User and password of the words after `Basic`, None if there are none."""
    try:
        user, colon, password = base64.b64decode(value, validate=True).decode("utf-8").partition(":")
    except (binascii.Error, ValueError):
        return None
    return (user, password) if colon else None


def _client(form: Mapping[str, str], authorization: bytes | None) -> tuple[str, str]:
    in_form = "client_id" in form or "client_secret" in form
    if authorization is None:
        return form.get("client_id", ""), form.get("client_secret", "")
    if in_form:
        raise _Refusal("invalid_request", "the client is named twice")
    kind, _, words = authorization.decode("latin-1").partition(" ")
    found = basic(words.strip()) if kind.lower() == "basic" else None
    if found is None:
        raise _Refusal("invalid_client", "the client is not named by HTTP Basic")
    return unquote_plus(found[0]), unquote_plus(found[1])


def _form(body: bytes) -> Mapping[str, str]:
    try:
        pairs = parse_qsl(body.decode("ascii"), strict_parsing=True, errors="strict", max_num_fields=16)
    except ValueError:
        raise _Refusal("invalid_request", "the form is not well-formed") from None
    if len(dict(pairs)) < len(pairs):
        raise _Refusal("invalid_request", "a name stands twice in the form")
    return dict(pairs)
