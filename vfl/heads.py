"""What a party shows a peer at a round boundary: the head of its ledger, and what proves it to be the ledger it was.

    {"note": signed checkpoint,
     "proofs": {size: consistency proof from there},           from a head that the peer saw before
     "gossip": {name: {"note": head, "proof": proof}},         what others cosigned last, each with its way to this head
     "account": {"entry": entry, "proof": inclusion proof}}    of the messages between the two; absent before the first

JSON; nodes of proofs in hex.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ledger.merkle import proof_from_hex


@dataclass(frozen=True)
class ShownHead:
    """A head as it is shown. `account`: an entry, or nothing; `path`: its way to the head's root."""

    note: str
    proofs: Mapping[str, Sequence[bytes]]
    gossip: Mapping[str, tuple[str, Sequence[bytes]]]
    account: str = ""
    path: Sequence[bytes] = ()

    def encode(self) -> bytes:
        """As it travels."""
        shows: dict[str, object] = {
            "note": self.note,
            "proofs": {size: _hex(nodes) for size, nodes in self.proofs.items()},
            "gossip": {name: {"note": note, "proof": _hex(nodes)} for name, (note, nodes) in self.gossip.items()},
        }
        if self.account:
            shows["account"] = {"entry": self.account, "proof": _hex(self.path)}
        return json.dumps(shows).encode()

    @classmethod
    def decode(cls, head: bytes) -> ShownHead:
        """Raises ValueError, KeyError, TypeError, AttributeError, RecursionError or LedgerError for anything else."""
        body = json.loads(head)
        account = body.get("account", {"entry": "", "proof": []})
        return cls(
            str(body["note"]),
            {str(size): proof_from_hex(nodes) for size, nodes in body["proofs"].items()},
            {str(name): (str(said["note"]), proof_from_hex(said["proof"])) for name, said in body["gossip"].items()},
            str(account["entry"]),
            proof_from_hex(account["proof"]),
        )


def _hex(nodes: Sequence[bytes]) -> list[str]:
    return [node.hex() for node in nodes]
