"""Digests of many ids: HMACs by the million, the commitment to a set, the Merkle root of a table."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

from vfl.secret import Secret

_BLOCK = 64  # bytes of a SHA-256 block
_INNER, _OUTER = (bytes(byte ^ pad for byte in range(256)) for pad in (0x36, 0x5C))


def hmacs(key: bytes, messages: Iterable[bytes]) -> list[bytes]:
    """HMAC-SHA256 (RFC 2104) of each message. `key`: at most 64 bytes.

    Both blocks of the key are hashed once for all messages, which halves the time of one `hmac.digest` for each.
    """
    block = key.ljust(_BLOCK, b"\0")
    inner, outer = hashlib.sha256(block.translate(_INNER)), hashlib.sha256(block.translate(_OUTER))
    digests = []
    for message in messages:
        first, second = inner.copy(), outer.copy()
        first.update(message)
        second.update(first.digest())
        digests.append(second.digest())
    return digests


def set_commitment(role: str, tokens: Sequence[str], salt: Secret[bytes]) -> bytes:
    """SHA-256 over the sorted HMACs of a set under a salt. `role`: active or passive."""
    leaves = sorted(hmacs(salt.expose(), (f"{role}:{token}".encode() for token in tokens)))
    return hashlib.sha256(b"tallystick-set-v1" + b"".join(leaves)).digest()


def merkle_root(rows: Sequence[bytes]) -> bytes:
    """RFC 6962, 2.1, level by level: a last node without a sibling goes up as it is."""
    level = [hashlib.sha256(b"\0" + row).digest() for row in rows]
    while len(level) > 1:
        pairs = [hashlib.sha256(b"\1" + a + b).digest() for a, b in zip(level[::2], level[1::2], strict=False)]
        level = pairs + level[len(pairs) * 2 :]
    return level[0]
