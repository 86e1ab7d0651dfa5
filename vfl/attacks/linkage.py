"""Linking an answer to its rows by the randomness of Paillier ciphertexts.

A ciphertext is (1 + m n) r^n mod n^2, so c mod n = r^n mod n whatever m is: an additive mask hides the sum and not the
randomness. The attacker is the key holder, who made the rows' ciphertexts and so knows r^n of each; the product of the
rows of a cell has the product of theirs. The figure is how many cells of two rows it can name. It needs ciphertexts
that left without a fresh randomiser (`Sealed` is the type of those that have one).
"""

from __future__ import annotations

from collections.abc import Sequence


def linked_pair(answer: int, rows: Sequence[int], n: int) -> tuple[int, int] | None:
    """The two rows whose product has the answer's randomness, or None."""
    place = {row % n: number for number, row in enumerate(rows)}
    for number, row in enumerate(rows):
        other = place.get(answer * pow(row, -1, n) % n)
        if other is not None and other != number:
            return (number, other) if number < other else (other, number)
    return None
