"""`python -m ledger show`: entries as they stand, for people to read; checks nothing."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from ledger.bundle import Bundle, read_bundle
from ledger.canonical import decode
from ledger.entry import Entry
from ledger.errors import BadBundle, LedgerError
from ledger.findings import Code
from ledger.merkle import Tree, leaf_hash
from ledger.selection import head_for, inclusion_proof, leaves_of


@dataclass(frozen=True, slots=True)
class Filter:
    """Which entries to show: of one party, of phases and slots that fit a glob pattern, or the one at a position."""

    party: str | None = None
    phase: str | None = None
    slot: str | None = None
    seq: int | None = None

    def takes(self, entry: Entry) -> bool:
        """Whether `entry` is wanted."""
        fits = self.phase is None or fnmatchcase(entry.phase, self.phase)
        return fits and (self.slot is None or fnmatchcase(entry.slot, self.slot))


def show_bundle(path: Path, wanted: Filter, *, as_json: bool) -> Code:
    """Print a bundle's entries, or with `seq` one of each log in full with its inclusion proof.

    Raises BadBundle when the bundle cannot be read, or holds no such log or entry.
    """
    bundle = read_bundle(path)
    for fault in bundle.faults:
        print(f"warning: {fault}", file=sys.stderr)
    bodies = _bodies(bundle)
    if wanted.party is not None and wanted.party not in bodies:
        raise BadBundle(f"the bundle has no log of {wanted.party}; it has: {', '.join(sorted(bodies)) or 'none'}")
    parties = [wanted.party] if wanted.party else sorted(bodies)
    if wanted.seq is not None:
        holding = [party for party in parties if wanted.seq in bodies[party]]
        if not holding:
            raise BadBundle(f"the bundle has no entry {wanted.seq} of {' or '.join(parties)}")
        for party in holding:
            _print_one(bundle, party, wanted.seq, bodies[party][wanted.seq], as_json=as_json)
        return Code.VALID
    for party in parties:
        if not as_json:
            print(f"{party} (unchecked; use `verify` to check)")
        _print_list(bodies[party], wanted, as_json=as_json)
    return Code.VALID


def _bodies(bundle: Bundle) -> dict[str, dict[int, bytes]]:
    """Entries by party and position, of a full or a selective bundle."""
    found = {party: dict(enumerate(leaves_of(files))) for party, files in bundle.logs().items()}
    for name, data in bundle.members.items():
        match name.split("/"):
            case ["entries", party, file] if (seq := file.removesuffix(".json")).isdecimal():
                found.setdefault(party, {})[int(seq)] = data
    return {party: dict(sorted(entries.items())) for party, entries in found.items()}


def _print_list(bodies: dict[int, bytes], wanted: Filter, *, as_json: bool) -> None:
    for seq, body in bodies.items():
        try:
            entry = Entry.from_bytes(body)
        except LedgerError as error:
            print(f"{seq:>6}  unreadable: {error}", file=sys.stderr)
            continue
        if wanted.takes(entry):
            print(body.decode() if as_json else _line(entry))


def _line(entry: Entry) -> str:
    arrow = {"send": f"-> {entry.peer}", "recv": f"<- {entry.peer}", "local": "."}[entry.dir]
    payload = f"{entry.payload.size} B {entry.payload.schema} {entry.payload.digest:.12}" if entry.payload else ""
    return f"{entry.seq:>6}  {entry.ts}  {arrow:<20} {entry.slot:<40} {payload}".rstrip()


def _print_one(bundle: Bundle, party: str, seq: int, body: bytes, *, as_json: bool) -> None:
    entry, proof = Entry.from_bytes(body), _proof(bundle, party, seq)
    if as_json:
        shown = {"entry": entry.to_json(), "leaf": leaf_hash(body).hex(), "proof": decode(proof) if proof else None}
        print(json.dumps(shown, ensure_ascii=False))
        return
    print(f"{party} entry {seq} (unchecked; use `verify` to check)")
    print(json.dumps(entry.to_json(), indent=2, ensure_ascii=False))
    print(f"leaf   {leaf_hash(body).hex()}")
    print("\n".join(_told(proof)) if proof else "proof  none: no checkpoint covers this entry")


def _told(proof: bytes) -> Iterator[str]:
    fields = decode(proof)
    assert isinstance(fields, dict)
    path = fields["path"]
    assert isinstance(path, list)
    yield f"proof  {len(path)} hashes lead from the leaf to the root of checkpoint {fields['size']}:"
    yield from (f"       {node}" for node in path)


def _proof(bundle: Bundle, party: str, seq: int) -> bytes | None:
    """The proof a selective bundle brings, or one made from the whole log; None if no checkpoint covers the entry."""
    if (brought := bundle.members.get(f"proofs/{party}/{seq}.json")) is not None:
        return brought
    files = bundle.logs()[party]
    tree = Tree(map(leaf_hash, leaves_of(files)))
    try:
        size = head_for(seq, files)
        return inclusion_proof(seq, size, tree.inclusion_proof(seq, size))
    except LedgerError:
        return None
