"""What of a run may be purged, and the note a party's folder keeps of it.

DIR/<party>/purge.json  [{"what": [...], "reason": .., "when": time, "commit": [...], "done": bool, "forced"?: true}]
DIR/<party>/identity    the party's signing keys, derived from the seed before that went: they open nothing

    salts         seed: the salts of all commitments, and every key and random number of the run
    transcripts   transcript.bin: what peers said
    shares        share.json, decisions.npy, asked.json, scorecard.csv, features.csv, hints/, earlier/
    rows          whatever else names or numbers customers: rows.npy, parts.npy, customers.json, predictions.csv, ...;
                  of scoring/volumes/ the records of decisions, while the ledger that commits to them stays

What stays names nobody: the ledger, run.json, summary.json, the policy and the audit bundle, party.json and counts.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import Any

from vfl.agreement import Agreement
from vfl.errors import UsageError
from vfl.files import read_json
from vfl.records import has_records

NOTE, IDENTITY = "purge.json", "identity"
KEEP_UNTIL = "keep_until"  # clause about privacy: the last day on which nothing may be purged
SALTS, TRANSCRIPTS, SHARES, ROWS = CATEGORIES = ("salts", "transcripts", "shares", "rows")
_STAYS = {NOTE, IDENTITY, "party.json", "report.json", "times.json"}
_LEDGER = "ledger.sqlite"  # and the files that SQLite keeps beside it
_BY_NAME = {"seed": SALTS, "transcript.bin": TRANSCRIPTS} | dict.fromkeys(
    ("share.json", "decisions.npy", "asked.json", "scorecard.csv", "features.csv", "hints", "earlier"), SHARES
)
SCORING, VOLUMES = "scoring", "volumes"
_SCORING_STAYS = ("heads.sqlite", "budget.json", "serve.lock")
_SHARED = ("predictions.csv", "scores.csv", "plots")
"""Files of the active party that stand at the top of a simulated run."""


def category(relative: Path) -> str | None:
    """To what a file belongs, by its path in a party's folder; None if it stays. A seed is a seed wherever it is."""
    top = relative.parts[0]
    if top in _STAYS or top.startswith(_LEDGER) or (top == SCORING and relative.name.startswith(_SCORING_STAYS)):
        return None
    if top == SCORING and len(relative.parts) > 2:
        return ROWS if relative.parts[1] == VOLUMES and relative.suffix == ".sqlite" else None
    return SALTS if relative.name == "seed" else _BY_NAME.get(top, ROWS)


def is_volume(path: Path) -> bool:
    """Whether a file is a volume of decisions, of which a purge takes the records alone."""
    return path.parent.name == VOLUMES and path.parent.parent.name == SCORING


def purgeable(directory: Path, party: str, what: Collection[str], *, active: bool) -> dict[str, list[Path]]:
    """The files of a party that a purge of `what` removes, by category, sorted; nothing for a category without any."""
    found: dict[str, list[Path]] = {}
    for path in _files(directory / party):
        kind = category(path.relative_to(directory / party))
        if kind in what and not (is_volume(path) and not has_records(path)):
            found.setdefault(str(kind), []).append(path)
    if active and ROWS in what:
        tops = [directory / name for name in _SHARED]
        shared = [path for top in tops for path in ([top] if top.is_file() else _files(top))]
        found[ROWS] = [*found.get(ROWS, []), *shared]
    return {kind: files for kind, files in sorted(found.items()) if files}


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
        kept = {
            kind: {"files": len(paths), "bytes": sum(p.stat().st_size for p in paths)} for kind, paths in files.items()
        }
        purges = [
            {name: note[name] for name in ("when", "what", "reason", "done")} for note in notes(directory / party)
        ]
        told[party] = {"kept": kept, "purges": purges}
    return told


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*")) if path.is_file() or path.is_symlink())
