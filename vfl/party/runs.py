"""The runs of one party, as folders: where each stands, and how it ended.

STATE/runs/RUN.partial/         while the run goes on; RUN once everything in it is complete
    run.json, NAME/             run and seat, as in any run directory (`vfl.seat`)
    agreement.signed            the agreement with all signatures
    begun.json                  what must be the same when the run goes on: this program, and the party's table
    status.json                 written by whoever supervises the run: state, attempt, reason
    progress.json               written by the party's own process: phase, round, bytes
    ended.bundle                of a run that was ended: the party's ledger, for whoever wants to check it
    cancel                      there once somebody here ended the run
    set-back                    there once its ledger is known to be older than what peers hold of it
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from ledger.errors import BadKey
from ledger.keys import check_party
from vfl.errors import UsageError
from vfl.files import read_json, write_data, write_whole

OFFERED, RUNNING, WAITING, DONE, FAILED, ABORTED, CANCELLED = (
    "offered", "running", "waiting", "done", "failed", "aborted", "cancelled",
)  # fmt: skip
ENDED = frozenset({DONE, FAILED, ABORTED, CANCELLED})
OVER = frozenset({ABORTED, CANCELLED})
"""States that no attempt leads out of."""
DRIVE_LOCK, SERVE_LOCK = "drive.lock", "serve.lock"
"""Held by whoever supervises: of a run, at its active party; of all runs of others, in the state folder."""
PARTIAL, SIGNED, STATUS, PROGRESS = ".partial", "agreement.signed", "status.json", "progress.json"
CANCEL, SET_BACK, ENDED_BUNDLE = "cancel", "set-back", "ended.bundle"


@dataclass(frozen=True)
class Status:
    """Where a run stands. `changed`: time of day, ISO; `reason`: why it waits or ended."""

    run: str
    state: str
    active: str
    attempt: int = 0
    reason: str = ""
    changed: str = ""


class RunFolder:
    """One run of one party."""

    def __init__(self, runs: Path, run: str) -> None:
        """Raises UsageError if `run` cannot name a run."""
        try:
            self.run = check_party(run, "run")
        except BadKey as error:
            raise UsageError(str(error)) from None
        self._final, self._partial = runs / run, runs / f"{run}{PARTIAL}"

    @property
    def path(self) -> Path:
        """Where it is now."""
        return self._final if self._final.exists() else self._partial

    @property
    def exists(self) -> bool:
        """Whether the run was begun: its last file is the status."""
        return (self.path / STATUS).exists()

    def clear(self) -> None:
        """Make an empty folder, in place of one whose making was interrupted."""
        shutil.rmtree(self._partial, ignore_errors=True)
        self._partial.mkdir(parents=True)

    def status(self) -> Status:
        """Raises UsageError if there is none."""
        body = read_json(self.path / STATUS, "a run of `tallystick runs list`")
        try:
            return Status(**body)
        except TypeError as error:
            raise UsageError(f"{self.path / STATUS} is damaged: {error}") from None

    def set(self, status: Status) -> Status:
        """Write down a new status."""
        write_whole(self.path / STATUS, asdict(status))
        return status

    def move(self, state: str, when: str, *, reason: str = "", attempt: int | None = None) -> Status:
        """Change the state."""
        now = self.status()
        attempt = now.attempt if attempt is None else attempt
        return self.set(replace(now, state=state, reason=reason, changed=when, attempt=attempt))

    def complete(self, when: str) -> None:
        """Everything is there: give it the name without `.partial`."""
        self.move(DONE, when)
        if not self._final.exists():
            self._partial.rename(self._final)
            _sync(self._final.parent)

    def progress(self) -> dict[str, Any]:
        """What the party's process said last; empty before its first word."""
        try:
            body = json.loads((self.path / PROGRESS).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return body if isinstance(body, dict) else {}

    def ask_to_cancel(self, why: str) -> None:
        """Have whoever supervises the run end it."""
        (self.path / CANCEL).write_text(why, encoding="utf-8")

    @property
    def cancelled(self) -> str:
        """Why somebody here wants it to end; empty if nobody does."""
        return self._words(CANCEL)

    def set_back(self, why: str) -> None:
        """Have nothing more signed in this run: its ledger is not the newest."""
        write_data(self.path / SET_BACK, why.encode())

    @property
    def why_set_back(self) -> str:
        """Why nothing more may be signed here; empty if it may."""
        return self._words(SET_BACK)

    def _words(self, file: str) -> str:
        try:
            return (self.path / file).read_text(encoding="utf-8") or file
        except OSError:
            return ""


def all_runs(runs: Path) -> Iterator[RunFolder]:
    """The runs of a party by name."""
    names = {path.name.removesuffix(PARTIAL) for path in runs.glob("*") if path.is_dir()}
    for name in sorted(names):
        folder = RunFolder(runs, name)
        if folder.exists:
            yield folder


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
