"""What of a run may be purged, and the note a party's folder keeps of it.

DIR/<party>/purge.json  [{"what": [...], "reason": .., "when": time, "commit": [...], "done": bool, "forced"?: true,
                          "before"?: time, "volumes"?: {"000001": 18}}]     records went of the first 18 entries
DIR/<party>/identity    the party's signing keys, derived from the seed before that went: they open nothing

    salts         seed: the salts of all commitments, and every key and random number of the run
    transcripts   transcript.bin: what peers said
    shares        share.json, decisions.npy, asked.json, scorecard.csv, features.csv, hints/, earlier/,
                  scoring/standin.json
    rows          whatever else names or numbers customers: rows.npy, parts.npy, customers.json, predictions.csv, ...
    decisions     what scoring keeps about applicants: records and idempotency keys in scoring/volumes/, while the
                  ledger that commits to them stays, and scoring/keys.sqlite

What stays names nobody: the ledger, run.json, summary.json, the policy and the audit bundle, party.json and counts;
whatever else is in scoring/ holds digests and counts.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from vfl.agreement import Agreement
from vfl.errors import UsageError
from vfl.files import read_json
from vfl.records import below_which, measured

NOTE, IDENTITY = "purge.json", "identity"
KEEP_UNTIL = "keep_until"  # clause about privacy: the last day on which nothing may be purged
SALTS, TRANSCRIPTS, SHARES, ROWS = OF_THE_RUN = ("salts", "transcripts", "shares", "rows")
DECISIONS = "decisions"
CATEGORIES = (*OF_THE_RUN, DECISIONS)
TO_SCORE = (SALTS, SHARES, ROWS)
"""What a service of scores needs of its run."""
_STAYS = {NOTE, IDENTITY, "party.json", "report.json", "times.json"}
_LEDGER = "ledger.sqlite"  # and the files that SQLite keeps beside it
_BY_NAME = {"seed": SALTS, "transcript.bin": TRANSCRIPTS} | dict.fromkeys(
    ("share.json", "decisions.npy", "asked.json", "scorecard.csv", "features.csv", "hints", "earlier"), SHARES
)
SCORING, VOLUMES = "scoring", "volumes"
_OF_SCORING = {"standin.json": SHARES, "keys.sqlite": DECISIONS}  # and the files that SQLite keeps beside it
_SHARED = ("predictions.csv", "scores.csv", "plots")
"""Files of the active party that stand at the top of a simulated run."""


@dataclass(frozen=True)
class Piece:
    """What a purge removes of one file: all of it, or of a volume the `records` of its first `below` entries."""

    path: Path
    bytes: int
    below: int = 0
    records: int = 0


def category(relative: Path) -> str | None:
    """To what a file belongs, by its path in a party's folder; None if it stays. A seed is a seed wherever it is."""
    top = relative.parts[0]
    if top in _STAYS or top.startswith(_LEDGER):
        return None
    if top == SCORING:
        return _of_scoring(relative)
    return SALTS if relative.name == "seed" else _BY_NAME.get(top, ROWS)


def _of_scoring(relative: Path) -> str | None:
    if is_volume(relative):
        return DECISIONS
    return next((kind for name, kind in _OF_SCORING.items() if relative.name.startswith(name)), None)


def is_volume(path: Path) -> bool:
    """Whether a file is a volume of decisions, of which a purge takes the records alone."""
    return path.suffix == ".sqlite" and path.parts[-3:-1] == (SCORING, VOLUMES)


def purgeable(
    directory: Path, party: str, what: Collection[str], *, active: bool, before: str | None = None
) -> dict[str, list[Piece]]:
    """What of a party's files a purge of `what` removes, by category, sorted; nothing for a category without any.

    `before`: of decisions only those made before that time.
    """
    found: dict[str, list[Piece]] = {}
    for path in _files(directory / party):
        kind = category(path.relative_to(directory / party))
        if kind in what and (piece := _piece(path, before)) is not None:
            found.setdefault(str(kind), []).append(piece)
    if before is not None and not any(piece.below for piece in found.get(DECISIONS, ())):
        found.pop(DECISIONS, None)  # the index of keys goes with old records; by itself it is of the last day
    if active and ROWS in what:
        tops = [directory / name for name in _SHARED]
        shared = [path for top in tops for path in ([top] if top.is_file() else _files(top))]
        found[ROWS] = [*found.get(ROWS, []), *(Piece(path, path.stat().st_size) for path in shared)]
    return {kind: pieces for kind, pieces in sorted(found.items()) if pieces}


