"""What `tallystick evaluate` does."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from vfl.evaluating import evaluate
from vfl.learn.evaluation_parameters import EvaluationParameters
from vfl.present_evaluation import show_evaluation


def evaluate_run(
    directory: Path, parameters: EvaluationParameters, cutoffs: Sequence[float], plots: bool, as_json: bool
) -> None:
    """`tallystick evaluate`."""
    body = evaluate(directory, parameters, cutoffs)
    if as_json:
        sys.stdout.write(json.dumps(body, allow_nan=False) + "\n")
    else:
        show_evaluation(body, Console())
