"""Messages and their bytes: frozen, tagged, strictly decoded MessagePack. Nothing else ever travels.

A message is a `Message` subclass; its tag is the class name. Bulk data is one `bytes` field with its count and width
declared beside it. Decoding refuses unknown fields, wrong types and any encoding that is not the one we would write
ourselves (checked by re-encoding), so every message has exactly one byte string.

No pickle, no class lookup by name, no unbounded size: `MAX_MESSAGE` bounds a message before it is decoded.
"""

from __future__ import annotations

from typing import TypeVar

import msgspec

from vfl.errors import BrokenPromise, Malformed

MAX_MESSAGE = 64 * 2**20  # bytes; rows travel in blocks far below this
Bytes32 = msgspec.Meta(min_length=32, max_length=32)


class Message(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag=True):
    """Base of everything one party may say to another."""


M = TypeVar("M", bound=Message)


def pack(message: Message) -> bytes:
    """The one encoding of `message`."""
    return msgspec.msgpack.encode(message)


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
