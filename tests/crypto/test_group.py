"""Curve25519: published vectors, the curve's laws, and refusal of everything that is no point."""

from __future__ import annotations

import gmpy2
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from hypothesis import given, settings
from hypothesis import strategies as st

from vfl.crypto.group import (
    POINT,
    SMALL_ORDER,
    J,
    Mask,
    P,
    check_points,
    domain,
    hash_to_curve,
    hash_to_field,
    split,
)
from vfl.errors import BrokenPromise
from vfl.secret import Secret

DST = b"QUUX-V01-CS02-with-curve25519_XMD:SHA-512_ELL2_NU_"
# RFC 9380, appendix J.4.2: message, u[0], x of Q (before the cofactor is cleared), x of P (after)
VECTORS = [
    (
        b"",
        "608d892b641f0328523802a6603427c26e55e6f27e71a91a478148d45b5093cd",
        "51125222da5e763d97f3c10fcc92ea6860b9ccbbd2eb1285728f566721c1e65b",
        "1bb913f0c9daefa0b3375378ffa534bda5526c97391952a7789eb976edfe4d08",
    ),
    (
        b"abc",
        "46f5b22494bfeaa7f232cc8d054be68561af50230234d7d1d63d1d9abeca8da5",
        "7d56d1e08cb0ccb92baf069c18c49bb5a0dcd927eff8dcf75ca921ef7f3e6eeb",
        "7c22950b7d900fa866334262fcaea47a441a578df43b894b4625c9b450f9a026",
    ),
    (
        b"abcdef0123456789",
        "235fe40c443766ce7e18111c33862d66c3b33267efa50d50f9e8e5d252a40aaa",
        "3fbe66b9c9883d79e8407150e7c2a1c8680bee496c62fabe4619a72b3cabe90f",
        "31ad08a8b0deeb2a4d8b0206ca25f567ab4e042746f792f4b7973f3ae2096c52",
    ),
    (
        b"q128_" + b"q" * 128,
        "001e92a544463bda9bd04ddbe3d6eed248f82de32f522669efc5ddce95f46f5b",
        "227e0bb89de700385d19ec40e857db6e6a3e634b1c32962f370d26f84ff19683",
        "027877759d155b1997d0d84683a313eb78bdb493271d935b622900459d52ceaa",
    ),
    (
        b"a512_" + b"a" * 512,
        "1a68a1af9f663592291af987203393f707305c7bac9c8d63d6a729bdc553dc19",
        "3bcd651ee54d5f7b6013898aab251ee8ecc0688166fce6e9548d38472f6bd196",
        "5fd892c0958d1a75f54c3182a18d286efab784e774d1e017ba2fb252998b5dc1",
    ),
]


def jacobi(point: bytes) -> int:
    u = int.from_bytes(point, "little")
    return int(gmpy2.jacobi(u * u * u + J * u * u + u, P))


def doubled(u: int) -> int:
    """u of twice the point (RFC 7748 formulae in affine form)."""
    p = int(P)
    return (u * u - 1) ** 2 * pow(4 * u * (u * u + J * u + 1), -1, p) % p


def mask(byte: int) -> Mask:
    return Mask(Secret(bytes([byte]) * 32))


@pytest.mark.parametrize(("message", "field", "q", "p"), VECTORS, ids=["empty", "abc", "abcdef", "q128", "a512"])
def test_vectors_of_rfc_9380(message: bytes, field: str, q: str, p: str) -> None:
    assert hash_to_field([message], DST) == [int(field, 16)]
    point = hash_to_curve([message], DST)
    assert point[::-1].hex() == q
    u = int.from_bytes(point, "little")
    assert doubled(doubled(doubled(u))) == int(p, 16)


def test_a_batch_gives_the_same_points_as_one_by_one() -> None:
    messages = [vector[0] for vector in VECTORS]
    assert hash_to_curve(messages, DST) == b"".join(hash_to_curve([message], DST) for message in messages)
    assert hash_to_curve([], DST) == b""


@settings(deadline=None, max_examples=60)
@given(st.lists(st.binary(max_size=40), min_size=1, max_size=20, unique=True))
def test_every_hashed_point_is_on_the_curve_and_masking_stays_there(tokens: list[bytes]) -> None:
    points = hash_to_curve(tokens, domain("test", "run"))
    check_points(points, len(tokens))
    masked = mask(7).apply(points)
    check_points(masked, len(tokens))
    assert {jacobi(point) for point in split(points) + split(masked)} == {1}


