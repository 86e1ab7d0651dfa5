"""Ed25519 on the chain: the vectors of RFC 8032, the same verdicts as OpenSSL, and what is refused beyond."""

from __future__ import annotations

from hashlib import sha512

import pytest
from chain_kit import Chain, Contract, Reverted
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from effort import examples
from hypothesis import given
from hypothesis import strategies as st

from ledger.keys import verify_signature
from vfl.settle.contract.artefact import load

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
BASE = (15112221349535400772501151409588531511454012693041857206046113283949847762202, 4 * pow(5, -1, P) % P)

# RFC 8032, section 7.1, without the one of 1,023 bytes: secret key, public key, message, signature
VECTORS = {
    "1": (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155"
        "5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    ),
    "2": (
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
        "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    ),
    "3": (
        "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac"
        "18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
    ),
    "SHA(abc)": (
        "833fe62409237b9d62ec77587520911e9a759cec1d19755b7da901b96dca3d42",
        "ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf",
        "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"
        "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
        "dc2a4459e7369633a52b1bf277839a00201009a3efbf3ecb69bea2186c26b589"
        "09351fc9ac90b3ecfdfbc7c66431e0303dca179c138ac17ad9bef1177331a704",
    ),
}


@pytest.fixture(scope="module")
def checker() -> Contract:
    return Chain().deploy(load("ledger_signatures"))


def accepts(checker: Contract, key: bytes, message: bytes, signature: bytes) -> bool:
    return bool(checker.verify(key, message, signature[:32], signature[32:]))


@pytest.mark.parametrize("number", VECTORS)
def test_vectors_of_the_rfc(checker, number):
    secret, key, message, signature = map(bytes.fromhex, VECTORS[number])
    assert Ed25519PrivateKey.from_private_bytes(secret).sign(message) == signature
    assert accepts(checker, key, message, signature)


seeds = st.binary(min_size=32, max_size=32)


@examples(200, 3_000)
@given(seed=seeds, message=st.binary(max_size=400), bit=st.integers(0, 8 * 96 - 1))
def test_openssl_and_the_contract_agree(checker, seed, message, bit):
    private = Ed25519PrivateKey.from_private_bytes(seed)
    key, signature = private.public_key().public_bytes_raw(), private.sign(message)
    assert accepts(checker, key, message, signature)
    flipped = bytearray(key + signature)
    flipped[bit // 8] ^= 1 << bit % 8
    key, signature = bytes(flipped[:32]), bytes(flipped[32:])
    assert not accepts(checker, key, message, signature)
    assert not verify_signature(key, signature, message)


@pytest.mark.parametrize("length", [0, 47, 48, 63, 64, 175, 176, 191, 192, 1_471, 1_472])
def test_lengths_at_the_ends_of_the_hash_blocks(checker, length):
    private, message = Ed25519PrivateKey.from_private_bytes(b"7" * 32), bytes(i % 251 for i in range(length))
    key, signature = private.public_key().public_bytes_raw(), private.sign(message)
    assert accepts(checker, key, message, signature)
    assert not accepts(checker, key, message[:-1] + b"!", signature)


def test_signature_with_s_plus_l_and_other_keys(checker):
    private = Ed25519PrivateKey.from_private_bytes(b"1" * 32)
    key, signature = private.public_key().public_bytes_raw(), private.sign(b"said")
    s = int.from_bytes(signature[32:], "little")
    for more in (s + L, s + 2 * L, s + 8 * L, L, 2**256 - 1):
        assert not accepts(checker, key, b"said", signature[:32] + more.to_bytes(32, "little"))
    other = Ed25519PrivateKey.from_private_bytes(b"2" * 32).public_key().public_bytes_raw()
    assert not accepts(checker, other, b"said", signature)
    assert not accepts(checker, key, b"Said", signature)


def openssl(key: bytes, signature: bytes, message: bytes) -> bool:
    """What RFC 8032 alone says: points of small order are points."""
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, message)
    except InvalidSignature:
        return False
    return True


Affine = tuple[int, int]


def add(a: Affine, b: Affine) -> Affine:
    t = D * a[0] * b[0] * a[1] * b[1] % P
    x = (a[0] * b[1] + a[1] * b[0]) * pow(1 + t, -1, P) % P
    return x, (a[1] * b[1] + a[0] * b[0]) * pow(1 - t, -1, P) % P


def times(n: int, point: Affine) -> Affine:
    result = (0, 1)
    while n:
        if n & 1:
            result = add(result, point)
        point, n = add(point, point), n >> 1
    return result


def encoded(point: Affine) -> bytes:
    return (point[1] | (point[0] & 1) << 255).to_bytes(32, "little")


def root(y: int) -> int | None:
    """An x for this y, if there is one."""
    xx = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(xx, (P + 3) // 8, P)
    x = x if x * x % P == xx else x * pow(2, (P - 1) // 4, P) % P
    return x if x * x % P == xx else None


def of_order_eight() -> Affine:
    candidates = (times(L, (x, y)) for y in range(2, 60) if (x := root(y)) is not None)
    return next(point for point in candidates if times(4, point) != (0, 1))


def challenge(r: bytes, key: bytes, message: bytes) -> int:
    return int.from_bytes(sha512(r + key + message).digest(), "little") % L


SMALL = [times(n, of_order_eight()) for n in range(8)]


def test_eight_points_of_small_order():
    assert len(set(SMALL)) == 8
    assert all(times(8, point) == (0, 1) for point in SMALL)
    assert times(L, BASE) == (0, 1)


@pytest.mark.parametrize("n", range(8))
def test_small_keys_are_refused(checker, n):
    """Under such a key R = [S]B fits every message whose challenge is a multiple of eight; the first one always."""
    key = encoded(SMALL[n])
    s = 12_345
    r = encoded(times(s, BASE))
    message = next(m for m in (i.to_bytes(4, "big") for i in range(200)) if challenge(r, key, m) % 8 == 0)
    signature = r + s.to_bytes(32, "little")
    assert openssl(key, signature, message)
    assert not verify_signature(key, signature, message)
    assert not accepts(checker, key, message, signature)
    assert not checker.validKey(key)


def test_small_r_is_refused(checker):
    """Only who knows the secret scalar can make it, and gives it away with it."""
    scalar, r, message = 987_654_321, encoded((0, 1)), b"said"
    key = encoded(times(scalar, BASE))
    assert checker.validKey(key)
    s = challenge(r, key, message) * scalar % L
    signature = r + s.to_bytes(32, "little")
    assert openssl(key, signature, message)
    assert not verify_signature(key, signature, message)
    assert not accepts(checker, key, message, signature)


def test_keys_with_a_small_part_as_openssl(checker):
    """A = aB + T: the equation without the cofactor holds for some messages, and for the same ones on both sides."""
    scalar, nonce = 55_555, 77_777
    key, r = encoded(add(times(scalar, BASE), of_order_eight())), encoded(times(nonce, BASE))
    verdicts = []
    for n in range(40):
        message = bytes([n])
        s = (nonce + challenge(r, key, message) * scalar) % L
        verdicts.append(accepts(checker, key, message, r + s.to_bytes(32, "little")))
        assert verdicts[-1] == verify_signature(key, r + s.to_bytes(32, "little"), message)
    assert any(verdicts)
    assert not all(verdicts)


def test_only_canonical_keys_on_the_curve(checker):
    seen: dict[str, int] = {"fine": 0, "off": 0}
    for y in range(2, 19):
        for sign in (0, 1 << 255):
            number = y | sign
            on_curve = root(y) is not None
            seen["fine" if on_curve else "off"] += 1
            assert checker.validKey(number.to_bytes(32, "little")) == on_curve
            assert not checker.validKey(((y + P) | sign).to_bytes(32, "little"))  # the same point, written in two ways
    assert min(seen.values()) > 5
    for number in (0, 1, 1 | 1 << 255, P - 1, P, P + 1, 2**255 - 1, 2**256 - 1):
        assert not checker.validKey(number.to_bytes(32, "little"))


def test_a_message_that_is_too_long_is_refused(checker):
    with pytest.raises(Reverted):
        checker.verify(b"1" * 32, bytes(1_473), b"1" * 32, b"1" * 32)
