"""A party's keys at rest: one file, of which a passphrase opens the secret half.

    {"format": "tallystick-keys-v1", "name": .., "certificates": [current, next],     for everybody, authenticated
     "wrapped": the file's own key, sealed under the passphrase (`vfl.party.sealing`),
     "sealed": {"seed": hex, "tls": [key of each certificate]}, sealed under the file's own key}

The file's own key stays when the passphrase changes and when TLS keys are rotated: a service that was unlocked once
reads the next certificate without asking anybody (`Keys.again`).
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ledger.keys import Identity
from vfl.errors import UsageError
from vfl.files import refusals
from vfl.party.certificates import TlsKey
from vfl.party.sealing import KEY_BYTES, seal, seal_with, unseal, unseal_with
from vfl.randomness import SEED_BYTES, fresh_bytes

FORMAT = "tallystick-keys-v1"
FILE = "keys.json"
MOST_BYTES = 100_000
_FIELDS = {"format", "name", "certificates", "wrapped", "sealed"}
_LOST = "restore it from a backup: without it the party's identity is lost"


@dataclass(frozen=True)
class Keys:
    """What an unlocked key file holds. `tls`: the current TLS key, then the next one."""

    name: str
    seed: bytes = field(repr=False)
    tls: tuple[TlsKey, ...]
    own: bytes = field(repr=False)  # the file's own key

    @property
    def identity(self) -> Identity:
        """The long-term keys."""
        return Identity(self.name, self.seed)

    @property
    def tls_key(self) -> bytes:
        """PEM of the current TLS key."""
        return self.tls[0].key

    @property
    def certificate(self) -> bytes:
        """PEM of the current certificate."""
        return self.tls[0].certificate

    def again(self, state: Path) -> Keys:
        """What the file holds now, after a rotation or a change of the passphrase."""
        body = read(state)
        with _of_file(state):
            return _opened(body, self.own)


def create(state: Path, name: str, seed: bytes, tls: Sequence[TlsKey], passphrase: str) -> Keys:
    """A new key file. Raises UsageError if there is one already."""
    if (state / FILE).exists():
        raise UsageError(f"{state / FILE} exists; a key is never overwritten", remedy="name another folder")
    keys = Keys(name, seed, tuple(tls), fresh_bytes(KEY_BYTES))
    _write(state, keys, seal(keys.own, passphrase, _bound(name)))
    return keys


def unlock(state: Path, passphrase: str) -> Keys:
    """The keys in the state folder. Raises UsageError for a wrong passphrase or an altered file."""
    body = read(state)
    with _of_file(state):
        return _opened(body, unseal(body["wrapped"], passphrase, _bound(body["name"])))


def replace_tls(state: Path, keys: Keys, tls: Sequence[TlsKey]) -> Keys:
    """The same file with other TLS keys; nobody has to be asked for the passphrase again."""
    changed = Keys(keys.name, keys.seed, tuple(tls), keys.own)
    _write(state, changed, read(state)["wrapped"])
    return changed


def change_passphrase(state: Path, old: str, new: str) -> None:
    """Seal the file's own key under another passphrase."""
    keys = unlock(state, old)
    _write(state, keys, seal(keys.own, new, _bound(keys.name)))


def read(state: Path) -> dict[str, Any]:
    """The file as it stands, nothing opened. Raises UsageError if it is missing, readable by others or damaged."""
    path = state / FILE
    require_private(path)
    try:
        data = path.read_bytes()
        body: Any = json.loads(data) if len(data) <= MOST_BYTES else None
    except OSError as error:
        raise UsageError(f"the key file {path} cannot be read: {error.strerror}", remedy=_LOST) from None
    except (ValueError, RecursionError):
        raise UsageError(f"the key file {path} is damaged: it is not whole", remedy=_LOST) from None
    texts = isinstance(body, dict) and body.keys() == _FIELDS and isinstance(body["name"], str)
    if not texts or body["format"] != FORMAT or not isinstance(body["certificates"], list):
        raise UsageError(f"{path} is no key file of a party", remedy=_LOST)
    if len(body["certificates"]) != 2 or not all(isinstance(one, str) for one in body["certificates"]):
        raise UsageError(f"the key file {path} is damaged: it has no two certificates", remedy=_LOST)
    found: dict[str, Any] = body
    return found


def certificates(state: Path) -> tuple[bytes, ...]:
    """The current certificate and the next one; no passphrase is needed."""
    return tuple(one.encode() for one in read(state)["certificates"])


def loose(path: Path) -> str:
    """Why others may read a file or folder; empty if they may not."""
    if os.name != "posix":
        return ""
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
    except OSError:
        return ""
    return f"{path} has mode {mode:04o}: others may read it" if mode & 0o077 else ""


def require_private(path: Path) -> None:
    """Raise UsageError if others may read a file of secrets."""
    if why := loose(path):
        raise UsageError(why, remedy=f"run `chmod go= {path}`; if others can have read it, make new keys")


def write_secret(path: Path, data: bytes) -> None:
    """`data` into a file that only its owner may read at any moment, whole or not at all."""
    temporary = path.with_name(path.name + ".part")
    with refusals(path, "free some space, or make the folder writable"):
        temporary.unlink(missing_ok=True)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)


def _write(state: Path, keys: Keys, wrapped: Mapping[str, Any]) -> None:
    shown = [one.certificate.decode() for one in keys.tls]
    secret = json.dumps({"seed": keys.seed.hex(), "tls": [one.key.decode() for one in keys.tls]}).encode()
    body = {
        "format": FORMAT,
        "name": keys.name,
        "certificates": shown,
        "wrapped": wrapped,
        "sealed": seal_with(keys.own, secret, _bound(keys.name, *shown)),
    }
    write_secret(state / FILE, (json.dumps(body, indent=2) + "\n").encode())


def _opened(body: Mapping[str, Any], own: bytes) -> Keys:
    shown = body["certificates"]
    content = json.loads(unseal_with(own, body["sealed"], _bound(body["name"], *shown)))
    seed = bytes.fromhex(content["seed"])
    if len(seed) != SEED_BYTES:
        raise UsageError(f"its seed has {len(seed)} bytes, not {SEED_BYTES}")
    tls = [TlsKey(key.encode(), one.encode()) for key, one in zip(content["tls"], shown, strict=True)]
    return Keys(body["name"], seed, tuple(tls), own)


def _bound(*words: str) -> bytes:
    return json.dumps([FORMAT, *words]).encode()


class _of_file:  # noqa: N801  # reads as the statement it is
    """Names the file in what is refused."""

    def __init__(self, state: Path) -> None:
        self._path = state / FILE

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, UsageError):
            remedy = error.remedy or "check the passphrase; if it is right, restore the file from a backup"
            raise UsageError(f"the key file {self._path} does not open: {error}", remedy=remedy) from None