@settings(deadline=None, max_examples=40)
@given(st.binary(min_size=32, max_size=32), st.binary(min_size=32, max_size=32), st.binary(max_size=20))
def test_masks_commute(a: bytes, b: bytes, token: bytes) -> None:
    one, other = Mask(Secret(a)), Mask(Secret(b))
    point = hash_to_curve([token], domain("test", "run"))
    assert one.apply(other.apply(point)) == other.apply(one.apply(point))


def test_no_side_of_the_curve_can_be_told_from_many_masked_points() -> None:
    points = mask(3).apply(hash_to_curve([str(i).encode() for i in range(500)], domain("test", "run")))
    assert {jacobi(point) for point in split(points)} == {1}


def test_runs_and_uses_have_points_of_their_own() -> None:
    tags = [domain("psi", "run 1"), domain("psi", "run 2"), domain("align", "run 1")]
    assert len({hash_to_curve([b"id"], tag) for tag in tags}) == 3
    assert all(len(domain("psi", "r" * 10_000)) <= 255 for _ in tags)


@pytest.mark.parametrize("length", [0, 256])
def test_a_tag_of_forbidden_length_is_refused(length: int) -> None:
    with pytest.raises(ValueError, match="domain separation tag"):
        hash_to_curve([b""], bytes(length))


def twist_point() -> int:
    return next(u for u in range(2, 100) if jacobi(u.to_bytes(POINT, "little")) == -1)


BAD_POINTS = {
    "order 2": 0,
    "order 4": 1,
    "order 8": 325606250916557431795983626356110631294008115727848805560023387167927233504,
    "order 8, the other": 39382357235489614581723060781553021112529911719440698176882885853963445705823,
    "order 4 on the twist": 2**255 - 20,
    "p": 2**255 - 19,
    "p + 1": 2**255 - 18,
    "p + 9": 2**255 - 10,
    "2^255 - 1": 2**255 - 1,
    "9 with bit 255": 9 + 2**255,
    "all ones": 2**256 - 1,
    "twist": twist_point(),
}


@pytest.mark.parametrize("name", BAD_POINTS)
@pytest.mark.parametrize("place", [0, 2, 4])
def test_what_is_no_point_is_refused_and_named(name: str, place: int) -> None:
    points = split(mask(5).apply(hash_to_curve([b"a", b"b", b"c", b"d", b"e"], DST)))
    points[place] = BAD_POINTS[name].to_bytes(POINT, "little")
    with pytest.raises(BrokenPromise, match=f"point {place} "):
        check_points(b"".join(points), 5)


@pytest.mark.parametrize("change", [-1, 1, -32, 32])
def test_a_wrong_length_is_refused(change: int) -> None:
    points = hash_to_curve([b"a", b"b"], DST)
    changed = points[:change] if change < 0 else points + bytes(change)
    with pytest.raises(BrokenPromise, match="2 points are 64 bytes"):
        check_points(changed, 2)


def test_a_repeated_point_is_refused() -> None:
    point = hash_to_curve([b"a"], DST)
    with pytest.raises(BrokenPromise, match="twice"):
        check_points(point + point, 2)


def test_the_base_point_passes_and_points_of_small_order_never_leave_a_mask() -> None:
    check_points((9).to_bytes(POINT, "little"), 1)
    for point in SMALL_ORDER:
        with pytest.raises(BrokenPromise, match="small order"):
            mask(1).apply(point)


def test_a_mask_is_x25519() -> None:
    scalar, point = bytes(range(32)), hash_to_curve([b"a"], DST)
    key = X25519PrivateKey.from_private_bytes(scalar)
    assert Mask(Secret(scalar)).apply(point) == key.exchange(X25519PublicKey.from_public_bytes(point))


def test_a_mask_does_not_show_its_scalar() -> None:
    scalar = bytes(range(32))
    shown = repr(Mask(Secret(scalar))) + repr(Mask(Secret(scalar))._key)
    assert scalar.hex() not in shown
    assert str(scalar) not in shown
