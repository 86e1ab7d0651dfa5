"""Logistic regression by blocks of columns, each with an owner, from few numbers a row: a joint subspace method.

    log-odds = intercept + X_0 b_0 + sum over the other blocks k of X_k b_k,     b_k = sum over t of c_kt d_kt

Block 0 has the labels and sees its columns. Of block k it sees only z_kt = X_k d_kt, for directions d_kt that the
block's owner chooses. So it can find the best intercept, b_0 and all c_kt together, alone and exactly (`JointFit`). An
owner's next direction is a Newton step in its own block, from its gradient and its own columns (`OwnBlock`):

    d = -(v X_k' X_k + l2)^-1 gradient          columns centred, v: the average p (1 - p)

less what earlier directions of the block combine to, so that no combination takes one many times.

As every solution is the best over all directions so far, this is no slower than conjugate gradients with blocks as
preconditioner, and ends with the maximum-likelihood solution at the latest when directions span the block. How many
steps are needed depends on how much blocks repeat each other, which selection bounds.

L1 penalties and forced signs are an active-set method on top: coefficients at 0 stay there unless the gradient wants
them off it; one that would change its sign is put to 0, and the block's directions start anew from there.

Source: sequential subspace optimisation, Narkiss and Zibulevsky 2005; orthants as in OWL-QN, Andrew and Gao, ICML 2007.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from scipy.linalg import qr

from vfl.learn.logistic import Problem, minimise, require_finite
from vfl.learn.objective import sigmoid
from vfl.learn.scorecard_parameters import ScorecardParameters

Reals = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int8]
_DAMPING = 1e-4
"""What holds a block back, as a share of the curvature of a column of variance 1: an L1 penalty is a slope that some
combinations of columns hardly resist, as long as none has come to 0. At the solution it is nothing.
"""
_HARDER = 100.0
_LEASH = 10.0
"""A block whose coefficients move farther at once is held back so many times harder: where the penalty outweighs what
columns say, the slope has no end but the 0 that coefficients are put to once they have crossed it.
"""
_STILL = 30.0
"""A move of so many tolerances is held back by less than one of them."""
_NEW = 1e-3
"""A direction says something new if as much of it is not in the span of those before."""


def naive_bayes(columns: Reals) -> Reals:
    """Where coefficients start: 1, which on weights of evidence is naive Bayes; 0 for a column that is all zeros."""
    return np.asarray(columns.any(axis=0), dtype=np.float64)


@dataclass(frozen=True, eq=False)
class Told:
    """A direction as block 0 hears of it.

    predictor: X_k d, float64[n].   products: d with each direction of the block so far, itself last; what penalties
    and damping need.   slope: signs of the coefficients with d; what an L1 penalty needs.
    """

    predictor: Reals
    products: Reals
    slope: float


@dataclass(eq=False)
class _Block:
    """What block 0 knows of another one."""

    told: list[Told] = field(default_factory=list)
    coefficients: Reals = field(default_factory=lambda: np.zeros(0))

    def gram(self) -> Reals:
        found = np.zeros((len(self.told), len(self.told)))
        for number, one in enumerate(self.told):
            found[number, : number + 1] = found[: number + 1, number] = one.products
        return found


class JointFit:
    """The side with the labels: the best over all directions told so far."""

    def __init__(self, columns: Reals, labels: Labels, blocks: int, parameters: ScorecardParameters) -> None:
        """`columns`: its own, float64[n, d]; `labels`: int8[n]; `blocks`: of others."""
        self._design = np.column_stack([np.ones(len(labels)), columns])
        self._labels, self._parameters = labels, parameters
        rate = labels.mean()
        self._damping = _DAMPING * len(labels) * float(rate * (1.0 - rate)) if parameters.bounded else 0.0
        self._most_damping = self._damping / _DAMPING if parameters.l1 else 0.0
        self._own = np.concatenate([[np.log(rate / (1.0 - rate))], naive_bayes(columns)])
        self._blocks = [_Block() for _ in range(blocks)]

    @property
    def intercept(self) -> float:
        """Of the joint model."""
        return float(self._own[0])

    @property
    def coefficients(self) -> Reals:
        """Of the own columns, float64[d]."""
        return self._own[1:]

    def restart(self, block: int, scale: float, told: Told) -> None:
        """The block stands at `scale` times this direction, and knows no others."""
        self._blocks[block] = _Block([told], np.array([scale]))

    def add(self, block: int, told: Told) -> None:
        """One more direction of a block."""
        found = self._blocks[block]
        found.told.append(told)
        found.coefficients = np.append(found.coefficients, 0.0)

    def combination(self, block: int) -> list[float]:
        """The coefficients of a block's directions."""
        return [float(one) for one in self._blocks[block].coefficients]

    def solve(self) -> bool:
        """Find the best intercept, own coefficients and combinations of directions; whether damping had no part in it.

        Raises UsageError where the columns tell the classes apart.
        """
        sizes = [len(self._own), *(len(block.told) for block in self._blocks)]
        start = np.concatenate([self._own, *(block.coefficients for block in self._blocks)])
        end, damping = minimise(self._problem(sizes, self._damping), start), self._damping
        while damping and damping < self._most_damping and self._strays(end - start, sizes):
            damping *= _HARDER
            end = minimise(self._problem(sizes, damping), start)
        found = np.split(end, np.cumsum(sizes)[:-1])
        self._own = found[0]
        for block, coefficients in zip(self._blocks, found[1:], strict=True):
            block.coefficients = coefficients
        require_finite(self.predictor())
        still = bool(np.abs(end - start).max() <= _STILL * self._parameters.tolerance)
        return damping == self._damping and (still or not damping)

    def _strays(self, moved: Reals, sizes: Sequence[int]) -> bool:
        """Whether a block's coefficients run past 0 as if the L1 penalty went on to be less and less."""
        steps = np.split(moved, np.cumsum(sizes)[:-1])[1:]
        return any(step @ block.gram() @ step > _LEASH**2 for block, step in zip(self._blocks, steps, strict=True))

    def _problem(self, sizes: Sequence[int], damping: float) -> Problem:
        parameters, own, total = self._parameters, sizes[0], sum(sizes)
        told = [one for block in self._blocks for one in block.told]
        quadratic, linear = np.zeros((total, total)), np.zeros(total)
        l1, lower = np.zeros(total), np.full(total, -np.inf)
        quadratic[range(1, own), range(1, own)] = parameters.l2
        l1[1:own] = parameters.l1
        if parameters.signs == "positive":
            lower[1:own] = 0.0
        linear[own:] = parameters.l1 * np.array([one.slope for one in told])
        start = own
        for block in self._blocks:
            stop, gram = start + len(block.told), block.gram()
            quadratic[start:stop, start:stop] = (parameters.l2 + damping) * gram
            linear[start:stop] -= damping * gram @ block.coefficients
            start = stop
        design = np.column_stack([self._design, *(one.predictor for one in told)])
        return Problem(design, self._labels, quadratic, linear, l1, lower)

    def told(self, block: int) -> list[Reals]:
        """What a block has told since it started anew: float64[n] each."""
        return [one.predictor for one in self._blocks[block].told]

    @property
    def own(self) -> tuple[Reals, npt.NDArray[np.bool_]]:
        """The own columns after one of ones, float64[n, 1 + d], and which of them have coefficients other than 0."""
        return self._design, np.concatenate([[True], self.coefficients != 0.0])

    def predictor(self) -> Reals:
        """Log-odds of label 1, float64[n]."""
        total = self._design @ self._own
        for block in self._blocks:
            for one, coefficient in zip(block.told, block.coefficients.tolist(), strict=True):
                total += coefficient * one.predictor
        return np.asarray(total, dtype=np.float64)

    def residuals(self) -> tuple[Reals, float]:
        """p - y of each row, float64[n], and the average p (1 - p)."""
        p = sigmoid(self.predictor())
        return p - self._labels, float((p * (1.0 - p)).mean())