def _piece(path: Path, before: str | None) -> Piece | None:
    """What of a file there is to remove; None for a volume without records."""
    if not is_volume(path):
        return Piece(path, path.stat().st_size)
    below = below_which(path, before)
    if not below:
        return None
    records = measured(path, below)
    return Piece(path, records.size, below, records.decisions)


def counted(kind: str, pieces: Sequence[Piece]) -> dict[str, int]:
    """How many files and bytes, and of decisions how many records."""
    found = {"files": len(pieces), "bytes": sum(piece.bytes for piece in pieces)}
    return found | ({"records": sum(piece.records for piece in pieces)} if kind == DECISIONS else {})


def forgotten(seat: Path) -> dict[int, int]:
    """Of each volume of decisions, by number, how many entries have no records any more.

    Raises UsageError where a purge stands still half done: it must go on before more is written.
    """
    found: dict[int, int] = {}
    for note in notes(seat):
        if not note["done"]:
            raise UsageError(
                f"a purge of {seat} began and is not finished", remedy="`tallystick purge` goes on with it"
            )
        for number, below in note.get("volumes", {}).items():
            found[int(number)] = max(below, found.get(int(number), 0))
    return found


def notes(folder: Path) -> list[dict[str, Any]]:
    """The purges of the party whose folder this is, oldest first; the last may not be done."""
    if not (folder / NOTE).exists():
        return []
    body = read_json(folder / NOTE, "the folder of a party of this run")
    found = body.get("purges")
    if not isinstance(found, list) or not all(isinstance(note, dict) for note in found):
        raise UsageError(f"{folder / NOTE} is damaged: it lists no purges")
    return found


def last_day(agreement: Agreement) -> date | None:
    """The last day on which nothing of a run under this agreement may be purged; None if none was agreed on."""
    text = str(agreement.privacy.get(KEEP_UNTIL, ""))
    try:
        return date.fromisoformat(text) if text else None
    except ValueError:
        raise UsageError(f"the agreement's privacy.{KEEP_UNTIL} is {text!r:.40}, no day of the calendar") from None


def require_due(agreement: Agreement, today: date) -> None:
    """Raise UsageError if the parties agreed to keep everything for longer than `today`."""
    last = last_day(agreement)
    if last is not None and today <= last:
        raise UsageError(
            f"the parties agreed to keep this run until {last} (privacy.{KEEP_UNTIL}), and today is {today} (UTC)",
            remedy="purge it afterwards, or say --force and --reason TEXT; both stand in the ledger",
        )


def require_kept(directory: Path, parties: Collection[str], needs: Collection[str]) -> None:
    """Raise UsageError if any of `needs` was purged at one of `parties`: when, why, and what is left to do."""
    for party in parties:
        for note in notes(directory / party):
            if gone := sorted(set(needs) & set(note["what"])):
                raise UsageError(
                    f"the run in {directory} was purged on {note['when']}: {party} no longer has its {', '.join(gone)} "
                    f"(reason: {note['reason']})",
                    remedy="the ledger, audit.bundle and summary.json are kept: `python -m ledger verify` still works",
                )


def status(directory: Path, parties: Mapping[str, bool]) -> dict[str, Any]:
    """By party (name: whether it is active) what it still has, in files and bytes, and its purges; JSON-ready."""
    told = {}
    for party, active in parties.items():
        files = purgeable(directory, party, CATEGORIES, active=active)
        kept = {kind: counted(kind, pieces) for kind, pieces in files.items()}
        purges = [
            {name: note[name] for name in ("when", "what", "reason", "done")} for note in notes(directory / party)
        ]
        told[party] = {"kept": kept, "purges": purges}
    return told


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*")) if path.is_file() or path.is_symlink())
