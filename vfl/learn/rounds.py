"""Scores from round to round of boosting, and the integers that each tree is grown from.

A round fixes the derivatives at the scores so far and draws its rows; it grows a tree for each output of the objective,
all from these derivatives. Early stopping watches the loss of the validation rows after each round.

Source: LightGBM 4.x, src/boosting/gbdt.cpp (`TrainOneIter`, `BoostFromAverage`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vfl.errors import UsageError
from vfl.learn.fixed_point import Scale, to_fixed
from vfl.learn.objective import Labels, checked_labels, objective_of
from vfl.learn.parameters import GBDTParameters
from vfl.learn.sampling import RowSampler

Flags = npt.NDArray[np.bool_]
Reals = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Parts:
    """Which rows train and which validate, bool[n]; they do not overlap."""

    train: Flags
    validation: Flags

    @property
    def fit(self) -> Flags:
        """Rows of either part."""
        return self.train | self.validation


@dataclass(frozen=True, eq=False)
class Target:
    """What is learned of n rows: labels, and what each row counts, float64[n]; None: the same.

    scores: raw scores to go on from, float64[n, outputs]; None: those that the objective starts from.
    Weights and real labels are rounded to float32, as LightGBM keeps them.
    """

    labels: Labels
    weights: Reals | None = None
    scores: Reals | None = None

    def __post_init__(self) -> None:
        if self.labels.dtype.kind == "f":
            object.__setattr__(self, "labels", _as_float32(self.labels))
        if self.weights is not None:
            object.__setattr__(self, "weights", _as_float32(self.weights))


def _as_float32(values: npt.NDArray[np.generic]) -> Reals:
    return values.astype(np.float32).astype(np.float64)


@dataclass(frozen=True, eq=False)
class Gradients:
    """What a tree is grown from: g and h, int64[n], 0 outside the sample; their scale; the sample, bool[n]."""

    g: Integers
    h: Integers
    scale: Scale
    sample: Flags


class Rounds:
    """All arrays are over the same n rows, of which `parts` tells; rows of neither part get scores, and no more."""

    def __init__(self, target: Target, parts: Parts, parameters: GBDTParameters) -> None:
        """Raises UsageError for training labels that the objective cannot learn from, and for parts without weight."""
        self.parts, self.parameters, self._target = parts, parameters, target
        train = parts.train
        known = checked_labels(parameters, target.labels[train])
        _require_weight(target.weights, train, "training")
        _require_weight(target.weights, parts.validation, "validation")
        self.objective = objective_of(parameters, known)
        self.starts = np.zeros(parameters.outputs)
        if target.scores is None and parameters.boost_from_average:
            weights = None if target.weights is None else target.weights[train]
            self.starts = self.objective.starts(known, weights)
        self.scores = np.tile(self.starts, (len(target.labels), 1)) if target.scores is None else target.scores.copy()
        self.losses: list[float] = []
        self.number = 0
        self._sampler = RowSampler(parameters, int(train.sum()))
        self._sample = train
        self._g = self._h = np.zeros((0, parameters.outputs))

    def open(self) -> None:
        """Begin a round: derivatives of the training rows, and its sample of them."""
        train = self.parts.train
        g, h = self.objective.derivatives(self.scores[train], self._target.labels[train])
        if self._target.weights is not None:
            weights = self._target.weights[train, None]
            g, h = g * weights, h * weights
        drawn = self._sampler.draw(self.number, g, h)
        factor = drawn.chosen[:, None] if drawn.factor is None else np.where(drawn.chosen, drawn.factor, 0.0)[:, None]
        self._g, self._h = g * factor, h * factor
        self._sample = np.zeros(len(train), np.bool_)
        self._sample[train] = drawn.chosen

    def gradients(self, output: int) -> Gradients:
        """What the round's tree for this output is grown from."""
        g, h, train = self._g[:, output], self._h[:, output], self.parts.train
        scale = Scale.of(g, h, self.parameters.gradient_bits, self.objective.usual)
        fixed = np.zeros((2, len(train)), np.int64)
        fixed[:, train] = to_fixed(g, scale.g), to_fixed(h, scale.h)
        return Gradients(fixed[0], fixed[1], scale, self._sample)

    def close(self) -> bool:
        """End a round that grew trees, whose values `scores` has by now; True when early stopping ends boosting."""
        self.number += 1
        watched, patience = self.parts.validation, self.parameters.early_stopping_round
        if not watched.any():
            return False
        weights = None if self._target.weights is None else self._target.weights[watched]
        self.losses.append(self.objective.loss(self.scores[watched], self._target.labels[watched], weights))
        return bool(patience) and len(self.losses) - self.best >= patience

    @property
    def best(self) -> int:
        """How many rounds the model keeps: with early stopping, up to the one with the least loss."""
        if not (self.parameters.early_stopping_round and self.losses):
            return self.number
        return int(np.argmin(self.losses)) + 1


def _require_weight(weights: Reals | None, part: Flags, what: str) -> None:
    """Raise UsageError where no row of a part counts: its means would be of nothing."""
    if weights is not None and part.any() and not weights[part].any():
        raise UsageError(
            f"the weights of all {int(part.sum())} {what} rows are zero",
            remedy="Some row of every part must count: weigh it above 0, or leave the weights out.",
        )
