"""Batch openings: true ones pass, false ones do not, also under a modulus that was chosen to let them pass."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import pytest

from ledger import openings
from ledger.errors import BadProof
from ledger.openings import challenges, combined, prove_openings, verify_openings

P, Q = 2**127 - 1, 2**89 - 1  # primes that everybody knows
SMALL = 6379  # the least prime factor that a partner lets pass and that is 3 mod 8
RANDOM = random.Random(5)


def encrypt(n: int, plaintexts: Sequence[int]) -> list[int]:
    return [(1 + m * n) * pow(RANDOM.randrange(2, n), n, n * n) % (n * n) for m in plaintexts]


def root(p: int, q: int) -> Callable[[int], int]:
    return lambda value: pow(value, pow(p * q, -1, (p - 1) * (q - 1)), p * q)


@pytest.mark.parametrize("count", [1, 2, 40])
def test_true_openings_pass(count: int) -> None:
    n = P * Q
    plaintexts = [RANDOM.randrange(n) for _ in range(count)]
    ciphertexts = encrypt(n, plaintexts)
    verify_openings(n, ciphertexts, plaintexts, prove_openings(n, root(P, Q), ciphertexts, plaintexts))


def test_products_of_powers() -> None:
    bases, exponents, modulus = [RANDOM.randrange(1, P) for _ in range(30)], [*range(0, 65536, 2350), 1, 65535], P
    due = 1
    for base, exponent in zip(bases, exponents, strict=True):
        due = due * pow(base, exponent, modulus) % modulus
    assert combined(bases, exponents, modulus) == due


@pytest.mark.parametrize("change", ["plaintext", "two plaintexts", "ciphertext", "root", "roots", "range", "order"])
def test_anything_else_is_refused(change: str) -> None:
    n = P * Q
    plaintexts = [RANDOM.randrange(n) for _ in range(5)]
    ciphertexts = encrypt(n, plaintexts)
    roots = prove_openings(n, root(P, Q), ciphertexts, plaintexts)
    match change:
        case "plaintext":
            plaintexts[3] ^= 1
        case "two plaintexts":
            plaintexts[0], plaintexts[1] = plaintexts[0] + 1, plaintexts[1] - 1
        case "ciphertext":
            ciphertexts[2] = ciphertexts[2] * (1 + n) % (n * n)
        case "root":
            roots[-1] = n - roots[-1]
        case "roots":
            roots.pop()
        case "range":
            plaintexts[0] += n
        case "order":
            ciphertexts.reverse()
    with pytest.raises(BadProof):
        verify_openings(n, ciphertexts, plaintexts, roots)


def lie(n: int, q: int, ciphertexts: Sequence[int], true: Sequence[int], tries: int) -> list[int] | None:
    """A false claim about the last two plaintexts for which every challenge happens to be met, if one is found."""
    for number in range(tries):
        claimed = list(true)
        claimed[-1] = (claimed[-1] + (1 + number % (SMALL - 1)) * q) % n
        claimed[-2] = (claimed[-2] + number // (SMALL - 1) * q) % n
        wrong = [a - b for a, b in zip(true, claimed, strict=True)]
        if all(
            sum(e * d for e, d in zip(one, wrong, strict=True)) % n == 0 for one in challenges(n, ciphertexts, claimed)
        ):
            return claimed
    return None


@pytest.mark.parametrize(("rounds", "deceived"), [(1, True), (openings.ROUNDS, False)])
def test_a_key_holder_with_a_small_factor_opens_nothing_falsely(
    monkeypatch: pytest.MonkeyPatch, rounds: int, deceived: bool
) -> None:
    """One challenge is not enough: thousands of false claims are tried in no time."""
    monkeypatch.setattr(openings, "ROUNDS", rounds)
    n = SMALL * P
    true = [number << 40 for number in range(4)]
    ciphertexts = encrypt(n, true)
    claimed = lie(n, P, ciphertexts, true, 40_000 if deceived else 4_000)
    assert (claimed is not None) == deceived
    if claimed is None:
        claimed = [*true[:-1], true[-1] + P]
    forged = prove_openings(n, root(SMALL, P), ciphertexts, claimed)
    if deceived:
        verify_openings(n, ciphertexts, claimed, forged)
    else:
        with pytest.raises(BadProof):
            verify_openings(n, ciphertexts, claimed, forged)
