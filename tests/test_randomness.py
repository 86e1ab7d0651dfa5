"""Randomness as an argument: the written construction, streams that do not meet, and no way to show or copy one."""

from __future__ import annotations

import copy
import hashlib
import json
import pickle
from collections import Counter

import msgspec
import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import ChaCha20
from hypothesis import given, settings
from hypothesis import strategies as st

from vfl.randomness import SEED_BYTES, Randomness

SEED = bytes(range(32))


def test_the_stream_is_chacha20_from_counter_zero() -> None:
    """Keystream of an all-zero key and nonce: RFC 8439, appendix A.1, test vector 1."""
    first = Randomness(bytes(32)).bytes(64)
    assert first.hex().startswith("76b8e0ada0f13d90405d6ae55386bd28bdd219b8a08ded1aa836efcc8b770dc7")
    assert first == Cipher(ChaCha20(bytes(32), bytes(16)), mode=None).encryptor().update(bytes(64))


def test_children_are_derived_as_written() -> None:
    label = "tree/3"
    seed = hashlib.sha256(b"tallystick-randomness-v1" + (6).to_bytes(4, "big") + label.encode() + SEED).digest()
    assert Randomness(SEED).child(label).bytes(40) == Randomness(seed).bytes(40)


@settings(max_examples=100)
@given(st.lists(st.integers(0, 300), min_size=1, max_size=8))
def test_how_a_stream_is_cut_does_not_matter(cuts: list[int]) -> None:
    rng = Randomness(SEED)
    assert b"".join(rng.bytes(cut) for cut in cuts) == Randomness(SEED).bytes(sum(cuts))


@settings(max_examples=100)
@given(st.lists(st.text(max_size=12), min_size=2, max_size=2, unique=True), st.integers(0, 50))
def test_a_child_depends_on_its_label_alone(labels: list[str], drawn: int) -> None:
    used, fresh = Randomness(SEED), Randomness(SEED)
    used.bytes(drawn)
    used.child(labels[1])
    assert used.child(labels[0]).bytes(32) == fresh.child(labels[0]).bytes(32)
    assert fresh.child(labels[0]).bytes(32) != fresh.child(labels[1]).bytes(32)


def test_streams_of_a_family_do_not_meet() -> None:
    root = Randomness(SEED)
    family = [root, *(root.child(f"tree/{i}") for i in range(50))]
    family += [root.child("a").child("b"), root.child("ab"), root.child("b").child("a"), root.child("a/b")]
    assert len({rng.bytes(16) for rng in family}) == len(family)


@pytest.mark.parametrize("size", [0, 16, 31, 33])
def test_a_seed_has_full_length(size: int) -> None:
    with pytest.raises(ValueError, match=f"a seed has {SEED_BYTES} bytes, not {size}"):
        Randomness(bytes(size))


def test_the_system_gives_another_stream_every_time() -> None:
    assert len({Randomness.system().bytes(16) for _ in range(100)}) == 100


@settings(max_examples=200)
@given(st.integers(1, 2**80), st.integers(0, 2**20))
def test_whole_numbers_are_in_range(bound: int, number: int) -> None:
    rng = Randomness(hashlib.sha256(number.to_bytes(8, "big")).digest())
    assert 0 <= rng.below(bound) < bound
    assert 0 <= rng.bits(bound.bit_length()) < 2 ** bound.bit_length()


def test_below_one_is_zero_and_below_zero_is_refused() -> None:
    assert Randomness(SEED).below(1) == 0
    assert Randomness(SEED).bits(0) == 0
    for bound in (0, -1):
        with pytest.raises(ValueError, match="no integer"):
            Randomness(SEED).below(bound)


@pytest.mark.parametrize("bound", [3, 5, 7, 100])
def test_whole_numbers_are_uniform(bound: int) -> None:
    rng, draws = Randomness(SEED), 20_000
    counts = Counter(rng.below(bound) for _ in range(draws))
    chi = sum((counts[value] - draws / bound) ** 2 / (draws / bound) for value in range(bound))
    assert chi < (bound - 1) + 5 * (2 * (bound - 1)) ** 0.5


def test_permutations_are_permutations_and_uniform() -> None:
    rng = Randomness(SEED)
    for count in (0, 1, 2, 1000):
        assert sorted(rng.permutation(count).tolist()) == list(range(count))
    assert rng.permutation(3).dtype == np.int64
    counts = Counter(tuple(rng.permutation(3).tolist()) for _ in range(6000))
    assert len(counts) == 6
    assert max(abs(count - 1000) for count in counts.values()) < 150


def test_words_are_the_bytes_of_the_stream() -> None:
    words = Randomness(SEED).uint64(5)
    assert words.dtype == np.uint64
    assert words.astype("<u8").tobytes() == Randomness(SEED).bytes(40)


def test_nothing_shows_or_copies_a_stream() -> None:
    rng = Randomness(SEED)
    for shown in (repr(rng), str(rng), f"{rng}"):
        assert shown == "Randomness(<hidden>)"
    for attempt in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError):
            attempt(rng)
    for refused in (json.dumps, msgspec.json.encode, vars):
        with pytest.raises(TypeError):
            refused(rng)
