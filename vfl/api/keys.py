"""Who may call: keys and certificates of clients, in one file that only its owner reads.

    {"format": "tallystick-api-keys-v1", "credentials": [{"id", "client", "scopes", "created", "expires", "per_minute",
     "per_day", "revoked", "sha256" of the key or "certificate" in PEM}]}

    key = tsk_ID_SECRET        SECRET: 32 random bytes, base64url

A key is all randomness, so SHA-256 is enough to keep it by: nobody tries 2**256 of them. It is shown once, when it
is made. A client may have several credentials at a time: that is how one is replaced without a gap.
"""

from __future__ import annotations

import base64
import hmac
import os
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from ledger.errors import LedgerError
from ledger.keys import check_party
from vfl.api.tls import pin_of
from vfl.clock import Clock
from vfl.errors import UsageError
from vfl.files import alone, refusals
from vfl.party.keystore import require_private, write_secret
from vfl.randomness import fresh_bytes

FILE = "api-keys.json"
Scope = Literal["score", "read", "admin"]
SCOPES: Mapping[Scope, str] = {
    "score": "have applicants scored",
    "read": "see decisions, the ledger and the metrics",
    "admin": "promote models, in steps or at once, and roll them back",
}
_KEY = re.compile(r"tsk_([a-f0-9]{12})_([A-Za-z0-9_-]{43})")
_LOOK = 1_000_000_000  # nanoseconds between two looks at the file
_MOST_BYTES = 10_000_000
_NOBODY = "0" * 64


