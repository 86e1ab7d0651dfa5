"""Plans of a node's sums: the same residues however they are reached, for fewer multiplications."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vfl.crypto.fixed_base import PowerTable, big, choose_window, inverses
from vfl.crypto.paillier_cells import cell_sums, finish, multiply, plan
from vfl.crypto.scheme import CellLayout

MODULUS = big((1 << 127) - 1)


class Counted(int):
    """Counts multiplications."""

    total = 0

    def __mul__(self, other: int) -> Counted:
        Counted.total += 1
        return Counted(int(self) * int(other))

    __rmul__ = __mul__

    def __mod__(self, other: int) -> Counted:
        return Counted(int(self) % int(other))


def counted(codes: np.ndarray, layout: CellLayout) -> int:
    Counted.total = 0
    rows = len(codes)
    cell_sums([Counted(3)] * rows, codes, layout, np.ones(rows, dtype=np.bool_), 1_000_003)
    return Counted.total


def naive(rows: list[int], codes: np.ndarray, layout: CellLayout, member: np.ndarray) -> list[int]:
    sums = [1] * layout.cells
    for row in np.flatnonzero(member).tolist():
        for feature, offset in enumerate(layout.offsets):
            cell = offset + int(codes[row, feature])
            sums[cell] = sums[cell] * rows[row] % int(MODULUS)
    return sums


@st.composite
def nodes(draw: st.DrawFn) -> tuple[list[int], np.ndarray, CellLayout, np.ndarray]:
    """Features of any size and skew, some of one bin, and members from none to all."""
    layout = CellLayout(tuple(draw(st.lists(st.sampled_from([1, 2, 3, 8, 40, 300]), min_size=1, max_size=7))))
    count, skew = draw(st.integers(1, 250)), draw(st.sampled_from([0.0, 0.5, 0.9, 1.0]))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    codes = np.stack([random.integers(0, bins, count) for bins in layout.n_bins], axis=1).astype(np.uint16)
    modal = np.array([random.integers(0, bins) for bins in layout.n_bins])
    codes = np.where(random.random(codes.shape) < skew, modal, codes).astype(np.uint16)
    rows = [big(int(value)) for value in random.integers(2, 2**62, count)]
    return rows, codes, layout, random.random(count) < draw(st.sampled_from([0.0, 0.3, 1.0]))


@settings(max_examples=200, deadline=None)
@given(nodes())
def test_any_plan_gives_the_plain_products(case: tuple[list[int], np.ndarray, CellLayout, np.ndarray]) -> None:
    rows, codes, layout, member = case
    assert cell_sums(rows, codes, layout, member, MODULUS) == naive(*case)


@settings(max_examples=100, deadline=None)
@given(nodes(), st.data())
def test_gaps_do_not_show(case: tuple[list[int], np.ndarray, CellLayout, np.ndarray], data: st.DataObject) -> None:
    """Any gap in any pass but one, worth its while or not; also none at all."""
    rows, codes, layout, _ = case
    passes = plan(codes, layout)
    whole = data.draw(st.integers(0, len(passes) - 1))
    passes = [
        replace(one, gap=-1 if number == whole else data.draw(st.integers(-1, len(one.cells) - 1)))
        for number, one in enumerate(passes)
    ]
    products = [multiply(rows, one, MODULUS) for one in passes]
    assert finish(passes, products, layout, MODULUS) == naive(rows, codes, layout, np.ones(len(rows), dtype=np.bool_))


@settings(max_examples=100, deadline=None)
@given(nodes())
def test_a_plan_never_costs_more_than_row_by_row(case: tuple[list[int], np.ndarray, CellLayout, np.ndarray]) -> None:
    _, codes, layout, _ = case
    first = sum(len(np.unique(codes[:, feature])) for feature in range(layout.features))
    assert counted(codes, layout) <= codes.size - first
    passes = plan(codes, layout)
    assert sorted(feature for one in passes for feature in one.features) == list(range(layout.features))
    assert any(one.gap < 0 for one in passes)


def test_the_planned_cost_is_the_counted_one_without_gaps() -> None:
    codes = np.random.default_rng(1).integers(0, 8, (400, 6)).astype(np.uint8)
    layout = CellLayout((8,) * 6)
    passes = plan(codes, layout)
    assert all(one.gap < 0 for one in passes)
    assert max(len(one.features) for one in passes) > 1
    assert counted(codes, layout) == sum(one.spent for one in passes)


@pytest.mark.parametrize(("rows", "share"), [(50, 0.75), (400, 0.5)])
def test_joint_cells_save_multiplications(rows: int, share: float) -> None:
    codes = np.random.default_rng(3).integers(0, 4, (rows, 6)).astype(np.uint8)
    assert counted(codes, CellLayout((4,) * 6)) < rows * 6 * share


def test_a_skewed_column_costs_what_lies_outside_its_most_frequent_bin() -> None:
    """Nine columns with 90 % of their rows in one bin, one without."""
    draw = np.random.default_rng(5)
    codes = draw.integers(0, 32, (4000, 10)).astype(np.uint8)
    codes[:, 1:] *= draw.random((4000, 9)) < 0.1
    layout = CellLayout((32,) * 10)
    assert any(one.gap >= 0 for one in plan(codes, layout))
    assert counted(codes, layout) < 4000 + 9 * 0.15 * 4000


@given(st.lists(st.integers(2, 10**30), min_size=1, max_size=4), st.integers(1, 20), st.integers(1, 9), st.data())
@settings(max_examples=100, deadline=None)
def test_a_power_table_gives_products_of_powers(bases: list[int], bits: int, window: int, data: st.DataObject) -> None:
    """A wrong table would still give n-th residues, only fewer of them: no sum would show it."""
    modulus, total = 10**40 + 121, bits * len(bases)
    table = PowerTable(bases, bits, modulus, window=window)
    drawn = [data.draw(st.binary(min_size=-(-total // 8), max_size=-(-total // 8))) for _ in range(3)]
    wanted = []
    for string in drawn:
        exponents, result = int.from_bytes(string, "little"), 1
        for base in bases:
            result = result * pow(base, exponents & ((1 << bits) - 1), modulus) % modulus
            exponents >>= bits
        wanted.append(result)
    assert table.products(b"".join(drawn)) == wanted


def test_windows_grow_with_use_and_stay_in_memory() -> None:
    windows = [choose_window(256, uses, 624, 1 << 30) for uses in (1, 100, 20_000, 1_000_000)]
    assert windows == sorted(windows)
    assert (windows[0], windows[2]) == (2, 11)
    for uses in (1, 1000, 10**9):
        window = choose_window(2560, uses, 568, 1 << 26)
        assert -(-2560 // window) * 568 << window <= 1 << 26

        def cost(w: int, uses: int = uses) -> int:
            return -(-2560 // w) * ((1 << w) + uses)

        assert all(cost(window) <= cost(smaller) for smaller in range(1, window))
    assert choose_window(256, 10**9, 10**6, 1) == 1


@given(st.lists(st.integers(1, int(MODULUS) - 1), max_size=9))
def test_inverses_at_once(values: list[int]) -> None:
    found = inverses([big(value) for value in values], MODULUS)
    assert [value * other % MODULUS for value, other in zip(values, found, strict=True)] == [1] * len(values)
