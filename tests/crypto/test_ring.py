"""Exact ring products through floating-point transforms."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vfl.crypto import ring
from vfl.randomness import Randomness

Q = 1 << ring.LOG_Q
LARGEST = 1 << (ring.LIMB_BITS - 1)


def rng(label: str = "x") -> Randomness:
    return Randomness(bytes(32)).child(label)


def value(limbs: np.ndarray) -> list[int]:
    """Elements int64[4, n] as integers mod q."""
    return [sum(int(x) << (27 * place) for place, x in enumerate(column)) % Q for column in limbs.T]


def schoolbook(a: list[int], b: list[int]) -> list[int]:
    """a * b mod (x^N + 1, q), by the definition; b is sparse or small."""
    out = [0] * ring.N
    for i, factor in enumerate(b):
        if factor:
            for j, other in enumerate(a):
                place, sign = (i + j, 1) if i + j < ring.N else (i + j - ring.N, -1)
                out[place] += sign * factor * other
    return [x % Q for x in out]


def product(limbs: np.ndarray, small: np.ndarray) -> np.ndarray:
    return ring.carry(ring.coefficients(ring.spectrum(limbs) * ring.spectrum(small)), 0)


@pytest.mark.parametrize("places", [[0], [1], [ring.N - 1], [0, 1, 7, 2048, 4095], list(range(0, ring.N, 97))])
def test_products_equal_the_schoolbook(places):
    limbs = ring.uniform(rng(str(places)))
    small = np.zeros(ring.N, np.int8)
    small[places] = 1
    small[places[::2]] = -1
    assert value(product(limbs, small)) == schoolbook(value(limbs), small.tolist())


@pytest.mark.parametrize("sign", [1, -1])
def test_the_largest_factors_are_exact(sign):
    """Every limb at its extreme, every small coefficient 1: the greatest norms there are."""
    limbs = np.full((ring.LIMBS, ring.N), sign * LARGEST, dtype=np.int64)
    small = np.ones(ring.N, np.int8)
    found = ring.coefficients(ring.spectrum(limbs) * ring.spectrum(small))
    # (1 + .. + x^(N-1))^2 has coefficient 2 k + 2 - N at x^k
    expected = sign * LARGEST * (2 * np.arange(ring.N) + 2 - ring.N)
    assert np.array_equal(found, np.broadcast_to(expected, found.shape))


def test_rounding_has_room():
    """The error of a sum of MAX_SUM greatest products stays below the proven quarter."""
    draw = np.random.default_rng(0)
    total = np.zeros(ring.N // 2, complex)
    exact = np.zeros(ring.N)
    for _ in range(ring.MAX_SUM):
        limb = np.where(draw.random(ring.N) < 0.5, LARGEST - 1, -LARGEST)
        total += ring.spectrum(limb) * ring.spectrum(np.ones(ring.N))
        sums = np.cumsum(limb)
        exact += 2 * sums - sums[-1]
    folded = np.fft.ifft(total) * np.exp(-1j * np.pi * np.arange(ring.N // 2) / ring.N)
    error = max(abs(folded.real - exact[: ring.N // 2]).max(), abs(folded.imag - exact[ring.N // 2 :]).max())
    assert error < 0.25


def test_conjugate_values_belong_to_the_reversed_element():
    limbs = ring.uniform(rng("a"))
    picks = (np.random.default_rng(1).random(ring.N) < 0.3).astype(np.int8)
    found = ring.carry(ring.coefficients(ring.spectrum(limbs) * ring.spectrum(picks).conj()), 0)
    coefficients = value(limbs)
    assert value(found)[0] == sum(c for c, pick in zip(coefficients, picks, strict=True) if pick) % Q


@given(st.lists(st.integers(-(2**61), 2**61), min_size=4, max_size=4))
def test_carry_keeps_the_value(limbs):
    column = np.array(limbs, dtype=np.int64).reshape(4, 1)
    before = value(column)
    after = ring.carry(column.copy(), 0)
    assert value(after) == before
    assert after.min() >= 0
    assert after.max() < 1 << ring.LIMB_BITS


@given(st.lists(st.integers(0, 2**ring.LOG_Q - 1), max_size=20))
def test_wire_round_trip(numbers):
    limbs = np.array([[n >> (ring.LIMB_BITS * place) & (2**ring.LIMB_BITS - 1) for n in numbers] for place in range(4)])
    low, high = ring.words(limbs.astype(np.int64))
    data = ring.to_wire(low, high)
    assert data == b"".join(n.to_bytes(ring.ELEMENT_BYTES, "little") for n in numbers)
    back = ring.from_wire(data)
    assert back is not None
    assert [int(a) | int(b) << 64 for a, b in zip(*back, strict=True)] == numbers


def test_wire_keeps_the_order_of_transposed_arrays():
    low, high = np.arange(6, dtype=np.uint64).reshape(2, 3), np.arange(6, 12, dtype=np.uint64).reshape(2, 3)
    back = ring.from_wire(ring.to_wire(low.T, high.T))
    assert back is not None
    assert back[0].tolist() == low.T.ravel().tolist()
    assert back[1].tolist() == high.T.ravel().tolist()


def test_wire_refuses_what_is_not_canonical():
    assert ring.from_wire(bytes(13)) is None
    assert ring.from_wire(b"\xff" * 14) is None, "112 bits"
    assert ring.from_wire(bytes(13) + b"\x10") is None, "2^108 is the first that is too large"
    assert ring.from_wire(bytes(13) + b"\x0f") is not None


@settings(max_examples=5, deadline=None)
@given(st.integers(0, 2**32))
def test_distributions(seed):
    source = Randomness(seed.to_bytes(32, "big"))
    secret = ring.ternary(source.child("s"), 8)
    counts = np.array([(secret == v).sum() for v in (-1, 0, 1)])
    expected = secret.size / 3
    assert ((counts - expected) ** 2 / expected).sum() < 30  # chi-square, 2 degrees: 1e-6
    noise = ring.binomial(source.child("e"), 8, ring.N)
    assert abs(noise.mean()) < 0.08
    assert abs(noise.var() - 5.0) < 0.25
    assert abs(noise).max() <= 10
    element = ring.uniform(source.child("a"))
    assert element.min() >= -LARGEST
    assert element.max() < LARGEST
    buckets = np.bincount(((element + LARGEST) >> 23).ravel(), minlength=16)
    expected = element.size / 16
    assert ((buckets - expected) ** 2 / expected).sum() < 60  # chi-square, 15 degrees: 1e-6
