"""Weighted sums in two shares without encryption: same messages and checks, no cost (`vfl.crypto.weighted`)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from clear_scheme import NONCE, ClearEvaluator, ClearKeyHolder, read_sums

from vfl.crypto.scheme import CellLayout, Int64s, Lanes, Sealed
from vfl.crypto.weighted import Room, weigh
from vfl.errors import BrokenPromise
from vfl.randomness import Randomness

MODULUS = 1 << 60


@dataclass
class ClearShareHolder:
    key: ClearKeyHolder

    def share(self, peer: str, answer: bytes, layout: CellLayout, weights: Int64s) -> bytes:
        if len(answer) != NONCE + 16 * layout.cells:
            raise BrokenPromise("an answer of another size", peer=peer)
        return _words(weigh(read_sums(answer), layout, weights))

    def join(self, mine: bytes, theirs: bytes) -> Int64s:
        return _join(mine, theirs)


@dataclass
class ClearShareEvaluator:
    evaluator: ClearEvaluator

    def answer(self, weights: Int64s, rng: Randomness) -> tuple[Sealed, bytes]:
        found = self.evaluator.answer(rng)[0]
        cells = read_sums(found)
        masks = (rng.child("mask").uint64(cells.size) % np.uint64(MODULUS)).astype(np.int64).reshape(cells.shape)
        masked = ((cells + masks) % MODULUS).astype("<i8").tobytes()
        return Sealed(found[:NONCE] + masked), _words(weigh(-masks, self.evaluator._layout, weights))

    def join(self, mine: bytes, theirs: bytes) -> Int64s:
        return _join(mine, theirs)


@dataclass
class ClearShares:
    """`named`: the flavour of `clear_scheme`."""

    named: bool

    def bits(self, room: Room) -> int:
        return 12

    def holder(self, room: Room, rng: Randomness) -> ClearShareHolder:
        return ClearShareHolder(ClearKeyHolder(self._lanes(room.rows), discloses_membership=self.named))

    def evaluator(self, scheme: str, public: bytes, room: Room) -> ClearShareEvaluator:
        if scheme != "clear":
            raise BrokenPromise("another scheme was agreed on")
        return ClearShareEvaluator(ClearEvaluator(public, self._lanes(room.rows)))

    def _lanes(self, rows: int) -> Lanes:
        return Lanes(rows, 1 << 12, 1 << 12)


def _words(sums: Int64s) -> bytes:
    return (sums % MODULUS).astype("<i8").tobytes()


def _join(mine: bytes, theirs: bytes) -> Int64s:
    if len(mine) != len(theirs):
        raise BrokenPromise("a share of another size")
    total = (np.frombuffer(mine, "<u8") + np.frombuffer(theirs, "<u8")) % np.uint64(MODULUS)
    signed = total.astype(np.int64)
    return np.where(signed >= MODULUS // 2, signed - MODULUS, signed).reshape(-1, 2)
