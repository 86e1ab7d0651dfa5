"""Evaluation of a finished run from its `scores.csv`: everything a validator of credit models asks for, as one mapping.

Each figure is there for the joint model, for the active party alone, and for all columns pooled, which exists in
simulation only. Whatever is drawn is drawn from a fixed seed: the same run gives the same figures again.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from vfl.errors import UsageError
from vfl.learn.bands import bands
from vfl.learn.calibration import brier, reliability
from vfl.learn.delong import delong
from vfl.learn.evaluation_parameters import EvaluationParameters
from vfl.learn.metrics import auc, gini, ks, log_loss
from vfl.learn.ranking import Approvals, Ranking
from vfl.learn.recalibration import MAPS, Platt, cross_fitted
from vfl.learn.resampling import Resampled, interval, resample
from vfl.learn.stability import band
from vfl.randomness import Randomness
from vfl.retention import ROWS, require_kept
from vfl.scores import MODELS, PARTS, Scores
from vfl.seat import RunFile

Reals = npt.NDArray[np.float64]

NOTE = "hold-out; pooled_lightgbm exists in simulation only, where one machine holds all columns"
SHARES = tuple(tenth / 10 for tenth in range(1, 11))
"""Shares of applicants approved in the trade-off."""
_FIGURES = {"auc": auc, "ks": ks, "gini": gini}
_FOLDS = 5
_SEED = Randomness(hashlib.sha256(b"tallystick evaluation").digest())


def intervals(scores: Scores, parameters: EvaluationParameters | None = None) -> dict[str, Any]:
    """For a summary: by model, the bootstrap interval [low, high] of AUC, KS and Gini on the hold-out.

    Beside them `confidence` and `resamples`.
    """
    parameters = parameters or EvaluationParameters()
    drawn = _resampled(scores, parameters)
    found = {
        name: {figure: _bounds(getattr(drawn, figure)[number], parameters) for figure in _FIGURES}
        for number, name in enumerate(scores.scores)
    }
    return {**found, "confidence": parameters.confidence, "resamples": parameters.resamples}


def evaluate(directory: Path, parameters: EvaluationParameters, cutoffs: Sequence[float] = ()) -> dict[str, Any]:
    """Evaluate the run in `directory`; JSON-ready. `cutoffs`: as `judge` takes them.

    Raises UsageError if it is not the directory of a finished run, or as `judge` does.
    """
    file = RunFile.read(directory, needs=())
    require_kept(directory, [file.agreement.active.name], [ROWS])
    file.terms.require_two_classes(
        "this evaluation is for scores", "Read its figures in summary.json, and predictions in scores.csv."
    )
    agreement = file.agreement
    run = {"scenario": agreement.scenario, "run": file.run, "active": agreement.active.name, "note": NOTE}
    return {**run, **judge(Scores.read(directory).only(MODELS), parameters, cutoffs)}


def judge(scores: Scores, parameters: EvaluationParameters, cutoffs: Sequence[float] = ()) -> dict[str, Any]:
    """Every figure of every model; JSON-ready. `cutoffs`: probabilities up to which customers would be approved.

    Raises UsageError if a cut-off is no probability, or the hold-out has fewer than two customers of a class.
    """
    for cutoff in cutoffs:
        if not 0.0 <= cutoff <= 1.0:
            raise UsageError(f"--cutoff is {cutoff:g}", remedy="Name a probability of default, 0 to 1.")
    labels = scores.labels[scores.holdout].astype(np.int8)
    counts = {
        "customers": {name: int((scores.part == code).sum()) for code, name in enumerate(PARTS)},
        "bad_rate": float(labels.mean()),
        "parameters": parameters.as_dict(),
    }
    drawn = _resampled(scores, parameters)
    models = {
        name: _model(scores, name, number, drawn, parameters, cutoffs) for number, name in enumerate(scores.scores)
    }
    return {**counts, "models": models, "differences": _differences(scores, drawn, parameters)}


def _resampled(scores: Scores, parameters: EvaluationParameters) -> Resampled:
    rows, rng = scores.holdout, _SEED.child("bootstrap")
    return resample(scores.labels[rows], [score[rows] for score in scores.scores.values()], parameters.resamples, rng)


def _model(
    scores: Scores,
    name: str,
    number: int,
    drawn: Resampled,
    parameters: EvaluationParameters,
    cutoffs: Sequence[float],
) -> dict[str, Any]:
    """Everything about one model."""
    rows = scores.holdout
    labels, pd = scores.labels[rows].astype(np.int8), scores.scores[name][rows]
    cut = bands(scores.scores[name][scores.part == 0], labels, pd, parameters.groups)
    ranking, money = Ranking.of(labels, pd), (parameters.profit_good, parameters.loss_bad)
    asked = ranking.at_cutoffs(cutoffs, *money)
    return {
        **{
            figure: {"value": of(labels, pd), "interval": _bounds(getattr(drawn, figure)[number], parameters)}
            for figure, of in _FIGURES.items()
        },
        "lift": _table(vars(ranking.lift(parameters.groups))),
        "bands": _table(vars(cut)),
        "psi": {"value": cut.psi, "verdict": band(cut.psi)},
        "calibration": _calibration(labels, pd, parameters),
        "recalibration": _recalibration(scores, name, parameters),
        "approvals": _approvals(ranking.at_shares(SHARES, *money)),
        "best_cutoff": _approvals(ranking.best(*money))[0],
        "cutoffs": [{**row, "cutoff": at} for row, at in zip(_approvals(asked), cutoffs, strict=True)],
    }


def _calibration(labels: npt.NDArray[np.int8], pd: Reals, parameters: EvaluationParameters) -> dict[str, Any]:
    bins = reliability(labels, pd, parameters.groups, parameters.confidence)
    test, line = bins.hosmer_lemeshow(), Platt.fit(labels, pd)
    return {
        "brier": brier(labels, pd),
        "log_loss": log_loss(labels, pd),
        "mean_pd": float(pd.mean()),
        "bad_rate": float(labels.mean()),
        "hosmer_lemeshow": {**vars(test), "statistic": _finite(test.statistic)},
        "intercept": line.intercept,
        "slope": line.slope,
        "reliability": _table(vars(bins)),
    }


def _recalibration(scores: Scores, name: str, parameters: EvaluationParameters) -> dict[str, Any]:
    """What each map would change, fitted on the validation customers, or across folds of the hold-out without any."""
    held, aside = scores.holdout, scores.part == PARTS.index("validation")
    labels, pd = scores.labels[held], scores.scores[name][held]
    usable = len(np.unique(scores.labels[aside])) == 2
    found: dict[str, Any] = {"fitted_on": "validation" if usable else f"hold-out, {_FOLDS} folds crosswise"}
    for kind, fit in MAPS.items():
        if usable:
            better = fit(scores.labels[aside], scores.scores[name][aside])(pd)
        else:
            better = cross_fitted(fit, labels, pd, _FOLDS, _SEED.child("folds"))
        test = reliability(labels, better, parameters.groups, parameters.confidence).hosmer_lemeshow()
        figures = {"brier": brier(labels, better), "log_loss": log_loss(labels, better)}
        found[kind] = {**figures, "hosmer_lemeshow_p": test.p_value}
    return found


def _differences(scores: Scores, drawn: Resampled, parameters: EvaluationParameters) -> dict[str, Any]:
    """What the joint model gains over each of the others, with paired intervals and DeLong's test of the AUC."""
    rows, names = scores.holdout, list(scores.scores)
    labels, held = scores.labels[rows], [score[rows] for score in scores.scores.values()]
    test = delong(labels, held)
    found: dict[str, Any] = {}
    for other in range(1, len(names)):
        found[names[other]] = {
            figure: {
                "value": of(labels, held[0]) - of(labels, held[other]),
                "interval": _bounds(getattr(drawn, figure)[0] - getattr(drawn, figure)[other], parameters),
            }
            for figure, of in _FIGURES.items()
        }
        found[names[other]]["delong_p"] = test.p_value(0, other)
    return found


def _bounds(values: Reals, parameters: EvaluationParameters) -> list[float]:
    return list(interval(values, parameters.confidence))


def _approvals(of: Approvals) -> list[dict[str, Any]]:
    return _table(vars(of))


def _table(columns: Mapping[str, npt.NDArray[Any]]) -> list[dict[str, Any]]:
    """Rows of columns of equal length; what is no finite number becomes null, which JSON has."""
    rows = zip(*(column.tolist() for column in columns.values()), strict=True)
    return [dict(zip(columns, map(_finite, row), strict=True)) for row in rows]


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
