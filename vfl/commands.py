"""What the commands of `vfl.cli` do."""

from __future__ import annotations

import hashlib
import json
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console

from scenarios import materialise, scenario_names
from vfl import replaying
from vfl.config import Scenario, load_scenario
from vfl.errors import UsageError
from vfl.holding import Holding
from vfl.present import show_check, show_summary
from vfl.progress import shown
from vfl.simulation import Load, Options, agree, run_scenario


def run(
    scenario: str,
    out: Path | None,
    as_json: bool,
    config_check: bool,
    processes: bool,
    parties: str | None,
    resume: bool,
    seed: str | None,
    timeout: float,
) -> None:
    """`tallystick run`."""
    load = loader(scenario, [name.strip() for name in parties.split(",")] if parties is not None else None)
    if config_check:
        check(load, as_json)
        return
    out = out or Path("runs") / f"{Path(scenario).stem}-{time.strftime('%Y%m%dT%H%M%S')}"
    fixed = hashlib.sha256(seed.encode()).digest() if seed is not None else None
    with shown() as progress:
        summary = run_scenario(load, Options(out, processes, resume, fixed, timeout), progress)
    if as_json:
        sys.stdout.write(json.dumps(summary.body, indent=2) + "\n")
    else:
        show_summary(summary, out, Console())


def loader(scenario: str, parties: list[str] | None) -> Load:
    """How to get the scenario of that name or file; a shipped one writes its tables into the folder it is given."""
    if scenario in scenario_names():
        return lambda folder: load_scenario(materialise(scenario, folder, parties))
    if not scenario.endswith(".toml"):
        raise UsageError(
            f"there is no scenario {scenario!r}", remedy=f"name one of {', '.join(scenario_names())}, or a .toml file"
        )

    def load(folder: Path) -> Scenario:
        found = load_scenario(scenario)
        return found if parties is None else found.restrict(parties)

    return load


def check(load: Load, as_json: bool) -> None:
    """`tallystick run --config-check`: read everything, compute nothing, keep nothing."""
    with tempfile.TemporaryDirectory() as folder:
        scenario = load(Path(folder) / "tables")
        found: dict[str, dict[str, int]] = {}

        def look(holding: Holding) -> None:
            found[holding.name] = {
                "customers": len(holding.tokens),
                "features": len(holding.names),
                "excluded": holding.excluded,
                "duplicates": holding.duplicates,
            }

        agreement = agree(scenario, look)
    if as_json:
        sys.stdout.write(
            json.dumps({"scenario": scenario.name, "agreement": agreement.digest, "parties": found}) + "\n"
        )
    else:
        show_check(scenario, agreement, found, Console())


def replay(directory: Path, party: str, as_json: bool) -> None:
    """`tallystick replay`."""
    done = replaying.replay(directory, party)
    if as_json:
        sys.stdout.write(json.dumps(vars(done)) + "\n")
    else:
        Console().print(
            f"{done.party}: {done.sent} messages said again byte for byte, {done.received} heard, "
            f"every digest stands in the ledger; the model share is the same.",
            highlight=False,
        )
