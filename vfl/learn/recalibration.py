"""Probabilities made truer by a map fitted on customers that did not train the model: Platt's or an isotonic one.

Both maps never fall, so they leave the ranking, AUC and KS as they are (the isotonic one may tie customers).

Sources: J. Platt, Probabilistic Outputs for Support Vector Machines, 1999 (the targets that keep the fit finite);
B. Zadrozny and C. Elkan, KDD 2002 (isotonic). The optimisers are scipy's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
import scipy  # loads its optimisers when they are asked for: every run starts with this module, few are recalibrated
from scipy.special import expit, logit

from vfl.learn.calibration import probabilities
from vfl.randomness import Randomness

Reals = npt.NDArray[np.float64]

_NEAREST = 1e-12  # log-odds are taken of probabilities this far from 0 and 1 at least


class Recalibration(Protocol):
    """A map of probabilities, float64[n] -> float64[n]."""

    def __call__(self, pd: Reals) -> Reals:
        """The recalibrated probabilities."""
        ...


@dataclass(frozen=True)
class Platt:
    """sigmoid(intercept + slope x log-odds). Slope 1 and intercept 0 change nothing; slope below 1: overconfident."""

    intercept: float
    slope: float

    @classmethod
    def fit(cls, y: npt.ArrayLike, pd: npt.ArrayLike) -> Platt:
        """By maximum likelihood on labels `y` [n] and probabilities `pd` [n], with Platt's targets."""
        labels, values = probabilities(y, pd)
        odds = _log_odds(values)
        bads, goods = int(labels.sum(dtype=np.int64)), int((1 - labels).sum(dtype=np.int64))
        target = np.where(labels == 1, (bads + 1.0) / (bads + 2.0), 1.0 / (goods + 2.0))

        def loss(at: Reals) -> tuple[float, Reals]:
            raw = at[0] + at[1] * odds
            missed = expit(raw) - target
            value = (np.logaddexp(0.0, raw) - target * raw).mean()
            return float(value), np.array([missed.mean(), (missed * odds).mean()])

        found = scipy.optimize.minimize(
            loss, np.array([0.0, 1.0]), jac=True, method="L-BFGS-B", bounds=[(None, None), (0.0, None)]
        )
        return cls(float(found.x[0]), float(found.x[1]))

    def __call__(self, pd: Reals) -> Reals:
        """The recalibrated probabilities."""
        return np.asarray(expit(self.intercept + self.slope * _log_odds(pd)), np.float64)


@dataclass(frozen=True, eq=False)
class Isotonic:
    """The best map that never falls: linear between `knots`, constant outside. float64[n_knots] each, ascending."""

    knots: Reals
    values: Reals

    @classmethod
    def fit(cls, y: npt.ArrayLike, pd: npt.ArrayLike) -> Isotonic:
        """By least squares on labels `y` [n] and probabilities `pd` [n].

        The ends are kept half a customer away from 0 and 1: a probability of 0 would be infinitely wrong once.
        """
        labels, values = probabilities(y, pd)
        knots, group, weights = np.unique(values, return_inverse=True, return_counts=True)
        rates = np.bincount(group, weights=labels) / weights
        fitted = np.asarray(scipy.optimize.isotonic_regression(rates, weights=weights).x, np.float64)
        edge = 0.5 / (len(labels) + 1.0)
        return cls(knots, np.clip(fitted, edge, 1.0 - edge))

    def __call__(self, pd: Reals) -> Reals:
        """The recalibrated probabilities."""
        return np.interp(pd, self.knots, self.values)


Fit = Callable[[npt.ArrayLike, npt.ArrayLike], Recalibration]
MAPS: dict[str, Fit] = {"platt": Platt.fit, "isotonic": Isotonic.fit}
"""How each map is fitted, by name."""


def cross_fitted(fit: Fit, y: npt.ArrayLike, pd: npt.ArrayLike, folds: int, rng: Randomness) -> Reals:
    """Recalibrated probabilities, float64[n], each by a map that was fitted without the customer's fold.

    Every fold has its share of both classes.
    """
    labels, values = probabilities(y, pd)
    fold, order = np.empty(len(labels), np.int64), rng.permutation(len(labels))
    for label in (0, 1):
        members = order[labels[order] == label]
        fold[members] = np.arange(len(members)) % folds
    found = np.empty(len(labels))
    for number in np.unique(fold):
        inside = fold == number
        found[inside] = fit(labels[~inside], values[~inside])(values[inside])
    return found


def _log_odds(pd: Reals) -> Reals:
    return np.asarray(logit(np.clip(pd, _NEAREST, 1.0 - _NEAREST)), np.float64)
