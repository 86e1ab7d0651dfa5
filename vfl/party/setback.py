"""A ledger that was set back must not go on: what it would sign next contradicts what it signed before.

A backup, a snapshot of a machine or a copied folder takes a ledger back to an earlier head. Peers hold later ones, with
its party's signature. So before anything is signed in an attempt, each side is shown the newest head that the other
holds of its own log; only its owner can have signed that, so no peer can make one up.

active                                                 passive
Offer    run, agreement, its newest head of yours  -->  is my log at least as long, with that root?
the same of mine                                   <--  its newest head of yours
"""

from __future__ import annotations

from pathlib import Path

from ledger.checkpoint import Checkpoint, open_checkpoint
from ledger.errors import LedgerError
from ledger.keys import VerifyingKey
from ledger.merkle import Tree
from ledger.store import Store
from vfl.errors import AgreementError
from vfl.net.calls import MAX_HEAD
from vfl.own_ledger import own_ledger
from vfl.party.runs import RunFolder
from vfl.seat import open_ledger, read_party

REMEDY = "put the newest copy of its folder back if there is one; else end it here, and start a new run"


def held_of(peer: str, folder: RunFolder, me: str) -> bytes:
    """The newest head of `peer` that we countersigned in the run, as it signed it; empty before the first."""
    if not _begun(seat := folder.path / me):
        return b""
    with own_ledger():
        store = open_ledger(seat, folder.run)
        try:
            head = store.peer_head(f"{peer}/{folder.run}")
        finally:
            store.close()
    return head.note.encode() if head else b""


def require_remembered(note: bytes, run: str, peer: str, key: VerifyingKey) -> None:
    """Raise AgreementError if `peer` holds a head of ours in a run that we know nothing of."""
    if note:
        head = _own(note, run, peer, key)
        raise AgreementError(
            f"{peer} holds a head of {head.size} entries of the ledger of {key.name} in the run {run}, which "
            f"{key.name} knows nothing of: its folder was set back",
            remedy=REMEDY,
        )


def require_not_set_back(note: bytes, folder: RunFolder, peer: str, key: VerifyingKey) -> None:
    """Raise AgreementError if our ledger of the run does not contain the head of it that `peer` holds.

    `key`: of our identity. The run is then marked, so that nothing more is signed in it here.
    """
    if not note:
        return
    head = _own(note, folder.run, peer, key)
    have = 0
    if _begun(seat := folder.path / key.name):
        with own_ledger():
            store = open_ledger(seat, folder.run)
            try:
                tree = _tree(store, head.size)
            finally:
                store.close()
        have = len(tree)
        if have == head.size and tree.root() == head.root:
            return
    what = f"has {have}" if have < head.size else "has others"
    why = f"{peer} holds a head of {head.size} entries of the ledger of {key.name}, which {what}: it was set back"
    folder.set_back(why)
    raise AgreementError(f"the run {folder.run} cannot go on: {why}", remedy=REMEDY)


def require_going_on(folder: RunFolder) -> None:
    """Raise AgreementError if the ledger of the run is known to have been set back."""
    if why := folder.why_set_back:
        raise AgreementError(f"the run {folder.run} cannot go on: {why}", remedy=REMEDY)


def _begun(seat: Path) -> bool:
    """Whether there is a ledger to look into; one in a database is asked for."""
    return (seat / "ledger.sqlite").exists() or bool(read_party(seat).ledger)


def _own(note: bytes, run: str, peer: str, key: VerifyingKey) -> Checkpoint:
    """A head of our log of the run. Raises AgreementError for anything that we did not sign."""
    try:
        head = open_checkpoint(note[: MAX_HEAD + 1].decode(), key).head
    except (LedgerError, UnicodeDecodeError) as error:
        raise AgreementError(f"{peer} shows a head of the ledger of {key.name} that it did not sign") from error
    if head.origin != f"{key.name}/{run}":
        raise AgreementError(f"{peer} shows a head of {head.origin} for one of {key.name}/{run}")
    return head


def _tree(store: Store, size: int) -> Tree:
    """Over the first `size` entries, or over all if there are fewer."""
    tree = Tree()
    for row in store.rows():
        if len(tree) == size:
            break
        tree.append(row.leaf)
    return tree
