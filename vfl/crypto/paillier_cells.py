"""Products of encrypted rows by (feature, bin) cell, with as few multiplications as the counts of rows allow.

A cell is a product in a commutative group, so whatever the order, and whichever rows are reached by way of an inverse,
the residue is the same: how a node is planned shows in no byte.

Two savings, weighed against each other by counted multiplications:

* Joint cells. The rows are multiplied once into the occupied joint cells of several features; summing the joint cells
  out again, one feature at a time, costs as many multiplications as there are joint cells. Two features of 32 bins cost
  rows + 1,024 instead of 2 * rows.
* The most frequent joint cell of a pass is left out. It is the node's total, which a pass without such a gap gives for
  next to nothing, times the inverse of the product of the others; all inverses of a node are taken at once. A column
  with 90 % of its rows in one bin costs a tenth.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from vfl.crypto.fixed_base import big, inverses, power
from vfl.crypto.packing import slots
from vfl.crypto.paillier_keys import PublicKey
from vfl.crypto.scheme import Bools, CellLayout, Codes, Lanes

Keys = npt.NDArray[np.int64]
Marginals = list[dict[int, int]]
"""For each feature of a pass, the product of every occupied bin."""

_GAP_COST = 12
"""Multiplications that one more gap costs, whatever its pass: its share of the inversion, and the product with it."""


@dataclass(frozen=True)
class Pass:
    """Features that share one run over the rows.

    `keys`: the joint cell of each row, shape (rows,), numbered densely. `cells`: the bin of each joint cell in each
    feature, shape (joint cells, features of the pass). `gap`: the joint cell left out, or -1. `cost`: multiplications
    without a gap; `saving`: how many fewer with the best one.
    """

    features: tuple[int, ...]
    keys: Keys
    cells: Keys
    gap: int
    cost: int
    saving: int

    @property
    def spent(self) -> int:
        """Multiplications as planned."""
        return self.cost - self.saving if self.gap >= 0 else self.cost


def plan(codes: Codes, layout: CellLayout) -> list[Pass]:
    """The passes over the member rows of a node. `codes`: (rows, features), at least one row.

    Features that alone cost least come first, so that skewed and small ones meet. A feature joins a pass while that
    lowers the pass's share of what its features would cost one by one. One pass at least has no gap: it gives the
    total.
    """
    alone = [_single(codes, layout, feature) for feature in range(layout.features)]
    order = sorted(alone, key=lambda one: (one.spent, one.features))
    passes, current, separate = [], order[0], order[0].spent
    for one in order[1:]:
        wider = _join(current, one, layout)
        if wider.spent * separate < current.spent * (separate + one.spent):
            current, separate = wider, separate + one.spent
        else:
            passes.append(current)
            current, separate = one, one.spent
    passes.append(current)
    if all(one.gap >= 0 for one in passes):
        least = min(range(len(passes)), key=lambda index: passes[index].saving)
        passes[least] = replace(passes[least], gap=-1)
    return passes


def multiply(rows: Sequence[int], one: Pass, modulus: int) -> Marginals:
    """The products of a pass over `rows` (the member rows), without those in its gap."""
    positions = np.flatnonzero(one.keys != one.gap)
    if not positions.size:
        return [{} for _ in one.features]
    found, values = _products([rows[row] for row in positions.tolist()], one.keys[positions], modulus)
    cells = one.cells[found]
    marginals: Marginals = []
    for level in range(len(one.features) - 1, 0, -1):
        bins, products = _products(values, cells[:, level], modulus)
        marginals.append(dict(zip(bins.tolist(), products, strict=True)))
        # Sum this feature out: what is left are the joint cells of the features before it.
        _, key = _dense(_prefix_keys(cells[:, :level]))
        found, values = _products(values, key, modulus)
        _, first = np.unique(key, return_index=True)
        cells = cells[first]
    marginals.append(dict(zip(cells[:, 0].tolist(), values, strict=True)))
    return marginals[::-1]


def finish(passes: Sequence[Pass], products: Sequence[Marginals], layout: CellLayout, modulus: int) -> list[int]:
    """The cells of all features from the products of all passes, gaps filled; 1 for an empty cell."""
    if any(one.gap >= 0 for one in passes):
        total = _whole(next(own for one, own in zip(passes, products, strict=True) if one.gap < 0), modulus)
        open_passes = [(one, own) for one, own in zip(passes, products, strict=True) if one.gap >= 0]
        others = inverses([_whole(own, modulus) for _, own in open_passes], modulus)
        for (one, own), other in zip(open_passes, others, strict=True):
            missing = total * other % modulus
            for marginal, code in zip(own, one.cells[one.gap].tolist(), strict=True):
                marginal[code] = marginal[code] * missing % modulus if code in marginal else missing
    sums = [big(1)] * layout.cells
    for one, own in zip(passes, products, strict=True):
        for feature, marginal in zip(one.features, own, strict=True):
            for code, product in marginal.items():
                sums[layout.offsets[feature] + code] = product
    return sums


def cell_sums(rows: Sequence[int], codes: Codes, layout: CellLayout, member: Bools, modulus: int) -> list[int]:
    """The product of the member rows of every cell; 1, an encryption of 0, for an empty cell.

    `rows`: units mod `modulus`, one per row. `codes`: (rows, features). `member`: bool, (rows,).
    """
    index = np.flatnonzero(member)
    if not index.size:
        return [big(1)] * layout.cells
    members, passes = [rows[row] for row in index.tolist()], plan(codes[index], layout)
    return finish(passes, [multiply(members, one, modulus) for one in passes], layout, modulus)


def pack_cells(sums: Sequence[int], public: PublicKey, lanes: Lanes) -> list[int]:
    """Cell ciphertexts packed `slots` to one, lowest cell first, by Horner: a shift by one cell is a power 2**w."""
    per, modulus = slots(public.bits, lanes), big(public.n_squared)
    packed = []
    for start in range(0, len(sums), per):
        result, shift = big(1), 0
        for one in reversed(sums[start : start + per]):
            shift += lanes.cell_bits
            if one != 1:
                # Empty cells only widen the next shift; above the highest occupied cell there is nothing to shift.
                result = one if result == 1 else power(result, 1 << shift, modulus) * one % modulus
                shift = 0
        packed.append(result if result == 1 or not shift else power(result, 1 << shift, modulus))
    return packed


def _single(codes: Codes, layout: CellLayout, feature: int) -> Pass:
    occupied, key = _dense(codes[:, feature].astype(np.int64))
    return _weighed((feature,), key, occupied[:, None], key.size - occupied.size)


def _join(one: Pass, other: Pass, layout: CellLayout) -> Pass:
    """`one` with the single feature of `other` as well: rows - cells + twice the joint cells, less what is known."""
    width = other.cells.shape[0]
    occupied, key = _dense(one.keys * width + other.keys)
    cells = np.column_stack((one.cells[occupied // width], other.cells[occupied % width, 0]))
    # Of rows + sum of joint cells over the prefixes - sum of bins, only the last terms change.
    return _weighed(one.features + other.features, key, cells, one.cost + occupied.size - width)


def _weighed(features: tuple[int, ...], keys: Keys, cells: Keys, cost: int) -> Pass:
    counts = np.bincount(keys)
    gap = int(counts.argmax())
    # The rows of the gap are spared; the product of the others runs over the bins of the first, smallest feature.
    saving = int(counts[gap]) - 1 - np.unique(cells[:, 0]).size - _GAP_COST
    return Pass(features, keys, cells, gap if saving > 0 else -1, cost, max(saving, 0))


def _whole(marginals: Marginals, modulus: int) -> int:
    """The product of everything in a pass, by way of its first feature."""
    result = big(1)
    for product in marginals[0].values():
        result = result * product % modulus
    return result


def _prefix_keys(cells: Keys) -> Keys:
    """One number per row of `cells`, equal where the rows are; dense at every step, so that it cannot overflow."""
    key = cells[:, 0]
    for column in range(1, cells.shape[1]):
        key = _dense(key)[1] * (int(cells[:, column].max()) + 1) + cells[:, column]
    return key


def _dense(keys: Keys) -> tuple[Keys, Keys]:
    """The distinct keys, ascending, and for each row the place of its own among them."""
    top = int(keys.max()) + 1
    if top > 8 * keys.size + 4096:
        occupied, dense = np.unique(keys, return_inverse=True)
        return occupied, dense.astype(np.int64)
    used = np.bincount(keys, minlength=top) > 0
    return np.flatnonzero(used), (np.cumsum(used) - 1)[keys]


def _products(values: Sequence[int], keys: Keys, modulus: int) -> tuple[Keys, list[int]]:
    """The distinct keys, ascending, and the product of the values of each."""
    if not keys.size:
        return keys, []
    small = keys.astype(np.uint16) if int(keys.max()) < 1 << 16 else keys
    order = np.argsort(small, kind="stable")
    starts = np.concatenate(([0], np.flatnonzero(np.diff(keys[order])) + 1))
    positions, products = order.tolist(), []
    for start, end in zip(starts.tolist(), [*starts[1:].tolist(), len(positions)], strict=True):
        product = values[positions[start]]
        for position in positions[start + 1 : end]:
            product = product * values[position] % modulus
        products.append(product)
    return keys[order[starts]], products
