"""Ed25519 as the ledger takes it: what OpenSSL takes, without points of small order and points in two forms."""

from __future__ import annotations

from hashlib import sha512

import pytest
import second_verifier as curve
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from ledger.keys import SigningKey, verify_signature

Point = tuple[int, int, int, int]


def encoded(point: Point) -> bytes:
    x, y = (point[i] * pow(point[2], -1, curve.P) % curve.P for i in (0, 1))
    return (y | (x & 1) << 255).to_bytes(32, "little")


def small() -> list[bytes]:
    """The eight points of small order: multiples of L times a point that has order 8 L."""
    for y in range(2, 60):
        try:
            found = curve.times(curve.L, curve.point(y.to_bytes(32, "little")))
        except curve.Wrong:
            continue
        if len(points := {encoded(curve.times(n, found)) for n in range(8)}) == 8:
            return sorted(points)
    raise AssertionError("no point of order 8")


def challenge(r: bytes, key: bytes, message: bytes) -> int:
    return int.from_bytes(sha512(r + key + message).digest(), "little") % curve.L


def openssl(key: bytes, signature: bytes, message: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, message)
    except InvalidSignature:
        return False
    return True


@pytest.mark.parametrize("n", range(8))
def test_nobody_signs_with_a_key_of_small_order(n: int) -> None:
    """Anybody could: R = [s]B fits every message whose challenge is a multiple of eight."""
    key, r = small()[n], encoded(curve.times(12_345, curve.BASE))
    message = next(m for m in (i.to_bytes(4, "big") for i in range(500)) if challenge(r, key, m) % 8 == 0)
    signature = r + (12_345).to_bytes(32, "little")
    assert openssl(key, signature, message)
    assert not verify_signature(key, signature, message)
    assert not curve.signed(key, signature, message)


def test_no_r_of_small_order() -> None:
    """Only who knows the secret can make it, to say what no contract could hold against it."""
    scalar, r, message = 987_654_321, encoded((0, 1, 1, 0)), b"said"
    key = encoded(curve.times(scalar, curve.BASE))
    signature = r + (challenge(r, key, message) * scalar % curve.L).to_bytes(32, "little")
    assert openssl(key, signature, message)
    assert not verify_signature(key, signature, message)
    assert not curve.signed(key, signature, message)


def test_a_point_has_one_form() -> None:
    """y and y + P are the same point to some, and the zero of x has two signs: such keys and Rs are of no signature."""
    key = SigningKey(b"1" * 32)
    signature = key.sign(b"said")
    assert verify_signature(key.public, signature, b"said")
    for number in (curve.P, curve.P + 1, curve.P + 3, 2**255 - 1, 1 | 1 << 255, curve.P - 1 | 1 << 255):
        other = number.to_bytes(32, "little")
        assert not verify_signature(other, signature, b"said")
        assert not verify_signature(key.public, other + signature[32:], b"said")


def test_any_lengths_are_answered() -> None:
    key = SigningKey(b"1" * 32)
    signature = key.sign(b"said")
    for length in (0, 1, 31, 33, 64):
        assert not verify_signature((key.public * 2)[:length], signature, b"said")
    for length in (0, 1, 31, 32, 63, 65):
        assert not verify_signature(key.public, (signature * 2)[:length], b"said")
