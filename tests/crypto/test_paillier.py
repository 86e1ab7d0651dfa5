"""The `paillier` scheme against numpy, phe, hostile bytes and a curious key holder."""

from __future__ import annotations

import copy
import hashlib
import itertools
import json
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import gmpy2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from phe import PaillierPrivateKey, PaillierPublicKey

from vfl.crypto import paillier
from vfl.crypto.packing import slots
from vfl.crypto.paillier import PaillierEvaluator, PaillierKeyHolder, SumWorker
from vfl.crypto.paillier_cells import cell_sums, pack_cells
from vfl.crypto.paillier_keys import PrivateKey, generate_key
from vfl.crypto.paillier_random import Randomisers, RowEncryptor, draw_unit
from vfl.crypto.paillier_workers import Crew
from vfl.crypto.scheme import BLOCK_ROWS, CellLayout, Evaluator, KeyHolder, Lanes
from vfl.errors import BrokenPromise, UsageError
from vfl.randomness import Randomness

BITS = 512
WIDTH = BITS // 4
CONTEXT = b"run 7"
VECTORS = Path(__file__).parent.parent / "vectors" / "paillier.json"


def seeded(name: str) -> Randomness:
    return Randomness(hashlib.sha256(name.encode()).digest())


@dataclass
class Pair:
    """Both sides of one run with a small key, and the values behind it."""

    lanes: Lanes
    holder: PaillierKeyHolder
    evaluator: PaillierEvaluator
    layout: CellLayout
    codes: np.ndarray

    def sums(self, g: np.ndarray, h: np.ndarray, member: np.ndarray) -> np.ndarray:
        result = np.zeros((self.layout.cells, 2), dtype=np.int64)
        for feature, offset in enumerate(self.layout.offsets):
            np.add.at(result[:, 0], offset + self.codes[member, feature].astype(np.int64), g[member])
            np.add.at(result[:, 1], offset + self.codes[member, feature].astype(np.int64), h[member])
        return result


def pair(
    codes: np.ndarray, n_bins: tuple[int, ...], g_max: int = 1 << 24, h_max: int = 1 << 22, **options: Any
) -> Pair:
    lanes, layout = Lanes(codes.shape[0], g_max, h_max), CellLayout(n_bins)
    options = {"bits": BITS, "small_keys_for_tests": True} | options
    holder = PaillierKeyHolder(lanes, CONTEXT, seeded("active"), **options)
    evaluator = PaillierEvaluator(holder.public(), lanes, CONTEXT, small_keys_for_tests=options["bits"] < 2048)
    assert holder.expect_hint("telecom", layout) == len(list(evaluator.hint(codes, layout, seeded("hint")))) == 0
    return Pair(lanes, holder, evaluator, layout, codes)


def random_case(
    rows: int, n_bins: tuple[int, ...], seed: int = 0, **options: Any
) -> tuple[Pair, np.ndarray, np.ndarray]:
    draw = np.random.default_rng(seed)
    codes = np.stack([draw.integers(0, count, rows) for count in n_bins], axis=1).astype(np.uint16)
    both = pair(codes, n_bins, **options)
    g = draw.integers(-both.lanes.g_max, both.lanes.g_max + 1, rows)
    h = draw.integers(0, both.lanes.h_max + 1, rows)
    both.evaluator.open_tree(both.holder.open_tree(g, h, seeded("tree")))
    return both, g, h


@cache
def small() -> tuple[Pair, np.ndarray, np.ndarray]:
    """A tree of 16 rows, for tests that do not care about its shape."""
    return random_case(16, (4, 3))


def ask(both: Pair, member: np.ndarray, name: str = "node") -> np.ndarray:
    assert list(both.holder.query(np.array([member]), seeded("query"))) == []
    [sums] = both.holder.decrypt("telecom", [answer(both, member, name)], both.layout)
    return sums


def answer(both: Pair, member: np.ndarray, name: str = "node") -> bytes:
    assert both.evaluator.open_query(np.array([member]), 1) == 0
    [sealed] = both.evaluator.answer(seeded(name))
    return sealed


def all_rows(both: Pair) -> np.ndarray:
    return np.ones(both.lanes.rows, dtype=np.bool_)


