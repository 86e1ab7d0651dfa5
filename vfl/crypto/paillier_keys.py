"""Paillier keys: generation from a seed, and the proof a peer checks before it lets the key near its data.

A key holder could choose n so that ciphertexts or sealed answers tell it more than their sums. The public bytes
therefore prove two facts about n, each by Fiat-Shamir (SHAKE-256 over n and the run's context):

1. gcd(n, phi(n)) = 1, so x -> x**n permutes Z_n^* and Paillier's decomposition Z_{n^2}^* = <1 + n> x R holds (R: the
   n-th residues). No prime below alpha = 6370 divides n, and 11 n-th roots of challenges are shown. If a prime >= alpha
   divided both, at most 1/alpha of all challenges would have a root, and 6370**11 > 2**128.
   Goldberg, Reyzin, Sagga, Baldimtsi, "Efficient noninteractive certification of RSA moduli and beyond", ASIACRYPT
   2019 (the proof that x -> x**e permutes, with e = n).
2. n has at most two prime factors. With p = 3 and q = 7 mod 8 exactly one of y, -y, 2y, -2y is a square mod n, and for
   128 challenges y the root of that one is shown. With three or more primes at most 4/8 of all challenges have such a
   root. Same paper (products of two primes), as in the Paillier-Blum modulus proof of Canetti, Gennaro, Goldfeder,
   Makriyannis, Peled, "UC non-interactive, proactive, threshold ECDSA with identifiable aborts", 2021.
   Sealing needs this: the randomiser of `paillier.seal` covers R when R has few independent factors, which two primes
   guarantee and many do not.

Together with "n is odd, not prime, no perfect power": n = p * q with distinct primes and gcd(n, phi(n)) = 1.

A root shown for a challenge must always be the same one, as two different square roots of one number factor n. The
choice among the four is therefore a hash of p and the challenge, not a draw.

Public bytes, B = bits / 8:

    magic 8 | bits u16 | n B | fingerprint 32 | 11 x root B | 128 x (class 1, root B)        all big-endian

`phe` (GPL-3.0) supplies the key classes and is imported in this file only.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import NoReturn, Protocol, cast

from phe import PaillierPrivateKey, PaillierPublicKey

from vfl.crypto.fixed_base import (
    big,
    from_bytes,
    gcd,
    inverse,
    is_perfect_power,
    is_prime,
    is_square,
    power,
    power_secret,
    primorial,
    to_bytes,
)
from vfl.errors import BrokenPromise, UsageError
from vfl.randomness import Randomness
from vfl.secret import Secret

KEY_BITS = (2048, 3072, 4096)
"""112, 128 and about 150 bits of strength (NIST SP 800-57 part 1, table 2)."""
TEST_KEY_BITS = (512, 1024)
"""Breakable. Accepted only where a caller writes `small_keys_for_tests=True`, which nothing in production does."""

ALPHA = 6370
PERMUTATION_ROOTS = 11
SQUARE_ROOTS = 128
_MAGIC = b"TSPAIL01"
_DOMAIN = b"tallystick-paillier-key-v1"
_FINGERPRINT_BYTES = 32
_SPREAD_BITS = 100
"""|p - q| > 2**(bits/2 - 100): FIPS 186-5, A.1.3, against Fermat factoring."""
_P_RESIDUE, _Q_RESIDUE = 3, 7
_N_RESIDUE = 5


class PhePrivateKey(Protocol):
    """The parts of `phe.PaillierPrivateKey` in use; p < q."""

    p: int
    q: int
    psquare: int
    qsquare: int
    p_inverse: int
    hp: int
    hq: int


@dataclass(frozen=True)
class PublicKey:
    """A modulus; from the wire only through `parse_public`."""

    n: int

    @property
    def bits(self) -> int:
        """Bits of n."""
        return self.n.bit_length()

    @property
    def n_squared(self) -> int:
        """The modulus of ciphertexts."""
        return self.n * self.n

    @property
    def cipher_bytes(self) -> int:
        """Bytes of every ciphertext, big-endian."""
        return self.bits // 4

    @property
    def fingerprint(self) -> bytes:
        """32 bytes that name the key in agreements and ledgers."""
        return hashlib.sha256(_DOMAIN + b"/fingerprint" + to_bytes(self.n, self.bits // 8)).digest()


class PrivateKey:
    """p and q inside a `Secret`; refuses to be pickled, copied or shown."""

    __slots__ = ("_secret", "public")

    def __init__(self, p: int, q: int) -> None:
        """Checks that p and q make a key whose proofs can be given. Raises UsageError."""
        for name, value, residue in (("p", p, _P_RESIDUE), ("q", q, _Q_RESIDUE)):
            if not is_prime(value) or value % 8 != residue:
                raise UsageError(f"{name} is no prime that is {residue} mod 8")
        n = p * q
        if gcd(n, (p - 1) * (q - 1)) != 1 or n.bit_length() % 8:
            raise UsageError("p and q do not make a Paillier modulus of whole bytes")
        self.public = PublicKey(int(n))
        phe_key = cast(PhePrivateKey, PaillierPrivateKey(PaillierPublicKey(int(n)), int(p), int(q)))
        self._secret = Secret(phe_key)

    def expose(self) -> PhePrivateKey:
        """The phe key. For this package's Paillier modules and for writing a key file."""
        return self._secret.expose()

    def decrypt(self, ciphertext: int) -> int:
        """The plaintext 0 <= m < n of a validated ciphertext, by CRT (Paillier 1999, section 7).

        Both powers run in time independent of p and q: an answer comes from a peer that may have chosen it to be timed.
        """
        key = self._secret.expose()
        p, q = big(key.p), big(key.q)
        mod_p = (power_secret(big(ciphertext) % key.psquare, p - 1, big(key.psquare)) - 1) // p * key.hp % p
        mod_q = (power_secret(big(ciphertext) % key.qsquare, q - 1, big(key.qsquare)) - 1) // q * key.hq % q
        return mod_p + (mod_q - mod_p) * key.p_inverse % q * p

    def root(self, value: int) -> int:
        """The n-th root mod n of a number prime to n."""
        key = self._secret.expose()
        p, q = big(key.p), big(key.q)
        roots = [power_secret(big(value) % r, inverse(self.public.n, r - 1), r) for r in (p, q)]
        return int(_crt(roots[0], roots[1], key))

    def public_bytes(self, context: bytes) -> bytes:
        """The key with its proofs, valid for this context only (run id). Deterministic."""
        public, key = self.public, self._secret.expose()
        width = public.bits // 8
        parts = [_MAGIC, public.bits.to_bytes(2, "big"), to_bytes(public.n, width), public.fingerprint]
        p, q = big(key.p), big(key.q)
        exponents = inverse(public.n, p - 1), inverse(public.n, q - 1)
        for index in range(PERMUTATION_ROOTS):
            y = _challenge(public.n, context, "permutation", index)
            mod_p, mod_q = power_secret(y % p, exponents[0], p), power_secret(y % q, exponents[1], q)
            parts.append(to_bytes(_crt(mod_p, mod_q, key), width))
        for index in range(SQUARE_ROOTS):
            kind, root = _square_root(_challenge(public.n, context, "square", index), key, public.n)
            parts.append(bytes([kind]) + to_bytes(root, width))
        return b"".join(parts)

    def __repr__(self) -> str:
        return f"PrivateKey({self.public.bits} bits, {self.public.fingerprint.hex()[:16]})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a private key cannot be pickled or copied")

    def __copy__(self) -> NoReturn:
        raise TypeError("a private key cannot be copied")

    def __deepcopy__(self, memo: object) -> NoReturn:
        raise TypeError("a private key cannot be copied")


