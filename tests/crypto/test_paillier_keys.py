"""Keys: what is generated, what is hidden, and which public keys a party refuses."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from functools import cache
from math import prod

import gmpy2
import pytest
from phe import PaillierPrivateKey, PaillierPublicKey

from vfl.crypto import paillier_keys as keys
from vfl.crypto.paillier_keys import PrivateKey, PublicKey, generate_key, parse_public
from vfl.errors import BrokenPromise, UsageError
from vfl.randomness import Randomness

BITS = 512
CONTEXT = b"run 7"
WIDTH = BITS // 8
HEAD = 10
PERMUTATION = HEAD + WIDTH + 32
SQUARES = PERMUTATION + 11 * WIDTH


@cache
def key() -> PrivateKey:
    return generate_key(BITS, Randomness(b"k" * 32), small_keys_for_tests=True)


@cache
def public_bytes() -> bytes:
    return key().public_bytes(CONTEXT)


def parse(data: bytes, context: bytes = CONTEXT) -> PublicKey:
    return parse_public(data, context, small_keys_for_tests=True)


def prime(bits: int, residue: int, start: int = 0, step: int = 8) -> int:
    """A prime of exactly `bits` bits with the top bits set, `residue` mod `step`."""
    value = (7 << (bits - 3)) + start * 10_000 * step
    value += (residue - value) % step
    while not gmpy2.is_prime(value):
        value += step
    assert value.bit_length() == bits
    return value


def with_modulus(n: int, roots: Callable[[int], int] = lambda y: 1, bits: int = BITS) -> bytes:
    """Public bytes for any n with the best proof a cheat has: `roots` for n-th roots, 1 for squares."""
    width = bits // 8
    shown = n % (1 << bits)
    wide = shown.to_bytes(width, "big")
    fingerprint = PublicKey(shown).fingerprint if shown.bit_length() == bits else bytes(32)
    parts = [b"TSPAIL01", bits.to_bytes(2, "big"), wide, fingerprint]
    if shown.bit_length() == bits:
        drawn = [int(keys._challenge(shown, CONTEXT, "permutation", i)) for i in range(11)]
        parts += [roots(y).to_bytes(width, "big") for y in drawn]
    else:
        parts += [(1).to_bytes(width, "big")] * 11
    return b"".join([*parts, *[b"\0" + (1).to_bytes(width, "big")] * 128])


def of_primes(*primes: int) -> bytes:
    """A modulus of known primes with true n-th roots, and true square roots wherever they exist."""
    n = prod(primes)
    exponent = int(gmpy2.invert(n, prod(p - 1 for p in primes)))
    data = bytearray(with_modulus(n, lambda y: pow(y, exponent, n)))
    for index in range(128):
        y = int(keys._challenge(n, CONTEXT, "square", index))
        for kind in range(4):
            z = y * (1 + (kind >> 1)) * (1 - 2 * (kind & 1)) % n
            if all(pow(z, (p - 1) // 2, p) == 1 for p in primes if p % 4 == 3) and all(p % 4 == 3 for p in primes):
                root = sum(pow(z, (p + 1) // 4, p) * (n // p) * pow(n // p, -1, p) for p in primes) % n
                at = SQUARES + index * (1 + WIDTH)
                data[at : at + 1 + WIDTH] = bytes([kind]) + root.to_bytes(WIDTH, "big")
    return bytes(data)


def patched(at: int, piece: bytes) -> bytes:
    data = bytearray(public_bytes())
    data[at : at + len(piece)] = piece
    return bytes(data)


def flipped(at: int) -> bytes:
    return patched(at, bytes([public_bytes()[at] ^ 1]))


def shared_factor() -> bytes:
    """n = p*q with p dividing q - 1: x -> x**n is no permutation."""
    p = prime(200, 7)
    q = prime(312, 1, step=p * 8)
    while q % 8 != 3 or (p * q) % 8 != 5 or (p * q).bit_length() != BITS:
        q += 2 * p
        while not gmpy2.is_prime(q):
            q += 2 * p
    return with_modulus(p * q)


def of_residue(residue: int) -> bytes:
    p = prime(256, 3)
    return with_modulus(p * prime(256, residue * pow(3, -1, 8) % 8, 5))


def wide_prime() -> bytes:
    return with_modulus(prime(BITS, 5))


def cube() -> bytes:
    root = int(gmpy2.iroot(7 << (BITS - 3), 3)[0])
    root += (5 - root) % 8
    while not gmpy2.is_prime(root):
        root += 8
    return with_modulus(root**3)


def four_primes() -> bytes:
    """All 3 mod 4, so that the prover finds every square root there is: for about half of the challenges."""
    return of_primes(prime(128, 3), prime(128, 7, 1), prime(128, 3, 2), prime(128, 3, 3))


def with_factor(small: int) -> bytes:
    """One small prime and one large: the trial division has to reach `small`."""
    large = (7 << (BITS - 3)) // small
    large += (5 * pow(small, -1, 8) - large) % 8
    while not gmpy2.is_prime(large):
        large += 8
    return with_modulus(small * large)


def root_plus_n() -> bytes:
    """A true n-th root in a second spelling: equal mod n, and still of the right width."""
    for index in range(11):
        at = PERMUTATION + index * WIDTH
        root = int.from_bytes(public_bytes()[at : at + WIDTH], "big") + key().public.n
        if root < 1 << BITS:
            return patched(at, root.to_bytes(WIDTH, "big"))
    raise AssertionError("no root is small enough: take another seed")


BAD_KEYS: dict[str, tuple[Callable[[], bytes], str]] = {
    "empty": (lambda: b"", "begin"),
    "magic": (lambda: flipped(0), "begin"),
    "only a head": (lambda: public_bytes()[:HEAD], "bytes"),
    "no proof": (lambda: public_bytes()[:PERMUTATION], "bytes"),
    "no square roots": (lambda: public_bytes()[:SQUARES], "bytes"),
    "one byte short": (lambda: public_bytes()[:-1], "bytes"),
    "one byte more": (lambda: public_bytes() + b"\0", "bytes"),
    "declares 0 bits": (lambda: patched(8, b"\0\0"), "declares 0 bits"),
    "declares 511 bits": (lambda: patched(8, (511).to_bytes(2, "big")), "declares 511"),
    "declares 2048 bits": (lambda: patched(8, (2048).to_bytes(2, "big")), "bytes"),
    "declares 65535 bits": (lambda: patched(8, b"\xff\xff"), "declares 65535"),
    "n is 0": (lambda: with_modulus(0), "has 0 bits"),
    "n is 1": (lambda: with_modulus(1), "has 1 bits"),
    "n is 15": (lambda: with_modulus(15), "has 4 bits"),
    "one bit short": (lambda: with_modulus((1 << (BITS - 1)) - 3), "has 511 bits"),
    "even": (lambda: with_modulus(key().public.n + 1), "5 mod 8"),
    "1 mod 8": (lambda: of_residue(1), "5 mod 8"),
    "3 mod 8": (lambda: of_residue(3), "5 mod 8"),
    "7 mod 8": (lambda: of_residue(7), "5 mod 8"),
    "square": (lambda: with_modulus(prime(256, 3) ** 2), "5 mod 8"),
    "prime": (wide_prime, "is prime"),
    "cube": (cube, "perfect power"),
    "factor 3": (lambda: with_factor(3), "below 6370"),
    "factor 5": (lambda: with_factor(5), "below 6370"),
    "factor 6367": (lambda: with_factor(6367), "below 6370"),
    "gcd(n, phi(n)) > 1": (shared_factor, "n-th root"),
    "four primes": (four_primes, "two prime factors"),
    "fingerprint of another": (lambda: flipped(PERMUTATION - 1), "fingerprint"),
    "first n-th root": (lambda: flipped(SQUARES - 10 * WIDTH - 1), "n-th root 0"),
    "last n-th root": (lambda: flipped(SQUARES - 1), "n-th root 10"),
    "n-th root 0": (lambda: patched(PERMUTATION, bytes(WIDTH)), "n-th root 0"),
    "n-th root beyond n": (lambda: patched(PERMUTATION, b"\xff" * WIDTH), "n-th root 0"),
    "n-th root plus n": (root_plus_n, "n-th root"),
    "n-th roots of another context": (
        lambda: patched(PERMUTATION, key().public_bytes(b"run 8")[PERMUTATION:SQUARES]),
        "n-th root 0",
    ),
    "squares of another context": (
        lambda: patched(SQUARES, key().public_bytes(b"run 8")[SQUARES:]),
        "square root 0 .* two prime",
    ),
    "first square root": (lambda: flipped(SQUARES + WIDTH), "square root 0"),
    "last square root": (lambda: flipped(len(public_bytes()) - 1), "square root 127"),
    "class of a square root": (lambda: flipped(SQUARES), "square root 0"),
    "class 4": (lambda: patched(SQUARES, b"\4"), "out of range"),
    "square root 0": (lambda: patched(SQUARES + 1, bytes(WIDTH)), "out of range"),
    "square root beyond n": (lambda: patched(SQUARES + 1, b"\xff" * WIDTH), "out of range"),
    "proof of another key": (
        lambda: (
            public_bytes()[:PERMUTATION]
            + generate_key(BITS, Randomness(b"l" * 32), small_keys_for_tests=True).public_bytes(CONTEXT)[PERMUTATION:]
        ),
        "n-th root 0",
    ),
}


@pytest.mark.parametrize("case", BAD_KEYS)
def test_a_bad_public_key_is_refused(case: str) -> None:
    build, sentence = BAD_KEYS[case]
    with pytest.raises(BrokenPromise, match=sentence):
        parse(build())


def test_three_primes_pass_every_check_but_the_square_roots() -> None:
    """The proof of gcd(n, phi(n)) = 1 alone accepts many primes; a prover who knows them all fails at the second."""
    chosen = prime(171, 3), prime(171, 3, 1), prime(170, 5, 2)
    data = of_primes(*chosen)
    keys._check_modulus(prod(chosen), BITS)
    keys._check_permutation(prod(chosen), CONTEXT, data[PERMUTATION:SQUARES])
    with pytest.raises(BrokenPromise, match="two prime factors"):
        parse(data)


def test_the_forger_of_these_tests_passes_with_a_good_key() -> None:
    """Shows that the refusals above are not the helper's fault."""
    private = key().expose()
    assert parse(of_primes(private.p, private.q)).n == key().public.n


