"""Opening many Paillier ciphertexts at once: their plaintexts, and a few numbers that prove all of them.

    c_i = (1 + n)^m_i r_i^n mod n^2                        i = 1 .. count
    e_ki = 16 bits of SHA-256(seed || i)                   k = 1 .. 12, seed hashed from n and all c_i and m_i
    R_k^n = prod c_i^e_ki / (1 + n)^(sum e_ki m_i) mod n^2

A wrong m_i leaves a power of 1 + n that no R_k takes away, unless sum e_ki (m_i - true m_i) = 0 modulo a prime factor p
of n: at most ceil(2^16 / p) of 2^16 values of one e_ki do that. A key holder chooses p, and what a partner checks of a
key allows a factor as small as 6,370 (`vfl.crypto.paillier_keys`). One challenge, however long, is then won by about
6,370 tries at other false claims, which take less than a second; twelve are won with probability below 2^-150.

Source: small exponents test of Bellare, Garay, Rabin, "Fast batch verification for modular exponentiation and digital
signatures", EUROCRYPT 1998, section 3.2. What elements of small order do to such tests: Boyd and Pavlovski, "Attacking
and repairing batch verification schemes", ASIACRYPT 2000.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import sha256

from ledger.errors import BadProof

ROUNDS = 12
_BYTES = 2  # of an exponent; a hash of 32 bytes has those of all rounds


def prove_openings(
    n: int, root: Callable[[int], int], ciphertexts: Sequence[int], plaintexts: Sequence[int]
) -> list[int]:
    """The roots R_k for true `plaintexts`. `root`: the n-th root mod n, which only the key holder can take."""
    # 1 + n is 1 mod n, so there the plaintexts play no part.
    return [root(combined(ciphertexts, exponents, n)) for exponents in challenges(n, ciphertexts, plaintexts)]


def verify_openings(n: int, ciphertexts: Sequence[int], plaintexts: Sequence[int], roots: Sequence[int]) -> None:
    """Raise BadProof unless `roots` prove that `plaintexts`, each 0 <= m < n, are those of `ciphertexts`.

    Holds for n and ciphertexts that a party accepted as `vfl.crypto.paillier` does: units of Z_(n^2), and an n without
    factors below 6,370 for which x -> x^n permutes Z_n^*.
    """
    if len(plaintexts) != len(ciphertexts) or len(roots) != ROUNDS:
        raise BadProof(f"an opening has one plaintext a ciphertext and {ROUNDS} roots")
    if not all(0 <= m < n for m in plaintexts) or not all(0 < root < n for root in roots):
        raise BadProof("plaintexts and roots are numbers below n")
    modulus = n * n
    for root, exponents in zip(roots, challenges(n, ciphertexts, plaintexts), strict=True):
        total = sum(e * m for e, m in zip(exponents, plaintexts, strict=True)) % n
        if pow(root, n, modulus) * (1 + total * n) % modulus != combined(ciphertexts, exponents, modulus):
            raise BadProof("the plaintexts are not those of the ciphertexts")


def challenges(n: int, ciphertexts: Sequence[int], plaintexts: Sequence[int]) -> list[list[int]]:
    """The exponents of each round, bound to every ciphertext and every claim."""
    width = n.bit_length() // 4 + 1
    state = sha256(b"tallystick-openings-v1\n" + width.to_bytes(4, "big") + n.to_bytes(width, "big"))
    for c, m in zip(ciphertexts, plaintexts, strict=True):
        state.update(c.to_bytes(width, "big") + m.to_bytes(width, "big"))
    seed = state.digest()
    drawn = [sha256(seed + index.to_bytes(8, "big")).digest() for index in range(len(ciphertexts))]
    places = range(0, ROUNDS * _BYTES, _BYTES)
    return [[int.from_bytes(one[place : place + _BYTES], "big") for one in drawn] for place in places]


def combined(ciphertexts: Sequence[int], exponents: Sequence[int], modulus: int) -> int:
    """prod c_i^e_i: for every byte of exponents one multiplication a ciphertext, and 510 to weigh the 256 groups."""
    result = 1
    for place in reversed(range(_BYTES)):
        groups = [1] * 256
        for c, e in zip(ciphertexts, exponents, strict=True):
            byte = e >> 8 * place & 255
            groups[byte] = groups[byte] * c % modulus
        above = weighed = 1  # the product of the groups from here up; of all groups above, each to its own power
        for group in reversed(groups[1:]):
            above = above * group % modulus
            weighed = weighed * above % modulus
        result = pow(result, 256, modulus) * weighed % modulus
    return result
