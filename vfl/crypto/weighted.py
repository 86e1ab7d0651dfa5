"""Weighted group-by sums in two shares: one party's numbers, the other's bins, and each learns half of the answer.

    S_f = sum over the bins b of feature f of weight_b sum of v_i over i in b          v: a number of each row

The key holder has v, the evaluator the bins. Instead of S the two end with numbers that add up to it modulo M, each
uniform by itself; whoever is to learn S gets the other's share. The weights are known to both.

    lattice     the evaluator adds a uniform mask mod M = 2^k to every cell before it seals; the key holder decrypts
                masked cells and weights them itself, the evaluator weights its masks
    paillier    the evaluator raises each cell to its weight, multiplies the cells of a feature and adds a uniform
                mask mod M = n: one ciphertext a feature

A row's number v is in -1 to 1, told in units of 2^-(2 bits): the upper half signed in the lane of g, the lower half in
that of h. So both lanes hold weighted sums, and neither wraps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from vfl.crypto import lattice
from vfl.crypto.fixed_base import from_bytes, to_bytes
from vfl.crypto.lattice import LatticeEvaluator, LatticeKeyHolder, LatticeParameters
from vfl.crypto.paillier import PaillierEvaluator, PaillierKeyHolder
from vfl.crypto.paillier_keys import parse_public
from vfl.crypto.scheme import CellLayout, Evaluator, Int64s, KeyHolder, Lanes, Sealed
from vfl.errors import BrokenPromise, UsageError
from vfl.randomness import Randomness

Reals = npt.NDArray[np.float64]
LEAST_BITS = 4
"""Of each half of a row's number: fewer say nothing."""


class ShareHolder(Protocol):
    """The side with the key and the numbers."""

    @property
    def key(self) -> KeyHolder:
        """Encrypts rows and takes hints; not for decryption."""
        ...

    def share(self, peer: str, answer: bytes, layout: CellLayout, weights: Int64s) -> bytes:
        """Our share of the sums in a masked answer. Raises BrokenPromise for a bad one."""
        ...

    def join(self, mine: bytes, theirs: bytes) -> Int64s:
        """The sums, int64[features, 2], from both shares. Raises BrokenPromise for a bad one of theirs."""
        ...


class ShareEvaluator(Protocol):
    """The side with the bins."""

    @property
    def evaluator(self) -> Evaluator:
        """Takes rows and queries; not for answers."""
        ...

    def answer(self, weights: Int64s, rng: Randomness) -> tuple[Sealed, bytes]:
        """A masked answer to the query, and our share of the sums. `weights`: int64[cells]."""
        ...

    def join(self, mine: bytes, theirs: bytes) -> Int64s:
        """The sums, int64[features, 2], from both shares. Raises BrokenPromise for a bad one of theirs."""
        ...


@dataclass(frozen=True)
class Room:
    """What bounds the sums of a run.

    rows: that have numbers.   weight: no less than the average absolute weight of the rows, by any feature.
    cells: of any evaluator at most.   queries: of the run at most.
    """

    rows: int
    weight: int
    cells: int
    queries: int


class Shares(Protocol):
    """What was agreed: both sides for a run."""

    def bits(self, room: Room) -> int:
        """Bits of each half of a row's number."""
        ...

    def holder(self, room: Room, rng: Randomness) -> ShareHolder:
        """A fresh key for the run."""
        ...

    def evaluator(self, scheme: str, public: bytes, room: Room) -> ShareEvaluator:
        """The other side for a key just received. Raises BrokenPromise if it is not the one agreed."""
        ...


