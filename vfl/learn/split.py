"""The best split of a node, from its gradient histogram: LightGBM's search, in LightGBM's order.

    gain = L(left) + L(right) - L(node) - min_gain_to_split        L = soft(G, lambda_l1)**2 / (H + lambda_l2)

Codes up to a split's bin go left. Where a feature has missing values both directions are tried for them: first left
(scanning bins from the right), then right (scanning from the left), and the first of equal gains wins. Rows per bin
are estimated from h, as LightGBM does, since an encrypted histogram has no counts.

Source: LightGBM 4.x, src/treelearner/feature_histogram.hpp (`FindBestThresholdSequentially`) and split_info.hpp
(ties). Sums are exact integers and a gain is one float64 expression of them, so candidates that divide the rows alike
have the same gain to the last bit. LightGBM adds 1e-15 to every running sum of h and rounds its sums; where two
candidates divide a node's rows alike it may take the other one.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from vfl.learn.categories import Subset, best_subset
from vfl.learn.fixed_point import Scale
from vfl.learn.histogram import FeatureLayout
from vfl.learn.monotone import FREE, Bounds, Directions
from vfl.learn.parameters import GBDTParameters

Reals = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
Sums = TypeVar("Sums", float, Reals)

_EPSILON = float(np.float32(1e-15))  # added to sums of h, keeps them above 0 (kEpsilon, a float32 constant there)


@dataclass(frozen=True)
class NodeSum:
    """Sums over the rows of a node: G and H in fixed-point units, and the number of rows."""

    G: int
    H: int
    count: int


@dataclass(frozen=True)
class Split:
    """A split of a node: codes <= `bin` of `feature` go left, missing values left if `default_left`.

    gain: improvement of the regularised loss, above `min_gain_to_split`.
    left, right: exact G and H of the children; their counts are estimates until the rows are counted.
    subset: of a categorical feature, the codes that go left, in place of `bin` and `default_left`.
    l2: penalty on the children's values beside lambda_l2.
    """

    gain: float
    feature: int
    bin: int
    default_left: bool
    left: NodeSum
    right: NodeSum
    subset: tuple[int, ...] = ()
    l2: float = 0.0


@dataclass(frozen=True)
class Search:
    """What a search found: the best split if any, and which features had one at all, bool[n_features].

    LightGBM looks for no further split of a feature below a node where it had none: hand `splittable` to the search of
    the children.
    """

    best: Split | None
    splittable: Flags


def search(
    histogram: Integers,
    layout: FeatureLayout,
    node: NodeSum,
    params: GBDTParameters,
    scale: Scale,
    *,
    usable: Flags | None = None,
    monotone: Directions | None = None,
    bounds: Bounds = FREE,
) -> Search:
    """The best split over all features of a histogram.

    histogram: int64[layout.cells, 2], sums of g and h.   node: its totals; `count` must be the true number of rows.
    scale: the integers that stand for 1.0.   usable: bool[n_features], features to look at; None: all.
    monotone: directions of the features, None where those of all parties are free.   bounds: of the node's values.
    """
    usable = np.ones(len(layout.n_bins), dtype=np.bool_) if usable is None else usable
    if not layout.n_bins:
        return Search(None, usable)
    scan = _Scan.of(histogram, layout, node, params, scale, monotone, bounds)
    numeric = usable & ~np.array(layout.categorical)
    gain, bin_ = scan.from_right(numeric)
    default_left = ~(np.array(layout.missing) & ~scan.two_ways)
    if scan.two_ways.any():
        other_gain, other_bin = scan.from_left(numeric)
        better = other_gain > gain
        gain, bin_ = np.where(better, other_gain, gain), np.where(better, other_bin, bin_)
        default_left = default_left & ~better
    subsets = {int(f): scan.best_subset(int(f)) for f in np.flatnonzero(usable & layout.categorical)}
    for number, found in subsets.items():
        gain[number] = -np.inf if found is None else found.gain
    splittable = gain > -np.inf
    gain = gain - scan.shift
    feature = int(np.argmax(gain))
    if not gain[feature] > 0.0:
        return Search(None, splittable)
    subset = subsets.get(feature)
    if subset is not None:
        sums = histogram[layout.cells_of(feature)][list(subset.bins)].sum(axis=0).tolist()
        children = _children(node, sums[0], sums[1])
        split = Split(float(gain[feature]), feature, 0, False, *children, subset.bins, subset.l2)
    else:
        at, missing_left = int(bin_[feature]), bool(default_left[feature])
        children = _children(node, *_left_sum(histogram, layout, feature, at, missing_left))
        split = Split(float(gain[feature]), feature, at, missing_left, *children)
    # A side without g and h adds nothing: such a gain is rounding, and as a rule no row is there.
    void = any(child.G == child.H == 0 for child in children)
    return Search(None if void else split, splittable)


def _children(node: NodeSum, g: int, h: int) -> tuple[NodeSum, NodeSum]:
    """Sums of both sides from those of the left one."""
    rows = round(node.count * h / max(node.H, 1))
    return NodeSum(g, h, rows), NodeSum(node.G - g, node.H - h, node.count - rows)


def best_split(
    histogram: Integers, layout: FeatureLayout, node: NodeSum, params: GBDTParameters, scale: Scale
) -> Split | None:
    """The best split alone; see `search`, which also tells what LightGBM skips further down."""
    return search(histogram, layout, node, params, scale).best


def best_of(candidates: Iterable[tuple[int, Split] | None]) -> int | None:
    """Position of the best of candidates (party, split), None for one that offers nothing; None if none does.

    Greatest gain; ties to the lowest party, then the lowest feature, then the first position. With the parties' columns
    concatenated in party order that is LightGBM's rule, between features of one node and between leaves of a tree.
    """
    ranked = [
        (-candidate[1].gain, candidate[0], candidate[1].feature, position)
        for position, candidate in enumerate(candidates)
        if candidate is not None
    ]
    return min(ranked)[3] if ranked else None


def leaf_gain(g: Sums, h: Sums, params: GBDTParameters, l2: float | None = None) -> Sums:
    """L(G, H) of real sums (not fixed-point), one or many. `l2`: in place of lambda_l2."""
    if params.lambda_l1 > 0.0:
        g = np.maximum(np.abs(g) - params.lambda_l1, 0.0)
    return g * g / (h + (params.lambda_l2 if l2 is None else l2))


def leaf_output(node: NodeSum, params: GBDTParameters, scale: Scale, bounds: Bounds = FREE, l2: float = 0.0) -> float:
    """Value a leaf adds to the raw score: its value within bounds, times learning_rate."""
    return bounds.clip(leaf_value(node, params, scale, l2)) * params.learning_rate


def leaf_value(node: NodeSum, params: GBDTParameters, scale: Scale, l2: float = 0.0) -> float:
    """Value of a leaf before shrinkage: -soft(G, lambda_l1) / (H + lambda_l2 + l2), `l2` of the split it comes from."""
    g, h = node.G / scale.g, node.H / scale.h + _EPSILON
    if params.lambda_l1 > 0.0:
        g = math.copysign(max(abs(g) - params.lambda_l1, 0.0), g)
    return -g / (h + (params.lambda_l2 + l2))


def child_bounds(
    parent: Bounds,
    direction: int,
    totals: tuple[NodeSum, NodeSum],
    params: GBDTParameters,
    scale: Scale,
    l2: float,
) -> tuple[Bounds, Bounds]:
    """Bounds of the children with these sums, where a leaf is split along a feature of this direction."""
    left, right = (parent.clip(leaf_value(total, params, scale, l2)) for total in totals)
    return parent.divide(direction, left, right)


@dataclass(frozen=True)
class _Scan:
    """All candidates of a node at once, in units of 1.0.

    g, h: sums per scanned bin, float64[n_features, width], zero beyond a feature's bins.   counts: estimated rows per
    scanned bin, int64[n_features, width].   rest: estimated rows left over for bin 0, int64[n_features].
    two_ways: features whose missing bin is kept out of the scan.   scanned: scanned bins per feature.
    """

    g: Reals
    h: Reals
    counts: Integers
    rest: Integers
    two_ways: Flags
    scanned: Integers
    node_g: float
    node_h: float
    node_rows: int
    shift: float
    params: GBDTParameters
    monotone: Directions | None
    bounds: Bounds

    @classmethod
    def of(
        cls,
        histogram: Integers,
        layout: FeatureLayout,
        node: NodeSum,
        params: GBDTParameters,
        scale: Scale,
        monotone: Directions | None,
        bounds: Bounds,
    ) -> _Scan:
        """Lay a histogram out for scanning."""
        bins, missing = np.array(layout.n_bins), np.array(layout.missing)
        two_ways = missing & (bins > 2)  # with one value bin only, the missing bin is scanned like any other
        scanned = bins - two_ways
        position = np.arange(int(scanned.max()))
        inside = position < scanned[:, None]
        cells = histogram[np.where(inside, layout.offsets[:-1, None] + position, 0)] / scale.pair
        g, h = np.where(inside, cells[:, :, 0], 0.0), np.where(inside, cells[:, :, 1], 0.0)
        node_g, node_h = node.G / scale.g, node.H / scale.h
        per_h = node.count / (node_h + 2 * _EPSILON)
        counts = _estimated_rows(h, per_h)
        missing_rows = np.where(two_ways, _estimated_rows(histogram[layout.offsets[1:] - 1, 1] / scale.h, per_h), 0)
        rest = np.where(layout.modal_first, node.count - missing_rows - counts.sum(axis=1), 0)
        shift = leaf_gain(node_g, node_h + 2 * _EPSILON, params) + params.min_gain_to_split
        return cls(g, h, counts, rest, two_ways, scanned, node_g, node_h, node.count, shift, params, monotone, bounds)

    def from_right(self, usable: Flags) -> tuple[Reals, Integers]:
        """Best gain (-inf: none) and bin of every feature with missing values on the left, first from the right."""
        width = self.g.shape[1]
        threshold = width - 2 - np.arange(width)  # candidate k has the k + 1 last bins on the right
        allowed = usable[:, None] & (threshold >= 0) & (threshold < self.scanned[:, None] - 1)
        gains = self._gains(self.g[:, ::-1], self.h[:, ::-1], self.counts[:, ::-1], allowed, from_left=False)
        return gains.max(axis=1), threshold[np.argmax(gains, axis=1)]

    def from_left(self, usable: Flags) -> tuple[Reals, Integers]:
        """Best gain (-inf: none) and bin of every feature with missing values on the right, first from the left."""
        counts = self.counts.copy()
        counts[:, 0] += self.rest
        allowed = (usable & self.two_ways)[:, None] & (np.arange(self.g.shape[1]) < self.scanned[:, None])
        gains = self._gains(self.g, self.h, counts, allowed, from_left=True)
        return gains.max(axis=1), np.argmax(gains, axis=1)

    def _gains(self, g: Reals, h: Reals, counts: Integers, allowed: Flags, *, from_left: bool) -> Reals:
        """Gain of both children at every candidate in scan order, -inf where forbidden or not above `shift`."""
        near_g, near_h, near_rows = np.cumsum(g, axis=1), np.cumsum(h, axis=1), np.cumsum(counts, axis=1)
        far_g, far_h, far_rows = self.node_g - near_g, self.node_h - near_h, self.node_rows - near_rows
        enough_rows = np.minimum(near_rows, far_rows) >= self.params.min_data_in_leaf
        enough_h = np.minimum(near_h, far_h) + _EPSILON >= self.params.min_sum_hessian_in_leaf
        at = allowed & enough_rows & enough_h
        gains = np.full(at.shape, -np.inf)
        near, far = (near_g[at], near_h[at] + _EPSILON), (far_g[at], far_h[at] + _EPSILON)
        if self.monotone is None:
            gains[at] = leaf_gain(*near, self.params) + leaf_gain(*far, self.params)
        else:
            left, right = (near, far) if from_left else (far, near)
            gains[at] = self._constrained(left, right, self.monotone[np.nonzero(at)[0]], self.params.lambda_l2)
        return np.where(gains > self.shift, gains, -np.inf)

    def best_subset(self, feature: int) -> Subset | None:
        """The best split of a categorical feature."""
        bins = int(self.scanned[feature])
        node = self.node_h + 2 * _EPSILON

        def gain(g: float, h: float, l2: float) -> float:
            near, far = (g, h + _EPSILON), (self.node_g - g, node - (h + _EPSILON))
            if far[1] <= 0.0:  # nothing is left there but the epsilon, which rounding took
                return -np.inf
            if self.monotone is None:
                return leaf_gain(*near, self.params, l2) + leaf_gain(*far, self.params, l2)
            sides = [(np.array([one[0]]), np.array([one[1]])) for one in (near, far)]
            return float(self._constrained(sides[0], sides[1], np.zeros(1, np.int8), l2)[0])

        sums = self.g[feature, :bins], self.h[feature, :bins], self.counts[feature, :bins]
        return best_subset(*sums, (self.node_h, self.node_rows), self.params, gain, self.shift)

    def _constrained(
        self, left: tuple[Reals, Reals], right: tuple[Reals, Reals], monotone: Directions, l2: float
    ) -> Reals:
        """Gain of children whose values stay within bounds; 0 where they are in the wrong order."""
        (left_value, left_gain), (right_value, right_gain) = (self._bounded(*side, l2) for side in (left, right))
        wrong = ((monotone > 0) & (left_value > right_value)) | ((monotone < 0) & (left_value < right_value))
        return np.where(wrong, 0.0, left_gain + right_gain)

    def _bounded(self, g: Reals, h: Reals, l2: float) -> tuple[Reals, Reals]:
        """Values within bounds, and what they gain."""
        if self.params.lambda_l1 > 0.0:
            g = np.copysign(np.maximum(np.abs(g) - self.params.lambda_l1, 0.0), g)
        weight = h + l2
        value = np.clip(-g / weight, self.bounds.low, self.bounds.high)
        return value, -(2.0 * g * value + weight * value * value)


def _estimated_rows(h: Reals, rows_per_h: float) -> Integers:
    """Rows in bins with these sums of h, as if every row of the node had the same h."""
    return np.floor(h * rows_per_h + 0.5).astype(np.int64)


def _left_sum(
    histogram: Integers, layout: FeatureLayout, feature: int, bin_: int, default_left: bool
) -> tuple[int, int]:
    """Exact sums of g and h on the left of a split."""
    cells = histogram[layout.cells_of(feature)]
    left = cells[: bin_ + 1].sum(axis=0)
    if default_left and layout.missing[feature]:
        left = left + cells[-1]
    return int(left[0]), int(left[1])
