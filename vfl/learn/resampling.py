"""Bootstrap intervals of AUC, KS and Gini, for several models on the same customers.

Bads are drawn from the bads and goods from the goods, with replacement and as many as there are, so that no resample
lacks a class. A resample draws customers, not scores: all models see the same ones, and the interval of a difference
between two models is that of paired data.

Source: B. Efron and R. Tibshirani, An Introduction to the Bootstrap, Chapman & Hall 1993, chapter 13 (percentiles).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vfl.learn.metrics import checked
from vfl.randomness import Randomness

Reals = npt.NDArray[np.float64]
Int64s = npt.NDArray[np.int64]
Counts = npt.NDArray[np.int32]

_CELLS = 1_000_000  # customers times resamples held at once: some megabytes


@dataclass(frozen=True, eq=False)
class Resampled:
    """AUC and KS of every model in every resample: float64[n_models, resamples] each."""

    auc: Reals
    ks: Reals

    @property
    def gini(self) -> Reals:
        """Gini coefficients, float64[n_models, resamples]."""
        return 2.0 * self.auc - 1.0


def resample(y: npt.ArrayLike, scores: Sequence[npt.ArrayLike], resamples: int, rng: Randomness) -> Resampled:
    """Draw `resamples` times from customers with labels `y` [n] and measure each of `scores`, [n] each.

    Raises UsageError for labels and scores that cannot be measured.
    """
    models = [_Model.of(y, score) for score in scores]
    labels, _ = checked(y, scores[0])
    found = Resampled(np.empty((len(models), resamples)), np.empty((len(models), resamples)))
    step = max(1, _CELLS // len(labels))
    for first in range(0, resamples, step):
        part = slice(first, min(first + step, resamples))
        counts = _draw(labels, part.stop - first, rng)
        for number, model in enumerate(models):
            found.auc[number, part], found.ks[number, part] = model.measure(counts)
    return found


def interval(values: Reals, confidence: float) -> tuple[float, float]:
    """The percentiles between which `confidence` of the resampled `values` [resamples] lie."""
    outside = (1.0 - confidence) / 2.0
    low, high = np.quantile(values, [outside, 1.0 - outside])
    return float(low), float(high)


def _draw(labels: npt.NDArray[np.int8], resamples: int, rng: Randomness) -> Counts:
    """How often each customer is drawn: int32[resamples, n]."""
    counts = np.zeros((resamples, len(labels)), np.int32)
    for label in (0, 1):
        members = np.flatnonzero(labels == label)
        words = rng.uint64(resamples * len(members)) >> np.uint64(32)
        # Multiply and shift: of 2**32 words, the customers' shares differ by one word at most.
        drawn = ((words * np.uint64(len(members))) >> np.uint64(32)).astype(np.int64).reshape(resamples, -1)
        cells = drawn + len(members) * np.arange(resamples)[:, None]
        counts[:, members] = np.bincount(cells.ravel(), minlength=cells.size).reshape(resamples, -1)
    return counts


@dataclass(frozen=True, eq=False)
class _Model:
    """A model's order of customers.

    order: by class and ascending score, goods and bads, int64 each.   ends: of each class, how many of its customers
    score at or below each distinct score, int64[n_distinct] each.
    """

    order: tuple[Int64s, Int64s]
    ends: tuple[Int64s, Int64s]

    @classmethod
    def of(cls, y: npt.ArrayLike, score: npt.ArrayLike) -> _Model:
        labels, values = checked(y, score)
        order, ends, distinct = [], [], np.unique(values)
        for label in (0, 1):
            members = np.flatnonzero(labels == label)
            order.append(members[np.argsort(values[members], kind="stable")])
            ends.append(np.searchsorted(values[order[-1]], distinct, side="right"))
        return cls((order[0], order[1]), (ends[0], ends[1]))

    def measure(self, counts: Counts) -> tuple[Reals, Reals]:
        """AUC and KS in each resample, float64[resamples]."""
        goods, bads = (self._shares(counts, label) for label in (0, 1))
        ks = np.abs(goods - bads).max(axis=1)
        # Bads at a distinct score times the goods below it, and half of those at it.
        auc = ((bads[:, 1:] - bads[:, :-1]) * (goods[:, 1:] + goods[:, :-1])).sum(axis=1) / 2.0
        return auc, ks

    def _shares(self, counts: Counts, label: int) -> Reals:
        """Share of a class at or below each distinct score, from 0 to 1: float64[resamples, n_distinct + 1]."""
        order, ends = self.order[label], self.ends[label]
        below = np.zeros((len(counts), len(order) + 1))
        np.cumsum(counts[:, order], axis=1, out=below[:, 1:])
        return below[:, np.append(0, ends)] / len(order)
