"""Synthetic credit data: a noisy linear score over normal features, a quarter of the rows bad.

Every column has a stream of its own, so that each party makes its own columns only and memory is that of its own.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Reals = npt.NDArray[np.float64]
BAD = 0.25
_NOISE = 1 << 32  # a stream that no feature has


def columns(rows: int, features: range, seed: int) -> Reals:
    """float64[rows, len(features)]."""
    values = np.empty((rows, len(features)))
    for place, feature in enumerate(features):
        values[:, place] = _stream(seed, feature).normal(size=rows)
    return values


def labels(rows: int, features: int, seed: int) -> npt.NDArray[np.int8]:
    """int8[rows]: 1 where the score over all `features` columns is among the highest quarter."""
    weights = np.random.default_rng(seed).normal(size=features)
    points = _stream(seed, _NOISE).normal(size=rows) * np.sqrt(features)
    for feature, weight in enumerate(weights.tolist()):
        points += weight * _stream(seed, feature).normal(size=rows)
    bad: npt.NDArray[np.int8] = (points > np.quantile(points, 1 - BAD)).astype(np.int8)
    return bad


def _stream(seed: int, number: int) -> np.random.Generator:
    return np.random.default_rng([seed, number])
