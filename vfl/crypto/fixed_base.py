"""Powers of fixed bases through window tables, and the typed boundary to gmpy2.

gmpy2 carries no types. Everything of it that the Paillier modules use is named here once; an `mpz` is typed `int`,
which it stands in for in every operation used.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import gmpy2
import numpy as np


def big(value: int) -> int:
    """`value` as a GMP integer: arithmetic with it stays in GMP."""
    return cast(int, gmpy2.mpz(value))


def power(base: int, exponent: int, modulus: int) -> int:
    """base**exponent mod modulus; fast, not constant-time."""
    return cast(int, gmpy2.powmod(base, exponent, modulus))


def power_secret(base: int, exponent: int, modulus: int) -> int:
    """The same with memory access and time independent of the exponent (GMP `mpz_powm_sec`); odd modulus only."""
    return cast(int, gmpy2.powmod_sec(base, exponent, modulus))


def inverse(value: int, modulus: int) -> int:
    """value**-1 mod modulus; raises ZeroDivisionError when there is none."""
    return cast(int, gmpy2.invert(value, modulus))


def gcd(one: int, other: int) -> int:
    """Greatest common divisor."""
    return cast(int, gmpy2.gcd(one, other))


def is_square(value: int, prime: int) -> bool:
    """Whether value, not 0 mod an odd prime, is a square mod it (Jacobi symbol); time depends on both."""
    return bool(gmpy2.jacobi(value, prime) == 1)


def is_prime(value: int) -> bool:
    """Trial division, Baillie-PSW and 16 Miller-Rabin rounds (GMP's `mpz_probab_prime_p` with 40).

    A prime always passes. A composite built to pass is no concern here: own candidates are random, and a peer's modulus
    that passes is refused.
    """
    return bool(gmpy2.is_prime(value, 40))


def is_perfect_power(value: int) -> bool:
    """Whether value = a**b for some b > 1."""
    return bool(gmpy2.is_power(value))


def primorial(bound: int) -> int:
    """Product of all primes <= bound."""
    return cast(int, gmpy2.primorial(bound))


def to_bytes(value: int, width: int) -> bytes:
    """Big-endian, exactly `width` bytes."""
    return int(value).to_bytes(width, "big")


def from_bytes(data: bytes) -> int:
    """Big-endian, as a GMP integer."""
    return big(int.from_bytes(data, "big"))


def choose_window(bits: int, uses: int, entry_bytes: int, memory: int) -> int:
    """The window, in bits, with which `uses` powers of `bits` exponent bits cost least, tables included.

    A table of window w takes ceil(bits / w) * 2**w multiplications to build and holds as many residues; a power takes
    ceil(bits / w). All multiplications cost the same, so the best w minimises

        ceil(bits / w) * (2**w + uses)        with ceil(bits / w) * 2**w * entry_bytes <= memory

    which is about log2(uses) - log2(log2(uses)): 256-bit exponents want w = 11 for 20,000 powers and 15 for a million.
    The exponents do not depend on w, so neither does any result. The smallest window is always allowed.
    """
    return min(
        (w for w in range(1, 21) if w == 1 or -(-bits // w) * entry_bytes << w <= memory),
        key=lambda w: -(-bits // w) * ((1 << w) + uses),
    )


class PowerTable:
    """Products of powers of fixed bases, `bits` exponent bits each (Brickell, Gordon, McCurley, Wilson 1992, without
    the bucket step).

    The exponents, side by side, are one string of bits, lowest of the first base first. Every `window` of them select
    one of 2**window products made in advance, so a result costs one multiplication per window. Windows pay no heed to
    where one base ends: the last of a base may take in bits of the next.
    """

    __slots__ = ("_bits", "_modulus", "_rows", "_window")

    def __init__(self, bases: Sequence[int], bits: int, modulus: int, *, window: int) -> None:
        self._modulus, self._window, self._bits = big(modulus), window, bits * len(bases)
        single = []
        for base in bases:
            step = big(base) % self._modulus
            for _ in range(bits):
                single.append(step)
                step = step * step % self._modulus
        self._rows: list[list[int]] = []
        for start in range(0, self._bits, window):
            row = [big(1)]
            for one in single[start : start + window]:
                row += [one, *(known * one % self._modulus for known in row[1:])]
            self._rows.append(row)

    def products(self, exponents: bytes) -> list[int]:
        """One product for each string of exponents, each padded to whole bytes; bits from the lowest of each byte."""
        width = -(-self._bits // 8)
        drawn = np.frombuffer(exponents, dtype=np.uint8).reshape(-1, width)
        bits = np.unpackbits(drawn, axis=1, count=self._bits, bitorder="little")
        bits = np.pad(bits, ((0, 0), (0, -self._bits % self._window)))
        weights = 1 << np.arange(self._window, dtype=np.int64)
        digits = (bits.reshape(len(drawn), -1, self._window) @ weights).T.tolist()
        modulus = self._modulus
        # Window by window over all results: one window's table stays in the processor's cache.
        results = [self._rows[0][digit] for digit in digits[0]]
        for row, own in zip(self._rows[1:], digits[1:], strict=True):
            results = [result * row[digit] % modulus for result, digit in zip(results, own, strict=True)]
        return results


def inverses(values: Sequence[int], modulus: int) -> list[int]:
    """The inverse of each value with one inversion and three multiplications each (Montgomery's trick)."""
    before = [big(1)]
    for value in values:
        before.append(before[-1] * value % modulus)
    rest, found = inverse(before[-1], modulus), []
    for value, prefix in zip(reversed(values), reversed(before[:-1]), strict=True):
        found.append(rest * prefix % modulus)
        rest = rest * value % modulus
    return found[::-1]
