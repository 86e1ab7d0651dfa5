"""Derivatives of the binary log-loss as a tree of a plain run has them, for tests that need some."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from vfl.learn.fixed_point import Integers, Reals, Scale, to_fixed
from vfl.learn.objective import Binary


def fixed_gradients(score: Reals, labels: npt.NDArray[np.int8], bits: int) -> tuple[Integers, Integers]:
    """g and h, unweighted, int64[n] each, in units of 2**-bits."""
    objective = Binary()
    g, h = objective.derivatives(score[:, None], labels)
    scale = Scale.of(g, h, bits, objective.usual)
    return to_fixed(g[:, 0], scale.g), to_fixed(h[:, 0], scale.h)


def init_score(labels: npt.NDArray[np.int8], boost_from_average: bool = True) -> float:
    """Raw score that labels int8[n] start from: their log-odds, or 0.0."""
    return float(Binary().starts(labels, None)[0]) if boost_from_average else 0.0
