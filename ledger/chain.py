"""How entries of a log follow each other, and what a protocol position of it holds."""

from __future__ import annotations

from typing import NamedTuple

from ledger.entry import Direction, Entry, Payload
from ledger.errors import BrokenChain
from ledger.merkle import leaf_hash
from ledger.store import Row


class Said(NamedTuple):
    """What a slot holds: enough to tell whether a repeated append says the same."""

    seq: int
    dir: Direction
    peer: str | None
    payload: Payload | None
    digest: str

    def __str__(self) -> str:
        return " ".join([self.dir, *([self.peer] if self.peer else []), self.digest])


def check_link(entry: Entry, row: Row, expected: int, previous: bytes, origin: str) -> None:
    """Raise BrokenChain unless a stored entry is number `expected` of the log and follows the leaf `previous`."""
    if leaf_hash(row.body) != row.leaf:
        raise BrokenChain("its bytes do not give the leaf hash kept beside them")
    if (entry.seq, row.seq) != (expected, expected) or entry.prev != previous.hex():
        raise BrokenChain(
            f"it is entry {entry.seq} after leaf {entry.prev:.16}.., not {expected} after its predecessor"
        )
    if entry.log != origin:
        raise BrokenChain(f"it belongs to the log {entry.log}")
