"""How boosted trees came to their score: AUC and log-loss of the hold-out after each tree."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from vfl.explaining import decided
from vfl.learn.metrics import auc, log_loss
from vfl.learn.objective import sigmoid
from vfl.models import read_ensemble
from vfl.seat import RunFile

_POINTS = 100  # at most about so many, both ends among them


def convergence(directory: Path) -> list[dict[str, float | int]]:
    """Of the run in `directory`, which learned boosted trees of two classes: one item a tree, no tree first."""
    folder = directory / RunFile.read(directory).agreement.active.name
    model = read_ensemble((folder / "share.json").read_bytes())
    rows = np.load(folder / "rows.npy")[np.load(folder / "parts.npy") == 2]
    decisions = decided(folder, model, len(rows))
    with (folder / "predictions.csv").open(encoding="utf-8", newline="") as file:
        in_order = np.array([int(line["label"]) for line in csv.DictReader(file)], np.int8)
    labels = np.empty_like(in_order)
    labels[np.argsort(rows)] = in_order  # predictions.csv is in the order of the table, decisions in that of the rows
    scores, found, step = np.full(len(rows), model.init_score), [], max(1, len(model.trees) // _POINTS)
    for number in range(len(model.trees) + 1):
        if number:
            scores += model.trees[number - 1].predict(lambda owner, record: decisions[owner][record], len(scores))
        if number % step == 0 or number == len(model.trees):
            pd = sigmoid(scores)
            found.append({"trees": number, "auc": float(auc(labels, pd)), "log_loss": float(log_loss(labels, pd))})
    return found
