"""Fixed point, lanes and packing: how (g, h) pairs become one plaintext integer and come back.

One scale per run, integers everywhere, no exponent anywhere: an exponent travels in the clear, and with g = p - y it
tells the label. A row is the signed integer

    row  = g * 2**h_bits + h                       g signed, 0 <= h

so a sum of rows is G * 2**h_bits + H with no carry out of the H lane (widths: `scheme.Lanes`). G is signed without an
offset: a negative G borrows from the lanes above it, and the decoder gives the borrow back, so no count of rows is
needed to decode. `slots(n)` cells share a plaintext, lowest cell first:

    packed = cell[0] + cell[1] * 2**w + cell[2] * 2**(2w) + ...          w = cell_bits

Every |cell| <= 2**(w-1) - 1, hence |packed| < 2**(slots * w - 1) <= 2**(bits(n) - 3) < n / 2, and the residue mod n in
(-n/2, n/2) is the packed value.

Source of the layout: unequal lanes as in FATE's `packer.py`, a signed upper lane in place of its offset.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vfl.crypto.scheme import Int64s, Lanes
from vfl.errors import BrokenPromise, UsageError

MAX_SCALE_BITS = 52
"""A float64 carries 53 significant bits: a finer scale would only store noise."""


@dataclass(frozen=True)
class FixedPoint:
    """Integers in units of 2**-scale_bits. The default of 24 bits rounds a value by at most 3.0e-8."""

    scale_bits: int = 24

    def __post_init__(self) -> None:
        if not 0 <= self.scale_bits <= MAX_SCALE_BITS:
            raise UsageError(f"scale_bits is {self.scale_bits}; allowed: 0 to {MAX_SCALE_BITS}")

    def encode(self, values: npt.NDArray[np.float64], bound: float, name: str = "values") -> Int64s:
        """Rounds half to even. `values`: float64, any shape, |value| <= bound; gives int64 of the same shape.

        Scaling by a power of two is exact, so one rounding happens in all. Raises UsageError for a value that is not
        finite or exceeds `bound`, and for a bound that int64 does not hold.
        """
        if not 0 < bound <= 2.0 ** (62 - self.scale_bits):
            raise UsageError(f"bound of {name} is {bound}; allowed: above 0 to {2.0 ** (62 - self.scale_bits)}")
        bad = np.flatnonzero(~(np.abs(values) <= bound))
        if bad.size:
            raise UsageError(f"{name}[{bad[0]}] is {values.flat[bad[0]]}; allowed: {-bound} to {bound}")
        return np.rint(np.ldexp(values, self.scale_bits)).astype(np.int64)

    def largest(self, bound: float) -> int:
        """The largest integer `encode` can give for |value| <= bound: what `Lanes.g_max` or `h_max` should be."""
        return max(1, int(self.encode(np.array([bound]), bound)[0]))

    def decode(self, units: Int64s) -> npt.NDArray[np.float64]:
        """Back to float64, same shape; exact below 2**53 units."""
        return np.ldexp(units.astype(np.float64), -self.scale_bits)


def slots(modulus_bits: int, lanes: Lanes) -> int:
    """Cells that share one plaintext: floor((modulus_bits - 2) / cell_bits). Raises UsageError when none fits."""
    count = (modulus_bits - 2) // lanes.cell_bits
    if count < 1:
        raise UsageError(
            f"cell_bits is {lanes.cell_bits}; allowed with a modulus of {modulus_bits} bits: at most {modulus_bits - 2}"
        )
    return count


def pack_rows(g: Int64s, h: Int64s, lanes: Lanes) -> list[int]:
    """The signed plaintext of every row, |row| < 2**(cell_bits - 1).

    `g`, `h`: fixed-point units, int64, shape (rows,). Raises UsageError for another shape or dtype, or when a value
    exceeds the agreed lanes.
    """
    for name, values, low, high in (("g", g, -lanes.g_max, lanes.g_max), ("h", h, 0, lanes.h_max)):
        if values.dtype != np.int64 or values.shape != (lanes.rows,):
            raise UsageError(f"{name} is {values.dtype}{values.shape}; allowed: int64{(lanes.rows,)}")
        bad = np.flatnonzero((values < low) | (values > high))
        if bad.size:
            raise UsageError(f"{name}[{bad[0]}] is {values[bad[0]]}; allowed: {low} to {high}")
    shift = lanes.h_bits
    return [(one << shift) + other for one, other in zip(g.tolist(), h.tolist(), strict=True)]


def unpack_cells(plaintexts: Sequence[int], modulus: int, cells: int, lanes: Lanes) -> Int64s:
    """The (G, H) of every cell, int64, shape (cells, 2), from packed plaintexts 0 <= m < modulus.

    Raises BrokenPromise when a sum exceeds what the declared rows and bounds allow, or a plaintext holds more than its
    cells: such a plaintext is no sum of rows.
    """
    per = slots(modulus.bit_length(), lanes)
    if len(plaintexts) != -(-cells // per):
        raise ValueError(f"{cells} cells take {-(-cells // per)} plaintexts, not {len(plaintexts)}")
    width, shift = lanes.cell_bits, lanes.h_bits
    half, cell_mask, h_mask = 1 << (width - 1), (1 << width) - 1, (1 << shift) - 1
    sums: list[tuple[int, int]] = []
    for start, plaintext in zip(range(0, cells, per), plaintexts, strict=True):
        rest = plaintext - modulus if plaintext > modulus // 2 else plaintext
        for cell in range(start, min(start + per, cells)):
            signed = ((rest + half) & cell_mask) - half
            rest = (rest - signed) >> width
            g_sum, h_sum = signed >> shift, signed & h_mask
            if abs(g_sum) > lanes.g_sum or h_sum > lanes.h_sum:
                raise BrokenPromise(f"cell {cell} decrypts to a sum that no {lanes.rows} rows within the bounds have")
            sums.append((g_sum, h_sum))
        if rest:
            raise BrokenPromise(f"the plaintext of cells {start} and up holds more than its cells")
    return np.array(sums, dtype=np.int64).reshape(cells, 2)
