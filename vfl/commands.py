"""What the commands of `vfl.cli` do."""

from __future__ import annotations

import hashlib
import json
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console

from scenarios import acts, cheats
from vfl import attacking, replaying
from vfl.console import say, screen
from vfl.errors import UsageError
from vfl.holding import Holding
from vfl.interruption import interrupted
from vfl.loading import loader
from vfl.outside_commands import Outsiders
from vfl.present import show_attacks, show_check, show_summary
from vfl.progress import shown, tell
from vfl.seat import RunFile
from vfl.simulation import Load, Options, agree, partial_of, run_scenario

ATTACK_DRAWS = 8
"""How many times the draws of a summary's figures the attack commands make: noise below 0.003 in most runs."""


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
    aligned: Path | None,
    init_model: Path | None,
    model: str | None,
    outsiders: Outsiders,
) -> None:
    """`tallystick run`."""
    kept = [name.strip() for name in parties.split(",")] if parties is not None else None
    name, load = loader(scenario, kept, model)
    if config_check:
        check(load, as_json)
        return
    if resume and out is None:
        raise UsageError("--resume is given without --out", remedy="name the --out of the interrupted run")
    out = out or Path("runs") / f"{name}-{time.strftime('%Y%m%dT%H%M%S')}"
    if acts(scenario) and kept is None:
        from vfl import acts_commands  # noqa: PLC0415 - of the extra `chain`

        acts_commands.run_acts(scenario, out, seed, as_json)
        return
    fixed = hashlib.sha256(seed.encode()).digest() if seed is not None else None
    try:
        with shown() as progress:
            options = Options(out, processes, resume, fixed, timeout, aligned, init_model, cheats(scenario))
            summary = run_scenario(load, options, progress)
    except KeyboardInterrupt:
        words = ["run", scenario, "--out", str(out)]
        words += ["--parties", parties] if parties else []
        words += ["--model", model] if model else []
        interrupted(partial_of(out) if partial_of(out).exists() else None, words)
    if as_json:
        _write_json(summary.body, indent=2)
    else:
        show_summary(summary, out, screen())
    said = outsiders.attest(out)
    if said and not as_json:
        say(screen(), *said)


def _write_json(body: Mapping[str, object], indent: int | None = None) -> None:
    """One JSON object on stdout."""
    tell(sys.stdout, json.dumps(body, indent=indent) + "\n")


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
        _write_json({"scenario": scenario.name, "agreement": agreement.digest, "parties": found})
    else:
        show_check(scenario, agreement, found, Console())


def replay(directory: Path, party: str, as_json: bool) -> None:
    """`tallystick replay`."""
    done = replaying.replay(directory, party)
    if as_json:
        _write_json(vars(done))
    else:
        Console().print(
            f"{done.party}: {done.sent} messages said again byte for byte, {done.received} heard; "
            "every digest stands in the ledger, and the results are the same.",
            highlight=False,
            soft_wrap=True,
        )


def attack_node_sets(directory: Path, party: str, known: int, as_json: bool) -> None:
    """`tallystick attack node-sets`."""
    file = RunFile.read(directory)
    figure = attacking.attack_node_sets(directory, file, party, known, ATTACK_DRAWS).as_dict()
    level = str(file.agreement.privacy["level"])
    if as_json:
        _write_json({"attack": "node-sets", "party": party, "level": level, **figure})
    else:
        show_attacks({"node_sets": {party: [figure]}}, level, Console())


def attack_all(directory: Path, as_json: bool) -> None:
    """`tallystick attack all`."""
    file = RunFile.read(directory)
    found, level = attacking.measure(directory, file, ATTACK_DRAWS), str(file.agreement.privacy["level"])
    if as_json:
        _write_json({"level": level, **found})
    else:
        show_attacks(found, level, Console())
