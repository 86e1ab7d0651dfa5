"""Base oblivious transfers: "the simplest OT" (Chou & Orlandi, LATINCRYPT 2015) on Curve25519.

    sender (secret a)                            receiver (bit c_i, secret b_i)
    A = a G                                 -->
                                            <--  B_i = R_i + c_i A,  R_i = +- b_i G
    k_i,0 = H(i, A, B_i, u(a B_i))
    k_i,1 = H(i, A, B_i, u(a (B_i - A)))         k_i,c = H(i, A, B_i, u(b_i A))

Points are affine (u, v) of v^2 = u^3 + J u^2 + u, 64 bytes little endian. X25519 of `cryptography` does all
multiplications by secrets, in constant time; it gives u only, so that v is a square root with a sign of our choice. The
few additions are done here. Every key is of a u-coordinate, which does not depend on the sign.

Receiver's bit: B_i is uniform in the group of prime order l whatever c_i is. A clamped scalar is 8k with k uniform in
[2^251, 2^252); as l = 2^252 + d, d < 2^125, the random sign adds all of (d, 2^251 + d], and +-k is within 2^-125 of
uniform mod l. That needs A to lie in that group (a component of small order would show c_i in B_i): it is checked.
Sender's other key: u(a B_i - a A) with b_i known gives a^2 G, the square Diffie-Hellman problem, in the random oracle
model. This holds against a peer that follows the protocol; Chou-Orlandi does not extract the inputs of one that does
not, and nothing here relies on that.
"""

from __future__ import annotations

import hashlib

import gmpy2
import numpy as np
import numpy.typing as npt

from vfl.crypto.group import POINT as COORDINATE
from vfl.crypto.group import J, Mask, P, split
from vfl.errors import BrokenPromise
from vfl.randomness import Randomness
from vfl.secret import Secret

