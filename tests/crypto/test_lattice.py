"""The lattice scheme: exact sums, refused peers, what answers and hints look like."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vfl.crypto import lattice, ring
from vfl.crypto.lattice import LatticeEvaluator, LatticeKeyHolder, LatticeParameters, affordable_bits
from vfl.crypto.scheme import MAX_NODES, CellLayout, Lanes
from vfl.engine import HERE, Engine
from vfl.errors import BrokenPromise, UsageError
from vfl.randomness import Randomness

RUN = b"run"


def rng(label: str) -> Randomness:
    return Randomness(bytes(32)).child(label)


class Pair:
    """Both sides of one run, hint exchanged."""

    def __init__(
        self,
        codes: np.ndarray,
        bins: tuple[int, ...],
        bits: int = 16,
        queries: int = 100,
        tag: str = "",
        engine: Engine = HERE,
    ) -> None:
        self.layout, self.rows = CellLayout(bins), len(codes)
        self.lanes = Lanes(self.rows, 1 << bits, 1 << bits)
        self.parameters = LatticeParameters(self.lanes, self.layout.cells, queries)
        self.holder = LatticeKeyHolder(self.parameters, RUN, rng(f"holder{tag}"))
        self.evaluator = LatticeEvaluator(self.holder.public(), self.parameters, RUN, engine=engine)
        self.codes = codes
        count = self.holder.expect_hint("b", self.layout)
        self.hint = list(self.evaluator.hint(codes, self.layout, rng(f"hint{tag}")))
        assert len(self.hint) == count
        for block in self.hint:
            self.holder.accept_hint("b", block)

    def answer(self, g: np.ndarray, h: np.ndarray, member: np.ndarray, label: str = "q") -> bytes:
        assert self.holder.open_tree(g, h, rng("tree")) == []
        self.evaluator.open_tree([])
        [answer] = self.answers(np.array([member]), label)
        return answer

    def answers(self, members: np.ndarray, label: str) -> list[bytes]:
        due = self.evaluator.open_query(None, len(members))
        blocks = list(self.holder.query(members, rng(label)))
        assert len(blocks) == due
        for block in blocks:
            self.evaluator.absorb(block)
        return self.evaluator.answer(rng(f"answer{label}"))

    def sums(self, g: np.ndarray, h: np.ndarray, member: np.ndarray, label: str = "q") -> np.ndarray:
        [sums] = self.holder.decrypt("b", [self.answer(g, h, member, label)], self.layout)
        return sums

    def plain(self, g: np.ndarray, h: np.ndarray, member: np.ndarray) -> np.ndarray:
        out = np.zeros((self.layout.cells, 2), np.int64)
        for feature, offset in enumerate(self.layout.offsets):
            cells = self.codes[member, feature].astype(np.int64) + offset
            np.add.at(out[:, 0], cells, g[member])
            np.add.at(out[:, 1], cells, h[member])
        return out


def random_case(seed: int, rows: int, bins: tuple[int, ...], bits: int = 16):
    draw = np.random.default_rng(seed)
    codes = np.stack([draw.integers(0, b, rows) for b in bins], axis=1).astype(np.uint16)
    g = draw.integers(-(1 << bits), (1 << bits) + 1, rows)
    return codes, g, draw.integers(0, (1 << bits) + 1, rows), draw.random(rows) < 0.5


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**20), st.integers(1, 300), st.lists(st.integers(1, 9), min_size=1, max_size=4))
def test_sums_are_exact(seed, rows, bins):
    codes, g, h, member = random_case(seed, rows, tuple(bins))
    pair = Pair(codes, tuple(bins))
    assert np.array_equal(pair.sums(g, h, member), pair.plain(g, h, member))


@pytest.mark.parametrize("rows", [1, ring.N - 1, ring.N, ring.N + 1, 2 * ring.N, 3 * ring.N + 1])
def test_sizes_around_a_block(rows):
    codes, g, h, member = random_case(rows, rows, (5, 3))
    pair = Pair(codes, (5, 3))
    for who in (member, np.zeros(rows, bool), np.ones(rows, bool)):
        assert np.array_equal(pair.sums(g, h, who, str(who.sum())), pair.plain(g, h, who))


def test_several_query_blocks_and_hint_blocks(monkeypatch):
    monkeypatch.setattr(lattice, "QUERY_VECTORS", 4)
    monkeypatch.setattr(lattice, "HINT_CELLS", 7)
    monkeypatch.setattr(lattice, "HINT_STEP", 3)
    codes, g, h, member = random_case(3, 5 * ring.N + 17, (9, 4, 6))
    pair = Pair(codes, (9, 4, 6))
    assert pair.evaluator.open_query(None, 1) == 4
    assert pair.evaluator.open_query(None, 2) == 7
    assert len(pair.hint) == 3
    assert np.array_equal(pair.sums(g, h, member), pair.plain(g, h, member))


@pytest.mark.parametrize("nodes", [1, 2, 3, MAX_NODES])
def test_nodes_asked_together_have_the_sums_they_have_alone(nodes):
    codes, g, h, _ = random_case(nodes, 2 * ring.N + 40, (7, 2))
    pair = Pair(codes, (7, 2))
    members = np.random.default_rng(nodes).random((nodes, len(g))) < 0.4
    pair.holder.open_tree(g, h, rng("tree"))
    found = pair.holder.decrypt("b", pair.answers(members, "q"), pair.layout)
    assert np.array_equal(found, [pair.plain(g, h, member) for member in members])
    assert len(np.unique(pair.holder._secrets, axis=0)) == 2 * nodes, "a secret for every vector"


def test_no_more_nodes_than_agreed_at_once():
    pair = Pair(np.zeros((10, 1), np.uint8), (2,))
    pair.holder.open_tree(np.zeros(10, np.int64), np.zeros(10, np.int64), rng("tree"))
    for nodes in (0, MAX_NODES + 1):
        with pytest.raises(BrokenPromise, match="1 to 16"):
            pair.evaluator.open_query(None, nodes)
        with pytest.raises(UsageError, match="1 to 16 nodes"):
            pair.holder.query(np.ones((nodes, 10), bool), rng("q"))
    pair.answers(np.ones((2, 10), bool), "q")
    with pytest.raises(BrokenPromise, match="beyond the last"):
        pair.evaluator.absorb(b"")
    with pytest.raises(BrokenPromise, match="1 answers for 2 nodes"):
        pair.holder.decrypt("b", [bytes(56)], pair.layout)


@pytest.mark.parametrize(("low", "high"), [(-1, 0), (1, 1), (-1, 1)])
def test_extreme_values(low, high):
    rows, top = ring.N + 5, 1 << 16
    g, h = np.full(rows, low * top), np.full(rows, high * top)
    pair = Pair(np.zeros((rows, 1), np.uint8), (2,))
    assert np.array_equal(pair.sums(g, h, np.ones(rows, bool)), [[g.sum(), h.sum()], [0, 0]])


def test_worst_noise_still_decrypts(monkeypatch):
    monkeypatch.setattr(ring, "binomial", lambda rng, *shape: np.full(shape, 10, np.int8))
    monkeypatch.setattr(ring, "ternary", lambda rng, count: np.ones((count, ring.N), np.int8))
    codes, g, h, member = random_case(5, 2 * ring.N, (4, 4))
    pair = Pair(codes, (4, 4))
    assert np.array_equal(pair.sums(g, h, member), pair.plain(g, h, member))


def test_several_partners_share_a_query():
    codes, g, h, member = random_case(8, 700, (6, 5))
    pair = Pair(codes, (6, 5))
    other = LatticeEvaluator(pair.holder.public(), pair.parameters, RUN)
    layout, theirs = CellLayout((3,)), (codes[:, :1] % 3).astype(np.uint16)
    pair.holder.expect_hint("c", layout)
    for block in other.hint(theirs, layout, rng("c")):
        pair.holder.accept_hint("c", block)
    pair.holder.open_tree(g, h, rng("t"))
    blocks = list(pair.holder.query(np.array([member]), rng("q")))
    answers = {}
    for name, side in (("b", pair.evaluator), ("c", other)):
        side.open_query(None, 1)
        for block in blocks:
            side.absorb(block)
        answers[name] = side.answer(rng(f"a{name}"))
    assert np.array_equal(pair.holder.decrypt("b", answers["b"], pair.layout)[0], pair.plain(g, h, member))
    expected = [int(g[member & (theirs[:, 0] == value)].sum()) for value in range(3)]
    assert pair.holder.decrypt("c", answers["c"], layout)[0, :, 0].tolist() == expected


# ---- parameters ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("degree", "log_q"), [(4096, 110), (2048, 108), (1024, 28), (100, 20)])
def test_parameters_below_the_table_are_refused(degree, log_q):
    with pytest.raises(UsageError, match="128-bit"):
        LatticeParameters(Lanes(1000, 1 << 16, 1 << 16), 100, 100, degree=degree, log_q=log_q)


def test_parameters_that_show_too_much_are_refused():
    fine = LatticeParameters(Lanes(100_000, 1 << 16, 1 << 16), 320, 800)
    assert fine.leak_log2 <= -40
    with pytest.raises(UsageError, match="allowed: 2") as refusal:
        LatticeParameters(Lanes(100_000, 1 << 24, 1 << 24), 320, 800)
    assert "gradient_bits" in refusal.value.remedy
    assert 11 <= affordable_bits(1_000_000, 320, 800, 24) < affordable_bits(10_000, 320, 800, 24)
    with pytest.raises(UsageError, match="fewer than 8"):
        affordable_bits(1 << 31, 10**6, 10**6, 24)


def test_the_leak_bound_is_the_one_of_the_docstring():
    parameters = LatticeParameters(Lanes(50_000, 1 << 16, 1 << 16), 100, 10)
    noise = 9 * math.sqrt(5 * 50_000 + 10 * 4096)
    flood = 2 ** (parameters.log_delta - 2)
    assert math.isclose(parameters.leak_log2, math.log2(10 * 100 * 2 * noise / flood))


def test_noise_stays_below_its_bound():
    """B = 9 standard deviations: the noise the flood must drown is measured to be well inside."""
    codes, g, h, member = random_case(1, 3000, (1,))
    seen = []
    for number in range(20):
        pair = Pair(codes, (1,), tag=str(number))
        pair.parameters.__dict__["flood_bits"] = 1
        y = int.from_bytes(_answer_with_flood(pair, g, h, member, 1)[:14], "little")
        high, low = pair.holder._hints["b"].constant_terms(pair.holder._secrets)
        ps = ((int(high[0, 0]) << 76) + (int(low[0, 0]) << 44)) % (1 << 108)
        rest = (y - ps - (int(g[member].sum()) << pair.parameters.log_delta)) % (1 << 108)
        seen.append(rest if rest < 1 << 107 else rest - (1 << 108))
    rounding = 2**44 * math.sqrt(ring.N)  # of the hint, known to both sides
    assert max(abs(x) for x in seen) < 9 * math.sqrt(5 * 3000 + 10 * 4096) + 9 * rounding


def _answer_with_flood(pair: Pair, g, h, member, bits: int) -> bytes:
    pair.answer(g, h, member)
    return lattice.flooded(_by_value(pair), bits, rng("little"))


def _by_value(pair: Pair) -> np.ndarray:
    """The evaluator's sums, [cell, value, third]."""
    return pair.evaluator._sums.transpose(0, 2, 1)


