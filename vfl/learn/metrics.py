"""How well scores separate and predict: AUC, KS, Gini, log-loss; and figures of classes and of real predictions.

Those of two classes take labels of 0 and 1 (1 = bad) and one score per row, higher = riskier; they raise UsageError
when the lengths differ, a score is not a number, or only one class is there.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from vfl.errors import UsageError
from vfl.learn.objective import binary_labels

Reals = npt.NDArray[np.float64]

_SMALLEST = 1e-15  # probabilities are kept this far from 0 and 1


def auc(y: npt.ArrayLike, score: npt.ArrayLike) -> float:
    """Probability that a random bad row scores above a random good one, ties counted half (Mann-Whitney)."""
    bads, goods = _per_distinct_score(y, score)
    goods_below = np.cumsum(goods) - goods
    return float((bads * (goods_below + goods / 2.0)).sum() / (bads.sum() * goods.sum()))


def ks(y: npt.ArrayLike, score: npt.ArrayLike) -> float:
    """Kolmogorov-Smirnov distance: the largest gap between the two classes' score distributions, in 0..1."""
    bads, goods = _per_distinct_score(y, score)
    return float(np.abs(np.cumsum(bads) / bads.sum() - np.cumsum(goods) / goods.sum()).max())


def gini(y: npt.ArrayLike, score: npt.ArrayLike) -> float:
    """Gini coefficient (accuracy ratio): 2 AUC - 1."""
    return 2.0 * auc(y, score) - 1.0


def log_loss(y: npt.ArrayLike, probability: npt.ArrayLike) -> float:
    """Mean of -log(probability of what happened), natural logarithm; probabilities are clipped to 1e-15."""
    labels, p = checked(y, probability)
    if p.min() < 0.0 or p.max() > 1.0:
        raise UsageError(
            f"log-loss needs probabilities, found {p.min():g} to {p.max():g}", remedy="Apply the sigmoid to raw scores."
        )
    return float(-np.log(np.maximum(np.where(labels == 1, p, 1.0 - p), _SMALLEST)).mean())


def class_log_loss(y: npt.ArrayLike, probabilities: Reals) -> float:
    """The same of classes 0, 1, ..., by their probabilities float64[n, classes]."""
    own = np.take_along_axis(probabilities, np.asarray(y, dtype=np.int64)[:, None], axis=1)
    return float(-np.log(np.maximum(own, _SMALLEST)).mean())


def accuracy(y: npt.ArrayLike, probabilities: Reals) -> float:
    """Share of the rows whose class is the most probable one, by probabilities float64[n, classes]."""
    return float((probabilities.argmax(axis=1) == np.asarray(y)).mean())


def rmse(y: npt.ArrayLike, predicted: Reals) -> float:
    """Root of the mean squared error."""
    return float(np.sqrt(((np.asarray(y, dtype=np.float64) - predicted) ** 2).mean()))


def mean_absolute_error(y: npt.ArrayLike, predicted: Reals) -> float:
    """Mean distance of predictions from labels."""
    return float(np.abs(np.asarray(y, dtype=np.float64) - predicted).mean())


def r_squared(y: npt.ArrayLike, predicted: Reals) -> float:
    """Share of the labels' variance that is explained: 1 - squared error / variance. 0 where labels do not vary."""
    labels = np.asarray(y, dtype=np.float64)
    spread = ((labels - labels.mean()) ** 2).sum()
    return float(1.0 - ((labels - predicted) ** 2).sum() / spread) if spread > 0 else 0.0


def checked(y: npt.ArrayLike, score: npt.ArrayLike) -> tuple[npt.NDArray[np.int8], Reals]:
    """Labels int8[n] and scores float64[n] of equal length, both classes there; raises UsageError otherwise."""
    labels, scores = binary_labels(y), np.asarray(score, dtype=np.float64)
    if scores.shape != labels.shape:
        raise UsageError(f"{len(labels)} labels, but scores of shape {scores.shape}")
    if np.isnan(scores).any():
        raise UsageError(f"{int(np.isnan(scores).sum())} scores are not a number")
    return labels, scores


def _per_distinct_score(y: npt.ArrayLike, score: npt.ArrayLike) -> tuple[Reals, Reals]:
    """Bad and good rows at each distinct score, ascending: float64[n_distinct] each."""
    labels, scores = checked(y, score)
    distinct, position = np.unique(scores, return_inverse=True)
    rows = np.bincount(position, minlength=len(distinct)).astype(np.float64)
    bads = np.bincount(position, weights=labels, minlength=len(distinct)).astype(np.float64)
    return bads, rows - bads
