"""What `tallystick tune` does."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from rich.console import Console

from vfl.config import Scenario
from vfl.console import say, show, table
from vfl.errors import UsageError
from vfl.files import refusals, write_data
from vfl.progress import shown
from vfl.simulation import Load

BEST, TABLE = "best.toml", "trials.csv"
_SHOWN = 5


def tune(name: str, load: Load, out: Path | None, trials: int, metric: str, resume: bool, as_json: bool) -> None:
    """`tallystick tune`: `load` gives the scenario `name`."""
    if find_spec("optuna") is None:
        raise UsageError("a search needs optuna, which is not installed", remedy="pip install 'tallystick[tune]'")
    from vfl import tuning  # noqa: PLC0415 - optuna is an extra

    folder = out or Path("runs") / f"{name}-tune"
    journal = folder / tuning.JOURNAL
    if journal.exists() != resume:
        raise UsageError(
            f"{folder} has {'a search already' if journal.exists() else 'no search to go on with'}",
            remedy=f"{'Add' if journal.exists() else 'Leave out'} --resume, or name another --out.",
        )
    with refusals(folder, remedy="name another --out"):
        folder.mkdir(parents=True, exist_ok=True)
        scenario = load(folder / "tables")
        with shown() as progress:
            progress.enter("align", 0)
            found = tuning.Search.prepare(scenario, metric)

            def told(done: int, wanted: int, last: float, best: float) -> None:
                sys.stderr.write(f"trial {done} of {wanted}: {metric} {last:.4f}, best {best:.4f}\n")

            study = tuning.search(found, folder, trials, told)
        rows = [{"trial": number, metric: t.value, **t.params} for number, t in enumerate(tuning.finished(study), 1)]
        rows.sort(key=lambda row: -row[metric])
        write_data(folder / TABLE, _csv(rows))
        best = {key: value for key, value in rows[0].items() if key not in ("trial", metric)}
        write_data(folder / BEST, toml_of(scenario, best, folder).encode())
    body = {"metric": metric, "trials": len(rows), "best": rows[0], "file": str(folder / BEST)}
    if as_json:
        sys.stdout.write(json.dumps(body) + "\n")
    else:
        _show(rows, metric, folder)


def _csv(rows: list[dict[str, Any]]) -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def _show(rows: list[dict[str, Any]], metric: str, folder: Path) -> None:
    console, made = Console(), table("trial", metric.upper(), "parameters")
    made.columns[-1].justify, made.columns[-1].no_wrap = "left", False
    for row in rows[:_SHOWN]:
        chosen = [f"{name} {_short(value)}" for name, value in row.items() if name not in ("trial", metric)]
        made.add_row(str(row["trial"]), f"{row[metric]:.4f}", ", ".join(chosen))
    show(console, f"The best of {len(rows)} trials, judged by customers that did not train them", made)
    say(
        console, f"Best:    {folder / BEST}: run it with `tallystick run {folder / BEST}`", f"All:     {folder / TABLE}"
    )


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def toml_of(scenario: Scenario, best: Mapping[str, Any], folder: Path) -> str:
    """The scenario as a file in `folder`, with these parameters of the model."""
    lines = ["[scenario]", f"name = {_toml(scenario.name)}", ""]
    for party in scenario.parties:
        table_path = str(party.table.resolve())
        lines += [f"[party.{party.name}]", f"role = {_toml(party.role)}", f"table = {_toml(table_path)}"]
        for key in ("id", "label", "weight", "features", "categorical"):
            if value := getattr(party, key):
                lines.append(f"{key} = {_toml(value)}")
        lines.append("")
        for key in ("reasons", "special", "trends", "monotone"):
            if given := getattr(party, key):
                lines += [f"[party.{party.name}.{key}]", *(f"{_toml(k)} = {_toml(v)}" for k, v in given.items()), ""]
    usual = type(scenario.model).from_mapping({}).as_dict()
    changed = {k: v for k, v in scenario.model.as_dict().items() if v != usual[k]} | dict(best)
    lines += ["[model]", f"kind = {_toml(scenario.kind)}", *(f"{k} = {_toml(v)}" for k, v in changed.items()), ""]
    for name in ("privacy", "psi", "holdout"):
        values = {k: v for k, v in vars(getattr(scenario, name)).items() if v is not None}
        if name == "holdout" and values.get("column"):
            values = {"column": values["column"]}
        lines += [f"[{name}]", *(f"{k} = {_toml(v)}" for k, v in values.items()), ""]
    return "\n".join(lines)


def _toml(value: object) -> str:
    """A value as TOML writes it: JSON has the same texts, numbers, booleans and lists."""
    return json.dumps(list(value) if isinstance(value, tuple) else value, ensure_ascii=False)
