"""A tree's shape, numbering and routing."""

from __future__ import annotations

import numpy as np
import pytest

from vfl.learn.tree import SplitRecord, TreeShape, go_left

VALUES = np.array([-1.0, 0.5, 2.0, 7.0, np.nan])


def grown() -> TreeShape:
    """x <= 1 splits the root; then its right child at 5, by another party; then leaf 0 at 0."""
    shape = TreeShape()
    assert shape.split(0, owner=0, record=0) == 1
    assert shape.split(1, owner=2, record=0) == 2
    assert shape.split(0, owner=0, record=1) == 3
    return shape


def test_numbering_is_lightgbm_s() -> None:
    tree = grown().tree([10.0, 20.0, 30.0, 40.0])
    assert tree.left.tolist() == [2, ~1, ~0]
    assert tree.right.tolist() == [1, ~2, ~3]
    assert tree.owner.tolist() == [0, 2, 0]
    assert tree.n_leaves == 4


def test_routing_asks_each_node_once() -> None:
    shares = {0: [SplitRecord(0, 1.0, 3, True), SplitRecord(0, 0.0, 1, False)], 2: [SplitRecord(0, 5.0, 8, True)]}
    asked = []

    def decide(owner: int, record: int) -> np.ndarray:
        asked.append((owner, record))
        return go_left(VALUES, shares[owner][record])

    tree = grown().tree([10.0, 20.0, 30.0, 40.0])
    assert tree.route(decide, len(VALUES)).tolist() == [0, 3, 1, 2, 3]
    assert asked == [(0, 0), (2, 0), (0, 1)]
    assert tree.predict(decide, len(VALUES)).tolist() == [10.0, 40.0, 20.0, 30.0, 40.0]


def test_a_single_leaf_asks_nobody() -> None:
    tree = TreeShape().tree([0.5])
    assert tree.predict(lambda *_: pytest.fail("asked"), 3).tolist() == [0.5, 0.5, 0.5]


def test_every_leaf_has_a_value() -> None:
    with pytest.raises(ValueError, match="4 leaves, but 1 values"):
        grown().tree([1.0])