# ---- what is sent ----------------------------------------------------------------------------------------------------


def test_queries_look_uniform_whatever_they_hold():
    codes, g, h, _ = random_case(4, 3 * ring.N, (2,))
    pair = Pair(codes, (2,))
    for member in (np.zeros(len(g), bool), np.ones(len(g), bool)):
        pair.holder.open_tree(g, h, rng("t"))
        octets = np.frombuffer(b"".join(pair.holder.query(np.array([member]), rng("q"))), np.uint8).reshape(-1, 14)
        for column in (0, 5, 7, 12):
            counts = np.bincount(octets[:, column], minlength=256)
            expected = len(octets) / 256
            assert ((counts - expected) ** 2 / expected).sum() < 390  # chi-square, 255 degrees: 1e-7


def test_hints_look_uniform_whatever_the_bins():
    for fill in (0, 1):
        pair = Pair(np.full((ring.N, 1), fill, np.uint8), (2,))
        octets = np.frombuffer(b"".join(pair.hint), np.uint8).reshape(-1, 8)
        for column in (0, 7):
            counts = np.bincount(octets[:, column], minlength=256)
            expected = len(octets) / 256
            assert ((counts - expected) ** 2 / expected).sum() < 390


def test_answers_hide_everything_but_the_sums():
    """Two data sets with the same sums: the noise in the answers has the same flat distribution."""
    rows = 64
    g, h, member = np.ones(rows, np.int64), np.zeros(rows, np.int64), np.ones(rows, bool)
    first = Pair((np.arange(rows) < 32).astype(np.uint8)[:, None], (2,))
    second = Pair((np.arange(rows) % 2).astype(np.uint8)[:, None], (2,))
    spread = []
    for pair in (first, second):
        pair.answer(g, h, member)
        noise = []
        for number in range(300):
            answer = lattice.flooded(_by_value(pair), pair.parameters.flood_bits, rng(f"f{number}"))
            noise.append(int.from_bytes(answer[:14], "little") >> (pair.parameters.flood_bits - 3) & 15)
        spread.append(np.bincount(noise, minlength=16))
    assert (spread[0] > 0).sum() >= 15
    assert (spread[1] > 0).sum() >= 15