def allowed_bits(small_keys_for_tests: bool) -> tuple[int, ...]:
    """Key sizes in force."""
    return TEST_KEY_BITS + KEY_BITS if small_keys_for_tests else KEY_BITS


def generate_key(bits: int, rng: Randomness, *, small_keys_for_tests: bool = False) -> PrivateKey:
    """A key of exactly `bits` bits, drawn from `rng`. Raises UsageError for a size not in KEY_BITS.

    Primes are uniform among those with the top two bits set and the residue mod 8 that the proof needs. The exponents
    (p-1)/2 and (q-1)/2 are coprime, as the short-exponent encryption asks (Damgard, Jurik, Nielsen 2010).
    """
    if bits not in allowed_bits(small_keys_for_tests):
        raise UsageError(f"bits is {bits}; allowed: {', '.join(map(str, KEY_BITS))}")
    half = bits // 2
    while True:
        p, q = _prime(half, _P_RESIDUE, rng), _prime(half, _Q_RESIDUE, rng)
        coprime = gcd(p - 1, q - 1) == 2 and gcd(p * q, (p - 1) * (q - 1)) == 1
        if abs(p - q).bit_length() > half - _SPREAD_BITS and coprime:
            return PrivateKey(p, q)


def parse_public(data: bytes, context: bytes, *, small_keys_for_tests: bool = False) -> PublicKey:
    """Checks a peer's public bytes, cheapest first, and only then gives the key. Raises BrokenPromise."""
    head = len(_MAGIC) + 2
    if len(data) < head or data[: len(_MAGIC)] != _MAGIC:
        raise BrokenPromise("the public key does not begin like one")
    bits = int.from_bytes(data[len(_MAGIC) : head], "big")
    if bits not in allowed_bits(small_keys_for_tests):
        raise BrokenPromise(f"the public key declares {bits} bits; allowed: {', '.join(map(str, KEY_BITS))}")
    width = bits // 8
    expected = head + width + _FINGERPRINT_BYTES + PERMUTATION_ROOTS * width + SQUARE_ROOTS * (1 + width)
    if len(data) != expected:
        raise BrokenPromise(f"the public key has {len(data)} bytes; {expected} belong to {bits} bits with proofs")
    public = PublicKey(int.from_bytes(data[head : head + width], "big"))
    _check_modulus(public.n, bits)
    proof = head + width + _FINGERPRINT_BYTES
    if data[head + width : proof] != public.fingerprint:
        raise BrokenPromise("the fingerprint is not that of the modulus")
    squares = proof + PERMUTATION_ROOTS * width
    _check_permutation(public.n, context, data[proof:squares])
    _check_squares(public.n, context, data[squares:])
    return public


