"""What a protocol may ask of an encryption scheme: group-by sums of encrypted (g, h) rows by (feature, bin) cell.

The active party holds the key (`KeyHolder`), a passive party holds the bins (`Evaluator`). Both live for one run:

    active                                       passive
    public()            ---- once per run ----> Evaluator(public, ...)
    accept_hint()       <--- once per run ----- hint(codes, layout), in blocks
    open_tree(g, h)     ---- once per tree ---> open_tree(blocks)
    query(members)      ---- some nodes ------> open_query(members or None, count), absorb(block)
    decrypt(answers)    <--- some nodes ------- answer() -> a Sealed for each

A query asks for the sums of several nodes of a tree at once, so that one pass over the rows serves them all.

Two schemes fit this shape. `paillier` encrypts the rows once per tree and names the rows of a node in the clear
(`discloses_membership`), so hint and query have no blocks. `lattice` sends a hint once per run and one encrypted vector
per node and value with zeros outside the node, so a tree has no blocks and the passive party is given no membership.
Blocks are made and taken one by one, so that nobody holds a whole query or hint in memory as bytes.

Errors: whatever fails because of bytes from the other side is `BrokenPromise`; whatever is wrong with a party's own
arguments is `UsageError`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import NewType, Protocol

import numpy as np
import numpy.typing as npt

from vfl.errors import UsageError
from vfl.randomness import Randomness

Int64s = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Codes = npt.NDArray[np.uint8] | npt.NDArray[np.uint16]

Sealed = NewType("Sealed", bytes)
"""A re-randomised value that may leave the house. Only a scheme's `seal` makes one."""

MAX_ROWS = 1 << 32
"""Rows of one run: a bound on what a peer can make us allocate, far above what one machine sums."""
MAX_CELLS = 1 << 24
"""Cells of one passive party: the same bound on the other axis."""
BLOCK_ROWS = 4096
"""Rows in one block of `KeyHolder.open_tree`: 2 MB at 2048 bits, below message bounds, and the lattice's block."""
MAX_NODES = 16
"""Nodes in one query: what bounds the memory that a level of a tree takes at both sides."""
GUARD_BITS = 1
"""Spare bits above each lane: a sum that reaches them cannot come from declared values, so the decoder sees it."""
_INT64_BITS = 63