def test_a_good_key_is_accepted_and_proofs_are_deterministic() -> None:
    assert parse(public_bytes()) == key().public
    assert key().public_bytes(CONTEXT) == public_bytes()


def test_small_keys_are_refused_unless_a_test_asks() -> None:
    with pytest.raises(BrokenPromise, match="declares 512 bits"):
        parse_public(public_bytes(), CONTEXT)
    for bits in (512, 1024, 2047, 2056, 8192, 0, -2048):
        with pytest.raises(UsageError, match=f"bits is {bits}; allowed: 2048, 3072, 4096"):
            generate_key(bits, Randomness(bytes(32)))


def test_a_production_key_has_its_size_and_proof() -> None:
    one = generate_key(2048, Randomness(b"p" * 32))
    private = one.expose()
    assert one.public.n.bit_length() == 2048
    assert private.p * private.q == one.public.n
    assert all(gmpy2.is_prime(r) and r.bit_length() == 1024 and r >> 1022 == 3 for r in (private.p, private.q))
    assert abs(private.p - private.q).bit_length() > 924
    assert gmpy2.gcd(private.p - 1, private.q - 1) == 2
    data = one.public_bytes(CONTEXT)
    assert parse_public(data, CONTEXT) == one.public
    with pytest.raises(BrokenPromise, match="n-th root 0"):
        parse_public(data, b"another run")


