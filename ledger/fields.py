"""The fields of entries and envelopes, read strictly: what is written in two ways could be signed in two ways."""

from __future__ import annotations

import re

from ledger.canonical import MAX_INT, Json
from ledger.errors import BadEntry

HEX32 = re.compile(r"[0-9a-f]{64}", re.ASCII)
HEX64 = re.compile(r"[0-9a-f]{128}", re.ASCII)
DIGEST = re.compile(r"(?:[0-9a-f]{2}){16,64}", re.ASCII)
_WORD_CLASS = r"[!#-\[\]-~]{1,200}"  # printable, without space and without what JSON would have to escape
_WORD = re.compile(_WORD_CLASS, re.ASCII)
FIVE_WORDS = re.compile(" ".join([_WORD_CLASS] * 5), re.ASCII)


def fields_of(value: Json, names: set[str], what: str) -> dict[str, Json]:
    """`value`, an object with these fields and no others; raises BadEntry."""
    if not isinstance(value, dict):
        raise BadEntry(f"{what} must be an object, not {value!r:.60}")
    if value.keys() != names:
        wrong = ", ".join(sorted(value.keys() ^ names))
        raise BadEntry(f"{what} lacks or should not have: {wrong:.200}")
    return value


def matching(pattern: re.Pattern[str], value: Json, what: str) -> str:
    """`value`, text of the given form; raises BadEntry."""
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise BadEntry(f"{what} has the wrong form: {value!r:.80}")
    return value


def word(value: Json, what: str) -> str:
    """`value`, printable text without spaces that JSON need not escape; raises BadEntry."""
    return matching(_WORD, value, what)


def number(value: Json, what: str) -> int:
    """`value`, an integer that every reader of JSON takes exactly; raises BadEntry."""
    if type(value) is not int or not 0 <= value <= MAX_INT:
        raise BadEntry(f"{what} must be an integer from 0 to 2**53 - 1, not {value!r:.60}")
    return value
