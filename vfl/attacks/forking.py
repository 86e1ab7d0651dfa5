"""A partner that rewrites its ledger once everybody has cosigned it, to show that it is caught.

It leaves the bytes of one entry out of what it shows, keeps the size, and signs the head of that other history with its
own key. Whoever remembers the head that was cosigned before has two heads that cannot both be true: a fork.
"""

from __future__ import annotations

from pathlib import Path

from ledger.checkpoint import Checkpoint, sign_checkpoint
from ledger.errors import NotConsistent
from ledger.evidence import fork_evidence
from ledger.keys import Identity
from ledger.merkle import Tree, leaf_hash
from ledger.note import Note
from ledger.store import Store
from ledger.witness import Witness
from vfl.errors import UsageError

_DENIED = leaf_hash(b"nothing was said here")


def forked_head(store: Store, liar: Identity, entry: int) -> Note:
    """The head of the liar's log with another entry at this place, signed by the liar."""
    head = store.checkpoints()[-1]
    origin = Checkpoint.parse(Note.parse(head.note).text).origin
    leaves = (row.leaf for row in store.rows() if row.seq < head.size)
    tree = Tree(_DENIED if seq == entry else leaf for seq, leaf in enumerate(leaves))
    return sign_checkpoint(Checkpoint(origin, head.size, tree.root()), liar.identity)


def caught(witness: Witness, shown: Note, liar: Identity) -> bytes:
    """Show the head to whoever cosigned the true one: the evidence that this peer then has.

    Raises UsageError where the witness sees nothing wrong.
    """
    try:
        witness.cosign(str(shown), [], liar.identity.verifying)
    except NotConsistent as error:
        return fork_evidence(error)
    raise UsageError(f"the head of {liar.name} contradicts nothing")


def write_evidence(folder: Path, data: bytes) -> Path:
    """Among the party's evidence."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "fork-1.json"
    path.write_bytes(data)
    return path
