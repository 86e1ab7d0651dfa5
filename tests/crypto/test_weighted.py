"""Weighted sums in two shares: exact, uniform by themselves, and no byte of a peer that breaks them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vfl.crypto.scheme import CellLayout
from vfl.crypto.weighted import Room, ShareEvaluator, ShareHolder, ShareTerms, halves, weigh, whole
from vfl.errors import BrokenPromise, UsageError
from vfl.randomness import Randomness

LAYOUT = CellLayout((3, 1, 5))


def seed(number: int) -> Randomness:
    return Randomness(bytes([number]) * 32)


def terms(scheme: str = "lattice", **options: object) -> ShareTerms:
    return replace(ShareTerms(scheme, "run", 2048, 22), **options)


def room(rows: int = 5, weight: int = 10, cells: int = LAYOUT.cells, queries: int = 10) -> Room:
    return Room(rows, weight, cells, queries)


def world(rows: int, number: int, weight: int = 5000) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Codes, weights, values."""
    rng = np.random.default_rng(number)
    codes = np.column_stack([rng.integers(0, bins, rows) for bins in LAYOUT.n_bins]).astype(np.uint8)
    return codes, rng.integers(-weight, weight + 1, LAYOUT.cells), rng.uniform(-1, 1, rows)


def ask(
    agreed: ShareTerms, codes: np.ndarray, weights: np.ndarray, values: np.ndarray, draw: int = 3
) -> tuple[ShareHolder, ShareEvaluator, bytes, bytes, int]:
    """Both sides, the answer's two shares, and the bits of a half."""
    rows = len(codes)
    bounds = room(rows, int(np.abs(weights).max()))
    holder = agreed.holder(bounds, seed(1))
    evaluator = agreed.evaluator(holder.key.name, holder.key.public(), bounds)
    blocks = list(evaluator.evaluator.hint(codes, LAYOUT, seed(2)))
    holder.key.expect_hint("telecom", LAYOUT)
    for block in blocks:
        holder.key.accept_hint("telecom", block)
    bits = agreed.bits(bounds)
    g, h = halves(values, bits)
    evaluator.evaluator.open_tree(holder.key.open_tree(g, h, seed(4)))
    everyone = np.ones((1, rows), np.bool_)
    named = everyone if evaluator.evaluator.discloses_membership else None
    evaluator.evaluator.open_query(named, 1)
    for block in holder.key.query(everyone, seed(5)):
        evaluator.evaluator.absorb(block)
    sealed, own = evaluator.answer(weights, seed(draw))
    return holder, evaluator, holder.share("telecom", sealed, LAYOUT, weights), own, bits


def assert_exact(agreed: ShareTerms, codes: np.ndarray, weights: np.ndarray, values: np.ndarray) -> None:
    holder, evaluator, mine, theirs, bits = ask(agreed, codes, weights, values)
    units = np.rint(np.ldexp(values, 2 * bits))
    due = [
        (weights[offset : offset + bins][codes[:, feature]] * units).sum()
        for feature, (offset, bins) in enumerate(zip(LAYOUT.offsets, LAYOUT.n_bins, strict=True))
    ]
    for found in (holder.join(mine, theirs), evaluator.join(theirs, mine)):
        np.testing.assert_array_equal(whole(found, bits), np.ldexp(np.array(due), -2 * bits))


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 60), st.integers(0, 10**6), st.sampled_from([1, 77, 40_000]))
def test_sums_are_exact_under_the_lattice(rows: int, number: int, weight: int) -> None:
    assert_exact(terms(), *world(rows, number, weight))


@pytest.mark.parametrize("value", [-1.0, 1.0])
@pytest.mark.parametrize("sign", [-1, 1])
def test_extremes_do_not_wrap(value: float, sign: int) -> None:
    codes, weights, values = world(9000, 1)
    assert_exact(terms(), codes, np.full_like(weights, sign * 5000), np.full_like(values, value))


def test_sums_are_exact_under_paillier() -> None:
    assert_exact(terms("paillier"), *world(12, 5))
    codes, weights, values = world(12, 6)
    assert_exact(terms("paillier"), codes, np.full_like(weights, -5000), np.full_like(values, -1.0))


def test_a_share_says_nothing_of_the_sums() -> None:
    """Other masks, other shares of the same sums; the holder's shares are spread over the whole modulus."""
    codes, weights, values = world(50, 3)
    found = [np.frombuffer(ask(terms(), codes, weights, values, draw)[2], "<i8") for draw in range(40)]
    assert len({share.tobytes() for share in found}) == 40
    top = np.array(found) / 2.0 ** np.ceil(np.log2(np.max(found)))
    assert 0.4 < top.mean() < 0.6
    assert top.min() < 0.05
    assert top.max() > 0.95


def test_the_same_seed_masks_other_sums_otherwise() -> None:
    codes, weights, values = world(50, 3)
    shares = [ask(terms(), codes, weights, one)[3] for one in (values, -values)]
    assert shares[0] != shares[1]


@pytest.mark.parametrize("scheme", ["lattice", "paillier"])
def test_bad_shares_are_refused(scheme: str) -> None:
    holder, evaluator, mine, theirs, _ = ask(terms(scheme), *world(8, 2))
    for join, own, other in ((holder.join, mine, theirs), (evaluator.join, theirs, mine)):
        for bad in (other[1:], b"", other + b"\0", b"\xff" * len(other)):
            with pytest.raises(BrokenPromise):
                join(own, bad)


def test_bits_are_those_that_the_flood_leaves() -> None:
    assert terms().bits(room(1000, 100)) == 11
    assert 4 <= terms().bits(room(10**6, 1 << 10, 400, 30)) < 11
    assert terms("paillier").bits(room(10**6, 1 << 14)) == 11
    with pytest.raises(UsageError, match="weights of 24 bits leave fewer than 4"):
        terms().bits(room(10**7, (1 << 24) - 1, 400))


def test_only_the_agreed_scheme_and_key() -> None:
    public = terms().holder(room(), seed(1)).key.public()
    with pytest.raises(BrokenPromise, match="was agreed"):
        terms().evaluator("paillier", public, room())
    with pytest.raises(BrokenPromise, match="names bounds that cannot be"):
        terms().evaluator("lattice", public, room(weight=1 << 40))
    key = terms("paillier").holder(room(), seed(1)).key.public()
    with pytest.raises(BrokenPromise, match="3072 were agreed"):
        terms("paillier", key_bits=3072).evaluator("paillier", key, room())


def test_answers_need_a_query() -> None:
    for scheme in ("lattice", "paillier"):
        holder = terms(scheme).holder(room(), seed(1))
        evaluator = terms(scheme).evaluator(scheme, holder.key.public(), room())
        with pytest.raises(UsageError):
            evaluator.answer(np.ones(LAYOUT.cells, np.int64), seed(2))
        list(evaluator.evaluator.hint(np.zeros((5, 3), np.uint8), LAYOUT, seed(2)))
        with pytest.raises(UsageError):
            evaluator.answer(np.ones(LAYOUT.cells, np.int64), seed(2))


def test_weights_by_feature() -> None:
    cells = np.arange(18).reshape(9, 2)
    assert weigh(cells, LAYOUT, np.ones(9, np.int64)).tolist() == [[6, 9], [6, 7], [60, 65]]
