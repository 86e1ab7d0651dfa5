"""A split that the active party chose, and what its owner says to it."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from vfl.bits import Mask, unpack_bits
from vfl.learn.columns import Columns
from vfl.learn.rounds import Parts
from vfl.learn.split import NodeSum, Split
from vfl.learn.tree import SplitRecord
from vfl.wire import require

MAX_BINS = 1 << 16


class ChosenSplit(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Split on this feature of yours: bins up to `bin` go left, of a categorical one those in `subset`."""

    feature: int
    bin: int
    default_left: bool
    subset: Annotated[list[int], Meta(max_length=MAX_BINS)]  # ascending
    rows: bytes  # bits over the aligned rows: whom to decide; empty where the scheme hides them


def decide(order: ChosenSplit, mine: Columns, parts: Parts, named: bool, records: list[SplitRecord]) -> Mask:
    """Left or right for the rows asked; the split is kept on record. `named`: whether rows are named, or all asked.

    Raises BrokenPromise for a split that is none of ours.
    """
    layout = mine.layout
    require(0 <= order.feature < len(layout.n_bins), "the split names one of our features")
    cells = layout.n_bins[order.feature] - layout.missing[order.feature]
    require(0 <= order.bin < cells, "the split names one of the feature's bins")
    subset = tuple(order.subset)
    require(bool(subset) == layout.categorical[order.feature], "a split names categories where there are some")
    require(sorted(set(order.subset)) == order.subset, "categories are named once, in their order")
    require(all(0 < code < cells for code in subset), "the split names categories of the feature")
    asked = parts.fit
    if named:
        asked = unpack_bits(order.rows, len(parts.fit))
    else:
        require(order.rows == b"", "a hidden node names no rows")
    require(not (asked & ~parts.fit).any(), "only rows that train or validate are asked for")
    nothing = NodeSum(0, 0, 0)
    chosen = Split(0.0, order.feature, order.bin, order.default_left, nothing, nothing, subset)
    records.append(mine.record(chosen))
    return mine.left_codes(records[-1])[asked]
