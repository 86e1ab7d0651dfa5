"""A small secret under a passphrase: Argon2id makes the key, AES-256-GCM seals.

    {"kdf": "argon2id", "memory_kib": 65536, "iterations": 3, "lanes": 4, "salt": hex, "nonce": hex, "sealed": base64}

Parameters are RFC 9106's second recommended option (t = 3, p = 4, m = 64 MiB, 128-bit salt); they stand with what they
seal and are authenticated with it. Less is refused on reading, and so is what would fill the memory of a machine.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from vfl.errors import UsageError
from vfl.randomness import fresh_bytes

KEY_BYTES, SALT_BYTES, NONCE_BYTES = 32, 16, 12
MEMORY_KIB, ITERATIONS, LANES = 65_536, 3, 4
_MEMORY = range(MEMORY_KIB, 1 << 21)  # to 2 GiB
_ITERATIONS, _LANES = range(ITERATIONS, 33), range(1, 17)
_FIELDS = {"kdf", "memory_kib", "iterations", "lanes", "salt", "nonce", "sealed"}


def seal(content: bytes, passphrase: str, bound: bytes) -> dict[str, Any]:
    """`content` sealed under the passphrase; `bound` must be the same again to open it."""
    head = {
        "kdf": "argon2id",
        "memory_kib": MEMORY_KIB,
        "iterations": ITERATIONS,
        "lanes": LANES,
        "salt": fresh_bytes(SALT_BYTES).hex(),
    }
    return {**head, **seal_with(_stretched(passphrase, head), content, bound + _canonical(head))}


def unseal(body: Mapping[str, Any], passphrase: str, bound: bytes) -> bytes:
    """What `seal` sealed. Raises UsageError for a wrong passphrase, altered bytes, or parameters out of range."""
    if not isinstance(body, dict) or body.keys() != _FIELDS or body["kdf"] != "argon2id":
        raise UsageError("it is not sealed under a passphrase by this program")
    for key, allowed in (("memory_kib", _MEMORY), ("iterations", _ITERATIONS), ("lanes", _LANES)):
        if type(body[key]) is not int or body[key] not in allowed:
            raise UsageError(f"{key} of its Argon2id is {body[key]!r:.40}, not {allowed[0]} to {allowed[-1]}")
    head = {key: value for key, value in body.items() if key not in ("nonce", "sealed")}
    return unseal_with(_stretched(passphrase, head), body, bound + _canonical(head))


def seal_with(key: bytes, content: bytes, bound: bytes) -> dict[str, Any]:
    """`content` sealed under a key of 32 bytes."""
    nonce = fresh_bytes(NONCE_BYTES)
    sealed = AESGCM(key).encrypt(nonce, content, bound)
    return {"nonce": nonce.hex(), "sealed": base64.b64encode(sealed).decode()}


def unseal_with(key: bytes, body: Mapping[str, Any], bound: bytes) -> bytes:
    """What `seal_with` sealed. Raises UsageError where key, bytes or `bound` are others."""
    try:
        nonce, sealed = bytes.fromhex(body["nonce"]), base64.b64decode(body["sealed"], validate=True)
        return AESGCM(key).decrypt(nonce, sealed, bound)
    except InvalidTag:
        raise UsageError("the passphrase is wrong, or the file was altered") from None
    except (KeyError, TypeError, ValueError, binascii.Error):
        raise UsageError("it is damaged: what is sealed in it has the wrong form") from None


def _stretched(passphrase: str, head: Mapping[str, Any]) -> bytes:
    try:
        salt = bytes.fromhex(head["salt"])
    except (TypeError, ValueError):
        salt = b""
    if len(salt) != SALT_BYTES:
        raise UsageError(f"it is damaged: its salt is not {SALT_BYTES} bytes in hex")
    made = Argon2id(
        salt=salt,
        length=KEY_BYTES,
        iterations=head["iterations"],
        lanes=head["lanes"],
        memory_cost=head["memory_kib"],
    )
    return made.derive(passphrase.encode())


def _canonical(head: Mapping[str, Any]) -> bytes:
    return json.dumps(head, sort_keys=True, separators=(",", ":")).encode()
