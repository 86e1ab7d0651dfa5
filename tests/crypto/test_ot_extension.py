"""OT extension from the bottom up: base transfers, the 64 by 64 transposition, the code, the row hash, the bins."""

from __future__ import annotations

import hashlib
import hmac
from functools import cache
from math import log2

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import ECB
from effort import examples
from hypothesis import given
from hypothesis import strategies as st

from vfl.crypto import base_ot, cuckoo
from vfl.crypto.aes_hash import COLUMNS, DISTANCE, WORDS, Code, RowHash, distance_bits, keyed_hashes
from vfl.crypto.base_ot import POINT, choose
from vfl.crypto.group import P
from vfl.crypto.ot_extension import SPAN, Receiver, Sender, secret_words, turn
from vfl.crypto.set_digest import hmacs
from vfl.errors import BrokenPromise
from vfl.randomness import Randomness

ORDER_TWO = (0, 0)
ORDER_FOUR = (1, int(base_ot._v(1)))
_EIGHTH = 325606250916557431795983626356110631294008115727848805560023387167927233504
ORDER_EIGHT = (_EIGHTH, int(base_ot._v(_EIGHTH)))


def seed(number: int) -> Randomness:
    return Randomness(number.to_bytes(32, "big"))


def bits(number: int, count: int = COLUMNS) -> np.ndarray:
    return np.unpackbits(np.frombuffer(seed(number).bytes(count // 8), np.uint8)).astype(np.bool_)


@cache
def transfers() -> tuple[np.ndarray, list[bytes], list[bytes], list[bytes]]:
    """Choices, both keys of each transfer, and the chosen one."""
    sender, choices = base_ot.Sender(seed(1)), bits(2)
    answers, chosen = choose(sender.point, choices, seed(3))
    return choices, *sender.keys(answers, COLUMNS), chosen


# Base transfers


def test_the_receiver_has_the_chosen_key_and_not_the_other() -> None:
    choices, zero, one, chosen = transfers()
    assert 150 < choices.sum() < 300
    for choice, a, b, own in zip(choices, zero, one, chosen, strict=True):
        assert own == (b if choice else a)
        assert own != (a if choice else b)
    assert len(set(zero + one)) == 2 * COLUMNS


def test_an_answer_shows_no_choice_by_its_form() -> None:
    sender = base_ot.Sender(seed(1))
    for choice in (False, True):
        answers, _ = choose(sender.point, np.full(8, choice), seed(4))
        for start in range(0, len(answers), POINT):
            u, _ = base_ot.read_point(answers[start : start + POINT], "it")
            assert base_ot._has_prime_order(u)


def test_both_signs_of_a_root_are_used() -> None:
    answers, _ = choose(base_ot.Sender(seed(1)).point, np.zeros(64, np.bool_), seed(4))
    points = [base_ot.read_point(answers[i : i + POINT], "it") for i in range(0, len(answers), POINT)]
    assert 16 < sum(v == base_ot._v(u) for u, v in points) < 48


def moved(flat: bytes, by: tuple[int, int]) -> bytes:
    return base_ot._bytes(base_ot._sum(base_ot.read_point(flat, "it"), by))


BAD_POINTS = {
    "not on the curve": (5).to_bytes(32, "little") + (5).to_bytes(32, "little"),
    "u not below p": (int(P) + 9).to_bytes(32, "little") + bytes(32),
    "v not below p": bytes(32) + int(P).to_bytes(32, "little"),
    "bit 255": (2**255 + 9).to_bytes(32, "little") + bytes(32),
    "order 2": bytes(64),
    "order 4": base_ot._bytes(ORDER_FOUR),
    "order 8": base_ot._bytes(ORDER_EIGHT),
    "short": bytes(63),
}


@pytest.mark.parametrize("name", BAD_POINTS)
def test_bad_points_are_refused_on_both_sides(name: str) -> None:
    with pytest.raises(BrokenPromise):
        choose(BAD_POINTS[name], np.zeros(1, np.bool_), seed(1))
    with pytest.raises(BrokenPromise):
        base_ot.Sender(seed(1)).keys(BAD_POINTS[name], 1)


@pytest.mark.parametrize("component", [ORDER_TWO, ORDER_FOUR, ORDER_EIGHT])
def test_an_offer_with_a_small_component_is_refused(component: tuple[int, int]) -> None:
    """It would show the choice: answers to it have that component or have not."""
    offer = moved(base_ot.Sender(seed(1)).point, component)
    with pytest.raises(BrokenPromise, match="the offer has prime order"):
        choose(offer, np.zeros(1, np.bool_), seed(1))


def test_an_answer_that_is_the_offer_or_near_it_is_refused() -> None:
    sender = base_ot.Sender(seed(1))
    with pytest.raises(BrokenPromise, match="no answer is the offer"):
        sender.keys(sender.point, 1)
    with pytest.raises(BrokenPromise, match="no point has small order"):
        sender.keys(moved(sender.point, ORDER_TWO), 1)
    with pytest.raises(BrokenPromise, match="2 answers are 128 bytes"):
        sender.keys(sender.point, 2)


# Columns and rows


def test_turn_is_the_transposition() -> None:
    lanes = seed(1).uint64(2 * 64 * 3).reshape(2, 64, 3)
    turned = lanes.copy()
    turn(turned)
    for lane in range(2):
        for word in range(3):
            for j in range(64):
                for k in range(64):
                    assert int(turned[lane, j, word]) >> k & 1 == int(lanes[lane, k, word]) >> j & 1
    turn(turned)
    assert np.array_equal(turned, lanes)


def test_rows_of_both_sides_differ_by_the_codeword_where_the_secret_has_ones() -> None:
    choices, zero, one, chosen = transfers()
    receiver, sender, secret = Receiver(zero, one), Sender(choices, chosen), secret_words(choices)
    code = Code(bytes(range(Code.KEY)))
    seen = set()
    for bins in (SPAN, 64, 192, 64):  # the streams run on from span to span
        codewords = code.words(seed(bins).uint64(2 * bins).reshape(-1, 2))
        columns, theirs = receiver.span(codewords)
        ours = sender.span(columns)
        assert len(columns) == bins * COLUMNS // 8
        assert ours.shape == theirs.shape == (bins, WORDS)
        assert np.array_equal(ours, theirs ^ (codewords & secret))
        assert not ours[:, -1].any()
        seen.update(theirs[:64, 0].tolist())
    assert len(seen) == 4 * 64


def test_the_secret_as_words_has_bit_i_of_word_g_for_column_64_g_plus_i() -> None:
    choices = np.zeros(COLUMNS, np.bool_)
    choices[[0, 65, 447]] = True
    assert secret_words(choices).tolist() == [1, 2, 0, 0, 0, 0, 1 << 63, 0]


def test_columns_are_balanced() -> None:
    """What the sender sees is masked by streams that it lacks: no column leans to the codewords of few items."""
    _, zero, one, _ = transfers()
    columns, _ = Receiver(zero, one).span(np.zeros((4096, WORDS), np.uint64))
    ones = np.unpackbits(np.frombuffer(columns, np.uint8).reshape(COLUMNS, -1), axis=1).sum(axis=1, dtype=np.int64)
    assert np.all(np.abs(ones - 2048) < 6 * 32)


# Code and hashes


def weights(words: np.ndarray) -> np.ndarray:
    return np.bitwise_count(words).sum(axis=-1)


def test_codewords_are_far_apart() -> None:
    words = Code(bytes(range(Code.KEY))).words(keyed_hashes([f"id-{i}" for i in range(2000)], bytes(32)))
    assert not words[:, -1].any()
    for shift in range(1, 200):
        distance = weights(words ^ np.roll(words, shift, axis=0))
        assert distance.min() >= DISTANCE
        assert abs(distance.mean() - COLUMNS / 2) < 2
    assert weights(words).min() >= DISTANCE, "nor is the word of an empty bin near"


def test_448_columns_are_what_sets_of_2_to_the_24_need() -> None:
    needed = 40 + log2(3 * 2**24)
    assert distance_bits(COLUMNS) > needed > distance_bits(COLUMNS - 8)
    assert distance_bits(COLUMNS) == pytest.approx(66.5, abs=0.1)


def test_the_row_hash_is_what_its_docstring_says() -> None:
    rows = seed(1).uint64(5 * WORDS).reshape(5, WORDS)
    aes = Cipher(AES(bytes(range(16))), ECB()).encryptor()
    for row, mask in zip(rows, RowHash(bytes(range(16))).masks(rows), strict=True):
        state = bytes(16)
        for block in row.reshape(4, 2):
            mixed = bytes(a ^ b for a, b in zip(state, block.tobytes(), strict=True))
            state = aes.update(mixed)
        assert mask.tobytes() == bytes(a ^ b for a, b in zip(state, mixed, strict=True))


def test_every_bit_of_a_row_and_of_its_bin_changes_the_mask() -> None:
    row = seed(1).uint64(WORDS)
    flipped = np.stack([row] * 64 * WORDS)
    for bit in range(64 * WORDS):
        flipped[bit, bit // 64] ^= np.uint64(1 << bit % 64)
    hashed = RowHash(bytes(16))
    distance = weights(hashed.masks(flipped) ^ hashed.masks(row[None]))
    assert distance.min() > 30
    assert abs(distance.mean() - 64) < 3


def test_hashes_of_nothing_are_empty() -> None:
    none = keyed_hashes([], bytes(32))
    assert none.shape == (0, 2)
    assert Code(bytes(Code.KEY)).words(none).shape == (0, WORDS)
    assert RowHash(bytes(16)).masks(np.empty((0, WORDS), np.uint64)).shape == (0, 2)


def test_ids_are_hashed_under_the_key() -> None:
    one, other = keyed_hashes(["a", "b", "ü"], bytes(32)), keyed_hashes(["a", "b", "ü"], b"\1" * 32)
    assert one[2].tobytes() == hashlib.blake2b("ü".encode(), digest_size=16, key=bytes(32)).digest()
    assert len(np.unique(np.concatenate([one, other]))) == 12


@given(st.binary(max_size=64), st.lists(st.binary(max_size=200), max_size=5))
def test_many_hmacs_are_hmacs(key: bytes, messages: list[bytes]) -> None:
    assert hmacs(key, messages) == [hmac.digest(key, message, "sha256") for message in messages]


# Bins


def assert_placed(where: np.ndarray, held: np.ndarray) -> None:
    bins = np.flatnonzero(held >= 0)
    assert sorted(held[bins].tolist()) == list(range(where.shape[1]))
    assert np.all((where[:, held[bins]] == bins).any(axis=0))


@pytest.mark.parametrize("count", [0, 1, 2, 3, 10, 63, 500, 5_000, 200_000])
def test_every_item_has_a_bin_that_its_hash_names(count: int) -> None:
    bins = cuckoo.bins_for(count)
    assert bins % 64 == 0
    assert 1.27 * count <= bins <= 1.27 * count + 310
    where = cuckoo.places(seed(count).uint64(2 * count).reshape(-1, 2), bins)
    table = bins // 3
    for z, row in enumerate(where):
        assert np.all((row >= z * table) & (row < (z + 1) * table))
    held = cuckoo.place(where, bins)
    assert held is not None
    assert_placed(where, held)


def test_places_are_spread_evenly_and_independently() -> None:
    bins = 3 * 64
    where = cuckoo.places(seed(1).uint64(2 * 64_000).reshape(-1, 2), bins) % 64
    for row in where:
        counts = np.bincount(row, minlength=64)
        assert ((counts - 1000) ** 2 / 1000).sum() < 120  # chi-square, 63 degrees of freedom
    for a, b in ((0, 1), (0, 2), (1, 2)):
        counts = np.bincount(where[a] // 8 * 8 + where[b] // 8, minlength=64)
        assert ((counts - 1000) ** 2 / 1000).sum() < 120


@examples(150, thorough=400)
@given(st.lists(st.tuples(*[st.integers(0, 3)] * 3), max_size=13))
def test_place_fails_only_if_nothing_fits(chosen: list[tuple[int, int, int]]) -> None:
    """Tables of 4 bins, so full that peeling stops and paths must be augmented; against a plain matching."""
    where = np.array(chosen, np.int32).reshape(-1, 3).T + np.array([[0], [4], [8]], np.int32)
    held = cuckoo.place(where, 12)
    owner: dict[int, int] = {}

    def fits(item: int, tried: set[int]) -> bool:
        for place in where[:, item].tolist():
            if place not in tried:
                tried.add(place)
                if place not in owner or fits(owner[place], tried):
                    owner[place] = item
                    return True
        return False

    possible = all(fits(item, set()) for item in range(where.shape[1]))
    assert (held is not None) == possible
    if held is not None:
        assert_placed(where, held)


def test_small_sets_practically_always_fit() -> None:
    for number in range(2_000):
        count = number % 20
        where = cuckoo.places(seed(number).uint64(2 * count).reshape(-1, 2), cuckoo.bins_for(count))
        assert cuckoo.place(where, cuckoo.bins_for(count)) is not None
