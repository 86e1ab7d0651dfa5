"""Messages and their bytes: frozen, tagged, strictly decoded MessagePack. Nothing else ever travels.

A message is a `Message` subclass; its tag is the class name. Bulk data is one `bytes` field with its count and width
declared beside it. Decoding refuses unknown fields, wrong types and any encoding that is not the one we would write
ourselves (checked by re-encoding), so every message has exactly one byte string.

Ledgers hold the SHA-256 of messages. Many a message has few possible contents (which of ten customers go left), and a
reader of the ledger could try them all: so every message of a run has a `blind` of 16 bytes that only its ends know.

No pickle, no class lookup by name, no unbounded size: `MAX_MESSAGE` bounds a message before it is decoded.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from typing import Annotated, TypeVar

import msgspec

from vfl.errors import BrokenPromise, Malformed

MAX_MESSAGE = 64 * 2**20  # bytes; rows travel in blocks far below this
BLIND_BYTES = 16
Bytes32 = msgspec.Meta(min_length=32, max_length=32)


class Message(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag=True, kw_only=True, omit_defaults=True):
    """Base of everything one party may say to another. `blind`: empty where no ledger is kept."""

    blind: Annotated[bytes, msgspec.Meta(max_length=BLIND_BYTES)] = b""


M = TypeVar("M", bound=Message)


Blinds = Callable[[str], bytes]
"""The blind of the message at a slot: the same one whenever a run is resumed or replayed."""


def unblinded(slot: str) -> bytes:
    """The blinds of parties that keep no ledger."""
    return b""


def blinds(key: bytes) -> Blinds:
    """HMAC-SHA256(key, slot)[:16]. `key`: 32 bytes that only this party has."""
    return lambda slot: hmac.digest(key, slot.encode(), hashlib.sha256)[:BLIND_BYTES]


def pack(message: Message, blind: bytes = b"") -> bytes:
    """The one encoding of `message`, with this blind."""
    return msgspec.msgpack.encode(msgspec.structs.replace(message, blind=blind) if blind else message)


def unpack(kind: type[M], data: bytes) -> M:
    """The message of class `kind` that `data` encodes. Raises Malformed for anything else."""
    if len(data) > MAX_MESSAGE:
        raise Malformed(f"a message of {len(data)} bytes is larger than the limit of {MAX_MESSAGE}")
    try:
        message = msgspec.msgpack.decode(data, type=kind)
    except (msgspec.DecodeError, ValueError, RecursionError, OverflowError) as error:
        # ValueError too: msgspec lets UnicodeDecodeError out of its own family.
        raise Malformed(f"no well-formed {kind.__name__}: {error}") from None
    if pack(message) != data:
        raise Malformed(f"the {kind.__name__} is not in its one canonical encoding")
    return message


def require(fact: object, sentence: str) -> None:
    """Demand `fact` of a message just received. `sentence` states what should have been true."""
    if not fact:
        raise BrokenPromise(f"not so: {sentence}")