class Credential(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One key or certificate of a client, and what it is good for. `per_minute`: requests; `per_day`: decisions."""

    id: Annotated[str, msgspec.Meta(pattern="^[a-f0-9]{12}$")]
    client: Annotated[str, msgspec.Meta(min_length=1, max_length=63)]
    scopes: tuple[Scope, ...]
    created: Annotated[datetime, msgspec.Meta(tz=True)]
    expires: Annotated[datetime, msgspec.Meta(tz=True)] | None = None
    per_minute: Annotated[int, msgspec.Meta(ge=1)] = 60_000
    per_day: Annotated[int, msgspec.Meta(ge=1)] | None = None
    revoked: Annotated[datetime, msgspec.Meta(tz=True)] | None = None
    sha256: Annotated[str, msgspec.Meta(pattern="^[a-f0-9]{64}$")] = ""
    certificate: str = ""

    def state(self, now: datetime) -> str:
        """In one word, as `tallystick api-key list` tells it."""
        if self.revoked is not None:
            return "revoked"
        return "expired" if self.expires is not None and now >= self.expires else "valid"


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    format: Literal["tallystick-api-keys-v1"]
    credentials: tuple[Credential, ...]


def read(path: Path) -> tuple[Credential, ...]:
    """All credentials. Raises UsageError if the file is missing, readable by others, or none of ours."""
    require_private(path)
    remedy = "make the first one with `tallystick api-key new`, or restore the file from a backup"
    try:
        with path.open("rb") as file:
            found = msgspec.json.decode(file.read(_MOST_BYTES), type=_File).credentials
    except OSError as error:
        raise UsageError(f"the API keys in {path} cannot be read: {error.strerror}", remedy=remedy) from None
    except (msgspec.DecodeError, ValueError):
        raise UsageError(f"{path} is no file of API keys, or damaged", remedy=remedy) from None
    if len({each.id for each in found}) < len(found) or any(
        bool(each.sha256) == bool(each.certificate) for each in found
    ):
        raise UsageError(f"{path} is damaged: a credential stands twice, or is none", remedy=remedy)
    return found


def add(path: Path, wanted: Credential) -> str:
    """Keep a new credential; the key, unless it is by certificate: it can never be shown again."""
    with alone(path.with_name(path.name + ".lock"), f"{path} is being changed by somebody else"):
        before = read(path) if path.exists() else ()
        key = ""
        if not wanted.certificate:
            key = f"tsk_{wanted.id}_{base64.urlsafe_b64encode(fresh_bytes(32)).decode().rstrip('=')}"
            wanted = msgspec.structs.replace(wanted, sha256=digest(key))
        elif any(pin_of(wanted.certificate) == pin for pin in _pins(before)):
            raise UsageError("the key of this certificate is registered already", remedy="revoke that one first")
        _write(path, (*before, wanted))
    return key


def revoke(path: Path, which: str, now: datetime) -> Credential:
    """Withdraw a credential for good: services see it within a second. Raises UsageError if there is none."""
    with alone(path.with_name(path.name + ".lock"), f"{path} is being changed by somebody else"):
        before = read(path)
        found = next((each for each in before if each.id == which), None)
        if found is None:
            raise UsageError(f"there is no API key {which!r:.20} in {path}", remedy="see `tallystick api-key list`")
        done = msgspec.structs.replace(found, revoked=found.revoked or now)
        _write(path, tuple(done if each is found else each for each in before))
    return done


def wanted(
    client: str,
    scopes: Sequence[str],
    now: datetime,
    expires: datetime | None,
    per_minute: int | None,
    per_day: int | None,
    certificate: str,
) -> Credential:
    """A credential to be added, not yet with its key. Raises UsageError for names and scopes that cannot be."""
    try:
        check_party(client, "client")
    except LedgerError as error:
        raise UsageError(str(error)) from None
    given = tuple(each for each in SCOPES if each in scopes)
    if unknown := sorted(set(scopes) - set(given)):
        raise UsageError(f"{unknown[0]!r:.20} is no scope", remedy=f"use {', '.join(SCOPES)}")
    if certificate:
        pin_of(certificate)
    made = Credential(fresh_bytes(6).hex(), client, given, now, expires, per_day=per_day, certificate=certificate)
    return made if per_minute is None else msgspec.structs.replace(made, per_minute=per_minute)


def digest(text: str) -> str:
    """By what a key or a token is kept."""
    return sha256(text.encode()).hexdigest()


def _pins(found: Sequence[Credential]) -> dict[str, Credential]:
    return {pin_of(each.certificate): each for each in found if each.certificate and not each.revoked}


def _write(path: Path, found: tuple[Credential, ...]) -> None:
    with refusals(path, "free some space, or make the folder writable"):
        write_secret(
            path, msgspec.json.format(msgspec.json.encode(_File("tallystick-api-keys-v1", found)), indent=2) + b"\n"
        )


class KeyRing:
    """The credentials of a file, as it stands now: changes count within a second, without a restart."""

    def __init__(self, path: Path, clock: Clock) -> None:
        """Raises UsageError if the file cannot be used."""
        self.path, self._clock = path, clock
        self.damaged = False
        """Whether the file has been changed since into one that cannot be used; what was read before still counts."""
        self._looked, self._mark = clock.monotonic_ns(), _mark(path)
        self._take(read(path))

    def by_key(self, key: str) -> Credential | None:
        """The credential whose key this is, if it counts."""
        found = _KEY.fullmatch(key)
        credential = self._known(found[1]) if found else None
        # Compared in any case: how long an answer takes does not tell which ids there are.
        same = hmac.compare_digest(digest(key), credential.sha256 if credential and credential.sha256 else _NOBODY)
        return credential if same else None

    def by_id(self, which: str) -> Credential | None:
        """The credential of this id, if it counts: for tokens that were given out for it."""
        return self._known(which)

    def by_pin(self, pin: str) -> Credential | None:
        """The credential of a certificate, if it counts."""
        self._look()
        found = self._by_pin.get(pin)
        return self._counting(found) if found else None

    def certificates(self) -> frozenset[str]:
        """PEM of all that count, for the handshake."""
        self._look()
        return frozenset(each.certificate for each in self._by_pin.values() if self._counting(each))

    def _known(self, which: str) -> Credential | None:
        self._look()
        found = self._by_id.get(which)
        return self._counting(found) if found else None

    def _counting(self, found: Credential) -> Credential | None:
        if found.revoked is not None:
            return None
        return found if found.expires is None or self._clock.now() < found.expires else None

    def _look(self) -> None:
        now = self._clock.monotonic_ns()
        if now - self._looked < _LOOK:
            return
        self._looked = now
        mark = _mark(self.path)
        if mark != self._mark:
            self._mark = mark
            try:
                self._take(read(self.path))
                self.damaged = False
            except UsageError:
                self.damaged = True

    def _take(self, found: Sequence[Credential]) -> None:
        self._by_id, self._by_pin = {each.id: each for each in found}, _pins(found)


def _mark(path: Path) -> tuple[int, ...]:
    try:
        found = os.stat(path)
    except OSError:
        return ()
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_mode
