"""Monotone constraints: leaf values never fall along a feature that must rise, nor rise along one that must fall.

A split of such a feature is refused where its children's values are in the wrong order. Below an allowed one, all
leaves on the lower side stay at or under the middle of the two values, all on the other side at or over it.

Source: LightGBM 4.x, src/treelearner/monotone_constraints.hpp (`BasicLeafConstraints`, method `basic`) and
feature_histogram.hpp (`GetSplitGains`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

RISING, FALLING = 1, -1
Directions = npt.NDArray[np.int8]
"""Of each feature: 1 the prediction may not fall along it, -1 it may not rise, 0 free."""


@dataclass(frozen=True)
class Bounds:
    """Between which the values of a leaf and of all below it stay, before shrinkage."""

    low: float = -math.inf
    high: float = math.inf

    def clip(self, value: float) -> float:
        """The nearest value within."""
        return min(max(value, self.low), self.high)

    def divide(self, direction: int, left: float, right: float) -> tuple[Bounds, Bounds]:
        """Of the children, whose values are `left` and `right`, by the direction of the feature that is split."""
        middle = (left + right) / 2.0
        below, above = Bounds(self.low, min(self.high, middle)), Bounds(max(self.low, middle), self.high)
        return (below, above) if direction > 0 else (above, below) if direction < 0 else (self, self)


FREE = Bounds()


def directions(features: Sequence[str], wanted: Mapping[str, int]) -> Directions:
    """Those of a party's features, int8[n_features], from the ones that are not free."""
    return np.array([wanted.get(feature, 0) for feature in features], dtype=np.int8)
