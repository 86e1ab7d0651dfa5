"""The two models that a joint one is measured against, both LightGBM with the same parameters and the same rows.

`bank_only`: the active party's columns alone; every bank can train it. `pooled_lightgbm`: all parties' columns in one
table; it exists in simulation only, where one machine holds everything, and is labelled so wherever it is shown.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from vfl.learn.metrics import accuracy, auc, class_log_loss, gini, ks, mean_absolute_error, r_squared, rmse
from vfl.learn.monotone import Directions
from vfl.learn.objective import Labels
from vfl.learn.parameters import GBDTParameters
from vfl.learn.rounds import Parts

if TYPE_CHECKING:
    import lightgbm

Reals = npt.NDArray[np.float64]
_FIGURES: Mapping[str, Mapping[str, Callable[[Labels, Reals], float]]] = {
    "binary": {"auc": auc, "ks": ks, "gini": gini},
    "regression": {"rmse": rmse, "mae": mean_absolute_error, "r2": r_squared},
    "multiclass": {"log_loss": class_log_loss, "accuracy": accuracy},
}
"""By objective: what is told of a model's predictions."""


def lightgbm_scores(
    values: Reals,
    labels: Labels,
    parts: Parts,
    wanted: npt.NDArray[np.bool_],
    parameters: GBDTParameters,
    weights: Reals | None = None,
    monotone: Directions | None = None,
    categorical: Sequence[int] = (),
) -> Reals:
    """What LightGBM, trained on `parts`, predicts for the rows `wanted`: float64[wanted rows], or a column a class.

    monotone: directions of the columns.   categorical: columns whose values are categories.
    """
    import lightgbm  # noqa: PLC0415 - as slow to import as all the rest, and few commands train

    options = parameters.lightgbm_params()
    if monotone is not None and monotone.any():
        options |= {"monotone_constraints": monotone.tolist(), "monotone_constraints_method": "basic"}

    def data(rows: npt.NDArray[np.bool_], reference: lightgbm.Dataset | None = None) -> lightgbm.Dataset:
        counted = None if weights is None else weights[rows]
        return lightgbm.Dataset(
            values[rows], labels[rows], reference, counted,
            categorical_feature=list(categorical), params=options, free_raw_data=False,
        )  # fmt: skip

    train = data(parts.train)
    watched = [data(parts.validation, train)] if parts.validation.any() else []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about parameters that it takes from the data set
        booster = lightgbm.train(options, train, num_boost_round=parameters.num_iterations, valid_sets=watched)
        return np.asarray(booster.predict(values[wanted]), dtype=np.float64)


def figures(labels: Labels, predictions: Reals, objective: str = "binary") -> dict[str, float]:
    """How good `predictions` are for the rows with `labels`: AUC, KS and Gini, or what fits the objective."""
    return {name: figure(labels, predictions) for name, figure in _FIGURES[objective].items()}
