"""What was decided about one applicant: found by a scan of all volumes, for there is no index of people.

Reads what lies there, beside a service or without one, and needs neither seed nor key. Each decision comes with its
record, checked against the entry that commits to it, and with a proof under the newest head over that entry.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from ledger.canonical import decode
from ledger.entry import Entry
from ledger.errors import LedgerError
from ledger.merkle import Tree
from vfl.errors import UsageError
from vfl.ids import normalise
from vfl.own_ledger import own_ledger
from vfl.scoring.answers import Proof, Receipt
from vfl.scoring.session import FOLDER
from vfl.scoring.volumes import VOLUMES, Entered, VolumeStore, entered_in, newest_over
from vfl.seat import RunFile

_SLICE = 1000


class _Named(msgspec.Struct):
    id: str


@dataclass(frozen=True)
class Found:
    """One decision, or why there is none. record: as it was written (docs/spec/scoring.md).

    decision_id: None for an applicant of a batch who was refused.   proof: None while no signed head is over the entry.
    """

    decision_id: str | None
    record: Mapping[str, Any]
    receipt: Receipt
    proof: Proof | None


def decided_about(directory: Path, file: RunFile, identifier: str) -> Iterator[Found]:
    """Everything on record about `identifier`, oldest first, however it was written then.

    Raises UsageError if it means nothing under the identifier rule of the run, or a volume is damaged.
    """
    active, rule = file.agreement.active.name, str(file.agreement.psi["id_rule"])
    (token,) = normalise([identifier], rule).tokens
    if token is None:
        raise UsageError(f"--id has no meaning under the rule {rule}", remedy="write it as the bank's table does")
    key = file.keys[active].identity.vkey
    for path in sorted((directory / active / FOLDER / VOLUMES).glob("*.sqlite")):
        with own_ledger(), closing(VolumeStore(path)) as store:
            places = list(_places(store, token, rule))
            if places:
                yield from _Volume(store, int(path.stem), key).all_of(places)


def _places(store: VolumeStore, token: str, rule: str) -> Iterator[tuple[int, int]]:
    """Entry and place of the records about whoever has this token."""
    bodies = store.bodies()
    while part := [each for each, _ in zip(bodies, range(_SLICE), strict=False)]:
        try:
            names = [msgspec.json.decode(body, type=_Named).id for _, _, body in part]
        except msgspec.DecodeError:
            raise UsageError(f"{store.path}: a record is damaged", remedy="restore the file from a backup") from None
        tokens = normalise(names, rule).tokens
        yield from ((seq, place) for (seq, place, _), each in zip(part, tokens, strict=True) if each == token)


class _Volume:
    """Decisions of one volume, proven."""

    def __init__(self, store: VolumeStore, number: int, key: str) -> None:
        self._store, self._number, self._key = store, number, key
        self._origin = Entry.from_bytes(store.row(0).body).log
        self._heads = [
            head._replace(note=head.note + "".join(store.cosignatures(head.size))) for head in store.checkpoints()
        ]
        self._tree = Tree(row.leaf for row in store.rows())

    def all_of(self, places: list[tuple[int, int]]) -> Iterator[Found]:
        """Those at these entries and places, in order."""
        last: tuple[int, Entered | None] = (-1, None)
        for seq, place in places:
            if last[0] != seq:
                last = seq, entered_in(self._store, self._origin, self._number, seq)
            if (entry := last[1]) is not None:
                yield self._found(entry, seq, place)

    def _found(self, entry: Entered, seq: int, place: int) -> Found:
        salt, body = entry.records[place]
        try:
            record: Any = decode(body, limit=len(body))
        except LedgerError as error:
            raise UsageError(f"{self._store.path}: the record of entry {seq} is damaged: {error}") from None
        name = f"{self._number:06d}-{seq}" + (f"-{place}" if entry.batch else "")
        receipt = Receipt(entry.kept.log, seq, entry.kept.leaf)
        head = newest_over(self._heads, seq)
        proof = None if head is None else Proof(
            record=body.decode(), salt=salt.hex(), place=place, count=len(entry.records),
            path=_hex(entry.tree().inclusion_proof(place)), entry=entry.entry, index=seq, size=head.size,
            inclusion=_hex(self._tree.inclusion_proof(seq, head.size)), checkpoint=head.note, key=self._key,
        )  # fmt: skip
        return Found(None if "refused" in record else name, record, receipt, proof)


def _hex(hashes: list[bytes]) -> tuple[str, ...]:
    return tuple(each.hex() for each in hashes)
