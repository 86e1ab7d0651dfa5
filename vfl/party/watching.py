"""What a party sees of its runs: state, place and pace, as `tallystick runs` tells it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from vfl.errors import UsageError
from vfl.party.runs import ENDED, ENDED_BUNDLE, RUNNING, RunFolder, all_runs
from vfl.progress import PHASES

_LOOK = 0.25  # seconds between two looks


def named(runs: Path, run: str) -> RunFolder:
    """The run called `run`. Raises UsageError if there is none."""
    folder = RunFolder(runs, run)
    if not folder.exists:
        known = ", ".join(each.run for each in all_runs(runs)) or "none"
        raise UsageError(f"there is no run {run} in {runs}", remedy=f"name one of: {known}")
    return folder


def told(folder: RunFolder) -> dict[str, Any]:
    """Everything about a run, JSON-ready; place and pace only while it goes on."""
    status = folder.status()
    going_on = folder.progress() if status.state not in ENDED else {}
    bundle = folder.path / ENDED_BUNDLE
    signed = {"signed": str(bundle)} if bundle.exists() else {}
    return {**asdict(status), "folder": str(folder.path), **signed, **going_on}


def line(about: Mapping[str, Any]) -> str:
    """One line for people about what `told` gives."""
    words = [about["state"]]
    if about["state"] == RUNNING and "phase" in about:
        words = [PHASES.get(about["phase"], about["phase"])]
        if about["rounds"] > 1:
            words.append(f"{about['round'] + 1} of {about['rounds']}")
        if about["rows_per_second"]:
            words.append(f"{about['rows_per_second']:,} rows/s")
        words.append(f"{about['bytes'] / 1e6:,.1f} MB")
        if about["seconds_left"] is not None and about["rounds"] > 1:
            words.append(f"{about['seconds_left']} s left")
    if about["reason"]:
        words.append(about["reason"])
    return ", ".join(words)


def watch(folder: RunFolder) -> Iterator[dict[str, Any]]:
    """What `told` gives, whenever it is something new, until the run has ended."""
    last: dict[str, Any] = {}
    while True:
        try:
            now = told(folder)
        except UsageError:  # it was renamed in between: look again
            time.sleep(_LOOK)
            continue
        if now != last:
            yield now
        last = now
        if now["state"] in ENDED:
            return
        time.sleep(_LOOK)
