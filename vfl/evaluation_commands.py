"""What `tallystick evaluate` does."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from rich.console import Console

from vfl.errors import UsageError
from vfl.evaluating import evaluate
from vfl.files import refusals
from vfl.learn.evaluation_parameters import EvaluationParameters
from vfl.present_evaluation import show_evaluation
from vfl.scores import Scores

PLOTS = "plots"
"""Where in the run directory pictures go."""


def evaluate_run(
    directory: Path, parameters: EvaluationParameters, cutoffs: Sequence[float], plots: bool, as_json: bool
) -> None:
    """`tallystick evaluate`."""
    if plots and find_spec("matplotlib") is None:
        raise UsageError(
            "--plots needs matplotlib, which is not installed",
            remedy="pip install 'tallystick[plots]', or leave --plots out",
        )
    body = evaluate(directory, parameters, cutoffs)
    drawn = draw_plots(directory, body) if plots else []
    if as_json:
        sys.stdout.write(json.dumps(body, allow_nan=False) + "\n")
    else:
        show_evaluation(body, Console())
    if drawn:
        sys.stderr.write(f"drawn: {len(drawn)} files in {directory / PLOTS}\n")


def draw_plots(directory: Path, body: Mapping[str, Any]) -> list[Path]:
    """Every picture of the evaluation `body` into DIR/plots, as PNG and SVG; returns the files."""
    from vfl.plots.draw import draw  # noqa: PLC0415 - matplotlib is an extra

    target = directory / PLOTS
    with refusals(target, remedy="make the folder writable, or leave --plots out"):
        target.mkdir(exist_ok=True)
        return draw(body, Scores.read(directory), target)
