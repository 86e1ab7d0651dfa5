"""Which schemes exist, by name: the one place where a scheme's name becomes code."""

from __future__ import annotations

from dataclasses import dataclass

from vfl.crypto import lattice, paillier
from vfl.crypto.lattice import LatticeEvaluator, LatticeKeyHolder, LatticeParameters
from vfl.crypto.paillier import PaillierEvaluator, PaillierKeyHolder
from vfl.crypto.paillier_again import RowsAgain
from vfl.crypto.scheme import Evaluator, HintStore, KeyHolder, Lanes
from vfl.engine import HERE, Engine
from vfl.errors import BrokenPromise
from vfl.randomness import Randomness

LEVELS = {lattice.NAME: "hidden", paillier.NAME: "disclosed"}
"""The privacy level of each scheme; the first is the default."""


@dataclass(frozen=True)
class SchemeTerms:
    """What was agreed about encryption, and the bounds of the run.

    cells: histogram cells of any one passive party at most.   trees, queries: of the whole run at most.
    fixed_bits: fixed-point bits wanted; a scheme may afford fewer.
    cell_noise: half-width of the noise on a partner's cells, in largest gradients of one row.
    """

    scheme: str
    run: str
    key_bits: int
    cells: int
    trees: int
    queries: int
    fixed_bits: int
    cell_noise: float = 0.0

    @property
    def names_rows(self) -> bool:
        """Whether the rows of a node are named in the clear, and encrypted once a tree."""
        return LEVELS[self.scheme] == "disclosed"

    def bits(self, rows: int) -> int:
        """Fixed-point bits of gradients over `rows` training rows. Raises UsageError where too few are left."""
        if self.scheme == lattice.NAME:
            return lattice.affordable_bits(rows, self.cells, self.queries, self.fixed_bits, self.cell_noise)
        return self.fixed_bits

    def lanes(self, rows: int) -> Lanes:
        """The bounds of one row's values, |g| <= 1 and 0 <= h <= 1/4, in fixed-point units."""
        scale = 1 << self.bits(rows)
        g_noise, h_noise = round(self.cell_noise * scale), round(self.cell_noise * scale / 4)
        return Lanes(rows, scale, scale // 4, g_noise, h_noise)

    def key_holder(self, rows: int, rng: Randomness, hints: HintStore | None = None) -> KeyHolder:
        """A fresh key for the run. `hints`: what is kept of earlier trainings."""
        if self.scheme == lattice.NAME:
            return LatticeKeyHolder(self._lattice(rows), self.run.encode(), rng, hints)
        return PaillierKeyHolder(self.lanes(rows), self.run.encode(), rng, bits=self.key_bits, trees=self.trees)

    def rows_again(self, public: bytes, rows: int, base: bytes) -> RowsAgain | LatticeKeyHolder:
        """What encrypts rows as the key holder did whose public bytes and `base` these are, for an auditor.

        Raises BrokenPromise for bytes that are none.
        """
        if self.scheme == lattice.NAME:
            return LatticeKeyHolder.again(self._lattice(rows), self.run.encode(), public)
        return RowsAgain(public, self.lanes(rows), self.run.encode(), base)

    def evaluator(
        self, scheme: str, public: bytes, rows: int, hints: HintStore | None = None, engine: Engine = HERE
    ) -> Evaluator:
        """The passive side for a key just received. Raises BrokenPromise if it is not of the scheme and size agreed."""
        if scheme != self.scheme:
            raise BrokenPromise(f"offers scheme {scheme[:40]!r}, but {self.scheme!r} was agreed")
        if self.scheme == lattice.NAME:
            return LatticeEvaluator(public, self._lattice(rows), self.run.encode(), hints, engine)
        context = self.run.encode()
        found = PaillierEvaluator(public, self.lanes(rows), context, queries=self.queries, trees=self.trees)
        if found.key_bits != self.key_bits:
            raise BrokenPromise(f"offers a key of {found.key_bits} bits, but {self.key_bits} were agreed")
        return found

    def _lattice(self, rows: int) -> LatticeParameters:
        return LatticeParameters(self.lanes(rows), self.cells, self.queries)