def encrypted(key: PrivateKey, rows: list[int], name: str, textbook: bool = False) -> list[int]:
    encryptor = RowEncryptor(key, None if textbook else draw_unit(key.public.n, seeded("base")), uses=len(rows))
    return encryptor.encrypt(rows, encryptor.powers(encryptor.material(len(rows), seeded(name))))


def randomisers_of(key: PrivateKey, uses: int) -> Randomisers:
    n = key.public.n
    return Randomisers(key.public, seeded("draws"), Crew(SumWorker(n), SumWorker, lambda: (n,), 1), uses=uses)


# --- sums -----------------------------------------------------------------------------------------------------------


def test_both_sides_fit_the_interface() -> None:
    both, _, _ = small()
    holder: KeyHolder = both.holder
    evaluator: Evaluator = both.evaluator
    assert (holder.name, holder.discloses_membership) == ("paillier", True)
    assert evaluator.discloses_membership
    assert len(list(evaluator.hint(both.codes, both.layout, seeded("again")))) == 0
    assert both.evaluator.key_bits == BITS


@pytest.mark.parametrize(
    ("rows", "n_bins"),
    [
        (1, (1,)),
        (1, (4, 3)),
        (7, (255,)),
        (40, (5,)),
        (300, (32, 32, 32, 8, 2)),
        (300, (2, 2, 2, 2, 2, 2, 2)),
        (500, (300, 3)),
        (60, (255, 255)),
    ],
)
def test_histograms_equal_numpy(rows: int, n_bins: tuple[int, ...]) -> None:
    both, g, h = random_case(rows, n_bins, seed=rows)
    draw = np.random.default_rng(rows)
    one = np.zeros(rows, dtype=np.bool_)
    one[rows // 2] = True
    for member in (all_rows(both), ~all_rows(both), one, draw.random(rows) < 0.5, draw.random(rows) < 0.05):
        assert np.array_equal(ask(both, member), both.sums(g, h, member))


def test_more_rows_than_a_block() -> None:
    both, g, h = random_case(BLOCK_ROWS + 1, (16, 4))
    assert np.array_equal(ask(both, all_rows(both)), both.sums(g, h, all_rows(both)))
    blocks = both.holder.open_tree(g, h, seeded("tree"))
    assert [len(block) for block in blocks] == [BLOCK_ROWS * WIDTH, WIDTH]


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_extreme_values_up_to_the_declared_rows(data: st.DataObject) -> None:
    both = extreme_pair()
    rows, g_max, h_max = both.lanes.rows, both.lanes.g_max, both.lanes.h_max
    g = np.array(data.draw(st.lists(st.sampled_from([-g_max, -1, 0, 1, g_max]), min_size=rows, max_size=rows)))
    h = np.array(data.draw(st.lists(st.sampled_from([0, 1, h_max]), min_size=rows, max_size=rows)))
    member = np.array(data.draw(st.lists(st.booleans(), min_size=rows, max_size=rows)))
    both.evaluator.open_tree(both.holder.open_tree(g, h, seeded("tree")))
    assert np.array_equal(ask(both, member), both.sums(g, h, member))


@cache
def extreme_pair() -> Pair:
    """Rows not a power of two, odd bounds, one feature with a single bin that takes every row."""
    codes = np.stack([np.zeros(13), np.arange(13) % 3], axis=1).astype(np.uint8)
    return pair(codes, (1, 3), g_max=(1 << 30) - 1, h_max=(1 << 33) + 1)


@pytest.mark.parametrize(("sign", "full"), [(-1, 0), (-1, 1), (1, 0), (1, 1)])
def test_every_row_at_its_limit(sign: int, full: int) -> None:
    both = extreme_pair()
    g = np.full(13, sign * both.lanes.g_max)
    h = np.full(13, full * both.lanes.h_max)
    both.evaluator.open_tree(both.holder.open_tree(g, h, seeded("tree")))
    assert ask(both, all_rows(both))[0].tolist() == [sign * both.lanes.g_sum, full * both.lanes.h_sum]


def test_a_full_size_key_end_to_end() -> None:
    both, g, h = random_case(70, (32, 5), bits=2048)
    member = np.random.default_rng(1).random(70) < 0.5
    sealed = answer(both, member)
    assert len(sealed) == 512 * -(-37 // slots(2048, both.lanes))
    assert np.array_equal(both.holder.decrypt("telecom", [sealed], both.layout)[0], both.sums(g, h, member))


def test_textbook_encryption_gives_the_same_sums() -> None:
    both, g, h = random_case(20, (4,), textbook=True)
    assert np.array_equal(ask(both, all_rows(both)), both.sums(g, h, all_rows(both)))


# --- phe as the oracle ----------------------------------------------------------------------------------------------


def phe_key(key: PrivateKey) -> tuple[PaillierPublicKey, PaillierPrivateKey]:
    public = PaillierPublicKey(key.public.n)
    return public, PaillierPrivateKey(public, key.expose().p, key.expose().q)


@pytest.mark.parametrize("textbook", [False, True])
@pytest.mark.parametrize("bits", [512, 2048])
def test_phe_reads_our_ciphertexts(bits: int, textbook: bool) -> None:
    key = generate_key(bits, seeded("phe"), small_keys_for_tests=True)
    public, private = phe_key(key)
    rows = [0, 1, -1, 2**70, -(2**70)]
    for row, ciphertext in zip(rows, encrypted(key, rows, "rows", textbook), strict=True):
        assert private.raw_decrypt(int(ciphertext)) == row % public.n == key.decrypt(ciphertext)


def test_phe_reads_our_answers_and_we_sum_phes_rows() -> None:
    both, _, _ = random_case(5, (2,))
    public, private = phe_key(both.holder.key)
    width = both.lanes.h_bits
    rows = [(3 << width) + 1, (-5 << width) + 2, 7, -9 << width, (1 << width) + 1]
    block = b"".join(public.raw_encrypt(row % public.n).to_bytes(WIDTH, "big") for row in rows)
    both.evaluator.open_tree([block])
    sealed = answer(both, all_rows(both))
    wanted = [sum(row for row, code in zip(rows, both.codes[:, 0], strict=True) if code == cell) for cell in range(2)]
    plaintext = private.raw_decrypt(int.from_bytes(sealed, "big"))
    assert plaintext == (wanted[0] + (wanted[1] << both.lanes.cell_bits)) % public.n


# --- what leaves ----------------------------------------------------------------------------------------------------


def ciphertexts(data: bytes) -> list[int]:
    return [int.from_bytes(data[start : start + WIDTH], "big") for start in range(0, len(data), WIDTH)]


def matching_subsets(target: int, rows: list[int], n: int, most: int = 3) -> list[tuple[int, ...]]:
    """The key holder's attack: row subsets whose own randomness is that of `target`. c mod n = r**n mod n holds for any
    plaintext, so an additive mask on the sum does not stop it."""
    found = []
    for size in range(1, most + 1):
        for subset in itertools.combinations(range(len(rows)), size):
            product = 1
            for row in subset:
                product = product * rows[row] % n
            if product == target % n:
                found.append(subset)
    return found


def test_the_key_holders_subset_attack_finds_raw_sums_and_nothing_in_sealed_ones() -> None:
    """Fails when `seal` is left out: the first half shows that the attack works."""
    codes = np.zeros((16, 1), dtype=np.uint8)
    both = pair(codes, (1,))
    g, h = np.arange(16) * 1000, np.arange(16)
    blocks = both.holder.open_tree(g, h, seeded("tree"))
    both.evaluator.open_tree(blocks)
    member = np.zeros(16, dtype=np.bool_)
    member[[3, 7, 12]] = True
    rows, public = ciphertexts(blocks[0]), both.holder.key.public

    raw = pack_cells(cell_sums(rows, codes, both.layout, member, public.n_squared), public, both.lanes)
    masked = [int(one) * (1 + 123456789 * public.n) % public.n_squared for one in raw]
    assert matching_subsets(int(raw[0]), rows, public.n) == [(3, 7, 12)]
    assert matching_subsets(masked[0], rows, public.n) == [(3, 7, 12)]

    sealed = answer(both, member)
    assert matching_subsets(ciphertexts(sealed)[0], rows, public.n) == []
    assert both.holder.decrypt("telecom", [sealed], both.layout).tolist() == [[[22_000, 22]]]


def test_no_ciphertext_on_the_wire_is_bare_or_twice() -> None:
    """200 answers, past the 64 full powers and well into the window tables, half of them of empty nodes."""
    both, g, h = small()
    seen = [c for block in both.holder.open_tree(g, h, seeded("wire")) for c in ciphertexts(block)]
    for number in range(100):
        for member in (all_rows(both), ~all_rows(both)):
            sealed = answer(both, member, f"wire/{number}")
            assert len(sealed) % WIDTH == 0
            seen += ciphertexts(sealed)
    assert len(seen) == len(set(seen)) == len({c % both.holder.key.public.n for c in seen})
    assert all(c % both.holder.key.public.n != 1 for c in seen)


def test_ten_thousand_encryptions_of_one_value_differ() -> None:
    key = generate_key(BITS, seeded("repeat"), small_keys_for_tests=True)
    found = encrypted(key, [0] * 10_000, "rows")
    assert len(set(found)) == len({c % key.public.n for c in found}) == 10_000


def test_one_stream_used_twice_gives_no_randomness_twice() -> None:
    """The quotient of two ciphertexts of equal randomness is 1 + (m1 - m2) * n: it would show the difference."""
    both, g, h = small()
    n, n_squared = both.holder.key.public.n, both.holder.key.public.n_squared
    first = ciphertexts(both.holder.open_tree(g, h, seeded("same"))[0])
    second = ciphertexts(both.holder.open_tree(-g, h, seeded("same"))[0])
    assert all(a * int(gmpy2.invert(b, n_squared)) % n != 1 for a, b in zip(first, second, strict=True))
    member = all_rows(both)
    answers = [answer(both, member, "same") for _ in range(80)]
    assert len(set(answers)) == 80


def test_randomisers_reach_every_class_of_squares() -> None:
    """Full powers and table powers alike are n-th residues and fall evenly into the four classes mod squares, which the
    key holder can tell apart: 4 * sigma = 87 of 1000 around 250 each would be a 1 in 10,000 event."""
    key = generate_key(BITS, seeded("classes"), small_keys_for_tests=True)
    private, randomisers = key.expose(), randomisers_of(key, 1064)
    drawn = [randomisers.draw() for _ in range(1064)]
    assert all(key.decrypt(c) == 0 for c in drawn[::50])
    classes = [(gmpy2.jacobi(c, private.p), gmpy2.jacobi(c, private.q)) for c in drawn[64:]]
    counts = [classes.count(one) for one in ((-1, -1), (-1, 1), (1, -1), (1, 1))]
    assert sum(counts) == 1000
    assert all(abs(count - 250) < 55 for count in counts)
    assert randomisers.count == 1064


@pytest.mark.parametrize("skipped", [(0,), (1,), (64,), (3, 63, 70), (65, 90)])
def test_randomisers_left_out_change_no_other(skipped: tuple[int, ...]) -> None:
    key = generate_key(512, seeded("skipping"), small_keys_for_tests=True)
    all_of_them, some = randomisers_of(key, 100), randomisers_of(key, 100)
    drawn = [all_of_them.draw() for _ in range(95)]
    for number in skipped:
        some.go_on_after(number)
        assert [some.draw(), some.draw()] == drawn[number : number + 2]
    with pytest.raises(UsageError, match="allowed: later ones"):
        some.go_on_after(skipped[-1])


def test_a_run_pays_for_tables_only_after_64_full_powers() -> None:
    key = generate_key(BITS, seeded("lazy"), small_keys_for_tests=True)
    randomisers = randomisers_of(key, 100)
    for _ in range(64):
        randomisers.draw()
    assert not randomisers._tabled
    randomisers.draw()
    assert randomisers._tabled
    assert len(randomisers._bases.expose()) == 64


# --- hostile bytes --------------------------------------------------------------------------------------------------

Wire = Callable[[list[bytes], PrivateKey], list[bytes]]


def replaced(value: Callable[[PrivateKey, bytes], int]) -> Wire:
    """The last ciphertext replaced by a number."""

    def build(parts: list[bytes], key: PrivateKey) -> list[bytes]:
        return [*parts[:-1], value(key, parts[-1]).to_bytes(WIDTH, "big")]

    return build


def first_of(value: Callable[[PrivateKey, bytes], int]) -> Wire:
    def build(parts: list[bytes], key: PrivateKey) -> list[bytes]:
        return [value(key, parts[0]).to_bytes(WIDTH, "big"), *parts[1:]]

    return build


BAD_CIPHERTEXTS: dict[str, Wire] = {
    "0": replaced(lambda key, c: 0),
    "0 first": first_of(lambda key, c: 0),
    "1": replaced(lambda key, c: 1),
    "n": replaced(lambda key, c: key.public.n),
    "2n": replaced(lambda key, c: 2 * key.public.n),
    "n^2 - n": replaced(lambda key, c: key.public.n_squared - key.public.n),
    "n^2": replaced(lambda key, c: key.public.n_squared),
    "n^2 + 1": replaced(lambda key, c: key.public.n_squared + 1),
    "n^2 first": first_of(lambda key, c: key.public.n_squared),
    "largest": replaced(lambda key, c: (1 << 8 * WIDTH) - 1),
    "-5 as two's complement": replaced(lambda key, c: (1 << 8 * WIDTH) - 5),
    "not reduced": replaced(
        lambda key, c: key.public.n_squared + min(int.from_bytes(c, "big"), (1 << 8 * WIDTH) - 1 - key.public.n_squared)
    ),
    "p": replaced(lambda key, c: key.expose().p),
    "q": replaced(lambda key, c: key.expose().q),
    "p^2": replaced(lambda key, c: key.expose().p ** 2),
    "q^2 first": first_of(lambda key, c: key.expose().q ** 2),
    "multiple of p": replaced(lambda key, c: int.from_bytes(c, "big") * key.expose().p % key.public.n_squared),
    "multiple of q": replaced(lambda key, c: int.from_bytes(c, "big") * key.expose().q % key.public.n_squared),
    "1 + n": replaced(lambda key, c: 1 + key.public.n),
    "1 + 5n": replaced(lambda key, c: 1 + 5 * key.public.n),
    "1 - n": replaced(lambda key, c: key.public.n_squared + 1 - key.public.n),
    "no randomness first": first_of(lambda key, c: 1 + 7 * key.public.n),
    "repeated": lambda parts, key: [*parts[:-1], parts[0]],
    "nothing": lambda parts, key: [],
    "empty": lambda parts, key: [b""],
    "one missing": lambda parts, key: parts[:-1],
    "one more": lambda parts, key: [*parts, parts[0]],
    "a byte short": lambda parts, key: [*parts[:-1], parts[-1][:-1]],
    "a byte more": lambda parts, key: [*parts, b"\0"],
    "width of n": lambda parts, key: [part[WIDTH // 2 :] for part in parts],
    "width of n^2 + 1": lambda parts, key: [b"\0" + part for part in parts],
    "all zero": lambda parts, key: [bytes(WIDTH)] * len(parts),
}


def split(data: bytes) -> list[bytes]:
    return [data[start : start + WIDTH] for start in range(0, len(data), WIDTH)]


@pytest.mark.parametrize("case", BAD_CIPHERTEXTS)
def test_a_bad_tree_is_refused_before_any_sum(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    both, g, h = random_case(6, (2,))
    parts = split(both.holder.open_tree(g, h, seeded("tree"))[0])
    for name in ("plan", "multiply", "finish", "pack_cells"):
        monkeypatch.setattr(paillier, name, forbidden)
    with pytest.raises(BrokenPromise, match="tree"):
        both.evaluator.open_tree([b"".join(BAD_CIPHERTEXTS[case](parts, both.holder.key))])
    with pytest.raises(BrokenPromise, match="no tree was open"):
        answer(both, all_rows(both))


@pytest.mark.parametrize("case", BAD_CIPHERTEXTS)
def test_a_bad_answer_is_refused_before_any_decryption(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    both, _, _ = random_case(6, (30,))
    parts = split(answer(both, all_rows(both)))
    assert len(parts) > 3
    monkeypatch.setattr(PrivateKey, "decrypt", forbidden)
    with pytest.raises(BrokenPromise) as caught:
        both.holder.decrypt("telecom", [b"".join(BAD_CIPHERTEXTS[case](parts, both.holder.key))], both.layout)
    assert caught.value.peer == "telecom"


def forbidden(*arguments: object) -> None:
    raise AssertionError("arithmetic on bytes that were not checked")


def test_an_answer_under_another_key_decrypts_to_no_sum() -> None:
    both, _, _ = small()
    other = PaillierKeyHolder(both.lanes, CONTEXT, seeded("other"), bits=BITS, small_keys_for_tests=True)
    n_squared = both.holder.key.public.n_squared
    drawn = [c % n_squared for c in encrypted(other.key, [0, 0], "rows")]
    count = -(-both.layout.cells // slots(BITS, both.lanes))
    forged = b"".join(int(c).to_bytes(WIDTH, "big") for c in drawn[:count])
    with pytest.raises(BrokenPromise, match=r"telecom: .*(sum|more than)"):
        both.holder.decrypt("telecom", [forged], both.layout)


def test_blocks_of_another_cut_are_refused() -> None:
    both, g, h = random_case(6, (2,))
    block = both.holder.open_tree(g, h, seeded("tree"))[0]
    for blocks in ([], [block, b""], [block[:WIDTH], block[WIDTH:]], [block, block]):
        with pytest.raises(BrokenPromise, match="blocks of a tree"):
            both.evaluator.open_tree(blocks)


def test_what_this_scheme_does_not_send_is_refused() -> None:
    both, _, _ = small()
    with pytest.raises(BrokenPromise, match="a query of 1 bytes"):
        both.evaluator.absorb(b"x")
    with pytest.raises(BrokenPromise, match="telecom: a hint of 4 bytes"):
        both.holder.accept_hint("telecom", b"hint")
    with pytest.raises(BrokenPromise, match="telecom: a second layout"):
        both.holder.expect_hint("telecom", both.layout)


# --- own mistakes ---------------------------------------------------------------------------------------------------


def test_own_mistakes_name_parameter_value_and_range() -> None:
    both, g, h = small()
    member = all_rows(both)
    fresh = PaillierEvaluator(both.holder.public(), both.lanes, CONTEXT, small_keys_for_tests=True)
    fresh.open_tree(both.holder.open_tree(g, h, seeded("tree")))
    fresh.open_query(np.array([member]), 1)
    with pytest.raises(UsageError, match="codes are not bound"):
        fresh.answer(seeded("node"))
    with pytest.raises(UsageError, match="members is None"):
        both.evaluator.open_query(None, 1)
    answer(both, member)
    with pytest.raises(UsageError, match="no query is open"):
        both.evaluator.answer(seeded("node"))
    with pytest.raises(UsageError, match=r"members is bool\(1, 15\); allowed: bool\('nodes', 16\)"):
        answer(both, member[1:])
    with pytest.raises(UsageError, match="members is int64"):
        both.holder.query(np.ones((1, 16), dtype=np.int64), seeded("query"))
    with pytest.raises(UsageError, match=r"g\[0\] is 16777217; allowed: -16777216 to 16777216"):
        both.holder.open_tree(np.full(16, (1 << 24) + 1), h, seeded("tree"))
    with pytest.raises(UsageError, match="layout of bureau"):
        both.holder.decrypt("bureau", [b""], both.layout)
    with pytest.raises(UsageError, match="layout of telecom"):
        both.holder.decrypt("telecom", [b""], CellLayout((3, 4)))
    with pytest.raises(UsageError, match="bits is 512; allowed: 2048, 3072, 4096"):
        PaillierKeyHolder(both.lanes, CONTEXT, seeded("active"), bits=512)


def test_production_evaluators_refuse_small_keys_and_other_runs() -> None:
    both, _, _ = small()
    with pytest.raises(BrokenPromise, match="declares 512 bits"):
        PaillierEvaluator(both.holder.public(), both.lanes, CONTEXT)
    with pytest.raises(BrokenPromise, match="n-th root 0"):
        PaillierEvaluator(both.holder.public(), both.lanes, b"run 8", small_keys_for_tests=True)


# --- replay, secrets, vectors ---------------------------------------------------------------------------------------


def test_the_same_seeds_give_the_same_bytes() -> None:
    def transcript() -> list[bytes]:
        both, g, h = random_case(30, (4, 3))
        nodes = [answer(both, np.arange(30) < k, f"node/{k}") for k in range(60)]
        return [both.holder.public(), *both.holder.open_tree(g, h, seeded("tree")), *nodes]

    assert transcript() == transcript()


def test_the_seed_of_a_tree_changes_every_ciphertext() -> None:
    both, g, h = small()
    one, two = (ciphertexts(both.holder.open_tree(g, h, seeded(name))[0]) for name in ("one", "two"))
    assert not set(one) & set(two)


def test_a_key_holder_does_not_show_its_key() -> None:
    both, g, h = small()
    both.holder.open_tree(g, h, seeded("tree"))
    private = both.holder.key.expose()
    encryptor = both.holder._encryptor
    shows = (both.holder, both.holder.key, encryptor, encryptor._tables, both.holder._crew, both.holder._crew._here)
    for shown in (str(one) + repr(one) for one in shows):
        assert str(private.p) not in shown
        assert str(private.q) not in shown
    for one in (both.holder, both.holder.key, encryptor, both.holder._crew, both.holder._crew._here):
        with pytest.raises(TypeError):
            vars(one)
        for act in (pickle.dumps, copy.copy, copy.deepcopy):
            with pytest.raises(TypeError):
                act(one)


def vectors() -> dict[str, Any]:
    """What the frozen file must hold: every byte that leaves either side for one small key and seed."""
    codes = np.array([[0, 2], [1, 1], [3, 0], [1, 2], [0, 0], [3, 1]], dtype=np.uint8)
    both = pair(codes, (4, 3))
    g = np.array([-(1 << 24), 1 << 24, -1, 0, 1, 12345])
    h = np.array([1 << 22, 0, 1, 1 << 22, 77, 5])
    block = both.holder.open_tree(g, h, seeded("tree"))[0]
    both.evaluator.open_tree([block])
    member = np.array([True, True, False, True, True, True])
    sealed = answer(both, member)
    public = both.holder.public()
    refused = {
        name: b"".join(build(split(sealed), both.holder.key)).hex()
        for name, build in BAD_CIPHERTEXTS.items()
        if name in ("0", "n", "n^2", "p", "1 + n", "a byte short", "a byte more", "one missing")
    }
    return {
        "seeds": "SHA-256 of 'active', 'hint', 'tree', 'node'",
        "bits": BITS, "context": CONTEXT.hex(), "rows": 6, "g_max": 1 << 24, "h_max": 1 << 22, "n_bins": [4, 3],
        "codes": codes.tolist(), "g": g.tolist(), "h": h.tolist(), "member": member.tolist(),
        "modulus": hex(both.holder.key.public.n), "fingerprint": both.holder.key.public.fingerprint.hex(),
        "public_sha256": hashlib.sha256(public).hexdigest(),
        "first_ciphertext": block[:WIDTH].hex(), "block_sha256": hashlib.sha256(block).hexdigest(),
        "answer": sealed.hex(), "answer_sha256": hashlib.sha256(sealed).hexdigest(),
        "sums": both.holder.decrypt("telecom", [sealed], both.layout)[0].tolist(), "refused_answers": refused,
    }  # fmt: skip


def test_the_frozen_vectors_have_not_changed() -> None:
    frozen = json.loads(VECTORS.read_text())
    assert vectors() == frozen
    both = pair(np.array(frozen["codes"], dtype=np.uint8), tuple(frozen["n_bins"]))
    wanted = both.sums(np.array(frozen["g"]), np.array(frozen["h"]), np.array(frozen["member"]))
    assert frozen["sums"] == wanted.tolist()
    for name, forged in frozen["refused_answers"].items():
        with pytest.raises(BrokenPromise):
            both.holder.decrypt("telecom", [bytes.fromhex(forged)], both.layout)
        assert name in BAD_CIPHERTEXTS
