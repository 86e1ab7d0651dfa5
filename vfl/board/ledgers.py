"""Stretches of the ledger for pages, and finding an entry by its number, its hash or a decision's."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

from ledger.canonical import decode
from ledger.errors import LedgerError
from ledger.merkle import leaf_hash
from vfl.scoring.answers import LedgerPart, Scorer

AT_ONCE = 500
"""Entries that are asked for in one piece."""
MOST_SEARCHED = 5_000
"""Entries that one search for a hash looks at; the page offers to go on."""
_NUMBER = re.compile(r"[0-9]{1,7}", re.ASCII)
_HASH = re.compile(r"[0-9a-f]{8,64}", re.ASCII)


@dataclass(frozen=True)
class Shown:
    """One entry as pages show it. `fields`: decoded, empty where it is no canonical JSON."""

    number: int
    text: str
    leaf: str
    path: tuple[str, ...]
    fields: Mapping[str, Any]

    @property
    def commits(self) -> list[Mapping[str, Any]]:
        """What it commits to."""
        found: list[Mapping[str, Any]] = self.fields.get("commit", [])
        return found

    @property
    def count(self) -> int:
        """Of how many it commits to, where it says so; else 1."""
        count = self.fields.get("params", {}).get("count")
        return count if isinstance(count, int) else 1


@dataclass(frozen=True)
class Found:
    """Where something is: an entry of a log, or a decision. Neither: nothing among the entries from `below` on."""

    log: str = ""
    entry: int | None = None
    decision: str = ""
    below: int = 0


def shown(part: LedgerPart) -> list[Shown]:
    """The entries of a stretch, in the order of the log."""
    pairs = zip(part.entries, part.inclusion, strict=True)
    return [
        Shown(part.start + place, text, leaf_hash(text.encode()).hex(), tuple(path), fields_of(text))
        for place, (text, path) in enumerate(pairs)
    ]


async def newest(scorer: Scorer, log: str | None, count: int) -> LedgerPart:
    """The last `count` entries under the checkpoint. Raises UsageError for a log that is none of ours."""
    one = await scorer.ledger(log, 0, 1)
    return await scorer.ledger(one.log, max(0, one.size - count), count)


async def find(scorer: Scorer, log: str | None, words: str, below: int | None = None) -> Found | None:
    """What a person meant: an entry's number, a decision's id, or eight and more digits of a hash.

    A hash is that of an entry as a leaf, or one that an entry commits to. It is looked for in one log, the newest
    entries first, among MOST_SEARCHED before entry `below`. None for words that are none of the three.
    """
    part = await scorer.ledger(log, 0, 1)
    if _NUMBER.fullmatch(words):
        return Found(part.log, int(words)) if int(words) < part.size else Found(part.log)
    if "-" in words and await scorer.find(words) is not None:
        return Found(decision=words)
    if not _HASH.fullmatch(words.lower()):
        return Found(part.log) if "-" in words else None
    top = part.size if below is None else min(below, part.size)
    last = max(0, top - MOST_SEARCHED)
    async for entry in _backwards(scorer, part.log, last, top):
        if any(digest.startswith(words.lower()) for digest in _digests(entry)):
            return Found(part.log, entry.number)
    return Found(part.log, below=last)


async def _backwards(scorer: Scorer, log: str, first: int, top: int) -> AsyncIterator[Shown]:
    while top > first:
        start = max(first, top - AT_ONCE)
        for entry in reversed(shown(await scorer.ledger(log, start, top - start))):
            yield entry
        top = start


def _digests(entry: Shown) -> list[str]:
    payload = entry.fields.get("payload") or {}
    committed = [one.get("digest") for one in (*entry.commits, payload)]
    return [entry.leaf, *(digest for digest in committed if isinstance(digest, str))]


def fields_of(text: str) -> Mapping[str, Any]:
    """What an entry says; nothing where it is no canonical JSON."""
    try:
        value = decode(text.encode())
    except LedgerError:
        return {}
    return value if isinstance(value, dict) else {}