@dataclass(frozen=True)
class Lanes:
    """How wide the sums of g and of h can grow: row count and bounds agreed for the run.

    `rows`: aligned rows of the run. `g_max`: largest |g| of a row, `h_max`: largest h of a row, both in fixed-point
    units. With S = rows * g_max every sum G of distinct rows satisfies |G| <= S, and with T = rows * h_max every sum H
    satisfies 0 <= H <= T. So G fits into bit_length(S) + 1 bits (sign) and H into bit_length(T) bits, and
    bit_length(S) <= ceil(log2(rows)) + bit_length(g_max): nothing can overflow. One guard bit per lane is added.

    `g_noise`, `h_noise`: half-width of each draw of a partner's noise on its cells (`cell_noise`); 0: none.

    Raises UsageError when a bound is not positive or a sum would not fit int64.
    """

    rows: int
    g_max: int
    h_max: int
    g_noise: int = 0
    h_noise: int = 0

    def __post_init__(self) -> None:
        if not 1 <= self.rows <= MAX_ROWS:
            raise UsageError(f"rows is {self.rows}; allowed: 1 to {MAX_ROWS}")
        for name, noise in (("g_noise", self.g_noise), ("h_noise", self.h_noise)):
            if not 0 <= noise <= self.rows * self.g_max:
                raise UsageError(f"{name} is {noise}; allowed: 0 to {self.rows * self.g_max}, the largest sum")
        for name, bound in (("g_max", self.g_max), ("h_max", self.h_max)):
            if bound < 1:
                raise UsageError(f"{name} is {bound}; allowed: at least 1")
            if (self.rows * bound).bit_length() > _INT64_BITS - GUARD_BITS:
                raise UsageError(
                    f"{name} is {bound}; allowed with {self.rows} rows: at most "
                    f"{(2 ** (_INT64_BITS - GUARD_BITS) - 1) // self.rows}, so that sums fit 64 bits"
                )

    @property
    def g_sum(self) -> int:
        """Largest |G|, in fixed-point units."""
        return self.rows * self.g_max

    @property
    def h_sum(self) -> int:
        """Largest H, in fixed-point units."""
        return self.rows * self.h_max

    def least_and_most(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """The smallest (G, H) and the largest that a cell can have, noise included: a cell gets two draws."""
        g, h = 2 * self.g_noise, 2 * self.h_noise
        return (-self.g_sum - g, -h), (self.g_sum + g, self.h_sum + h)

    @property
    def g_bits(self) -> int:
        """Width of the signed G lane: magnitude, sign, guard."""
        return self.g_sum.bit_length() + 1 + GUARD_BITS

    @property
    def h_bits(self) -> int:
        """Width of the unsigned H lane: magnitude, guard."""
        return self.h_sum.bit_length() + GUARD_BITS

    @property
    def cell_bits(self) -> int:
        """Width of one (G, H) cell, at most 128 bits."""
        return self.g_bits + self.h_bits


@dataclass(frozen=True)
class CellLayout:
    """The cells of one passive party: feature f owns cells offsets[f] .. offsets[f] + n_bins[f] - 1, in bin order."""

    n_bins: tuple[int, ...]

    def __post_init__(self) -> None:
        if not self.n_bins:
            raise UsageError("n_bins is empty; allowed: one entry per feature")
        for feature, count in enumerate(self.n_bins):
            if not 1 <= count <= 1 << 16:
                raise UsageError(f"n_bins[{feature}] is {count}; allowed: 1 to 65536")
        if self.cells > MAX_CELLS:
            raise UsageError(f"n_bins has {self.cells} cells in all; allowed: at most {MAX_CELLS}")

    @property
    def features(self) -> int:
        """Number of features."""
        return len(self.n_bins)

    @property
    def cells(self) -> int:
        """Cells of all features."""
        return sum(self.n_bins)

    @property
    def offsets(self) -> tuple[int, ...]:
        """First cell of each feature."""
        return (0, *accumulate(self.n_bins[:-1]))

    def check_codes(self, codes: Codes, rows: int) -> None:
        """`codes`: the bin of each row in each feature, uint8 or uint16, shape (rows, features). Raises UsageError."""
        if codes.dtype not in (np.dtype(np.uint8), np.dtype(np.uint16)):
            raise UsageError(f"codes has dtype {codes.dtype}; allowed: uint8, uint16")
        if codes.shape != (rows, self.features):
            raise UsageError(f"codes has shape {codes.shape}; allowed: {(rows, self.features)}")
        for feature, (largest, count) in enumerate(zip(codes.max(axis=0).tolist(), self.n_bins, strict=True)):
            if largest >= count:
                raise UsageError(f"codes of feature {feature} reach {largest}; allowed: 0 to {count - 1}")


class HintStore(Protocol):
    """Where hints are kept from one training to the next; names are 32 bytes."""

    def find(self, name: bytes) -> Iterator[bytes] | None:
        """The blocks kept under `name`, or None."""
        ...

    def keep(self, name: bytes, blocks: Iterator[bytes]) -> Iterator[bytes]:
        """`blocks` again, kept under `name` once the last one was taken."""
        ...


class NoHints:
    """Keeps nothing (`HintStore`)."""

    def find(self, name: bytes) -> Iterator[bytes] | None:
        return None

    def keep(self, name: bytes, blocks: Iterator[bytes]) -> Iterator[bytes]:
        return blocks


class KeyHolder(Protocol):
    """The active side of one run: encrypts rows, decrypts cell sums."""

    @property
    def name(self) -> str:
        """The scheme's name in agreements and reports."""
        ...

    @property
    def discloses_membership(self) -> bool:
        """Whether a passive party is told in the clear which rows are in a node."""
        ...

    @property
    def lanes(self) -> Lanes:
        """The bounds of the run."""
        ...

    def public(self) -> bytes:
        """Parameters, public key and proofs; sent once per run to each passive party."""
        ...

    def expose_base(self) -> bytes:
        """What an auditor is told, beside the public bytes and a tree's seed, to encrypt its rows again."""
        ...

    def expect_hint(self, peer: str, layout: CellLayout, name: bytes = b"") -> int:
        """Takes the layout that `peer` declared and the name of its hint; how many blocks of it are to be sent.

        None where the hint of that name is kept from before. Raises BrokenPromise.
        """
        ...

    def accept_hint(self, peer: str, block: bytes) -> None:
        """Takes the next block of the hint of `peer`. Raises BrokenPromise."""
        ...

    def open_tree(self, g: Int64s, h: Int64s, rng: Randomness) -> list[bytes]:
        """Fixes the row values of a tree; returns the blocks that go to every passive party.

        `g`, `h`: fixed-point units, int64, shape (rows,). Raises UsageError when a value exceeds the agreed lanes.
        `rng`: a child of its own for each call.
        """
        ...

    def query(self, members: Bools, rng: Randomness) -> Iterator[bytes]:
        """The blocks of a query; none where plain row sets say it all. `members`: bool, shape (nodes, rows)."""
        ...

    def decrypt(self, peer: str, answers: Sequence[bytes], layout: CellLayout) -> Int64s:
        """The cell sums of the latest query: int64, shape (nodes, cells, 2), columns G and H. Raises BrokenPromise."""
        ...


class Evaluator(Protocol):
    """The passive side of one run: sums what it cannot read, and seals what it sends."""

    @property
    def discloses_membership(self) -> bool:
        """Whether this party is told in the clear which rows are in a node; if so, the rows come once per tree."""
        ...

    @property
    def hint_name(self) -> bytes:
        """After `hint`: 32 bytes that are equal for equal hints and say nothing else; empty where there is none."""
        ...

    def hint(self, codes: Codes, layout: CellLayout, rng: Randomness) -> Iterator[bytes]:
        """Binds the bins for the run, at once; the blocks of what the key holder needs, one by one.

        `codes`: uint8 or uint16, shape (rows, features). Raises UsageError when they do not fit `layout`.
        """
        ...

    def open_tree(self, blocks: list[bytes]) -> None:
        """Takes the blocks of a tree, every value checked before any arithmetic. Raises BrokenPromise."""
        ...

    def open_query(self, members: Bools | None, nodes: int) -> int:
        """Begins a query over so many `nodes`, at most MAX_NODES; how many blocks it has.

        `members`: bool, shape (nodes, rows), for a scheme that discloses membership; None for one that hides it.
        Raises BrokenPromise where no query may come.
        """
        ...

    def absorb(self, block: bytes) -> None:
        """Takes the next block of the query. Raises BrokenPromise for a bad one."""
        ...

    def answer(self, rng: Randomness) -> list[Sealed]:
        """For each node the sums of the bound codes over its rows, packed and sealed. `rng`: a child for each call."""
        ...

    def go_on_after(self, nodes: int) -> None:
        """What is said next is what is said after so many nodes of the run were answered. For re-execution; forward
        only, after `hint`."""
        ...

    def idle(self) -> bool:
        """Does a little work ahead, for less than a second, that changes no byte. Whether some is left."""
        ...