def _prime(bits: int, residue: int, rng: Randomness) -> int:
    while True:
        candidate = big(rng.bits(bits)) | 3 << (bits - 2)
        candidate += residue - candidate % 8
        if is_prime(candidate):
            return candidate


def _challenge(n: int, context: bytes, kind: str, index: int) -> int:
    """A number within 2**-128 of uniform mod n, bound to n, context, kind and index; every part has its length."""
    width = n.bit_length() // 8
    hashed = hashlib.shake_256(_DOMAIN)
    for part in (to_bytes(n, width), context, kind.encode(), index.to_bytes(4, "big")):
        hashed.update(len(part).to_bytes(8, "big") + part)
    return from_bytes(hashed.digest(width + 16)) % n


def _crt(mod_p: int, mod_q: int, key: PhePrivateKey) -> int:
    return mod_p + (mod_q - mod_p) * key.p_inverse % key.q * key.p


def _square_root(y: int, key: PhePrivateKey, n: int) -> tuple[int, int]:
    """The class k (bit 0: negated, bit 1: doubled) for which (-1)**(k&1) * 2**(k>>1) * y is a square, and one root.

    phe orders p < q whatever was given, so residues mod 8 are not tied to the names here; both primes are 3 mod 4,
    where z**((r+1)/4) is a root of a square z.
    """
    for kind in range(4):
        z = y * (1 + (kind >> 1)) * (1 - 2 * (kind & 1)) % n
        # The class is shown anyway; the roots, which are secret powers, are taken of the right class only.
        if is_square(z, key.p) and is_square(z, key.q):
            roots = [power_secret(z % r, (big(r) + 1) // 4, big(r)) for r in (key.p, key.q)]
            secret = to_bytes(key.p, n.bit_length() // 8)
            signs = hashlib.sha256(_DOMAIN + b"/signs" + secret + to_bytes(y, len(secret))).digest()[0]
            mod_p = roots[0] if signs & 1 else -roots[0] % key.p
            mod_q = roots[1] if signs & 2 else -roots[1] % key.q
            return kind, _crt(mod_p, mod_q, key)
    raise AssertionError("one of four classes is a square when p = 3 and q = 7 mod 8")


def _check_modulus(n: int, bits: int) -> None:
    if n.bit_length() != bits:
        raise BrokenPromise(f"the modulus has {n.bit_length()} bits; the key declares {bits}")
    if n % 8 != _N_RESIDUE:
        raise BrokenPromise("the modulus is not 5 mod 8, as a product of primes 3 and 7 mod 8 is")
    if gcd(n, primorial(ALPHA - 1)) != 1:
        raise BrokenPromise(f"the modulus has a prime factor below {ALPHA}")
    if is_prime(n):
        raise BrokenPromise("the modulus is prime")
    if is_perfect_power(n):
        raise BrokenPromise("the modulus is a perfect power")


def _check_permutation(n: int, context: bytes, proof: bytes) -> None:
    width = n.bit_length() // 8
    for index in range(PERMUTATION_ROOTS):
        root = from_bytes(proof[index * width : (index + 1) * width])
        y = _challenge(n, context, "permutation", index)
        if not 0 < root < n or power(root, n, n) != y:
            raise BrokenPromise(f"n-th root {index} of the key's proof that gcd(n, phi(n)) = 1 is false")


def _check_squares(n: int, context: bytes, proof: bytes) -> None:
    width = 1 + n.bit_length() // 8
    for index in range(SQUARE_ROOTS):
        kind, root = proof[index * width], from_bytes(proof[index * width + 1 : (index + 1) * width])
        y = _challenge(n, context, "square", index)
        if kind > 3 or not 0 < root < n:
            raise BrokenPromise(f"square root {index} of the key's proof is out of range")
        if root * root % n != y * (1 + (kind >> 1)) * (1 - 2 * (kind & 1)) % n:
            raise BrokenPromise(f"square root {index} of the key's proof that n has two prime factors is false")
