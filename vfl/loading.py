"""Scenarios by name or by file: what the word SCENARIO of a command line stands for."""

from __future__ import annotations

from scenarios import materialise, scenario_names
from vfl.config import MODELS, load_scenario
from vfl.errors import UsageError
from vfl.simulation import Load
from vfl.table import closest


def loader(scenario: str, parties: list[str] | None, model: str | None = None) -> tuple[str, Load]:
    """Name of the scenario of that name or file, and how to get it; a shipped one writes its tables into a folder.

    `model`: the kind for a shipped scenario, by default that of MODELS that comes first.
    """
    if model is not None and model not in MODELS:
        raise UsageError(f"--model is {model!r}", remedy=f"Name one of {', '.join(MODELS)}.")
    if scenario in scenario_names():
        kind = model or MODELS[0]
        return scenario, lambda folder: load_scenario(materialise(scenario, folder, parties, kind))
    if model is not None:
        raise UsageError(
            "--model is for shipped scenarios", remedy=f'Write kind = "{model}" under [model] of the file.'
        )
    if not scenario.lower().endswith(".toml"):
        raise UsageError(
            f"there is no scenario {scenario!r}", remedy=f"{closest(scenario, scenario_names())} Or name a .toml file."
        )
    found = load_scenario(scenario)
    kept = found if parties is None else found.restrict(parties)
    return found.name, lambda folder: kept
