"""Who asks, and whether that client may: a key, a token or a certificate, and enough of its limits left.

Authorization: Bearer tsk_...      a key
Authorization: Bearer tst_...      a token (`vfl.api.tokens`)
Authorization: Basic ID:KEY        a key, from a browser that asks its user
a client certificate               known by its pin; no header speaks for one
"""

from __future__ import annotations

from starlette.types import Scope

from vfl.api.calls import SEEN, Caller, Seen, header
from vfl.api.keys import SCOPES, Credential, KeyRing
from vfl.api.limits import FILE, Limits
from vfl.api.problems import Problem
from vfl.api.tokens import PREFIX, Tokens, basic
from vfl.clock import Clock

LOCAL = Caller("local", frozenset(SCOPES))
"""Whoever calls a service that asks nobody who he is."""
_CHALLENGES = [(b"www-authenticate", b'Bearer realm="tallystick", Basic realm="tallystick"')]


class Gate:
    """Lets callers in."""

    def __init__(self, ring: KeyRing | None, clock: Clock) -> None:
        """`ring`: None asks nobody who he is, which is for loopback alone."""
        self.ring = ring
        self.limits = Limits(clock, ring.path.with_name(FILE) if ring else None)
        self.tokens = Tokens(ring, self.limits, clock) if ring else None

    def admit(self, scope: Scope, needed: frozenset[str]) -> Caller:
        """Who asks. `needed`: scopes of which one is enough.

        Raises Problem: 401 for nobody we know, 403 without the scope, 429 over the limit.
        """
        if self.ring is None:
            return LOCAL
        credential, scopes = self._credential(self.ring, scope)
        seen: Seen | None = scope.get(SEEN)
        if seen is not None:
            seen.client = credential.client
        self.limits.request(credential.client, credential.per_minute)
        if not needed & scopes:
            raise Problem("not-permitted", f"needs the scope {' or '.join(sorted(needed))}")
        return Caller(credential.client, scopes, credential.per_day)

    def known(self, scope: Scope, needed: frozenset[str]) -> bool:
        """Whether whoever asks would be let in, for pages that tell friends more than strangers."""
        try:
            return self.ring is None or bool(needed & self._credential(self.ring, scope)[1])
        except Problem:
            return False

    def charge(self, caller: Caller, decisions: int) -> None:
        """Count decisions that are about to be made. Raises Problem (429) if the day has no more."""
        if caller.per_day is not None:
            self.limits.decisions(caller.name, caller.per_day, decisions)

    def _credential(self, ring: KeyRing, scope: Scope) -> tuple[Credential, frozenset[str]]:
        value = header(scope, b"authorization")
        if value is None:
            pin = scope.get("state", {}).get("pin")
            found = ring.by_pin(pin) if pin else None
            if found is None:
                raise Problem("unauthorized", headers=_CHALLENGES)
            return found, frozenset(found.scopes)
        kind, _, words = value.decode("latin-1").partition(" ")
        words = words.strip()
        if kind.lower() == "bearer" and self.tokens is not None and words.startswith(PREFIX):
            held = self.tokens.find(words)
            if held is not None:
                return held
        elif kind.lower() == "bearer":
            if (found := ring.by_key(words)) is not None:
                return found, frozenset(found.scopes)
        elif kind.lower() == "basic" and (pair := basic(words)) is not None:
            found = ring.by_key(pair[1])
            if found is not None and found.id == pair[0]:
                return found, frozenset(found.scopes)
        raise Problem("unauthorized", "the key or token is not known, or no longer counts", headers=_CHALLENGES)