def test_every_query_has_a_secret_of_its_own():
    codes, g, h, member = random_case(6, 500, (3,))
    pair = Pair(codes, (3,))
    pair.holder.open_tree(g, h, rng("t"))
    first = b"".join(pair.holder.query(np.array([member]), rng("same")))
    again = b"".join(pair.holder.query(np.array([member]), rng("same")))
    assert first == again, "the same vector under the same randomness: a run that resumes says the same bytes"
    secret = pair.holder._secrets.copy()
    b"".join(pair.holder.query(np.array([~member]), rng("same")))
    assert not np.array_equal(secret, pair.holder._secrets), "another vector never shares a secret"
    assert not np.array_equal(secret[0], secret[1]), "g and h have secrets of their own"


def test_the_same_seed_gives_the_same_bytes():
    codes, g, h, member = random_case(7, 900, (4, 2))
    one, two = Pair(codes, (4, 2)), Pair(codes, (4, 2))
    assert one.hint == two.hint
    assert one.answer(g, h, member) == two.answer(g, h, member)
    assert one.answer(g, h, member, "other") != two.answer(g, h, member, "another")


# ---- peers that lie --------------------------------------------------------------------------------------------------


def test_bad_public_parts_and_hints_are_refused():
    pair = Pair(np.zeros((10, 1), np.uint8), (4,))
    with pytest.raises(BrokenPromise, match="32"):
        LatticeEvaluator(bytes(31), pair.parameters, RUN)
    with pytest.raises(BrokenPromise, match="more than the 4 agreed"):
        pair.holder.expect_hint("c", CellLayout((5,)))
    pair.holder.expect_hint("c", CellLayout((4,)))
    for size in (0, 8, 4 * ring.N * 8 - 1, 4 * ring.N * 8 + 8):
        with pytest.raises(BrokenPromise, match="hint block"):
            pair.holder.accept_hint("c", bytes(size))
    pair.holder.open_tree(np.zeros(10, np.int64), np.zeros(10, np.int64), rng("t"))
    list(pair.holder.query(np.ones((1, 10), bool), rng("q")))
    with pytest.raises(UsageError, match="not complete"):
        pair.holder.decrypt("c", [bytes(4 * 2 * 14)], CellLayout((4,)))
    pair.holder.accept_hint("c", bytes(4 * ring.N * 8))
    with pytest.raises(BrokenPromise, match="hint block"):
        pair.holder.accept_hint("c", bytes(4 * ring.N * 8))


