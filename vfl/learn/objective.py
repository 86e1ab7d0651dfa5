"""What is learned: objectives with their first and second derivatives, and the labels each of them takes.

    binary       p = 1 / (1 + exp(-score))          g = p - y                h = p (1 - p)
    multiclass   p_k = softmax(scores)_k            g_k = p_k - [y = k]      h_k = K / (K - 1) p_k (1 - p_k)
    regression   prediction = score                 g = score - y            h = 1

Row weights multiply g and h. They are read as float32, as LightGBM does, and so are labels of a regression.

Source: LightGBM 4.x, src/objective/binary_objective.hpp (sigmoid = 1), multiclass_objective.hpp (`MulticlassSoftmax`)
and regression_objective.hpp (`RegressionL2loss`).
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from vfl.errors import UsageError
from vfl.learn.parameters import GBDTParameters

Reals = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int8] | npt.NDArray[np.int16] | Reals
"""int8 of 0 and 1, int16 of class numbers, or float64."""

OBJECTIVES = ("binary", "regression", "multiclass")
_LEAST_RATE = 1e-15  # LightGBM's kEpsilon


class Objective(Protocol):
    """How scores become derivatives and predictions. Scores and derivatives are float64[n, outputs]."""

    @property
    def outputs(self) -> int:
        """Scores of a row, and trees of a round."""
        ...

    @property
    def usual(self) -> tuple[float, float]:
        """Bounds of |g| and h of a row of weight 1, 0 where there is none."""
        ...

    def starts(self, labels: Labels, weights: Reals | None) -> Reals:
        """The score that lets every row of `labels` [n] start best: float64[outputs]."""
        ...

    def derivatives(self, scores: Reals, labels: Labels) -> tuple[Reals, Reals]:
        """g and h of rows of weight 1."""
        ...

    def loss(self, scores: Reals, labels: Labels, weights: Reals | None) -> float:
        """What early stopping watches: the mean loss of the rows, by weight."""
        ...

    def predictions(self, scores: Reals) -> Reals:
        """Probabilities of label 1, float64[n], or of each class, float64[n, outputs]; of a regression the scores."""
        ...


@dataclass(frozen=True)
class Binary:
    """Log-loss of labels 0 and 1. weight_of: what rows of label 0 and of label 1 count."""

    weight_of: tuple[float, float] = (1.0, 1.0)
    outputs: int = 1
    usual: tuple[float, float] = (1.0, 0.25)

    @classmethod
    def of(cls, parameters: GBDTParameters, labels: Labels) -> Binary:
        """With the weights that `is_unbalance` or `scale_pos_weight` ask for, by the training labels."""
        if not parameters.is_unbalance:
            return cls((1.0, parameters.scale_pos_weight))
        bads = int(np.sum(labels == 1))
        goods = len(labels) - bads
        return cls((bads / goods, 1.0) if bads > goods else (1.0, goods / bads))

    def starts(self, labels: Labels, weights: Reals | None) -> Reals:
        return np.array([_log_odds(_mean(labels.astype(np.float64), weights))])

    def derivatives(self, scores: Reals, labels: Labels) -> tuple[Reals, Reals]:
        g, h = gradients(scores[:, 0], labels)
        weight = np.where(labels == 1, self.weight_of[1], self.weight_of[0])
        return (g * weight)[:, None], (h * weight)[:, None]

    def loss(self, scores: Reals, labels: Labels, weights: Reals | None) -> float:
        sign = 2.0 * labels - 1.0
        return _mean(np.logaddexp(0.0, -sign * scores[:, 0]), weights)

    def predictions(self, scores: Reals) -> Reals:
        return sigmoid(scores[:, 0])


@dataclass(frozen=True)
class SquaredError:
    """Half the squared distance from real labels."""

    outputs: int = 1
    usual: tuple[float, float] = (0.0, 0.0)

    def starts(self, labels: Labels, weights: Reals | None) -> Reals:
        return np.array([_mean(labels.astype(np.float64), weights)])

    def derivatives(self, scores: Reals, labels: Labels) -> tuple[Reals, Reals]:
        return scores - labels[:, None], np.ones_like(scores)

    def loss(self, scores: Reals, labels: Labels, weights: Reals | None) -> float:
        """The mean squared error, LightGBM's metric `l2`."""
        return _mean((scores[:, 0] - labels) ** 2, weights)

    def predictions(self, scores: Reals) -> Reals:
        return scores[:, 0]


@dataclass(frozen=True)
class Softmax:
    """Log-loss of labels 0, 1, ..., outputs - 1."""

    outputs: int
    usual: tuple[float, float] = (1.0, 0.25)

    def starts(self, labels: Labels, weights: Reals | None) -> Reals:
        counts = np.bincount(labels.astype(np.int64), weights, self.outputs)
        return np.asarray(np.log(np.maximum(counts / counts.sum(), _LEAST_RATE)), dtype=np.float64)

    def derivatives(self, scores: Reals, labels: Labels) -> tuple[Reals, Reals]:
        p = softmax(scores)
        own = labels.astype(np.int64)[:, None] == np.arange(self.outputs)
        return p - own, self.outputs / (self.outputs - 1.0) * p * (1.0 - p)

    def loss(self, scores: Reals, labels: Labels, weights: Reals | None) -> float:
        own = np.take_along_axis(softmax(scores), labels.astype(np.int64)[:, None], axis=1)[:, 0]
        return _mean(-np.log(np.maximum(own, _LEAST_RATE)), weights)

    def predictions(self, scores: Reals) -> Reals:
        return softmax(scores)


def objective_of(parameters: GBDTParameters, labels: Labels) -> Objective:
    """The objective of a training. `labels`: of the training rows [n], as `checked_labels` returns them."""
    if parameters.objective == "multiclass":
        return Softmax(parameters.num_class)
    return SquaredError() if parameters.objective == "regression" else Binary.of(parameters, labels)


