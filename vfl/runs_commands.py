"""What `tallystick party serve`, `tallystick run --agreement` and `tallystick runs` do."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vfl.agreements.signed import MOST_BYTES
from vfl.clock import SystemClock
from vfl.console import say, screen, show, table
from vfl.errors import UsageError
from vfl.interruption import going_on
from vfl.net.server import Address
from vfl.party import watching
from vfl.party.cancelling import cancel
from vfl.party.config import PartyFile, read_party_file
from vfl.party.driving import Driving
from vfl.party.keystore import unlock
from vfl.party.opening import standing_of
from vfl.party.passphrase import passphrase
from vfl.party.runs import RunFolder, all_runs
from vfl.party.serving import json_log, serve
from vfl.party.standing import Standing
from vfl.party.state import refusals_to_serve
from vfl.progress import shown, tell
from vfl.randomness import fresh_seed


def serve_party(config: Path, passphrase_file: Path | None, metrics_port: int) -> None:
    """`tallystick party serve`."""
    file = read_party_file(config)
    if reasons := refusals_to_serve(file, file.state):
        raise UsageError("; ".join(reasons), remedy="mend it, then serve; `tallystick party status` shows more")
    clock = SystemClock()
    who = _unlocked(file, passphrase_file)
    serve(who, Address(*file.listen), metrics_port, clock, json_log(sys.stderr, clock))


def run_agreement(
    agreement: Path, config: Path, run: str | None, passphrase_file: Path | None, patience: int | None, as_json: bool
) -> None:
    """`tallystick run --agreement`."""
    file = read_party_file(config)
    who = _unlocked(file, passphrase_file)
    name = run or f"{SystemClock().now():%Y%m%dT%H%M%S}-{fresh_seed().hex()[:8]}"
    waits = float(file.deadlines.patience if patience is None else patience)
    driving = Driving(who, name, who.admit(_read(agreement)), SystemClock(), waits)
    try:
        tell(sys.stderr, f"run {name}; ended before its end it goes on with --run {name}\n")
        with shown() as progress:
            folder = driving.run(lambda line: tell(sys.stderr, f"{line}\n"), progress)
    except KeyboardInterrupt:
        words = ["run", "--agreement", str(agreement), "--config", str(config), "--run", name]
        going_on(driving.folder.path, words)
    body = json.loads((folder.path / "summary.json").read_text(encoding="utf-8"))
    if as_json:
        _write({**body, "folder": str(folder.path)})
        return
    _show_summary(body)
    verified = f"python -m ledger verify {folder.path}/audit.bundle --policy {folder.path}/policy.txt"
    say(screen(), f"Results: {folder.path}", f"Verify:  {verified}")


def list_runs(config: Path, as_json: bool) -> None:
    """`tallystick runs list`."""
    told = [watching.told(folder) for folder in all_runs(read_party_file(config).runs)]
    if as_json:
        _write({"runs": told})
        return
    if not told:
        say(screen(), "no runs")
        return
    lines = (
        f"{about['run']}  {about['changed']}  of {about['active']}, attempt {about['attempt']}: {watching.line(about)}"
        for about in told
    )
    say(screen(), *lines)


def show_run(config: Path, run: str, as_json: bool) -> None:
    """`tallystick runs show`."""
    about = watching.told(_folder(config, run))
    if as_json:
        _write(about)
        return
    width = max(map(len, about))
    say(screen(), *(f"{key:<{width}}  {value}" for key, value in about.items() if value not in ("", None)))


def watch_run(config: Path, run: str, as_json: bool) -> None:
    """`tallystick runs watch`."""
    last = ""
    for about in watching.watch(_folder(config, run)):
        line = json.dumps(about) if as_json else watching.line(about)
        if line != last:
            tell(sys.stdout, f"{line}\n")
        last = line


def cancel_run(config: Path, run: str, reason: str, passphrase_file: Path | None, as_json: bool) -> None:
    """`tallystick runs cancel`."""
    file = read_party_file(config)
    folder = watching.named(file.runs, run)
    status = cancel(folder, file.name, file.state, reason, lambda: _unlocked(file, passphrase_file), SystemClock())
    if as_json:
        _write(watching.told(folder))
    else:
        say(screen(), f"{run} is {status.state}: {status.reason}")


def _folder(config: Path, run: str) -> RunFolder:
    return watching.named(read_party_file(config).runs, run)


def _unlocked(file: PartyFile, passphrase_file: Path | None) -> Standing:
    keys = unlock(file.state, passphrase(passphrase_file))
    return standing_of(file, keys, SystemClock())


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MOST_BYTES + 1)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}", remedy="name a signed agreement") from None


def _show_summary(body: Mapping[str, Any]) -> None:
    rows = body["rows"]
    made = table("hold-out", *body["metrics"])
    made.add_row(f"{rows['holdout']:,} customers", *(f"{value:.4f}" for value in body["metrics"].values()))
    show(screen(), f"{body['scenario']}: {body['model']} of {rows['train']:,} common customers", made)


def _write(body: Mapping[str, Any]) -> None:
    tell(sys.stdout, json.dumps(body, indent=2) + "\n")
