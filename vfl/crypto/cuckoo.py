"""Cuckoo hashing with three tables: every item gets a bin of its own, one of three that its hash names.

    h_z(x) = z T + floor(c_z(x) T / 2^38)      z = 0, 1, 2; T bins in a table; c_z: 38 of the 128 bits of x's hash

Bins are 1.27 for each item and no stash (Pinkas, Schneider & Zohner, "Scalable private set intersection based on OT
extension", ACM TOPS 2018, table for 2^-40), plus `SLACK` a table: in small sets the likely failure is t items that
share t - 1 bins, which for sets of 2^10 items and fewer only more bins prevent. Three separate tables instead of one:
the bins of an item never coincide, and the number of a bin tells which of the three hash functions was used.

Placing is exact rather than a random walk. Items that are alone in one of their bins take it and leave, and so on
(peeling: works for nearly all items above 1.222 bins an item, Molloy 2005); what remains is matched by augmenting
paths. `place` therefore fails only if no placement exists.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

SPREAD = 1.27  # bins for each item
SLACK = 80  # further bins in each table
FUNCTIONS = 3
_CHUNK = np.uint64(38)  # bits of hash for one position: products with a table size up to 2^25 stay below 2^64
Words = npt.NDArray[np.uint64]
Places = npt.NDArray[np.int32]


def bins_for(count: int) -> int:
    """Bins for `count` items, a multiple of 64 (one or two of them belong to no table)."""
    wanted = int(np.ceil(count * SPREAD)) + FUNCTIONS * SLACK
    return -(-wanted // 64) * 64


def places(hashes: Words, bins: int) -> Places:
    """The bins that the items may have: int32, shape (3, n). `hashes`: uint64, (n, 2), uniform."""
    table = np.uint64(bins // FUNCTIONS)
    low, high = hashes[:, 0], hashes[:, 1]
    rest = np.uint64(64) - _CHUNK
    third = (low << _CHUNK >> rest) | (high & np.uint64(2**12 - 1))  # the 26 and 12 bits that are left over
    parts = (low >> rest, high >> rest, third)
    return np.stack(
        [((part * table >> _CHUNK) + np.uint64(z) * table).astype(np.int32) for z, part in enumerate(parts)]
    )


def place(where: Places, bins: int) -> Places | None:
    """Which item has each bin: int32, shape (bins,), -1 for an empty one; None if there is no placement.

    `where`: from `places`.
    """
    held = np.full(bins, -1, np.int32)
    placed = _peel(where, held)
    for item in np.flatnonzero(~placed).tolist():
        if not _augment(item, where, held):
            return None
    return held


def _peel(where: Places, held: Places) -> npt.NDArray[np.bool_]:
    """Place in `held` whatever is alone in a bin, until nothing is; returns who has been placed."""
    count = where.shape[1]
    items = np.arange(count, dtype=np.int32)
    load = np.bincount(where.ravel(), minlength=len(held)).astype(np.int32)
    mixed = np.zeros(len(held), np.int32)  # the exclusive or of all items of a bin: the item itself where it is alone
    for row in where:
        np.bitwise_xor.at(mixed, row, items)
    taken = np.full(count, -1, np.int32)
    alone = np.flatnonzero(load == 1).astype(np.int32)
    while alone.size:
        leaving = mixed[alone]
        taken[leaving] = alone
        first = taken[leaving] == alone  # an item may be alone in two of its bins: it takes one
        leaving = leaving[first]
        held[alone[first]] = leaving
        left = where[:, leaving].ravel()
        np.subtract.at(load, left, np.ones(len(left), np.int32))
        np.bitwise_xor.at(mixed, left, np.tile(leaving, FUNCTIONS))
        alone = np.sort(left[load[left] == 1])
        alone = alone[np.diff(alone, prepend=np.int32(-1)) > 0]
    return taken >= 0


def _augment(item: int, where: Places, held: Places) -> bool:
    """Give `item` a bin by the shortest chain of evictions; False if there is none."""
    came: dict[int, tuple[int, int]] = {}  # bin -> the item that would move there, and the bin it would leave
    queue = [(item, -1)]
    for mover, origin in queue:
        for target in where[:, mover].tolist():
            if target in came:
                continue
            came[target] = (mover, origin)
            holder = int(held[target])
            if holder >= 0:
                queue.append((holder, target))
                continue
            free = target
            while free >= 0:
                held[free], free = came[free]
            return True
    return False
