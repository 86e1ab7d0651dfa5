"""Fixed point, lanes and packing: exact for every value that the declared rows and bounds allow."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vfl.crypto.packing import FixedPoint, pack_rows, slots, unpack_cells
from vfl.crypto.scheme import CellLayout, Lanes
from vfl.errors import BrokenPromise, UsageError

MODULUS = (1 << 2047) + 12345


def packed(cells: list[tuple[int, int]], lanes: Lanes, modulus: int = MODULUS) -> list[int]:
    """What sums of encrypted rows hold: cells side by side, mod n."""
    per = slots(modulus.bit_length(), lanes)
    one = [(g << lanes.h_bits) + h for g, h in cells]
    return [
        sum(cell << (place * lanes.cell_bits) for place, cell in enumerate(one[start : start + per])) % modulus
        for start in range(0, len(one), per)
    ]


@st.composite
def lanes_and_cells(draw: st.DrawFn) -> tuple[Lanes, list[tuple[int, int]]]:
    rows = draw(st.integers(1, 10**6))
    lanes = Lanes(rows, draw(st.integers(1, 1 << 40)), draw(st.integers(1, 1 << 40)))
    g = st.sampled_from([-lanes.g_sum, -1, 0, 1, lanes.g_sum]) | st.integers(-lanes.g_sum, lanes.g_sum)
    h = st.sampled_from([0, 1, lanes.h_sum]) | st.integers(0, lanes.h_sum)
    return lanes, draw(st.lists(st.tuples(g, h), min_size=1, max_size=60))


@given(lanes_and_cells())
@settings(max_examples=150, deadline=None)
def test_any_sums_within_the_bounds_come_back(case: tuple[Lanes, list[tuple[int, int]]]) -> None:
    lanes, cells = case
    assert unpack_cells(packed(cells, lanes), MODULUS, len(cells), lanes).tolist() == [list(cell) for cell in cells]


@pytest.mark.parametrize("g_sign", [-1, 1])
@pytest.mark.parametrize("h_full", [0, 1])
@pytest.mark.parametrize("rows", [1, 2, 3, 4095, 4096, 10_000, 1_000_000])
def test_all_cells_at_their_limit_at_once(g_sign: int, h_full: int, rows: int) -> None:
    lanes = Lanes(rows, 1 << 24, 1 << 22)
    cells = [(g_sign * lanes.g_sum, h_full * lanes.h_sum)] * (slots(2048, lanes) * 2 + 1)
    assert unpack_cells(packed(cells, lanes), MODULUS, len(cells), lanes).tolist() == [list(cell) for cell in cells]


def test_widths_are_those_of_the_docstring() -> None:
    lanes = Lanes(10_000, 1 << 24, 1 << 22)
    assert (lanes.g_bits, lanes.h_bits) == (14 + 24 + 1 + 1, 14 + 22 + 1)
    assert slots(2048, lanes) == 26


@pytest.mark.parametrize("cell", [(1, 0), (-1, 0), (0, 1), (0, -1)])
@pytest.mark.parametrize("place", [0, 1, 4])
def test_a_sum_beyond_the_bounds_is_the_peers_fault(cell: tuple[int, int], place: int) -> None:
    lanes = Lanes(100, 1000, 1000)
    cells = [(0, 0)] * 5
    cells[place] = (
        cell[0] * (lanes.g_sum + 1) if cell[0] else 0,
        (lanes.h_sum + 1 if cell[1] > 0 else -1) if cell[1] else 0,
    )
    # A negative h borrows from the g lane and reads as an h near the top of its lane: beyond the bound as well.
    with pytest.raises(BrokenPromise, match="decrypts to a sum"):
        unpack_cells(packed(cells, lanes), MODULUS, 5, lanes)


def test_a_plaintext_with_more_than_its_cells_is_refused() -> None:
    lanes = Lanes(100, 1000, 1000)
    with pytest.raises(BrokenPromise, match="more than its cells"):
        unpack_cells(packed([(1, 1)] * 4, lanes), MODULUS, 3, lanes)
    with pytest.raises(BrokenPromise, match="more than its cells"):
        unpack_cells([MODULUS // 2 & -(1 << lanes.cell_bits)], MODULUS, 1, lanes)


def test_rows_pack_and_sum() -> None:
    lanes = Lanes(3, 5, 7)
    rows = pack_rows(np.array([-5, 5, -1]), np.array([7, 0, 2]), lanes)
    assert unpack_cells([sum(rows) % MODULUS], MODULUS, 1, lanes).tolist() == [[-1, 9]]


@pytest.mark.parametrize(
    ("g", "h", "sentence"),
    [
        ([6, 0], [0, 0], r"g\[0\] is 6; allowed: -5 to 5"),
        ([0, -6], [0, 0], r"g\[1\] is -6; allowed: -5 to 5"),
        ([0, 0], [8, 0], r"h\[0\] is 8; allowed: 0 to 7"),
        ([0, 0], [0, -1], r"h\[1\] is -1; allowed: 0 to 7"),
        ([0], [0, 0], r"g is int64\(1,\); allowed: int64\(2,\)"),
        ([0, 0], [0, 0, 0], r"h is int64\(3,\); allowed"),
    ],
)
def test_rows_outside_the_lanes_are_refused(g: list[int], h: list[int], sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        pack_rows(np.array(g), np.array(h), Lanes(2, 5, 7))


@pytest.mark.parametrize(
    ("rows", "g_max", "h_max", "sentence"),
    [
        (0, 1, 1, "rows is 0"),
        (1 << 33, 1, 1, "rows is"),
        (1, 0, 1, "g_max is 0; allowed: at least 1"),
        (1, 1, -3, "h_max is -3"),
        (1 << 20, 1 << 42, 1, "g_max is .* at most"),
        (1 << 20, 1, 1 << 42, "h_max is .* at most"),
    ],
)
def test_lanes_that_cannot_be_are_refused(rows: int, g_max: int, h_max: int, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        Lanes(rows, g_max, h_max)


def test_lanes_name_the_largest_bound_that_works() -> None:
    assert Lanes(3, (2**62 - 1) // 3, 1).g_bits <= 64


def test_a_cell_that_fits_no_plaintext_is_refused() -> None:
    with pytest.raises(UsageError, match="cell_bits is"):
        slots(64, Lanes(1000, 1 << 40, 1 << 40))


def test_fixed_point_rounds_half_to_even_once() -> None:
    point = FixedPoint(scale_bits=1)
    assert point.encode(np.array([0.25, 0.75, -0.25, -0.75, 1.0]), 1.0).tolist() == [0, 2, 0, -2, 2]
    assert point.decode(np.array([3, -3])).tolist() == [1.5, -1.5]
    assert FixedPoint().largest(0.25) == 1 << 22


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 1.0000001, -1.0000001])
def test_fixed_point_refuses_what_is_out_of_bounds(value: float) -> None:
    with pytest.raises(UsageError, match=r"g\[1\] is .*; allowed: -1.0 to 1.0"):
        FixedPoint().encode(np.array([0.0, value]), 1.0, "g")


def test_fixed_point_refuses_bad_parameters() -> None:
    with pytest.raises(UsageError, match="scale_bits is 53"):
        FixedPoint(53)
    with pytest.raises(UsageError, match="bound of g is"):
        FixedPoint(52).encode(np.zeros(1), 1e9, "g")


@given(st.lists(st.floats(-8, 8), min_size=1, max_size=20), st.integers(0, 40))
@settings(max_examples=50, deadline=None)
def test_fixed_point_is_off_by_at_most_half_a_unit(values: list[float], scale_bits: int) -> None:
    point, given_values = FixedPoint(scale_bits), np.array(values)
    back = point.decode(point.encode(given_values, 8.0))
    assert np.all(np.abs(back - given_values) <= 2.0 ** -(scale_bits + 1))


@pytest.mark.parametrize("n_bins", [(), (0,), (3, 70_000), (65_536,) * 257])
def test_layouts_that_cannot_be_are_refused(n_bins: tuple[int, ...]) -> None:
    with pytest.raises(UsageError, match="n_bins"):
        CellLayout(n_bins)


def test_a_layout_knows_its_cells_and_checks_codes() -> None:
    layout = CellLayout((2, 5, 1))
    assert (layout.cells, layout.offsets, layout.features) == (8, (0, 2, 7), 3)
    layout.check_codes(np.array([[1, 4, 0]], dtype=np.uint8), 1)
    with pytest.raises(UsageError, match="codes of feature 1 reach 5"):
        layout.check_codes(np.array([[1, 5, 0]], dtype=np.uint16), 1)
    with pytest.raises(UsageError, match="shape"):
        layout.check_codes(np.array([[1, 4]], dtype=np.uint8), 1)
    with pytest.raises(UsageError, match="dtype int64"):
        layout.check_codes(np.array([[1, 4, 0]]), 1)
