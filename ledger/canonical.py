"""Canonical JSON: one value, one byte string.

    {"a":1,"b":["x",null,true]}

The subset of RFC 8785 in which Python's own encoder is exact: object keys are ASCII strings in byte order, numbers are
integers within +-(2**53 - 1), there are no floats, no spaces and no escapes but those JSON demands. A document is at
most 65,536 bytes, where no other limit is given, and nests at most 8 deep.
"""

from __future__ import annotations

import json
from typing import NoReturn, TypeAlias

from ledger.errors import NotCanonical

Json: TypeAlias = "bool | int | str | list[Json] | dict[str, Json] | None"

MAX_BYTES = 65_536
MAX_DEPTH = 8
MAX_INT = 2**53 - 1

_TEXT = json.JSONEncoder(
    sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False, check_circular=False
)


def encode(value: object, *, limit: int = MAX_BYTES) -> bytes:
    """Return the canonical bytes of `value` (dict, list, str, int, bool or None, nested), at most `limit` of them.

    Raises NotCanonical for floats, other types, non-ASCII keys, large integers, lone surrogates, depth and length.
    """
    _check(value, 1)
    try:
        data = _TEXT.encode(value).encode("utf-8")
    except UnicodeEncodeError as error:
        raise NotCanonical(f"a text holds the lone surrogate {error.object[error.start]!a}") from None
    if len(data) > limit:
        raise NotCanonical(f"the document has {len(data)} bytes, the limit is {limit}")
    return data


def decode(data: bytes, *, limit: int = MAX_BYTES) -> Json:
    """Return the value of canonical bytes; raises NotCanonical for every other byte string.

    Strict by re-encoding: what `encode` would not have written in exactly this way is refused, so doubled keys, spaces,
    other escapes and other number forms need no rule of their own.
    """
    if len(data) > limit:
        raise NotCanonical(f"the document has {len(data)} bytes, the limit is {limit}")
    try:
        value: Json = json.loads(data.decode("utf-8"), parse_float=_no_float, parse_constant=_no_float)
    except (ValueError, RecursionError) as error:
        raise NotCanonical(f"not JSON: {error}") from None
    if encode(value, limit=limit) != data:
        raise NotCanonical("the JSON is not in canonical form (key order, spaces, escapes or numbers)")
    return value


def _no_float(text: str) -> NoReturn:
    raise ValueError(f"the number {text[:40]} is not an integer")


def _check(value: object, depth: int) -> None:
    kind = type(value)
    if kind is str or kind is bool or value is None:
        return
    if kind is int:
        _check_int(value)
    elif depth > MAX_DEPTH:
        raise NotCanonical(f"the document nests deeper than {MAX_DEPTH}")
    elif isinstance(value, dict):
        for key, item in value.items():
            if type(key) is not str or not key.isascii():
                raise NotCanonical(f"the object key {key!a} is not an ASCII string")
            if type(item) is not str:  # most values are texts, and this is the verifier's busiest loop
                _check(item, depth + 1)
    elif isinstance(value, list):
        for item in value:
            _check(item, depth + 1)
    else:
        raise NotCanonical(f"{kind.__name__} {value!r:.40} has no canonical form; write decimals as text")


def _check_int(value: object) -> None:
    assert isinstance(value, int)
    if not -MAX_INT <= value <= MAX_INT:
        raise NotCanonical(f"the integer {value:d} is outside +-(2**53 - 1); write it as text")
