"""A scheme without encryption, in both flavours that the protocols know: same messages, same checks, no cost.

    discloses_membership=True    rows once per tree, in blocks; queries name the rows of a node (as `paillier`)
    discloses_membership=False   a hint in two blocks, no rows with a tree; a query has one pair a row and node, zero
                                 outside the node, in three blocks (as `lattice`, which has so many for more rows only)

Answers and the blocks of hints and hidden queries begin with drawn bytes, so that another seed gives other bytes, as it
does in real schemes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from vfl.crypto.cell_noise import cell_noise
from vfl.crypto.scheme import BLOCK_ROWS, Bools, CellLayout, Codes, Int64s, Lanes, Sealed
from vfl.errors import BrokenPromise, UsageError
from vfl.learn.histogram import FeatureLayout, build
from vfl.randomness import Randomness

NONCE = 16
PAIR = 16  # bytes of one (g, h) or (G, H)
QUERY_BLOCKS = 3
_PUBLIC = {True: b"clear, rows named", False: b"clear, rows hidden"}


class ClearKeyHolder:
    """The active side (`scheme.KeyHolder`)."""

    name = "clear"

    def __init__(self, lanes: Lanes, *, discloses_membership: bool) -> None:
        self.discloses_membership = discloses_membership
        self.lanes = self._lanes = lanes
        self._rows = np.zeros((0, 2), np.int64)
        self._layouts: dict[str, CellLayout] = {}
        self._due: dict[str, list[int]] = {}  # bytes of the hint's blocks to come

    def public(self) -> bytes:
        return _PUBLIC[self.discloses_membership]

    def expect_hint(self, peer: str, layout: CellLayout, name: bytes = b"") -> int:
        if peer in self._layouts:
            raise BrokenPromise("a second layout came; one belongs to a run", peer=peer)
        self._layouts[peer] = layout
        self._due[peer] = [] if self.discloses_membership else _hint_sizes(layout)
        return len(self._due[peer])

    def accept_hint(self, peer: str, block: bytes) -> None:
        due = self._due[peer].pop(0) if self._due[peer] else 0
        if len(block) != due or not due:
            raise BrokenPromise(f"a hint of {len(block)} bytes; {due} were due", peer=peer)

    def open_tree(self, g: Int64s, h: Int64s, rng: Randomness) -> list[bytes]:
        lanes = self._lanes
        if g.shape != (lanes.rows,) or np.abs(g).max() > lanes.g_max or h.min() < 0 or h.max() > lanes.h_max:
            raise UsageError("the rows do not fit the lanes")
        self._rows = np.column_stack([g, h])
        if not self.discloses_membership:
            return []
        return [_bytes(self._rows[start : start + BLOCK_ROWS]) for start in range(0, lanes.rows, BLOCK_ROWS)]

    def query(self, members: Bools, rng: Randomness) -> Iterator[bytes]:
        if self.discloses_membership:
            return iter(())
        masked = np.concatenate([np.where(member[:, None], self._rows, 0) for member in members], axis=1)
        return (rng.child(str(i)).bytes(NONCE) + _bytes(part) for i, part in enumerate(_parts(masked)))

    def decrypt(self, peer: str, answers: Sequence[bytes], layout: CellLayout) -> Int64s:
        return np.stack([self._decrypt_node(peer, answer, layout) for answer in answers])

    def _decrypt_node(self, peer: str, answer: bytes, layout: CellLayout) -> Int64s:
        if self._layouts[peer] != layout:
            raise UsageError("the layout is not the one that was declared")
        if self._due[peer]:
            raise UsageError("the hint is not complete")
        sums = _pairs(answer, layout.cells, "the answer")
        most = self._lanes.least_and_most()[1]
        if np.any((sums < np.negative(most)) | (sums > most)):
            raise BrokenPromise("a sum that no rows within the bounds have")
        return sums


class ClearEvaluator:
    """The passive side (`scheme.Evaluator`). `answers`: how many sums it has given."""

    def __init__(self, public: bytes, lanes: Lanes) -> None:
        if public not in _PUBLIC.values():
            raise BrokenPromise("no key of this scheme")
        self.discloses_membership = public == _PUBLIC[True]
        self.answers = 0
        self._lanes = lanes
        self._rows: Int64s | None = None
        self._members: Bools | None = None
        self._nodes = 0
        self._blocks: list[Int64s] | None = None

    hint_name = b""

    def hint(self, codes: Codes, layout: CellLayout, rng: Randomness) -> Iterator[bytes]:
        layout.check_codes(codes, self._lanes.rows)
        self._codes, self._layout = codes.copy(), layout
        if self.discloses_membership:
            return iter(())
        return (rng.child(str(i)).bytes(size) for i, size in enumerate(_hint_sizes(layout)))

    def open_tree(self, blocks: list[bytes]) -> None:
        self._rows = None
        due = [min(BLOCK_ROWS, self._lanes.rows - start) for start in range(0, self._lanes.rows, BLOCK_ROWS)]
        if not self.discloses_membership:
            due = []
        if [len(block) for block in blocks] != [rows * PAIR for rows in due]:
            raise BrokenPromise(f"the blocks of a tree do not hold {self._lanes.rows} rows")
        if self.discloses_membership:
            self._rows = _checked_rows(bytes(NONCE) + b"".join(blocks), self._lanes.rows, self._lanes)

    def open_query(self, members: Bools | None, nodes: int) -> int:
        if not self.discloses_membership:
            assert members is None, "a hidden node was named to the scheme"
        elif self._rows is None or members is None:
            raise BrokenPromise("rows are named, and a tree is open")
        self._members, self._nodes, self._blocks = members, nodes, []
        return self._query_blocks

    @property
    def _query_blocks(self) -> int:
        return 0 if self.discloses_membership else QUERY_BLOCKS

    def absorb(self, block: bytes) -> None:
        if self._blocks is None or len(self._blocks) == self._query_blocks:
            raise BrokenPromise("a block that no query has")
        due = len(_parts(np.zeros((self._lanes.rows, 2), np.int64))[len(self._blocks)])
        rows = _checked_rows(block, due * self._nodes, self._lanes)
        self._blocks.append(rows.reshape(due, self._nodes, 2))

    def answer(self, rng: Randomness) -> list[Sealed]:
        if self._blocks is None or len(self._blocks) != self._query_blocks:
            raise UsageError("the query is not complete")
        members, blocks, self._blocks = self._members, self._blocks, None
        if members is not None:
            assert self._rows is not None
            nodes = [np.where(member[:, None], self._rows, 0) for member in members]
        else:
            nodes = list(np.moveaxis(np.concatenate(blocks), 1, 0))
        layout = FeatureLayout(self._layout.n_bins, (False,) * self._layout.features)
        self.answers += self._nodes
        sums = [build(self._codes, layout, rows[:, 0], rows[:, 1]) for rows in nodes]
        noise = [cell_noise(self._layout, self._lanes, rng.child(str(node))) for node in range(len(nodes))]
        return [Sealed(rng.bytes(NONCE) + _bytes(cells + added)) for cells, added in zip(sums, noise, strict=True)]

    def idle(self) -> bool:
        return False


def change_sums(answer: bytes, cells: Int64s) -> Sealed:
    """The same answer with other sums."""
    return Sealed(answer[:NONCE] + _bytes(cells))


def read_sums(answer: bytes) -> Int64s:
    """The sums in an answer, int64[cells, 2]."""
    return np.frombuffer(answer[NONCE:], "<i8").reshape(-1, 2).astype(np.int64)


def _hint_sizes(layout: CellLayout) -> list[int]:
    """Bytes of each block of a hint."""
    return [NONCE + layout.cells, NONCE]


def _parts(rows: Int64s) -> list[Int64s]:
    """The rows of each block of a query; a block may have none."""
    return np.array_split(rows, QUERY_BLOCKS)


def _bytes(pairs: Int64s) -> bytes:
    return pairs.astype("<i8").tobytes()


def _pairs(data: bytes, count: int, what: str) -> Int64s:
    if len(data) != NONCE + count * PAIR:
        raise BrokenPromise(f"{what} has {len(data)} bytes; {NONCE + count * PAIR} were due")
    return read_sums(data)


def _checked_rows(data: bytes, count: int, lanes: Lanes) -> Int64s:
    rows = _pairs(data, count, "the rows")
    if not count:
        return rows
    g, h = rows[:, 0], rows[:, 1]
    # -2**63 has no absolute value in int64.
    if g.min() < -lanes.g_max or g.max() > lanes.g_max or h.min() < 0 or h.max() > lanes.h_max:
        raise BrokenPromise("a row is outside the bounds")
    return rows
