"""What a party commits to before anything is learned: its columns, labels, hold-out, and the seeds of all rounds.

    column   root over blocks of 1,024 aligned rows     leaf = SHA-256(0x00 || salt of the block || its bytes)
    seeds    root over the rounds                       leaf = SHA-256(0x00 || commitment of the round's seed)

Trees are those of RFC 6962. Salts are 32 bytes from the party's seed, one a block, so that a block can be opened to a
regulator without another one becoming guessable, and a round's seed without those of other rounds. A value is written
as 8 bytes, little-endian IEEE 754; a yes or no, and a label of an integer type, as its own little-endian bytes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ledger.errors import BadProof
from ledger.merkle import Tree, leaf_hash, verify_inclusion
from vfl.randomness import SEED_BYTES, Randomness

BLOCK = 1024
"""Rows in a block."""
SALT = 32
"""Bytes of a salt."""
COLUMN, SEEDS, DIGEST = "merkle-sha256/1024", "merkle-sha256/1", "hmac-sha256"
Column = npt.NDArray[np.generic]


@dataclass(frozen=True)
class Commitment:
    """What stands in the ledger: `digest` (32 bytes) of the thing `kind`, made as `alg` says over `count` parts."""

    kind: str
    alg: str
    digest: bytes
    count: int

    def to_json(self) -> dict[str, object]:
        """The object in an entry's `commit`."""
        return {"kind": self.kind, "alg": self.alg, "digest": self.digest.hex(), "count": self.count}


@dataclass(frozen=True)
class Opened:
    """One block of a column, shown to whom it may concern: its place, salt, bytes and inclusion path."""

    block: int
    salt: bytes
    content: bytes
    path: Sequence[bytes]

    def verify(self, committed: Commitment) -> None:
        """Raise ledger.errors.BadProof unless this is the block that was committed to."""
        blocks = -(-committed.count // BLOCK)
        verify_inclusion(leaf_hash(self.salt + self.content), self.block, blocks, self.path, committed.digest)


@dataclass(frozen=True)
class OpenedColumn:
    """A whole column, shown to whom it may concern: the salt of each block, and the bytes of all."""

    salts: Sequence[bytes]
    content: bytes

    def verify(self, committed: Commitment, width: int) -> None:
        """Raise ledger.errors.BadProof unless this is the column that was committed to. `width`: bytes of a value."""
        step = BLOCK * width
        blocks = [self.content[start : start + step] for start in range(0, max(len(self.content), 1), step)]
        leaves = [leaf_hash(salt + block) for salt, block in zip(self.salts, blocks, strict=False)]
        sizes = len(self.salts) == len(blocks) and len(self.content) == committed.count * width
        if not sizes or any(len(salt) != SALT for salt in self.salts) or Tree(leaves).root() != committed.digest:
            raise BadProof(f"this is not the {committed.kind} that was committed to")


@dataclass(frozen=True)
class OpenedSeed:
    """The seed of one round, shown to whom it may concern, and its inclusion path."""

    number: int
    seed: bytes
    path: Sequence[bytes]

    def verify(self, committed: Commitment) -> Randomness:
        """The stream itself. Raises ledger.errors.BadProof unless this is the seed that was committed to."""
        if len(self.seed) != SEED_BYTES:
            raise BadProof(f"a seed has {SEED_BYTES} bytes, not {len(self.seed)}")
        found = Randomness(self.seed)
        verify_inclusion(leaf_hash(found.commitment()), self.number, committed.count, self.path, committed.digest)
        return found


def commit_column(kind: str, values: Column, rng: Randomness) -> Commitment:
    """Commit to a column over the aligned rows, shape (n,). `rng`: a child of its own for each column."""
    return Commitment(kind, COLUMN, _tree(values, rng).root(), len(values))


def commit_columns(names: Sequence[str], values: npt.NDArray[np.float64], rng: Randomness) -> list[Commitment]:
    """The same for every feature: `column/NAME`, each with a salt stream of its own."""
    return [
        commit_column(f"column/{name}", values[:, place], rng.child(f"column/{name}"))
        for place, name in enumerate(names)
    ]


def commit_arrays(arrays: Mapping[str, Column], rng: Randomness) -> list[Commitment]:
    """The same for labels, hold-out and weights."""
    return [commit_column(kind, values, rng.child(kind)) for kind, values in arrays.items()]


def commit_seeds(kind: str, rounds: Sequence[Randomness]) -> Commitment:
    """Commit to the seed of every round."""
    return Commitment(kind, SEEDS, _seeds(rounds).root(), len(rounds))


def open_block(values: Column, rng: Randomness, block: int) -> Opened:
    """Block number `block` of a column that was committed to with the same `values` and `rng`."""
    content = list(_blocks(values))[block]
    return Opened(block, _salt(rng, block), content, _tree(values, rng).inclusion_proof(block))


def open_column(values: Column, rng: Randomness) -> OpenedColumn:
    """All blocks of a column that was committed to with the same `values` and `rng`."""
    blocks = list(_blocks(values))
    return OpenedColumn([_salt(rng, block) for block in range(len(blocks))], b"".join(blocks))


def open_seed(rounds: Sequence[Randomness], number: int) -> OpenedSeed:
    """One of the seeds that were committed to."""
    return OpenedSeed(number, rounds[number].expose_seed(), _seeds(rounds).inclusion_proof(number))


def _seeds(rounds: Sequence[Randomness]) -> Tree:
    return Tree(leaf_hash(one.commitment()) for one in rounds)


def _tree(values: Column, rng: Randomness) -> Tree:
    return Tree(leaf_hash(_salt(rng, block) + content) for block, content in enumerate(_blocks(values)))


def _salt(rng: Randomness, block: int) -> bytes:
    return rng.child(f"salt/{block}").bytes(SALT)


def _blocks(values: Column) -> Iterator[bytes]:
    """The bytes of each block; one empty block for no rows at all."""
    plain = np.ascontiguousarray(values).astype(values.dtype.newbyteorder("<"), copy=False)
    for start in range(0, max(len(plain), 1), BLOCK):
        yield plain[start : start + BLOCK].tobytes()
