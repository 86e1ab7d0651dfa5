"""Curve25519 by u-coordinate: hash to the curve, mask by a secret scalar, check what a peer sent.

A point is 32 bytes, its u-coordinate in little endian (RFC 7748). Many points travel as one flat byte string.

    hash_to_curve   curve25519_XMD:SHA-512_ELL2_NU_       RFC 9380, sections 5.3.1, 6.7.1 and 8.5
    Mask.apply      X25519 with one secret scalar         RFC 7748, section 5

Every hashed point lies on the curve and never on its twist; a raw hash taken as u-coordinate would land on either, and
masking keeps the side, so that each identifier would show one bit. The cofactor is cleared by X25519 itself, whose
scalars are multiples of 8. One map (NU) instead of two (RO): masking needs an image that can be sampled and inverted,
not a uniform one, and half the curve is as good as all of it.

Hashing runs in variable time and sees only the caller's own tokens; the secret scalar goes through X25519 alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import gmpy2
import numpy as np
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from vfl.errors import BrokenPromise
from vfl.secret import Secret

POINT = 32  # bytes
SUITE = b"curve25519_XMD:SHA-512_ELL2_NU_"
P = gmpy2.mpz(2**255 - 19)
J = 486662  # v^2 = u^3 + J u^2 + u
_FIELD_BYTES = 48  # L of RFC 9380: ceil((255 + 128) / 8)
_SHA512_BLOCK = 128
_TOP, _ALL = np.uint64(2**63 - 1), np.uint64(2**64 - 1)  # limbs of p, the highest one and the two in the middle
_LOWEST = np.uint64(2**64 - 19)

# u of every point whose order divides 8, on the curve (0, 1 and the two of order 8) and on the twist (p - 1).
SMALL_ORDER = frozenset(
    u.to_bytes(POINT, "little")
    for u in (
        0,
        1,
        325606250916557431795983626356110631294008115727848805560023387167927233504,
        39382357235489614581723060781553021112529911719440698176882885853963445705823,
        2**255 - 20,
    )
)


def domain(use: str, run: str) -> bytes:
    """The domain separation tag of `use` in one run: points of two runs have nothing in common."""
    return b"-".join([b"tallystick-v1", use.encode(), hashlib.sha256(run.encode()).hexdigest().encode(), SUITE])


def hash_to_field(tokens: Sequence[bytes], dst: bytes) -> list[gmpy2.mpz]:
    """One field element for each token (RFC 9380, 5.2 with expand_message_xmd of SHA-512). `dst`: 1 to 255 bytes."""
    if not 1 <= len(dst) <= 255:
        raise ValueError(f"a domain separation tag has 1 to 255 bytes, not {len(dst)}")
    dst_prime = dst + bytes([len(dst)])
    tail = _FIELD_BYTES.to_bytes(2, "big") + b"\0" + dst_prime
    last = b"\1" + dst_prime
    padded = hashlib.sha512(bytes(_SHA512_BLOCK))
    elements = []
    for token in tokens:
        first = padded.copy()
        first.update(token + tail)
        uniform = hashlib.sha512(first.digest() + last).digest()[:_FIELD_BYTES]
        elements.append(gmpy2.mpz(int.from_bytes(uniform, "big")) % P)
    return elements


def hash_to_curve(tokens: Sequence[bytes], dst: bytes) -> bytes:
    """The points of `tokens`, flat, in the same order. They still have a cofactor, which the first mask clears."""
    below = [1 + 2 * r * r % P for r in hash_to_field(tokens, dst)]  # never 0 mod p, since -1/2 is no square
    points = []
    for inverse in _inverses(below):
        u = -J * inverse % P
        if gmpy2.jacobi(u * (u * (u + J) + 1) % P, P) < 0:
            u = (-u - J) % P
        points.append(int(u).to_bytes(POINT, "little"))
    return b"".join(points)


def _inverses(values: Sequence[gmpy2.mpz]) -> list[gmpy2.mpz]:
    """All inverses mod p for the price of one and three multiplications each (Montgomery's trick)."""
    products = [gmpy2.mpz(1)]
    for value in values:
        products.append(products[-1] * value % P)
    rest = gmpy2.invert(products[-1], P)
    inverses = []
    for value, before in zip(reversed(values), reversed(products[:-1]), strict=True):
        inverses.append(rest * before % P)
        rest = rest * value % P
    return inverses[::-1]


class Mask:
    """A secret scalar. Masks commute: `a.apply(b.apply(x)) == b.apply(a.apply(x))`."""

    __slots__ = ("_key",)

    def __init__(self, scalar: Secret[bytes]) -> None:
        """`scalar`: 32 random bytes, used for one peer in one run."""
        self._key = Secret(X25519PrivateKey.from_private_bytes(scalar.expose()))

    def apply(self, points: bytes) -> bytes:
        """The scalar multiples of `points`, in the same order. Raises BrokenPromise for a point of small order."""
        exchange, read = self._key.expose().exchange, X25519PublicKey.from_public_bytes
        try:
            return b"".join([exchange(read(point)) for point in split(points)])
        except ValueError:
            raise BrokenPromise("not so: no point has small order") from None


def split(flat: bytes, width: int = POINT) -> list[bytes]:
    """The items of a flat byte string, `width` bytes each."""
    return [flat[start : start + width] for start in range(0, len(flat), width)]


def check_points(flat: bytes, count: int) -> None:
    """Demand `count` distinct points: canonical, on the curve and not its twist, not of small order.

    X25519 alone would take bit 255 and u >= p as other spellings of the same point. A point may still differ from
    another by a component of small order; then their masked values are equal, which the caller must look for.
    Raises BrokenPromise naming the first bad point.
    """
    if len(flat) != count * POINT:
        raise BrokenPromise(f"not so: {count} points are {count * POINT} bytes; {len(flat)} came")
    limbs = np.frombuffer(flat, "<u8").reshape(count, 4)
    over = (limbs[:, 3] == _TOP) & (limbs[:, 2] == _ALL) & (limbs[:, 1] == _ALL) & (limbs[:, 0] >= _LOWEST)
    _refuse(limbs[:, 3] > _TOP, "has bit 255 clear")
    _refuse(over, "is below p")
    points = split(flat)
    _refuse(np.array([point in SMALL_ORDER for point in points], bool), "has large order")
    _refuse(np.array([_is_on_twist(point) for point in points], bool), "is on the curve and not on its twist")
    if len(set(points)) != count:
        raise BrokenPromise("not so: no point comes twice")


def _is_on_twist(point: bytes) -> bool:
    u = gmpy2.mpz(int.from_bytes(point, "little"))
    return bool(gmpy2.jacobi(u * (u * (u + J) + 1) % P, P) != 1)


def _refuse(bad: np.typing.NDArray[np.bool_], promise: str) -> None:
    if bad.any():
        raise BrokenPromise(f"not so: point {int(bad.argmax())} {promise}")
