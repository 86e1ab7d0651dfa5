"""Decoy rows: real rows stay what they are, others are drawn evenly, and a guess of membership gains nothing."""

from __future__ import annotations

import numpy as np
import pytest

from vfl.decoys import DECOY, with_decoys
from vfl.errors import UsageError
from vfl.randomness import Randomness

ROWS = np.array([7, 2, 5, 11], np.int64)
POSITIONS = {"telecom": np.array([30, 4, 17, 0], np.int64), "retailer": np.array([1, 2, 3, 9], np.int64)}
SIZES = {"telecom": 40, "retailer": 12}


def seed(number: int) -> Randomness:
    return Randomness(number.to_bytes(32, "big"))


@pytest.mark.parametrize(("share", "decoys"), [(0.0, 0), (0.1, 1), (1.0, 4), (1.5, 6), (50.0, 8)])
def test_real_rows_stay_aligned_and_decoys_are_other_customers(share: float, decoys: int) -> None:
    own, mixed = with_decoys(ROWS, POSITIONS, SIZES, share, seed(1))
    assert own.dtype == np.int64
    assert (own == DECOY).sum() == decoys
    assert len(own) == 4 + decoys
    for name, positions in mixed.items():
        assert len(np.unique(positions)) == len(positions)
        assert 0 <= positions.min() <= positions.max() < SIZES[name]
        real = dict(zip(ROWS.tolist(), POSITIONS[name].tolist(), strict=True))
        assert {(o, p) for o, p in zip(own.tolist(), positions.tolist(), strict=True) if o != DECOY} == set(
            real.items()
        )


def test_same_seed_same_rows() -> None:
    (a, b), (c, d) = (with_decoys(ROWS, POSITIONS, SIZES, 1.0, seed(3)) for _ in range(2))
    assert a.tolist() == c.tolist()
    assert {name: p.tolist() for name, p in b.items()} == {name: p.tolist() for name, p in d.items()}
    assert with_decoys(ROWS, POSITIONS, SIZES, 1.0, seed(4))[0].tolist() != a.tolist()


def test_where_a_row_stands_says_nothing_of_membership() -> None:
    """With share 1 the best guess by place in the order or in the stream is right half the time."""
    rows = np.arange(500, dtype=np.int64)
    by_row, by_place, total = np.zeros(1_000), np.zeros(2_000), 60
    seen = np.zeros(2_000)
    for number in range(total):
        positions = {"telecom": seed(number).child("stream").permutation(2_000)[:500]}
        own, mixed = with_decoys(rows, positions, {"telecom": 2_000}, 1.0, seed(number))
        by_row += own != DECOY
        seen[mixed["telecom"]] += 1
        by_place[mixed["telecom"]] += own != DECOY
    assert abs(by_row.mean() / total - 0.5) < 1e-9
    assert by_row.std() == pytest.approx((total / 4) ** 0.5, rel=0.1)  # as coins would fall
    assert np.average(by_place / seen, weights=seen) == pytest.approx(0.5)
    assert ((by_place - seen / 2) ** 2 / (seen / 4)).mean() == pytest.approx(1, abs=0.15)


def test_a_senseless_share_is_refused() -> None:
    for share in (-0.1, float("inf"), float("nan")):
        with pytest.raises(UsageError, match="share of decoys"):
            with_decoys(ROWS, POSITIONS, SIZES, share, seed(1))
