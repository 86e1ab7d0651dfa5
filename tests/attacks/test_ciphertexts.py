"""What ciphertexts say without being decrypted: whose they are, and whether a row is bad."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from attack_kit import EVEN, card_case
from derivatives import fixed_gradients

from vfl.attacks.linkage import linked_pair
from vfl.attacks.metadata import guess, traits
from vfl.crypto.lattice import LatticeKeyHolder, LatticeParameters
from vfl.crypto.paillier import PaillierEvaluator, PaillierKeyHolder
from vfl.crypto.scheme import CellLayout, Lanes
from vfl.randomness import Randomness

BITS = 512
WIDTH = 2 * BITS // 8
RATES = (0.01, 0.05, 0.2)


def seed(number: int) -> Randomness:
    return Randomness(number.to_bytes(32, "big"))


def rows_of(blocks: list[bytes]) -> list[bytes]:
    data = b"".join(blocks)
    return [data[start : start + WIDTH] for start in range(0, len(data), WIDTH)]


def test_unsealed_answers_are_linked_to_their_rows_and_sealed_ones_are_not() -> None:
    """40 cells of two of 60 customers, each behind an additive mask."""
    count = 60
    lanes = Lanes(count, 1 << 24, 1 << 22)
    holder = PaillierKeyHolder(lanes, b"run", seed(1), bits=BITS, small_keys_for_tests=True)
    labels = (np.arange(count) % 4 == 0).astype(np.int8)
    blocks = holder.open_tree(*fixed_gradients(np.zeros(count), labels, 24), seed(2))
    n = holder.key.public.n
    rows = [int.from_bytes(row, "big") for row in rows_of(blocks)]
    pairs = list(combinations(range(count), 2))[::45][:40]
    evaluator = PaillierEvaluator(holder.public(), lanes, b"run", small_keys_for_tests=True)
    unsealed = sealed = 0
    layout = CellLayout((1,))
    assert list(evaluator.hint(np.zeros((count, 1), np.uint8), layout, seed(3))) == []
    evaluator.open_tree(blocks)
    for number, pair in enumerate(pairs):
        masked = rows[pair[0]] * rows[pair[1]] * (1 + (number + 12345) * n) % n**2
        unsealed += linked_pair(masked, rows, n) == pair
        member = np.zeros(count, np.bool_)
        member[list(pair)] = True
        evaluator.open_query(member[None], 1)
        [answer] = evaluator.answer(seed(100 + number))
        sealed += linked_pair(int.from_bytes(answer, "big"), rows, n) is not None
    print(f"\nlinkage: {unsealed} of {len(pairs)} unsealed cells named, {sealed} of {len(pairs)} sealed ones")
    assert unsealed == len(pairs)
    assert sealed == 0


@pytest.mark.parametrize(
    ("rate", "trees"), [(RATES[0], 8), *(pytest.param(rate, 20, marks=pytest.mark.slow) for rate in RATES)]
)
def test_metadata_says_nothing_of_labels(rate: float, trees: int) -> None:
    """4,000 rows a tree in Paillier ciphertexts and in lattice queries: one length, and no trait of the label."""
    count = 4000
    lanes = Lanes(count, 1 << 24, 1 << 22)
    paillier = PaillierKeyHolder(lanes, b"run", seed(1), bits=BITS, small_keys_for_tests=True)
    lattice = LatticeKeyHolder(LatticeParameters(lanes, 32, 200), b"run", seed(2))
    score, rng = np.full(count, np.log(rate / (1 - rate))), np.random.default_rng(7)
    seen: dict[str, list[np.ndarray]] = {"paillier": [], "lattice": []}
    truth: list[np.ndarray] = []
    for number in range(trees):
        labels = (rng.random(count) < rate).astype(np.int8)
        g, h = fixed_gradients(score, labels, 24)
        rows = rows_of(paillier.open_tree(g, h, seed(10 + number)))
        assert {len(row) for row in rows} == {WIDTH}
        seen["paillier"].append(traits(rows))
        lattice.open_tree(g, h, seed(50 + number))
        query = b"".join(lattice.query(np.ones((1, count), np.bool_), seed(100 + number)))
        seen["lattice"].append(traits([query[28 * row : 28 * row + 28] for row in range(count)]))
        truth.append(labels)
    every = np.concatenate(truth)
    for name in seen:
        found = guess(np.vstack(seen[name]), every)
        print(f"\nmetadata, {name}, {rate:.0%} bad: AUC {found:.3f}")
        # At 1 % the AUC of so few bads has a standard error of 0.015 by itself.
        assert abs(found - 0.5) <= (0.02 if rate >= 0.05 else 0.05)


def test_an_exponent_in_the_clear_would_say_all() -> None:
    """The attack at work: an encoding whose length follows |g|, as floating-point ones do."""
    labels = card_case(EVEN, 3000, bad_rate=0.05).labels
    lengths = np.where(labels == 1, 40, 36)
    rng = np.random.default_rng(8)
    found = guess(traits([rng.bytes(int(length)) for length in lengths]), labels)
    print(f"\nmetadata with an exponent in the clear: AUC {found:.3f}")
    assert found > 0.99