class OwnBlock:
    """A block's owner: its coefficients, and the directions that they are made of."""

    def __init__(self, columns: Reals, parameters: ScorecardParameters) -> None:
        """`columns`: float64[n, d], d > 0."""
        self._columns, self._parameters = columns, parameters
        centred = columns - columns.mean(axis=0)
        self._gram = centred.T @ centred
        self.coefficients = naive_bayes(columns)
        self._signs = np.ones(columns.shape[1])  # 0: held at 0
        self._directions: list[Reals] = []

    @property
    def directions(self) -> int:
        """How many directions have been told since it started anew."""
        return len(self._directions)

    def basis(self) -> tuple[list[int], int]:
        """Which directions told span the coefficients that have moved, and how many more it takes; see `complete`."""
        directions = np.array(self._directions)
        moved = np.flatnonzero(directions.any(axis=0))
        scaled = (directions * np.sqrt(np.diag(self._gram)))[:, moved]
        _, r, order = qr(scaled.T, mode="economic", pivoting=True)
        sizes = np.abs(np.diag(r))
        rank = int((sizes > _NEW * sizes.max(initial=0.0)).sum())
        return sorted(order[:rank].tolist()), len(moved) - rank

    def complete(self, chosen: Sequence[int]) -> tuple[Reals, list[Told]]:
        """Directions that span with those `chosen`: all as float64[s, d], and the new ones as told."""
        directions = np.array(self._directions)
        moved = np.flatnonzero(directions.any(axis=0))
        scale = np.sqrt(np.diag(self._gram))[moved]
        used = directions[np.array(chosen, dtype=np.int64)]
        have = used[:, moved] * scale
        _, sizes, rows = np.linalg.svd(have, full_matrices=True)
        new = np.zeros((len(moved) - len(sizes), directions.shape[1]))
        new[:, moved] = rows[len(sizes) :] / scale
        new /= np.abs(new).max(axis=1, keepdims=True)
        told = [self._tell(direction) for direction in new]
        return np.concatenate([used, new]), told

    def restart(self) -> tuple[float, Told]:
        """Where the block stands: a scale, and the direction that it multiplies."""
        scale = float(np.abs(self.coefficients).max()) or 1.0
        self._directions = []
        return scale, self._tell(self.coefficients / scale)

    def combine(self, combination: Sequence[float]) -> bool:
        """Move to this combination of the directions told; False if a coefficient would have changed its sign.

        Such coefficients are put to 0, and the owner must `restart`.
        """
        self.coefficients = np.array(combination) @ np.array(self._directions)
        crossed = self._parameters.bounded & (self.coefficients * self._signs < 0.0)
        self.coefficients[crossed] = 0.0
        return not crossed.any()

    def step(self, gradient: Reals, curvature: float) -> tuple[float, Told | None]:
        """The next direction, and the largest change to a coefficient that it means; None where nothing is gained.

        `gradient`: of the sum of log-losses, float64[d].   curvature: the average p (1 - p).
        """
        slope = gradient + self._parameters.l2 * self.coefficients
        if self._parameters.bounded:
            slope = self._choose_signs(slope)
        direction = self._newton(slope, curvature)
        new = self._news(direction)
        if not new.any():
            return 0.0, None
        return float(np.abs(direction).max()), self._tell(new / np.abs(new).max())

    def _news(self, direction: Reals) -> Reals:
        """What earlier directions do not combine to; zeros where that is rounding, as the best along them is found.

        Told whole, a direction that they nearly combine to is taken many times, and as often what its numbers a row
        were rounded by: the gradient that is left is more than `tolerance`, and nobody can say so.
        """
        scale, before = np.sqrt(np.diag(self._gram)), np.array(self._directions).T
        known = before @ np.linalg.lstsq(before * scale[:, None], direction * scale, rcond=1e-9)[0]
        new, size = (direction - known) * scale, direction * scale
        return direction - known if new @ new > _NEW**2 * (size @ size) else np.zeros_like(direction)

    def _choose_signs(self, slope: Reals) -> Reals:
        """Which side of 0 each coefficient is on or wants to; the gradient there, with the L1 penalty."""
        l1, standing = self._parameters.l1, self.coefficients != 0.0
        signs = np.where(standing, np.sign(self.coefficients), np.where(slope < -l1, 1.0, 0.0))
        if self._parameters.signs == "free":
            signs = np.where(~standing & (slope > l1), -1.0, signs)
        self._signs = signs
        return np.asarray(np.where(signs != 0.0, slope + l1 * signs, 0.0), dtype=np.float64)

    def _newton(self, slope: Reals, curvature: float) -> Reals:
        """-(v X'X + l2)^-1 slope over the coefficients that may move, none from 0 to its wrong side."""
        hessian = curvature * self._gram + self._parameters.l2 * np.eye(len(slope))
        free = self._signs != 0.0
        while True:
            direction = np.zeros(len(slope))
            inner = hessian[np.ix_(free, free)]
            direction[free] = -np.linalg.pinv(inner, rcond=1e-10, hermitian=True) @ slope[free]
            wrong = self._parameters.bounded & (self.coefficients == 0.0) & (direction * self._signs < 0.0)
            if not wrong.any():
                return direction
            free &= ~wrong

    def _tell(self, direction: Reals) -> Told:
        self._directions.append(direction)
        products = np.array([direction @ one for one in self._directions])
        bits = self._parameters.predictor_bits
        rounded = np.ldexp(np.rint(np.ldexp(self._columns @ direction, bits)), -bits)
        return Told(rounded, products, float(self._signs @ direction))
