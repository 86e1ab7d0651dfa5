"""`scores.csv` of a simulated run: what each model says of every common customer, side by side.

    id,part,label,federated,bank_only,pooled_lightgbm        and of a scorecard pooled_scorecard

In the order of the active party's table. `part` is train, validation or holdout; the scores are probabilities of label
1. The joint model's hold-out scores are those of the run; its others, and the two comparisons, are computed at the end
by the one machine that holds all tables. A real bank cannot have the column `pooled_lightgbm`.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from vfl.errors import UsageError
from vfl.files import NO_RUN, csv_bytes, write_data
from vfl.learn.columns import left_values
from vfl.learn.ensemble import Ensemble
from vfl.learn.objective import Labels
from vfl.learn.tree import SplitRecord
from vfl.predictions import columns_of

Reals = npt.NDArray[np.float64]

FILE = "scores.csv"
PARTS = ("train", "validation", "holdout")
"""By the codes of `parts.npy`."""
MODELS = ("federated", "bank_only", "pooled_lightgbm")
POOLED_SCORECARD = "pooled_scorecard"
"""Beside them where the joint model is a scorecard: the same of all columns in one table."""
_HELD_OUT = PARTS.index("holdout")
_ROWS_AT_ONCE = 50_000


@dataclass(frozen=True, eq=False)
class Scores:
    """Common customers with their part (code of `PARTS`), label and predictions by model; all of length n.

    Predictions of classes have a column each.
    """

    ids: Sequence[str]
    part: npt.NDArray[np.int8]
    labels: Labels
    scores: Mapping[str, Reals]

    @property
    def holdout(self) -> npt.NDArray[np.bool_]:
        """Who was held out, bool[n]."""
        return np.asarray(self.part == _HELD_OUT)

    def only(self, models: Sequence[str]) -> Scores:
        """The same with these models, in this order."""
        return replace(self, scores={model: self.scores[model] for model in models})

    def write(self, folder: Path) -> None:
        """Into `folder`/scores.csv."""
        named = {name: column for model, score in self.scores.items() for name, column in columns_of(model, score)}
        columns = [map(repr, column.tolist()) for column in named.values()]
        names = (PARTS[code] for code in self.part.tolist())
        rows = zip(self.ids, names, self.labels.tolist(), *columns, strict=True)
        write_data(folder / FILE, csv_bytes(["id", "part", "label", *named], rows))

    @classmethod
    def read(cls, folder: Path) -> Scores:
        """From `folder`/scores.csv of two classes. Raises UsageError if it is not there or damaged."""
        path = folder / FILE
        try:
            with path.open(encoding="utf-8", newline="") as file:
                reader = csv.DictReader(file, strict=True)
                rows, found = list(reader), reader.fieldnames or ()
            part = np.array([PARTS.index(row["part"]) for row in rows], np.int8)
            labels = np.array([row["label"] for row in rows]).astype(np.int8)
            models = (*MODELS, *([POOLED_SCORECARD] if POOLED_SCORECARD in found else []))
            scores = {model: np.array([float(row[model]) for row in rows]) for model in models}
            if not all(np.isfinite(score).all() for score in scores.values()):
                raise ValueError("a score is no number")
            return cls([row["id"] for row in rows], part, labels, scores)
        except FileNotFoundError:
            remedy = f"{NO_RUN}; runs made before version 0.1.0 have none: run again"
            raise UsageError(f"there is no {FILE} in {folder}", remedy=remedy) from None
        except (OSError, ValueError, KeyError, TypeError, OverflowError, csv.Error) as error:
            raise UsageError(f"{path} is damaged: {error!r}", remedy="run again under another --out") from None


def joint_scores(model: Ensemble, records: Sequence[Sequence[SplitRecord]], tables: Sequence[Reals]) -> Reals:
    """What the joint model predicts of every row, where one machine holds all shares and tables.

    float64[n], or with a column a class.

    records: of each party, the active one first.   tables: of each party, float64[n, n_features], in the same order.
    """
    parts = []
    for first in range(0, len(tables[0]), _ROWS_AT_ONCE):
        rows = slice(first, first + _ROWS_AT_ONCE)
        decisions = [left_values(table[rows], own) for own, table in zip(records, tables, strict=True)]
        parts.append(model.predict(decisions))
    return np.concatenate(parts)