def test_bad_queries_are_refused():
    pair = Pair(np.zeros((10, 1), np.uint8), (4,))
    with pytest.raises(BrokenPromise, match="hides"):
        pair.evaluator.open_query(np.ones((1, 10), bool), 1)
    with pytest.raises(BrokenPromise, match="tree"):
        pair.evaluator.open_tree([b"x"])
    size = 2 * (10 + ring.N) * 14
    for block in (b"", bytes(size - 14), bytes(size + 14), bytes(size - 1), b"\xff" * size):
        pair.evaluator.open_query(None, 1)
        with pytest.raises(BrokenPromise, match="query block"):
            pair.evaluator.absorb(block)
    pair.evaluator.open_query(None, 1)
    with pytest.raises(UsageError, match="not complete"):
        pair.evaluator.answer(rng("a"))


def test_bad_answers_are_refused():
    codes, g, h, member = random_case(9, 50, (3,))
    pair = Pair(codes, (3,))
    good = pair.answer(g, h, member)
    for answer in (b"", good[:-14], good + bytes(14), good[:-1], b"\xff" * len(good)):
        with pytest.raises(BrokenPromise):
            pair.holder.decrypt("b", [answer], pair.layout)
    with pytest.raises(BrokenPromise, match="beyond"):
        pair.holder.decrypt("b", [bytes(len(good))], pair.layout)
    assert np.array_equal(pair.holder.decrypt("b", [good], pair.layout)[0], pair.plain(g, h, member))


def test_own_values_beyond_the_bounds_are_refused():
    pair = Pair(np.zeros((10, 1), np.uint8), (4,))
    for g, h in ((1 << 17, 0), (-(1 << 17), 0), (0, -1), (0, 1 << 17)):
        with pytest.raises(UsageError, match="bounds"):
            pair.holder.open_tree(np.full(10, g), np.full(10, h), rng("t"))
    with pytest.raises(UsageError, match="rows"):
        pair.holder.open_tree(np.zeros(9, np.int64), np.zeros(9, np.int64), rng("t"))
