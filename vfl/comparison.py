"""The two models that a joint one is measured against, both LightGBM with the same parameters and the same rows.

`bank_only`: the active party's columns alone; every bank can train it. `pooled_lightgbm`: all parties' columns in one
table; it exists in simulation only, where one machine holds everything, and is labelled so wherever it is shown.
"""

from __future__ import annotations

import warnings

import lightgbm
import numpy as np
import numpy.typing as npt

from vfl.learn.metrics import auc, gini, ks
from vfl.learn.parameters import GBDTParameters
from vfl.learn.rounds import Parts

Reals = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int8]


def lightgbm_scores(
    values: Reals, labels: Labels, parts: Parts, wanted: npt.NDArray[np.bool_], parameters: GBDTParameters
) -> Reals:
    """Probabilities that LightGBM, trained on `parts`, gives to the rows `wanted`: float64[wanted rows]."""
    options = parameters.lightgbm_params()
    train = lightgbm.Dataset(values[parts.train], labels[parts.train], params=options, free_raw_data=False)
    watched = [train.create_valid(values[parts.validation], labels[parts.validation])] if parts.validation.any() else []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about parameters that it takes from the data set
        booster = lightgbm.train(options, train, num_boost_round=parameters.num_iterations, valid_sets=watched)
        return np.asarray(booster.predict(values[wanted]), dtype=np.float64)


def figures(labels: Labels, scores: Reals) -> dict[str, float]:
    """AUC, KS and Gini of `scores` for the rows with `labels`."""
    return {"auc": auc(labels, scores), "ks": ks(labels, scores), "gini": gini(labels, scores)}