def test_the_seed_decides_the_key() -> None:
    again = generate_key(BITS, Randomness(b"k" * 32), small_keys_for_tests=True)
    other = generate_key(BITS, Randomness(b"o" * 32), small_keys_for_tests=True)
    assert again.public == key().public
    assert other.public != key().public


def test_the_private_key_does_not_show() -> None:
    private = key().expose()
    shown = f"{key()!r} {key()} {key()._secret!r}"
    assert all(str(value) not in shown for value in (private.p, private.q, hex(private.p)[2:]))
    with pytest.raises(TypeError):
        vars(key())
    for act in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError):
            act(key())


@pytest.mark.parametrize("case", ["composite", "residue", "equal residue"])
def test_primes_that_make_no_key_are_refused(case: str) -> None:
    p, q = prime(256, 3), prime(256, 7)
    given = {"composite": (p + 8, q), "residue": (q, p), "equal residue": (p, prime(256, 3, 1))}[case]
    with pytest.raises(UsageError):
        PrivateKey(*given)


def test_phe_decrypts_what_we_encrypt_and_the_other_way_round() -> None:
    public = PaillierPublicKey(key().public.n)
    private = PaillierPrivateKey(public, key().expose().p, key().expose().q)
    for plaintext in (0, 1, 2**200, key().public.n - 1, key().public.n // 2):
        ciphertext = public.raw_encrypt(plaintext)
        assert key().decrypt(ciphertext) == plaintext == private.raw_decrypt(ciphertext)
