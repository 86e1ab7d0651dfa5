"""The stand-in: a model of the active party's own columns, for applicants of whom some partner says nothing.

It is of the same kind as the joint model, with the same parameters, trained on the same rows by the active party alone:
made when scoring first starts, kept beside the ledger of decisions and named there by its digest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from vfl.agreement import Agreement
from vfl.card_models import card_share
from vfl.errors import UsageError
from vfl.files import read_array, write_data
from vfl.holding import Holding
from vfl.learn.columns import Columns, left_values
from vfl.learn.ensemble import Ensemble
from vfl.learn.objective import sigmoid
from vfl.learn.reference import ReferenceModel, train_reference
from vfl.learn.scorecard import Central
from vfl.learn.tree import Cover, SplitRecord, Tree
from vfl.models import active_share
from vfl.seat import RunFile
from vfl.terms import GBDT, Terms

Labels = npt.NDArray[np.int8]
FILE = "standin.json"


def alone(agreement: Agreement) -> Agreement:
    """The agreement of the active party with itself: who the stand-in is of."""
    return replace(agreement, members=(agreement.active,))


def stand_in_share(seat: Path, file: RunFile, mine: Holding) -> bytes:
    """The stand-in's share, from SEAT/scoring or trained now. Raises UsageError where rows and table do not fit."""
    path = seat / "scoring" / FILE
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_data(path, _trained(seat, file, mine))
    return path.read_bytes()


def _trained(seat: Path, file: RunFile, mine: Holding) -> bytes:
    rows, parts = read_array(seat / "rows.npy"), read_array(seat / "parts.npy")
    if len(rows) != len(parts) or (len(rows) and rows.max() >= len(mine.tokens)) or mine.labels is None:
        raise UsageError(f"{seat / 'rows.npy'} and the table are not of one run", remedy="restore the table of the run")
    values, labels = mine.values[rows], mine.labels[rows].astype(np.int8)
    weights = None if mine.weights is None else mine.weights[rows]
    agreement = alone(file.agreement)
    if file.terms.kind == GBDT:
        return _trees(file, agreement, mine, values, labels, parts, weights)
    return _card(file, agreement, mine, values, labels, parts)


def trees_alone(
    terms: Terms,
    mine: Holding,
    values: npt.NDArray[np.float64],
    labels: Labels,
    parts: npt.NDArray[np.int8],
    weights: npt.NDArray[np.float64] | None,
) -> tuple[ReferenceModel, Columns]:
    """Boosted trees of one party's columns, as the parties would train them together, and their bins.

    Arrays are over customers: `values` float64[n, features], `parts` 0 for training, 1 for validation.
    """
    columns = Columns.fit(
        mine.names, values, parts == 0, terms.parameters, terms.min_bin_population, set(mine.categorical)
    )
    used = [np.flatnonzero(parts == code) for code in (0, 1)]
    order = np.concatenate(used)
    # Rows aside are told from the others by the caller; without any, early stopping has nothing to watch.
    watched = (values[used[1]], labels[used[1]]) if len(used[1]) else None
    parameters = replace(terms.parameters, validation_fraction=0.0)
    if watched is None:
        parameters = replace(parameters, early_stopping_round=0)
    directions = None if terms.monotone is None else terms.monotone[0]
    model = train_reference(
        values[used[0]], labels[used[0]], parameters, watched, columns.mappers,
        None if weights is None else weights[order], directions,
        [number for number, name in enumerate(mine.names) if name in mine.categorical],
    )  # fmt: skip
    return model, columns


def _trees(
    file: RunFile,
    agreement: Agreement,
    mine: Holding,
    values: npt.NDArray[np.float64],
    labels: Labels,
    parts: npt.NDArray[np.int8],
    weights: npt.NDArray[np.float64] | None,
) -> bytes:
    model, columns = trees_alone(file.terms, mine, values, labels, parts, weights)
    trees = _covered(model.trees, model.init_score, model.records, values[parts == 0])
    return active_share(agreement, columns, Ensemble(model.starts, trees, model.records, ()))


def _covered(
    trees: Sequence[Tree], start: float, records: Sequence[SplitRecord], values: npt.NDArray[np.float64]
) -> tuple[Tree, ...]:
    """With the training rows in each leaf, which reasons are drawn from; the gains of splits are not known any more."""
    left, score, found = left_values(values, records), np.full(len(values), start), []
    for tree in trees:
        leaf, pd = tree.route(lambda _, record: left[record], len(values)), sigmoid(score)
        count = np.bincount(leaf, minlength=tree.n_leaves).astype(np.int64)
        weight = np.bincount(leaf, pd * (1.0 - pd), minlength=tree.n_leaves).astype(np.float64)
        found.append(replace(tree, cover=Cover(count, weight, np.zeros(len(tree.left)))))
        score += tree.leaf_value[leaf]
    return tuple(found)


def _card(
    file: RunFile,
    agreement: Agreement,
    mine: Holding,
    values: npt.NDArray[np.float64],
    labels: Labels,
    parts: npt.NDArray[np.int8],
) -> bytes:
    terms = file.terms
    found = Central.fit(
        mine.names, values, labels, parts == 0, terms.scorecard, terms.min_bin_population, mine.special, mine.trends
    )
    head = {"intercept": found.intercept, "base_points": found.card.scaling.base(found.intercept)}
    return card_share(agreement, agreement.active.name, found.card, None, head)
