"""What a store holds of a log, checked when the log is opened again: nothing may be added to a damaged log."""

from __future__ import annotations

from collections.abc import Iterator

from ledger.chain import check_link
from ledger.checkpoint import Checkpoint, open_checkpoint
from ledger.entry import Entry
from ledger.errors import BadNote, BadSignature, LedgerError, StoreDamaged
from ledger.keys import VerifyingKey
from ledger.merkle import ZERO_HASH, Tree
from ledger.store import Head, Row, Store


def stored_entries(store: Store, origin: str) -> Iterator[tuple[Entry, Row]]:
    """The entries of the log `origin` in order, each linked to the one before. Raises StoreDamaged."""
    previous = ZERO_HASH
    for expected, row in enumerate(store.rows()):
        try:
            entry = Entry.from_bytes(row.body)
            check_link(entry, row, expected, previous, origin)
        except LedgerError as error:
            raise StoreDamaged(
                f"{origin}: stored entry {expected} is damaged: {error}",
                remedy="Restore the store from a backup; nothing may be added to a damaged log.",
            ) from error
        previous = row.leaf
        yield entry, row


def stored_heads(store: Store, origin: str, key: VerifyingKey, tree: Tree) -> list[Head]:
    """The checkpoints that the log signed, each with the root that its entries give. Raises StoreDamaged."""
    heads = store.checkpoints()
    for head in heads:
        try:
            signed = open_checkpoint(head.note, key).head
        except (BadNote, BadSignature) as error:
            raise StoreDamaged(f"{origin}: the stored checkpoint of {head.size} is damaged: {error}") from error
        if head.size > len(tree):
            raise StoreDamaged(f"{origin}: a checkpoint of {head.size} was signed, {len(tree)} are stored")
        expected = Checkpoint(origin, head.size, tree.root(head.size))
        if not signed == expected == Checkpoint(origin, head.size, head.root):
            raise StoreDamaged(f"{origin}: the stored entries do not give the signed root of size {head.size}")
    return heads
