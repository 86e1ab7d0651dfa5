"""What `tallystick tune` does."""

from __future__ import annotations

import json
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from vfl.console import say, screen, show, table
from vfl.errors import UsageError
from vfl.files import csv_bytes, refusals, write_data
from vfl.interruption import interrupted
from vfl.loading import loader
from vfl.progress import shown, tell
from vfl.scenario_text import toml_of
from vfl.simulation import Load

BEST, TABLE = "best.toml", "trials.csv"
_SHOWN = 5


def tune(
    scenario: str, model: str | None, out: Path | None, trials: int, metric: str, resume: bool, as_json: bool
) -> None:
    """`tallystick tune`."""
    if find_spec("optuna") is None:
        raise UsageError("a search needs optuna, which is not installed", remedy="pip install 'tallystick[tune]'")
    from vfl import tuning  # noqa: PLC0415 - optuna is an extra

    name, load = loader(scenario, None, model)
    folder = out or Path("runs") / f"{name}-tune"
    journal = folder / tuning.JOURNAL
    if journal.exists() != resume:
        raise UsageError(
            f"{folder} has {'a search already' if journal.exists() else 'no search to go on with'}",
            remedy=f"{'Add' if journal.exists() else 'Leave out'} --resume, or name another --out.",
        )
    try:
        rows = _search(load, folder, trials, metric)
    except KeyboardInterrupt:
        words = ["tune", scenario, "--out", str(folder), "--trials", str(trials), "--metric", metric]
        interrupted(folder if journal.exists() else None, [*words, *(["--model", model] if model else [])])
    if as_json:
        body = {"metric": metric, "trials": len(rows), "best": rows[0], "file": str(folder / BEST)}
        tell(sys.stdout, json.dumps(body) + "\n")
    else:
        _show(rows, metric, folder)


def _search(load: Load, folder: Path, trials: int, metric: str) -> list[dict[str, Any]]:
    """Look, and write what was found into `folder`; finished trials, the best first."""
    from vfl import tuning  # noqa: PLC0415 - optuna is an extra

    def told(done: int, wanted: int, last: float, best: float) -> None:
        tell(sys.stderr, f"trial {done} of {wanted}: {metric} {last:.4f}, best {best:.4f}\n")

    with refusals(folder, remedy="name another --out"):
        folder.mkdir(parents=True, exist_ok=True)
        scenario = load(folder / "tables")
        with shown() as progress:
            progress.enter("align", 0)
            study = tuning.search(tuning.Search.prepare(scenario, metric), folder, trials, told)
        done = tuning.finished(study)
        rows = [{"trial": number, metric: one.value, **one.params} for number, one in enumerate(done, 1)]
        rows.sort(key=lambda row: -row[metric])
        write_data(folder / TABLE, csv_bytes(rows[0], ([row[name] for name in rows[0]] for row in rows)))
        best = {key: value for key, value in rows[0].items() if key not in ("trial", metric)}
        write_data(folder / BEST, toml_of(tuning.with_parameters(scenario, best)).encode())
    return rows


def _show(rows: list[dict[str, Any]], metric: str, folder: Path) -> None:
    console, made = screen(), table("trial", metric.upper(), "parameters")
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
