"""Crypto-shredding: what could open a commitment or re-identify a customer goes, the ledger stays and says so.

    1  keys      the signing keys are derived from the seed and kept by themselves; they open nothing
    2  note      purge.json says what will go, and why: from here on the purge goes on after any crash
    3  entry     phase `retention` in every party's log, with keyed digests of what goes; a new signed head
    4  witness   the other parties cosign the head, as far as their keys are on this machine
    5  bundle    audit.bundle is written anew, so that it tells of the purge; purged.bundle if some logs are elsewhere
    6  erase     files are overwritten and removed, seeds last; of decisions the records, while their ledger stays
    7  done      purge.json says so

The digests are HMACs under a salt that is drawn from the seed and goes with it: they show nothing to whoever finds them
later, and whoever kept a copy could be shown to have done so. Overwriting reaches neither snapshots nor backups, nor
the spare blocks of a solid-state disk: docs/guide/retention.md.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ledger.clock import format_time
from ledger.entry import slot_name
from vfl.clock import Clock
from vfl.errors import UsageError
from vfl.files import alone, refusals, write_private, write_whole
from vfl.local_logs import local_logs, own_identity
from vfl.own_ledger import own_ledger
from vfl.randomness import Randomness, fresh_seed
from vfl.records import contents, forget_records
from vfl.retention import (
    DECISIONS,
    IDENTITY,
    KEEP_UNTIL,
    NOTE,
    SALTS,
    SCORING,
    VOLUMES,
    Piece,
    counted,
    notes,
    purgeable,
    require_due,
)  # fmt: skip
from vfl.seat import RunFile, identity_seed, read_seed

PHASE = "retention"
_BLOCK = 1 << 20
_COUNTS = ("files", "bytes", "records")


@dataclass(frozen=True)
class Purged:
    """What a purge removed, by party and category: files and bytes, and of decisions records."""

    when: str
    parties: Mapping[str, Mapping[str, Mapping[str, int]]]


def purge(
    directory: Path,
    parties: Sequence[str],
    what: Sequence[str],
    reason: str,
    clock: Clock,
    *,
    force: bool = False,
    before: str | None = None,
) -> Purged:
    """Remove `what` (categories of `vfl.retention`) of these parties of a finished run; go on with a purge begun.

    `force`: also before the agreed day.   before: of decisions only those made before that time.   Raises UsageError if
    it is not due, there is nothing to remove, a service scores with a seat, or a file or the ledger refuses.
    """
    file = RunFile.read(directory, needs=())
    require_parties(file, parties)
    with (
        refusals(directory, "make the directory writable, then purge again: it goes on where it stopped"),
        _idle(directory, [*parties, *_begun(directory, file)]),
    ):
        done = _finish(directory, file, clock)
        if not force:
            require_due(file.agreement, clock.now().date())
        for party in parties:
            if (directory / party).is_dir():
                own_identity(directory, file, party)  # what cannot be signed is not begun
        for party in parties:
            head = {"reason": reason, "when": format_time(clock.now())}
            head |= {"before": before} if before is not None else {}
            _begin(directory, file, party, what, head | ({"forced": True} if force else {}))
        done |= _finish(directory, file, clock)
    if not done:
        raise UsageError(f"nothing of {', '.join(what)} is left to purge", remedy="see `tallystick purge RUN --status`")
    told = {
        party: {item["kind"]: {name: item[name] for name in _COUNTS if name in item} for item in note["commit"]}
        for party, note in done.items()
    }
    return Purged(max(note["when"] for note in done.values()), told)


@contextmanager
def _idle(directory: Path, parties: Sequence[str]) -> Iterator[None]:
    """Keep services from scoring with these seats: they would hold open what goes. Raises UsageError where one does."""
    with ExitStack() as held:
        for seat in sorted({directory / party for party in parties}):
            if (lock := seat / SCORING / "serve.lock").exists():
                held.enter_context(alone(lock, f"a service scores with {seat}"))
        yield


def require_parties(file: RunFile, parties: Sequence[str]) -> None:
    """Raise UsageError for a party that is not in the run."""
    if unknown := set(parties) - file.keys.keys():
        raise UsageError(
            f"no party {', '.join(sorted(unknown))} in this run", remedy=f"name one of {', '.join(file.keys)}"
        )


def _finish(directory: Path, file: RunFile, clock: Clock) -> dict[str, dict[str, Any]]:
    """(3) to (7) of all purges that have begun; their notes by party."""
    begun = _begun(directory, file)
    if begun:
        _record(directory, file, begun, clock)
    for party, found in begun.items():
        _erase(directory, file, party, found[-1])
        _write_notes(directory / party, [*found[:-1], {**found[-1], "done": True}])
    return {party: found[-1] for party, found in begun.items()}


def _begun(directory: Path, file: RunFile) -> dict[str, list[dict[str, Any]]]:
    """The notes of those parties whose last purge is not done."""
    return {name: found for name in file.keys if (found := notes(directory / name)) and not found[-1]["done"]}


def _begin(directory: Path, file: RunFile, party: str, what: Sequence[str], head: Mapping[str, Any]) -> None:
    """(1) and (2), unless nothing is there. `head`: reason, time and the like."""
    folder, earlier = directory / party, notes(directory / party)
    active = file.agreement.active.name == party
    found = purgeable(directory, party, what, active=active, before=head.get("before"))
    if not found:
        return
    seed = fresh_seed()
    if (folder / "seed").exists():
        seed = read_seed(folder)
        write_private(folder / IDENTITY, identity_seed(seed).hex() + "\n")
    salt = Randomness(seed).child(f"purge/{len(earlier)}").bytes(32)
    commit = [
        {"kind": kind, "alg": "hmac-sha256", "digest": _digest(directory, pieces, salt), **counted(kind, pieces)}
        for kind, pieces in found.items()
    ]
    note = {"what": list(found), **head, "commit": commit, "done": False}
    if DECISIONS in found:
        note["volumes"] = {piece.path.stem: piece.below for piece in found[DECISIONS] if piece.below}
    _write_notes(folder, [*earlier, note])


def _write_notes(folder: Path, all_notes: Sequence[Mapping[str, Any]]) -> None:
    write_whole(folder / NOTE, {"purges": list(all_notes)})


def _digest(directory: Path, pieces: Sequence[Piece], salt: bytes) -> str:
    """One keyed digest of all that goes, with the names of the files."""
    found = hmac.new(salt, digestmod=hashlib.sha256)
    for piece in pieces:
        found.update(f"{piece.path.relative_to(directory)}\n{piece.bytes}\n".encode())
        for part in contents(piece.path, piece.below) if piece.below else _blocks(piece.path):
            found.update(part)
    return found.hexdigest()


def _blocks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            yield block


def _record(directory: Path, file: RunFile, begun: Mapping[str, list[dict[str, Any]]], clock: Clock) -> None:
    """(3) to (5)."""
    with local_logs(directory, file, clock) as here, own_ledger():
        for party, found in begun.items():
            number, note, log = len(found) - 1, found[-1], here.logs[party]
            params = {"what": note["what"], "reason": note["reason"], "begun": note["when"]}
            params |= {name: note[name] for name in ("forced", "before") if name in note}
            params |= {KEEP_UNTIL: agreed} if (agreed := file.agreement.privacy.get(KEEP_UNTIL)) else {}
            slot = slot_name(PHASE, number, "purge", party, party)
            log.append(
                phase=PHASE, round=number, step="purge", slot=slot, dir="local", commit=note["commit"], params=params
            )
            text, size = log.checkpoint(), len(log)
            others = [witness for name, witness in here.witnesses.items() if name != party]
            lines = [w.cosign(text, log.consistency_proof(w.size(log.origin), size), log.key) for w in others]
            log.add_cosignatures(size, lines, [witness.key for witness in others])
            log.commit()
        here.rebundle(directory, file)


def _erase(directory: Path, file: RunFile, party: str, note: Mapping[str, Any]) -> None:
    """(6): each file is overwritten, then removed; seeds last, so that a purge begun can be told from damage."""
    for number, below in note.get("volumes", {}).items():
        volume = directory / party / SCORING / VOLUMES / f"{number}.sqlite"
        if volume.exists():
            forget_records(volume, below)
    found = purgeable(directory, party, note["what"], active=file.agreement.active.name == party)
    for kind in sorted(found, key=lambda kind: kind == SALTS):
        for piece in found[kind]:
            if not piece.below:
                _shred(piece.path)
    for folder in sorted((p for p in (directory / party).rglob("*") if p.is_dir()), reverse=True):
        if not any(folder.iterdir()):
            folder.rmdir()


def _shred(path: Path) -> None:
    if not path.is_symlink():
        with path.open("r+b") as file:
            left = path.stat().st_size
            while left > 0:
                left -= file.write(bytes(min(left, _BLOCK)))
            file.flush()
            os.fsync(file.fileno())
    path.unlink()
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
