"""Derivatives as integers: what is encrypted, summed and compared.

They are fixed once per tree, before anything is encrypted. Sums of integers are exact in every order, so the encrypted
and the plaintext trainer see the same sums and grow the same tree.

A tree's `Scale` is the finest that keeps |g| <= 2**bits and 0 <= h <= 2**(bits - 2) of every row: whatever weights,
labels or samples make of derivatives, the integers stay within the bounds that the encryption was set up for. It is a
power of two, so that scaling itself rounds nothing, and is known to the active party alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Reals = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
_LEAST = -900  # what is smaller than 2**_LEAST counts as 0: its scale would be no float64


@dataclass(frozen=True)
class Scale:
    """The numbers that stand for 1.0 in integers of g and of h: powers of two, below 1 where values are large."""

    g: float
    h: float

    @classmethod
    def of(cls, g: Reals, h: Reals, bits: int, usual: tuple[float, float]) -> Scale:
        """The scale of these derivatives, never finer than that of rows within the bounds `usual` of |g| and h."""
        largest = max(float(np.abs(g).max(initial=0.0)), usual[0]), max(float(h.max(initial=0.0)), usual[1])
        exponents = [_exponent(most) for most in largest]
        return cls(math.ldexp(1.0, bits - exponents[0]), math.ldexp(1.0, bits - 2 - exponents[1]))

    @property
    def pair(self) -> Reals:
        """Both, float64[2]: cells [..., 2] are divided by it."""
        return np.array([self.g, self.h])


def _exponent(most: float) -> int:
    """The least e with most <= 2**e, but not below _LEAST; 0 for 0."""
    mantissa, exponent = math.frexp(most)
    return max(exponent - (mantissa == 0.5), _LEAST) if most else 0


def to_fixed(values: Reals, scale: float) -> Integers:
    """Integers that stand for `values`, rounded half to even: float64[n] -> int64[n]."""
    return np.rint(values * scale).astype(np.int64)
