"""One record a decision, and the Merkle root that stands for all of them in the ledger: each can be shown alone.

DIR/<active>/decisions.jsonl     canonical JSON, a line a hold-out customer, in the order of predictions.csv:
    {"id":"..","model":"<SHA-256 of model.json>","pd":"0.0834","reasons":[{"party":"..","words":".."}],"run":"..",
     "score":"-2.396","v":1}

leaf i = SHA-256(0x00 || salt i || record i)          salt i = HMAC-SHA256(key, i as 8 bytes, big-endian)
root   = RFC 6962 root of all leaves                  key drawn from the party's seed

The entry `report/0/decisions` of the active party's log commits to the root. Salts hide the other records: their leaves
are in a proof, and say nothing. Whoever destroys the seed destroys all salts.
Needs the standard library and `ledger` only, so that one record is found and proven in a moment.
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from ledger.canonical import decode, encode
from ledger.errors import LedgerError
from ledger.merkle import Tree, leaf_hash, verify_inclusion
from vfl.errors import UsageError

FILE = "decisions.jsonl"
STEP = "decisions"
ALGORITHM = "rfc6962-sha256-salted"
SALT_BYTES = 32
_LABEL = b"tallystick-decisions-v1"


@dataclass(frozen=True)
class Shown:
    """One record with what proves it: its salt, position, how many there are, and the path to their root."""

    record: bytes
    salt: bytes
    place: int
    count: int
    path: tuple[bytes, ...]

    def verify(self, root: bytes) -> None:
        """Raise BadProof unless the record lies under `root`."""
        verify_inclusion(leaf_of(self.salt, self.record), self.place, self.count, self.path, root)


def record_of(
    run: str, customer: str, model: str, score: str, pd: str, reasons: Sequence[tuple[str, str]] | None
) -> bytes:
    """The record of one decision. `reasons`: (party, words), the weightiest first; None where a model gives none.

    Numbers are texts as predictions.csv writes them: the shortest that give the same float64 again.
    """
    told = None if reasons is None else [{"party": party, "words": words} for party, words in reasons]
    return encode({"v": 1, "run": run, "id": customer, "model": model, "score": score, "pd": pd, "reasons": told})


def salts_key(seed: bytes) -> bytes:
    """The key of a party's salts, from its seed of this run."""
    return hmac.digest(seed, _LABEL, sha256)


def leaf_of(salt: bytes, record: bytes) -> bytes:
    """SHA-256(0x00 || salt || record)."""
    return leaf_hash(salt + record)


def tree_of(records: Sequence[bytes], key: bytes) -> Tree:
    """The tree over all records of a run."""
    return Tree(leaf_of(_salt(key, place), record) for place, record in enumerate(records))


def write_records(folder: Path, records: Sequence[bytes]) -> None:
    """Into `folder`/decisions.jsonl."""
    (folder / FILE).write_bytes(b"".join(record + b"\n" for record in records))


def show(folder: Path, customer: str, key: bytes) -> Shown:
    """The record of `customer` from the active party's folder.

    Raises UsageError where there are no records, or none of this customer.
    """
    try:
        records = (folder / FILE).read_bytes().splitlines()
    except OSError:
        raise UsageError(
            f"there is no {FILE} in {folder}",
            remedy="name the directory of a finished run of two classes; runs of earlier versions have none",
        ) from None
    start = encode({"id": customer})[:-1] + b","
    place = next((place for place, record in enumerate(records) if record.startswith(start)), None)
    if place is None:
        raise UsageError(
            f"no customer {customer!r} among the decisions of this run", remedy="take an id from predictions.csv"
        )
    tree = tree_of(records, key)
    path = tuple(tree.inclusion_proof(place))
    return Shown(records[place], _salt(key, place), place, len(records), path)


def read_record(record: bytes) -> dict[str, object]:
    """The fields of a record. Raises UsageError where it is none."""
    try:
        fields = decode(record)
    except LedgerError as error:
        raise UsageError(f"the record of the decision is damaged: {error}") from None
    if not isinstance(fields, dict) or fields.keys() != {"v", "run", "id", "model", "score", "pd", "reasons"}:
        raise UsageError("the record of the decision has other fields than this version writes")
    return dict(fields)


def _salt(key: bytes, place: int) -> bytes:
    return hmac.digest(key, place.to_bytes(8, "big"), sha256)
