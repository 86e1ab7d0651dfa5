"""Powers of fixed bases through window tables, and the typed boundary to gmpy2.

gmpy2 carries no types. Everything of it that the Paillier modules use is named here once; an `mpz` is typed `int`,
which it stands in for in every operation used.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import cast

import gmpy2


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


class WindowTable:
    """base**e for one base and many exponents (Brickell, Gordon, McCurley, Wilson 1992, without the bucket step).

    Row i holds base**(d * 2**(i*w)) for every digit d < 2**w, so a power costs one multiplication per digit. Holds
    windows * 2**w residues.
    """

    __slots__ = ("_modulus", "_rows")

    def __init__(self, base: int, modulus: int, *, window: int, windows: int) -> None:
        self._modulus = big(modulus)
        self._rows: list[list[int]] = []
        step = big(base) % self._modulus
        for _ in range(windows):
            row = [big(1)]
            for _ in range((1 << window) - 1):
                row.append(row[-1] * step % self._modulus)
            self._rows.append(row)
            step = row[-1] * step % self._modulus

    def power(self, digits: Iterable[int]) -> int:
        """base**(sum of digits[i] * 2**(i*w)) mod modulus; one digit per window, lowest first."""
        modulus = self._modulus
        result = None
        for row, digit in zip(self._rows, digits, strict=True):
            result = row[digit] if result is None else result * row[digit] % modulus
        return big(1) if result is None else result


def product_of_powers(tables: Sequence[WindowTable], digits: Sequence[Sequence[int]], modulus: int) -> int:
    """The product of tables[j] to the power digits[j], all of one modulus."""
    result = big(1)
    for table, own in zip(tables, digits, strict=True):
        result = result * table.power(own) % modulus
    return result
