"""Logistic regression in one place: maximum likelihood, penalties, forced signs, standard errors.

    minimise over t    sum_i log(1 + exp(s_i)) - y_i s_i  +  t Q t / 2  +  q t  +  sum_j l1_j |t_j|      s = A t
    subject to         t_j >= lower_j

Newton steps (iteratively re-weighted least squares) on the quadratic model of the smooth part. Where there are L1
penalties or bounds, the model is minimised with them by coordinate descent, then a line search.

Source: proximal Newton, Lee, Sun and Saunders, SIAM J. Optim. 24(3), 2014; coordinate descent of Friedman, Hastie and
Tibshirani, J. Stat. Softw. 33(1), 2010. Wald tests: McCullagh and Nelder, Generalized Linear Models, 1989, chapter 4.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr

from vfl.errors import UsageError
from vfl.learn.objective import sigmoid

Reals = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int8]
MAX_STEPS = 100
_SWEEPS, _TRY = 200, 5
_SUFFICIENT = 1e-4
_FLAT = 1e-11
"""Directions with less curvature than this share of the greatest are left alone."""
_FAR = 15.0
"""A standard deviation of log-odds that no credit model has."""


@dataclass(frozen=True, eq=False)
class Problem:
    """What is minimised. A: float64[n, p], y: int8[n], Q: float64[p, p], q, l1 and lower: float64[p]."""

    design: Reals
    labels: Labels
    quadratic: Reals
    linear: Reals
    l1: Reals
    lower: Reals

    @classmethod
    def plain(cls, design: Reals, labels: Labels) -> Problem:
        """Without penalties and bounds."""
        count = design.shape[1]
        nothing = np.zeros(count)
        return cls(design, labels, np.zeros((count, count)), nothing, nothing, np.full(count, -np.inf))

    @property
    def smooth(self) -> bool:
        """Whether there are neither L1 penalties nor bounds."""
        return not self.l1.any() and bool(np.isneginf(self.lower).all())

    def value(self, at: Reals) -> float:
        """What is minimised, at `at`."""
        scores = self.design @ at
        loss = np.logaddexp(0.0, scores).sum() - scores[self.labels == 1].sum()
        return float(loss + at @ self.quadratic @ at / 2.0 + self.linear @ at + self.l1 @ np.abs(at))

    def derivatives(self, at: Reals) -> tuple[Reals, Reals]:
        """Gradient float64[p] and Hessian float64[p, p] of the smooth part."""
        p = sigmoid(self.design @ at)
        gradient = self.design.T @ (p - self.labels) + self.quadratic @ at + self.linear
        return gradient, information(self.design, p) + self.quadratic


def information(design: Reals, p: Reals) -> Reals:
    """A' W A with W = p (1 - p): float64[p, p]."""
    weighted = design * (p * (1.0 - p))[:, None]
    return np.asarray(weighted.T @ design, dtype=np.float64)


def minimise(problem: Problem, start: Reals, tolerance: float = 1e-10) -> Reals:
    """The minimum, float64[p], from `start`; the last step is below `tolerance`."""
    found = np.maximum(start, problem.lower)
    value = problem.value(found)
    for _ in range(MAX_STEPS):
        gradient, hessian = problem.derivatives(found)
        step = _newton(hessian, gradient) if problem.smooth else _proximal(problem, found, gradient, hessian)
        change = problem.l1 @ (np.abs(found + step) - np.abs(found))
        slope = float(gradient @ step + change)
        size, moved = 1.0, found + step
        while size > 1e-10 and (now := problem.value(moved)) > value + _SUFFICIENT * size * slope + 1e-12 * abs(value):
            size /= 2.0
            moved = found + size * step
        if size <= 1e-10:
            break  # rounding: no step makes it better
        found, value = moved, now
        if np.abs(size * step).max(initial=0.0) <= tolerance:
            break
    return found


def _newton(hessian: Reals, gradient: Reals) -> Reals:
    """-H^-1 g; zero along directions without curvature."""
    scale = np.sqrt(np.where(np.diag(hessian) > 0.0, np.diag(hessian), np.inf))
    values, vectors = np.linalg.eigh(hessian / np.outer(scale, scale))
    inverse = np.where(values > _FLAT * values.max(initial=1e-300), 1.0 / np.where(values > 0, values, 1.0), 0.0)
    return np.asarray(-(vectors @ (inverse * (vectors.T @ (gradient / scale)))) / scale, dtype=np.float64)


