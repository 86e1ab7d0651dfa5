"""Which rows and which features a tree is grown from: LightGBM's draws, from LightGBM's generator.

    bagging   every `bagging_freq` rounds each row is drawn into the bag with probability `bagging_fraction`
    goss      the rows with the largest |g h| are kept, and of the others a sample whose g and h are multiplied by
              (rows - kept) / sampled, so that sums over all rows are estimated without bias; begins after
              1 / learning_rate rounds
    features  `feature_fraction` of the features that have more than one bin

Rows are those of the training part in their order, features those of all parties one after the other: on the pooled
columns LightGBM draws the same. One difference: where rows tie at the threshold of goss, LightGBM keeps more rows than
its factor is made for; here those first in order are kept, and the factor is right.

Source: LightGBM 4.x, include/LightGBM/utils/random.h, src/boosting/bagging.hpp, src/boosting/goss.hpp,
src/treelearner/col_sampler.hpp. Gradient-based one-side sampling: Ke et al. 2017, algorithm 2 (there by |g|).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vfl.learn.parameters import GBDTParameters

Reals = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

_BLOCK = 1024  # rows that share a generator
_FACTOR, _TERM, _MASK = 214013, 2531011, 0xFFFFFFFF


class Generator:
    """LightGBM's linear congruential generator."""

    def __init__(self, seed: int) -> None:
        self._state = seed & _MASK

    def _next(self) -> int:
        self._state = (_FACTOR * self._state + _TERM) & _MASK
        return self._state

    def uniform(self) -> float:
        """One of 2**15 numbers in 0 <= x < 1."""
        return ((self._next() >> 16) & 0x7FFF) / 32768.0

    def below(self, bound: int) -> int:
        """A whole number in 0 <= x < bound."""
        return (self._next() & 0x7FFFFFFF) % bound

    def choose(self, among: int, count: int) -> list[int]:
        """`count` different numbers below `among`, ascending."""
        if not 0 < count <= among:
            return []
        if count == among:
            return list(range(among))
        if count > 1 and count > among / math.log2(count):
            chosen: list[int] = []
            for number in range(among):
                if self.uniform() < (count - len(chosen)) / (among - number):
                    chosen.append(number)
            return chosen
        found: set[int] = set()
        for most in range(among - count, among):
            drawn = self.below(most + 1)
            found.add(most if drawn in found else drawn)
        return sorted(found)


class _Rows:
    """A generator for each block of rows."""

    def __init__(self, rows: int, seed: int) -> None:
        self.rows = rows
        self._state = (seed + np.arange(-(-rows // _BLOCK), dtype=np.uint64)) & np.uint64(_MASK)

    def uniforms(self) -> Reals:
        """A number in 0 <= x < 1 for every row: float64[rows]."""
        drawn = np.empty((_BLOCK, len(self._state)), np.uint64)
        state = self._state
        for step in range(_BLOCK):
            state = (state * np.uint64(_FACTOR) + np.uint64(_TERM)) & np.uint64(_MASK)
            drawn[step] = state
        # The last block has fewer rows: its generator stops there.
        short = (self.rows - 1) % _BLOCK
        self._state = np.append(state[:-1], drawn[short, -1])
        return ((drawn.T.ravel()[: self.rows] >> np.uint64(16)) & np.uint64(0x7FFF)) / 32768.0

    def uniform(self, row: int) -> float:
        """The next number of the generator of `row`."""
        block = row // _BLOCK
        state = (int(self._state[block]) * _FACTOR + _TERM) & _MASK
        self._state[block] = state
        return ((state >> 16) & 0x7FFF) / 32768.0


@dataclass(frozen=True, eq=False)
class Sample:
    """Rows of a round. chosen: bool[rows].   factor: what their g and h are multiplied by, float64[rows]; None: 1."""

    chosen: Flags
    factor: Reals | None = None


class RowSampler:
    """Draws the rows of each round, in order."""

    def __init__(self, parameters: GBDTParameters, rows: int) -> None:
        self._parameters, self._rows = parameters, rows
        self._generators = _Rows(rows, parameters.bagging_seed)
        self._all = Sample(np.ones(rows, np.bool_))
        self._bag = self._all

    def draw(self, number: int, g: Reals, h: Reals) -> Sample:
        """The rows of round `number`. g, h: derivatives, float64[rows, outputs], which goss looks at."""
        parameters = self._parameters
        if parameters.data_sample_strategy == "goss":
            # Not before the scores mean something; the quotient of float32 numbers, as LightGBM computes it.
            if number < int(np.float32(1.0) / np.float32(parameters.learning_rate)):
                return self._all
            return self._one_side(np.abs(g * h).sum(axis=1))
        if parameters.bagging_freq and parameters.bagging_fraction < 1.0 and number % parameters.bagging_freq == 0:
            self._bag = Sample(self._generators.uniforms() < parameters.bagging_fraction)
        return self._bag

    def _one_side(self, size: Reals) -> Sample:
        """The rows of the largest `size`, and a sample of the others."""
        top = max(1, int(self._rows * self._parameters.top_rate))
        wanted = int(self._rows * self._parameters.other_rate)
        chosen = np.zeros(self._rows, np.bool_)
        chosen[np.argsort(-size.astype(np.float32), kind="stable")[:top]] = True
        others = np.flatnonzero(~chosen)
        factor = np.ones(self._rows)
        taken = 0
        for place, row in enumerate(others.tolist()):
            if self._generators.uniform(row) < (wanted - taken) / (len(others) - place):
                chosen[row] = True
                factor[row] = len(others) / wanted
                taken += 1
        return Sample(chosen, factor)


class FeatureSampler:
    """Draws the features of each tree, in order."""

    def __init__(self, parameters: GBDTParameters, bins: npt.ArrayLike) -> None:
        """bins: of every feature of every party, one party after the other."""
        self._bins = np.asarray(bins)
        self._useful = np.flatnonzero(self._bins > 1)
        self._count = max(_rounded(len(self._useful) * parameters.feature_fraction), min(1, len(self._useful)))
        self._whole = parameters.feature_fraction >= 1.0
        self._generator = Generator(parameters.feature_fraction_seed)
        self.draw()  # LightGBM draws once before the first tree

    def draw(self) -> Flags:
        """The features of the next tree, bool[features]."""
        if self._whole:
            return np.ones(len(self._bins), np.bool_)
        drawn = np.zeros(len(self._bins), np.bool_)
        drawn[self._useful[self._generator.choose(len(self._useful), self._count)]] = True
        return drawn


def _rounded(number: float) -> int:
    """To the nearest whole number, halves up."""
    return math.floor(number + 0.5)