POINT = 2 * COORDINATE  # bytes: u, v
SEED = 16  # bytes of a key
ORDER = 2**252 + 27742317777372353535851937790883648493
_BASE = (9).to_bytes(COORDINATE, "little")
_ROOT_OF_MINUS_ONE = gmpy2.powmod(2, (P - 1) // 4, P)
Seeds = list[bytes]
Affine = tuple[gmpy2.mpz, gmpy2.mpz]


class Sender:
    """Offers pairs of keys. `point` goes to the receiver; use an object for one peer in one run."""

    def __init__(self, rng: Randomness) -> None:
        self._mask = Mask(Secret(rng.child("scalar").bytes(32)))
        u = _number(self._mask.apply(_BASE))
        self.point = _bytes((u, _v(u)))

    def keys(self, answers: bytes, count: int) -> tuple[Seeds, Seeds]:
        """Both keys of each of `count` transfers. `answers`: count * POINT bytes from the receiver.

        Raises BrokenPromise for a wrong length, a point that is not on the curve and one that is A plus or minus a
        point of small order or has small order itself.
        """
        if len(answers) != count * POINT:
            raise BrokenPromise(f"not so: {count} answers are {count * POINT} bytes; {len(answers)} came")
        offered = read_point(self.point, "the offer")
        points = [read_point(flat, f"answer {i}") for i, flat in enumerate(split(answers, POINT))]
        if any(u == offered[0] for u, _ in points):
            raise BrokenPromise("not so: no answer is the offer")
        minus = (offered[0], -offered[1] % P)
        zero = self._mask.apply(b"".join(_coordinate(u) for u, _ in points))
        one = self._mask.apply(b"".join(_coordinate(_sum(point, minus)[0]) for point in points))
        return _keys(self.point, answers, zero), _keys(self.point, answers, one)


def choose(offer: bytes, choices: npt.NDArray[np.bool_], rng: Randomness) -> tuple[bytes, Seeds]:
    """The receiver's answers, len(choices) * POINT bytes, and the key of each chosen side.

    `offer`: the sender's point. Raises BrokenPromise if it is not in the group of prime order.
    """
    offered = read_point(offer, "the offer")
    if not _has_prime_order(offered[0]):
        raise BrokenPromise("not so: the offer has prime order")
    signs, answers, shared = rng.child("signs").bytes(len(choices)), [], []
    for choice, sign in zip(choices.tolist(), signs, strict=True):
        mask = Mask(Secret(rng.bytes(32)))
        u = _number(mask.apply(_BASE))
        v = _v(u)
        plain = (u, (v, -v % P)[sign & 1])
        # Both answers are computed, whatever the choice: the sum takes as long for 0 as for 1.
        answers.append((_bytes(plain), _bytes(_sum(plain, offered)))[choice])
        shared.append(mask.apply(offer[:COORDINATE]))
    flat = b"".join(answers)
    return flat, _keys(offer, flat, b"".join(shared))


def read_point(flat: bytes, name: str) -> Affine:
    """The point that 64 bytes stand for. Raises BrokenPromise unless both coordinates are below p and on the curve."""
    if len(flat) != POINT:
        raise BrokenPromise(f"not so: {name} has {POINT} bytes")
    u, v = _number(flat[:COORDINATE]), _number(flat[COORDINATE:])
    if max(u, v) >= P:
        raise BrokenPromise(f"not so: {name} is below p")
    if v * v % P != _square(u):
        raise BrokenPromise(f"not so: {name} is on the curve")
    return u, v


def _sum(one: Affine, other: Affine) -> Affine:
    """Of two points with different u."""
    slope = (other[1] - one[1]) * gmpy2.invert(other[0] - one[0], P) % P
    u = (slope * slope - J - one[0] - other[0]) % P
    return u, (slope * (one[0] - u) - one[1]) % P


def _has_prime_order(u: gmpy2.mpz) -> bool:
    """Whether l times the point is neutral and the point itself is not: Montgomery ladder on u (RFC 7748, 5).

    A neutral result has Z = 0. The only other point whose ladder degenerates is (0, 0), of order 2; it is refused.
    """
    if u == 0:
        return False
    x2, z2, x3, z3 = gmpy2.mpz(1), gmpy2.mpz(0), u, gmpy2.mpz(1)
    for bit in f"{ORDER:b}":
        if bit == "1":
            x2, z2, x3, z3 = x3, z3, x2, z2
        a, b, c, d = x2 + z2, x2 - z2, x3 + z3, x3 - z3
        aa, bb, da, cb = a * a % P, b * b % P, d * a % P, c * b % P
        x3, z3 = (da + cb) ** 2 % P, u * (da - cb) ** 2 % P
        x2, z2 = aa * bb % P, (aa - bb) * (aa + (J - 2) // 4 * (aa - bb)) % P
        if bit == "1":
            x2, z2, x3, z3 = x3, z3, x2, z2
    return bool(z2 == 0)


def _square(u: gmpy2.mpz) -> gmpy2.mpz:
    return u * (u * (u + J) + 1) % P


def _v(u: gmpy2.mpz) -> gmpy2.mpz:
    """A v for the u of a point on the curve: square root for p = 5 mod 8."""
    square = _square(u)
    root = gmpy2.powmod(square, (P + 3) // 8, P)
    return root if root * root % P == square else root * _ROOT_OF_MINUS_ONE % P


def _keys(offer: bytes, answers: bytes, shared: bytes) -> Seeds:
    head = b"tallystick-ot-v1" + offer
    pairs = zip(split(answers, POINT), split(shared), strict=True)
    return [hashlib.sha256(head + i.to_bytes(4, "big") + b + u).digest()[:SEED] for i, (b, u) in enumerate(pairs)]


def _number(flat: bytes) -> gmpy2.mpz:
    return gmpy2.mpz(int.from_bytes(flat, "little"))


def _coordinate(value: gmpy2.mpz) -> bytes:
    return int(value).to_bytes(COORDINATE, "little")


def _bytes(point: Affine) -> bytes:
    return _coordinate(point[0]) + _coordinate(point[1])