@dataclass(frozen=True)
class ShareTerms:
    """What was agreed about the encryption. `wanted_bits`: of a row's number, both halves together."""

    scheme: str
    run: str
    key_bits: int
    wanted_bits: int

    def bits(self, room: Room) -> int:
        """Bits of each half of a row's number. Raises UsageError where too few are left."""
        wanted, own = (self.wanted_bits + 1) // 2, room.weight.bit_length()
        if self.scheme != lattice.NAME:
            return wanted
        for bits in range(wanted, LEAST_BITS - 1, -1):
            try:
                LatticeParameters(_lanes(room, bits), room.cells, room.queries)
            except UsageError:
                continue
            return bits
        raise UsageError(
            f"{room.rows} rows, {room.cells} bins, {room.queries} sums of each and weights of {own} bits leave fewer "
            f"than {LEAST_BITS} of the {wanted} bits asked for",
            remedy='Use fewer bins, iterations or woe_bits, or scheme = "paillier".',
        )

    def holder(self, room: Room, rng: Randomness) -> ShareHolder:
        """A fresh key for the run."""
        lanes = _lanes(room, self.bits(room))
        if self.scheme == lattice.NAME:
            parameters = LatticeParameters(lanes, room.cells, room.queries)
            return LatticeShareHolder(LatticeKeyHolder(parameters, self.run.encode(), rng), parameters)
        key = PaillierKeyHolder(lanes, self.run.encode(), rng, bits=self.key_bits, trees=room.queries)
        return PaillierShareHolder(key)

    def evaluator(self, scheme: str, public: bytes, room: Room) -> ShareEvaluator:
        """The other side for a key just received. Raises BrokenPromise if it is not of the scheme and size agreed."""
        if scheme != self.scheme:
            raise BrokenPromise(f"offers scheme {scheme[:40]!r}, but {self.scheme!r} was agreed")
        try:
            lanes, context = _lanes(room, self.bits(room)), self.run.encode()
        except UsageError as error:
            raise BrokenPromise(f"names bounds that cannot be: {error}") from None
        if self.scheme == lattice.NAME:
            parameters = LatticeParameters(lanes, room.cells, room.queries)
            return LatticeShareEvaluator(LatticeEvaluator(public, parameters, context), parameters)
        found = PaillierEvaluator(public, lanes, context, queries=room.queries, trees=room.queries)
        if found.key_bits != self.key_bits:
            raise BrokenPromise(f"offers a key of {found.key_bits} bits, but {self.key_bits} were agreed")
        return PaillierShareEvaluator(found, parse_public(public, context).n, lanes)


def _lanes(room: Room, bits: int) -> Lanes:
    """Room for weighted sums."""
    return Lanes(room.rows, room.weight << bits, room.weight << bits)


def halves(values: Reals, bits: int) -> tuple[Int64s, Int64s]:
    """Numbers in -1 to 1, float64[n], as the lanes carry them: int64[n] each."""
    units = np.rint(np.ldexp(values, 2 * bits)).astype(np.int64)
    return units >> bits, units & ((1 << bits) - 1)


def whole(sums: Int64s, bits: int) -> Reals:
    """Sums of numbers, float64[n], from those of their halves, int64[n, 2]."""
    return np.ldexp(sums[:, 0].astype(np.float64), -bits) + np.ldexp(sums[:, 1].astype(np.float64), -2 * bits)


def weigh(cells: Int64s, layout: CellLayout, weights: Int64s) -> Int64s:
    """Sums of weighted cells by feature, modulo 2^64: int64[cells, 2] -> int64[features, 2]."""
    return np.add.reduceat(cells * weights[:, None], layout.offsets, axis=0)


class LatticeShareHolder:
    """`ShareHolder` of the `lattice` scheme."""

    def __init__(self, key: LatticeKeyHolder, parameters: LatticeParameters) -> None:
        self._key, self._parameters = key, parameters

    @property
    def key(self) -> KeyHolder:
        """Encrypts rows and takes hints."""
        return self._key

    def share(self, peer: str, answer: bytes, layout: CellLayout, weights: Int64s) -> bytes:
        """Our share."""
        masked = self._key.residues(peer, [answer], layout)[0]
        return _words(weigh(masked, layout, weights), self._parameters.modulus_bits)

    def join(self, mine: bytes, theirs: bytes) -> Int64s:
        """The sums."""
        return _join_words(mine, theirs, self._parameters)


