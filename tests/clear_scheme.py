"""A scheme without encryption, in both flavours that the protocols know: same messages, same checks, no cost.

    discloses_membership=True    rows once per tree, in blocks; queries name the rows of a node (as `paillier`)
    discloses_membership=False   no blocks; a query has one pair a row, zero outside the node (as a lattice scheme)

Answers and hidden queries begin with drawn bytes, so that another seed gives other bytes, as it does in real schemes.
"""

from __future__ import annotations

import numpy as np

from vfl.crypto.scheme import BLOCK_ROWS, Bools, CellLayout, Codes, Int64s, Lanes, Sealed
from vfl.errors import BrokenPromise, UsageError
from vfl.learn.histogram import FeatureLayout, build
from vfl.randomness import Randomness

NONCE = 16
PAIR = 16  # bytes of one (g, h) or (G, H)
_PUBLIC = {True: b"clear, rows named", False: b"clear, rows hidden"}


class ClearKeyHolder:
    """The active side (`scheme.KeyHolder`)."""

    name = "clear"

    def __init__(self, lanes: Lanes, *, discloses_membership: bool) -> None:
        self.discloses_membership = discloses_membership
        self._lanes = lanes
        self._rows = np.zeros((0, 2), np.int64)
        self._layouts: dict[str, CellLayout] = {}

    def public(self) -> bytes:
        return _PUBLIC[self.discloses_membership]

    def accept_hint(self, peer: str, hint: bytes, layout: CellLayout) -> None:
        due = 0 if self.discloses_membership else NONCE + layout.cells
        if len(hint) != due:
            raise BrokenPromise(f"a hint of {len(hint)} bytes; {due} were due", peer=peer)
        if peer in self._layouts:
            raise BrokenPromise("a second layout came; one belongs to a run", peer=peer)
        self._layouts[peer] = layout

    def open_tree(self, g: Int64s, h: Int64s, rng: Randomness) -> list[bytes]:
        lanes = self._lanes
        if g.shape != (lanes.rows,) or np.abs(g).max() > lanes.g_max or h.min() < 0 or h.max() > lanes.h_max:
            raise UsageError("the rows do not fit the lanes")
        self._rows = np.column_stack([g, h])
        if not self.discloses_membership:
            return []
        return [_bytes(self._rows[start : start + BLOCK_ROWS]) for start in range(0, lanes.rows, BLOCK_ROWS)]

    def query(self, member: Bools, rng: Randomness) -> bytes:
        if self.discloses_membership:
            return b""
        return rng.bytes(NONCE) + _bytes(np.where(member[:, None], self._rows, 0))

    def decrypt(self, peer: str, answer: bytes, layout: CellLayout) -> Int64s:
        if self._layouts[peer] != layout:
            raise UsageError("the layout is not the one that was declared")
        sums = _pairs(answer, layout.cells, "the answer")
        most = np.array([self._lanes.g_sum, self._lanes.h_sum])
        if np.any((sums < -most) | (sums > most)):
            raise BrokenPromise("a sum that no rows within the bounds have")
        return sums


class ClearEvaluator:
    """The passive side (`scheme.Evaluator`). `answers`: how many sums it has given."""

    key_bits = 0

    def __init__(self, public: bytes, lanes: Lanes) -> None:
        if public not in _PUBLIC.values():
            raise BrokenPromise("no key of this scheme")
        self.discloses_membership = public == _PUBLIC[True]
        self.answers = 0
        self._lanes = lanes
        self._rows: Int64s | None = None

    def hint(self, codes: Codes, layout: CellLayout, rng: Randomness) -> bytes:
        layout.check_codes(codes, self._lanes.rows)
        self._codes, self._layout = codes.copy(), layout
        return b"" if self.discloses_membership else rng.bytes(NONCE + layout.cells)

    def open_tree(self, blocks: list[bytes]) -> None:
        self._rows = None
        due = [min(BLOCK_ROWS, self._lanes.rows - start) for start in range(0, self._lanes.rows, BLOCK_ROWS)]
        if not self.discloses_membership:
            due = []
        if [len(block) for block in blocks] != [rows * PAIR for rows in due]:
            raise BrokenPromise(f"the blocks of a tree do not hold {self._lanes.rows} rows")
        if self.discloses_membership:
            self._rows = _checked_rows(b"".join(blocks), self._lanes)

    def answer(self, query: bytes, member: Bools | None, rng: Randomness) -> Sealed:
        if self.discloses_membership:
            if query or self._rows is None or member is None:
                raise BrokenPromise("rows are named, and a tree is open")
            rows = self._rows
        else:
            assert member is None, "a hidden node was named to the scheme"
            if len(query) < NONCE:
                raise BrokenPromise("the query is cut short")
            rows = _checked_rows(query[NONCE:], self._lanes)
        layout = FeatureLayout(self._layout.n_bins, (False,) * self._layout.features)
        self.answers += 1
        return Sealed(rng.bytes(NONCE) + _bytes(build(self._codes, layout, rows[:, 0], rows[:, 1], member)))


def change_sums(answer: bytes, cells: Int64s) -> Sealed:
    """The same answer with other sums."""
    return Sealed(answer[:NONCE] + _bytes(cells))


def read_sums(answer: bytes) -> Int64s:
    """The sums in an answer, int64[cells, 2]."""
    return np.frombuffer(answer[NONCE:], "<i8").reshape(-1, 2).astype(np.int64)


def _bytes(pairs: Int64s) -> bytes:
    return pairs.astype("<i8").tobytes()


def _pairs(data: bytes, count: int, what: str) -> Int64s:
    if len(data) != NONCE + count * PAIR:
        raise BrokenPromise(f"{what} has {len(data)} bytes; {NONCE + count * PAIR} were due")
    return read_sums(data)


def _checked_rows(data: bytes, lanes: Lanes) -> Int64s:
    rows = _pairs(bytes(NONCE) + data, lanes.rows, "the rows")
    g, h = rows[:, 0], rows[:, 1]
    # -2**63 has no absolute value in int64.
    if g.min() < -lanes.g_max or g.max() > lanes.g_max or h.min() < 0 or h.max() > lanes.h_max:
        raise BrokenPromise("a row is outside the bounds")
    return rows
