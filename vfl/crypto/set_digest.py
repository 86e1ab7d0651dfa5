"""Digests of many ids: HMACs by the million, the commitment to a set, the Merkle root of a table."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

import numpy as np

from vfl.engine import HERE, Engine, mapped, parts
from vfl.secret import Secret
from vfl.texts import Texts

_BLOCK = 64  # bytes of a SHA-256 block
_DIGEST = 32
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


def set_commitment(role: str, tokens: Sequence[str], salt: Secret[bytes], engine: Engine = HERE) -> bytes:
    """SHA-256 over the sorted HMACs of a set under a salt. `role`: active or passive."""
    texts, leaves = Texts.of(tokens), np.empty(len(tokens), f"S{_DIGEST}")
    pieces = ((salt.expose(), role, texts[part]) for part in parts(len(texts), engine.partition_rows))
    for part, digests in zip(parts(len(texts), engine.partition_rows), mapped(engine, _leaves, pieces), strict=True):
        leaves[part] = np.frombuffer(digests, leaves.dtype)
    leaves.sort()
    found = hashlib.sha256(b"tallystick-set-v1")
    found.update(leaves.data.cast("B"))
    return found.digest()


def _leaves(salt: bytes, role: str, tokens: Texts) -> bytes:
    head = f"{role}:".encode()
    return b"".join(hmacs(salt, (head + token for token in tokens.encoded())))


def table_root(key: bytes, tokens: Sequence[str], engine: Engine = HERE) -> bytes:
    """The Merkle root of HMAC(key, row, id) of every row.

    A part has a power of two of rows, so that its own root is a node of the whole tree (RFC 6962, 2.1).
    """
    texts, size = Texts.of(tokens), 1 << (engine.partition_rows.bit_length() - 1)
    pieces = ((key, part.start, texts[part]) for part in parts(len(texts), size))
    return _above(list(mapped(engine, _part_root, pieces)))


def _part_root(key: bytes, first: int, tokens: Texts) -> bytes:
    rows = (row.to_bytes(8, "big") + token for row, token in enumerate(tokens.encoded(), first))
    return merkle_root(hmacs(key, rows))


def merkle_root(rows: Sequence[bytes]) -> bytes:
    """RFC 6962, 2.1, level by level: a last node without a sibling goes up as it is."""
    return _above([hashlib.sha256(b"\0" + row).digest() for row in rows])


def _above(level: list[bytes]) -> bytes:
    """The root above these nodes of one level."""
    while len(level) > 1:
        pairs = [hashlib.sha256(b"\1" + a + b).digest() for a, b in zip(level[::2], level[1::2], strict=False)]
        level = pairs + level[len(pairs) * 2 :]
    return level[0]
