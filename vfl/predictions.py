"""`predictions.csv`: what the joint model says of the hold-out, in the order of the active party's table.

id,label,pd              of two classes          of a scorecard also points
id,label,p_0,p_1,...     of several classes
id,label,prediction      of a regression
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from vfl.files import csv_bytes
from vfl.terms import ActiveOutcome

Reals = npt.NDArray[np.float64]
FILE = "predictions.csv"


def predictions(ids: Sequence[str], outcome: ActiveOutcome) -> bytes:
    """The file of a run. `ids`: of all customers, as the table writes them."""
    rows = outcome.rows[outcome.holdout]
    order = np.argsort(rows)
    labels = outcome.labels[outcome.holdout][order]
    real = labels.dtype.kind == "f"
    called = "prediction" if real else "pd" if outcome.pd.ndim == 1 else "p"
    found = {"id": [ids[row] for row in rows[order].tolist()], "label": [repr(label) for label in labels.tolist()]}
    found |= {name: [repr(p) for p in column.tolist()] for name, column in columns_of(called, outcome.pd[order])}
    if outcome.points is not None:
        found["points"] = [str(points) for points in outcome.points[order].tolist()]
    return csv_bytes(found, zip(*found.values(), strict=True))


def columns_of(name: str, predictions: Reals) -> list[tuple[str, Reals]]:
    """Predictions as columns of a file: one called `name`, or one a class called `name`_0, `name`_1, ..."""
    if predictions.ndim == 1:
        return [(name, predictions)]
    return [(f"{name}_{number}", column) for number, column in enumerate(predictions.T)]


def run_scores(folder: Path) -> Reals:
    """The joint model's hold-out predictions as the run left them in `folder`/predictions.csv, in its order."""
    with (folder / "predictions.csv").open(encoding="utf-8", newline="") as file:
        rows = [
            [float(value) for name, value in row.items() if name not in ("id", "label", "points")]
            for row in csv.DictReader(file)
        ]
    found = np.array(rows)
    return found[:, 0] if found.shape[1] == 1 else found