def predictions(objective: str, scores: Reals) -> Reals:
    """What raw scores float64[n, outputs] of the objective of that name say; see `Objective.predictions`."""
    known: dict[str, Objective] = {"regression": SquaredError(), "multiclass": Softmax(scores.shape[1])}
    return known.get(objective, Binary()).predictions(scores)


def checked_labels(parameters: GBDTParameters, y: npt.ArrayLike) -> Labels:
    """Training labels as the objective takes them; raises UsageError for what it cannot learn from."""
    if parameters.objective == "regression":
        return real_labels(y)
    if parameters.objective == "multiclass":
        return class_labels(y, parameters.num_class)
    return binary_labels(y)


def _column(y: npt.ArrayLike) -> npt.NDArray[np.generic]:
    raw = np.asarray(y)
    if raw.ndim != 1 or len(raw) == 0:
        raise UsageError(f"labels must be one column with at least one row, not of shape {raw.shape}")
    return raw


def binary_labels(y: npt.ArrayLike) -> npt.NDArray[np.int8]:
    """Labels as int8[n] of 0 and 1; raises UsageError for other values, no rows, or a single class."""
    raw = _column(y)
    found = np.unique(raw)
    if not np.isin(found, (0, 1)).all():
        raise UsageError(f"labels must be 0 or 1, found {', '.join(map(str, found[:5]))}")
    if len(found) == 1:
        raise UsageError(f"all {len(raw)} labels are {int(found[0])}", remedy="Both classes are needed.")
    return raw.astype(np.int8)


def class_labels(y: npt.ArrayLike, classes: int) -> npt.NDArray[np.int16]:
    """Labels as int16[n] of 0 to classes - 1; raises UsageError for other values, no rows, or a class without rows."""
    raw = _column(y)
    found = np.unique(raw)
    wrong = found[~np.isin(found, np.arange(classes))]
    if len(wrong):
        raise UsageError(
            f"labels must be whole numbers from 0 to {classes - 1}, found {', '.join(map(str, wrong[:5]))}",
            remedy="Number the classes from 0, and set num_class to how many there are.",
        )
    if len(found) < classes:
        absent = next(k for k in range(classes) if k not in found)
        raise UsageError(
            f"no training row has label {absent}, but num_class is {classes}", remedy="Every class needs some rows."
        )
    return raw.astype(np.int16)


def real_labels(y: npt.ArrayLike) -> Reals:
    """Labels as float64[n], rounded to float32; raises UsageError for what is no finite number, or for equal ones."""
    raw = _column(y)
    with np.errstate(over="ignore"):
        values = raw.astype(np.float32).astype(np.float64)
    if not np.isfinite(values).all():
        raise UsageError("labels must be finite numbers", remedy="Leave rows without a label out.")
    if values.min() == values.max():
        raise UsageError(f"all {len(raw)} labels are {values[0]:g}", remedy="There is nothing to learn.")
    return values


def checked_weights(weights: npt.ArrayLike, rows: int) -> Reals:
    """Row weights as float64[n], rounded to float32. Raises UsageError for a negative one."""
    raw = np.asarray(weights, dtype=np.float64)
    if raw.shape != (rows,):
        raise UsageError(f"weights must be one column of {rows} rows, not of shape {raw.shape}")
    values = raw.astype(np.float32).astype(np.float64)
    wrong = np.flatnonzero(~(np.isfinite(values) & (values >= 0.0)))
    if len(wrong):
        raise UsageError(
            f"weight {raw[wrong[0]]:g} in row {wrong[0] + 1}", remedy="Weights are numbers, 0 or more, none missing."
        )
    return values


def _mean(values: Reals, weights: Reals | None) -> float:
    if weights is None:
        return float(values.mean())
    return float((values * weights).sum() / weights.sum())


def _log_odds(rate: float) -> float:
    rate = max(min(rate, 1.0 - _LEAST_RATE), _LEAST_RATE)
    return math.log(rate / (1.0 - rate))


def sigmoid(score: Reals) -> Reals:
    """Probability of a raw score, float64[n] -> float64[n]."""
    with np.errstate(over="ignore"):
        return np.asarray(1.0 / (1.0 + np.exp(-score)), dtype=np.float64)


def softmax(scores: Reals) -> Reals:
    """Probabilities of classes by their scores, float64[n, classes] both."""
    grown = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(grown / grown.sum(axis=1, keepdims=True), dtype=np.float64)


def gradients(score: Reals, labels: Labels) -> tuple[Reals, Reals]:
    """First and second derivative of the binary log-loss by the raw score, float64[n]: |g| <= 1, 0 <= h <= 1/4."""
    sign = 2.0 * labels - 1.0
    with np.errstate(over="ignore"):
        g = -sign / (1.0 + np.exp(sign * score))
    size = np.abs(g)
    return g, size * (1.0 - size)


def validation_rows(n_rows: int, fraction: float, seed: int) -> npt.NDArray[np.bool_]:
    """Rows kept aside for early stopping: bool[n_rows] with round(n_rows * fraction) true, fixed by `seed`.

    The rows with the smallest 64-bit words of SHAKE-256("tallystick-validation-v1" || seed as 8 bytes); public, and the
    same on every machine and at every party.
    """
    stream = hashlib.shake_256(b"tallystick-validation-v1" + seed.to_bytes(8, "big")).digest(8 * n_rows)
    order = np.argsort(np.frombuffer(stream, dtype=">u8").astype(np.uint64), kind="stable")
    chosen = np.zeros(n_rows, dtype=np.bool_)
    chosen[order[: round(n_rows * fraction)]] = True
    return chosen