class LatticeShareEvaluator:
    """`ShareEvaluator` of the `lattice` scheme."""

    def __init__(self, evaluator: LatticeEvaluator, parameters: LatticeParameters) -> None:
        self._evaluator, self._parameters = evaluator, parameters

    @property
    def evaluator(self) -> Evaluator:
        """Takes rows and queries."""
        return self._evaluator

    def answer(self, weights: Int64s, rng: Randomness) -> tuple[Sealed, bytes]:
        """A masked answer and our share."""
        sealed, masks = self._evaluator.answer_masked(rng)
        weighed = weigh(-masks, self._evaluator.layout, weights)
        return sealed, _words(weighed, self._parameters.modulus_bits)

    def join(self, mine: bytes, theirs: bytes) -> Int64s:
        """The sums."""
        return _join_words(mine, theirs, self._parameters)


def _words(sums: Int64s, bits: int) -> bytes:
    """Numbers modulo 2^bits, 8 bytes each."""
    return (sums & ((1 << bits) - 1)).astype("<i8").tobytes()


def _join_words(mine: bytes, theirs: bytes, parameters: LatticeParameters) -> Int64s:
    if len(theirs) != len(mine):
        raise BrokenPromise(f"a share of {len(theirs)} bytes; {len(mine)} were due")
    bits = parameters.modulus_bits
    told = np.frombuffer(theirs, "<i8").astype(np.int64)
    if told.min(initial=0) < 0 or told.max(initial=0) >> bits:
        raise BrokenPromise(f"a share is a number of {bits} bits")
    total = np.frombuffer(mine, "<i8").astype(np.int64) + told
    signed: Int64s = (total << (64 - bits)) >> (64 - bits)
    return signed.reshape(-1, 2)


class PaillierShareHolder:
    """`ShareHolder` of the `paillier` scheme."""

    def __init__(self, key: PaillierKeyHolder) -> None:
        self._key, self._n = key, key.key.public.n

    @property
    def key(self) -> KeyHolder:
        """Encrypts rows."""
        return self._key

    def share(self, peer: str, answer: bytes, layout: CellLayout, weights: Int64s) -> bytes:
        """Our share: the masked sums as they are."""
        return _residues(self._key.residues(peer, answer, layout.features), self._n)

    def join(self, mine: bytes, theirs: bytes) -> Int64s:
        """The sums."""
        return _join_residues(mine, theirs, self._n, self._key.lanes)


class PaillierShareEvaluator:
    """`ShareEvaluator` of the `paillier` scheme."""

    def __init__(self, evaluator: PaillierEvaluator, n: int, lanes: Lanes) -> None:
        self._evaluator, self._n, self._lanes = evaluator, n, lanes

    @property
    def evaluator(self) -> Evaluator:
        """Takes rows and queries."""
        return self._evaluator

    def answer(self, weights: Int64s, rng: Randomness) -> tuple[Sealed, bytes]:
        """A masked answer and our share."""
        sealed, masks = self._evaluator.answer_weighted(weights, rng)
        return sealed, _residues([-mask % self._n for mask in masks], self._n)

    def join(self, mine: bytes, theirs: bytes) -> Int64s:
        """The sums."""
        return _join_residues(mine, theirs, self._n, self._lanes)


def _residues(values: Sequence[int], n: int) -> bytes:
    width = (n.bit_length() + 7) // 8
    return b"".join(to_bytes(value, width) for value in values)


def _join_residues(mine: bytes, theirs: bytes, n: int, lanes: Lanes) -> Int64s:
    """The sums: a plaintext is G 2^h_bits + H, both signed."""
    if len(theirs) != len(mine):
        raise BrokenPromise(f"a share of {len(theirs)} bytes; {len(mine)} were due")
    width, half = (n.bit_length() + 7) // 8, 1 << (lanes.h_bits - 1)
    sums = []
    for start in range(0, len(mine), width):
        told = from_bytes(theirs[start : start + width])
        if told >= n:
            raise BrokenPromise("a share is below the modulus")
        total = int(from_bytes(mine[start : start + width]) + told) % n
        signed = total - n if total > n // 2 else total
        low = ((signed + half) & (2 * half - 1)) - half
        high = (signed - low) >> lanes.h_bits
        if max(abs(high), abs(low)) > lanes.g_sum:
            raise BrokenPromise("a sum is beyond what the agreed bounds allow")
        sums.append((high, low))
    return np.array(sums, dtype=np.int64).reshape(-1, 2)