def _proximal(problem: Problem, at: Reals, gradient: Reals, hessian: Reals) -> Reals:
    """The step to the minimum of the quadratic model with L1 penalties and bounds.

    Coordinates one after the other until it is known which are at 0, then all others at once.
    """
    diagonal, to = np.diag(hessian), at.copy()
    slope = gradient.copy()  # of the model's smooth part, at `to`
    for sweep in range(1, _SWEEPS + 1):
        for j in np.flatnonzero(diagonal > 1e-300).tolist():
            free = diagonal[j] * to[j] - slope[j]
            shrunk = np.sign(free) * max(abs(free) - problem.l1[j], 0.0) / diagonal[j]
            change = max(shrunk, problem.lower[j]) - to[j]
            if change:
                to[j] += change
                slope += change * hessian[:, j]
        if sweep % _TRY == 0 and (found := _all_at_once(problem, to, slope, hessian)) is not None:
            return np.asarray(found - at, dtype=np.float64)
    return np.asarray(to - at, dtype=np.float64)


def _all_at_once(problem: Problem, to: Reals, slope: Reals, hessian: Reals) -> Reals | None:
    """The model's minimum if the coordinates that are at 0 in `to` are there too, and the others on the same side."""
    held = (problem.l1 > 0.0) | np.isfinite(problem.lower)
    free = ~held | (to != 0.0)
    found, pull = to.copy(), slope + problem.l1 * np.sign(to)
    found[free] += _newton(hessian[np.ix_(free, free)], pull[free])
    if (np.sign(found[held]) != np.sign(to[held])).any():
        return None
    left = (slope + hessian @ (found - to))[~free]
    l1, slack = problem.l1[~free], 1e-9 * (1.0 + np.abs(slope).max(initial=0.0))
    rising = np.isneginf(problem.lower[~free])  # these may go either way
    wanted = (left < -l1 - slack) | (rising & (left > l1 + slack))
    return None if wanted.any() else found


def require_finite(scores: Reals) -> None:
    """Raise UsageError where log-odds, float64[n], have left for infinity: the columns tell the classes apart."""
    if scores.std() > _FAR:
        raise UsageError(
            "the columns tell good and bad training customers apart: no coefficients are the best",
            remedy="Set l2, for instance 1.0, or leave out the column that knows the outcome.",
        )


@dataclass(frozen=True, eq=False)
class Logistic:
    """A fitted model: intercept and coefficients float64[d]; 0 where a penalty or a bound made it so."""

    intercept: float
    coefficients: Reals

    @classmethod
    def fit(cls, columns: Reals, labels: Labels, *, l1: float, l2: float, positive: bool) -> Logistic:
        """From columns float64[n, d] and labels int8[n]. The intercept has no penalty. Raises UsageError."""
        n, count = columns.shape
        design = np.column_stack([np.ones(n), columns])
        penalised = np.concatenate([[0.0], np.ones(count)])
        lower = np.where(penalised * positive > 0, 0.0, -np.inf)
        problem = Problem(design, labels, np.diag(l2 * penalised), np.zeros(count + 1), l1 * penalised, lower)
        rate = labels.mean()
        found = minimise(problem, np.concatenate([[np.log(rate / (1.0 - rate))], np.zeros(count)]))
        require_finite(design @ found)
        return cls(float(found[0]), found[1:])

    def predictor(self, columns: Reals) -> Reals:
        """Log-odds of label 1: float64[n, d] -> float64[n]."""
        return np.asarray(self.intercept + columns @ self.coefficients, dtype=np.float64)

    def inference(self, columns: Reals) -> Inference:
        """Standard errors of the coefficients that are not 0, the intercept's first."""
        standing = np.concatenate([[True], self.coefficients != 0.0])
        design = np.column_stack([np.ones(len(columns)), columns])[:, standing]
        matrix = information(design, sigmoid(self.predictor(columns)))
        return Inference.of(np.append(self.intercept, self.coefficients), standing, covariance(matrix))


@dataclass(frozen=True, eq=False)
class Inference:
    """Wald tests: standard errors, z and two-sided p-values, float64[k] each; NaN where there is none."""

    errors: Reals
    z: Reals
    p_values: Reals

    @classmethod
    def of(cls, estimates: Reals, standing: npt.NDArray[np.bool_], covariances: Reals) -> Inference:
        """`estimates` float64[k], of which those `standing` have `covariances`."""
        errors = np.full(len(estimates), np.nan)
        errors[standing] = np.sqrt(np.maximum(np.diag(covariances), 0.0))
        z = np.divide(estimates, errors, out=np.full(len(estimates), np.nan), where=errors > 0.0)
        return cls(errors, z, 2.0 * ndtr(-np.abs(z)))


def covariance(matrix: Reals) -> Reals:
    """The inverse of an information matrix. Raises UsageError where columns repeat each other."""
    scale = np.sqrt(np.diag(matrix))
    if not (scale > 0).all() or np.linalg.eigvalsh(matrix / np.outer(scale, scale)).min() < 1e-9:
        raise UsageError(
            "columns repeat each other, so that their coefficients have no standard errors",
            remedy="Lower max_vif or max_correlation, or set standard_errors = false.",
        )
    found = np.linalg.inv(matrix / np.outer(scale, scale)) / np.outer(scale, scale)
    return np.asarray((found + found.T) / 2.0, dtype=np.float64)
