"""The append-only Merkle tree of RFC 6962 section 2.1, and its two proofs.

    leaf = SHA-256(0x00 || entry)        node = SHA-256(0x01 || left || right)        empty = SHA-256("")

A tree of n > 1 leaves splits at the largest power of two below n. Hashes are 32 bytes; leaves are given as leaf hashes.
Proofs are lists of hashes in the order of RFC 6962 2.1.1 and 2.1.2; they are checked as in RFC 9162 2.1.3.2, 2.1.4.2.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from hashlib import sha256

from ledger.errors import BadProof

HASH_BYTES = 32
EMPTY_ROOT = sha256(b"").digest()
ZERO_HASH = bytes(HASH_BYTES)
_HEX_HASH = re.compile(r"[0-9a-f]{64}", re.ASCII)


def leaf_hash(data: bytes) -> bytes:
    """SHA-256(0x00 || data)."""
    return sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """SHA-256(0x01 || left || right)."""
    return sha256(b"\x01" + left + right).digest()


def proof_from_hex(value: object) -> list[bytes]:
    """The hashes of a proof that JSON holds as a list of lowercase hex; raises BadProof."""
    if not isinstance(value, list):
        raise BadProof("the proof's path is no list")
    nodes = [node for node in value if isinstance(node, str) and _HEX_HASH.fullmatch(node)]
    if len(nodes) != len(value):
        raise BadProof("a hash of the proof is not 32 bytes in lowercase hex")
    return [bytes.fromhex(node) for node in nodes]


class Tree:
    """All complete subtree roots of a growing tree, one byte string per level (64 bytes a leaf in all)."""

    def __init__(self, leaves: Iterable[bytes] = ()) -> None:
        self._levels: list[bytearray] = [bytearray()]
        for leaf in leaves:
            self.append(leaf)

    def __len__(self) -> int:
        return len(self._levels[0]) // HASH_BYTES

    def append(self, leaf: bytes) -> None:
        """Add one leaf hash; amortised two hashes. Raises BadProof for another length than 32 bytes."""
        if len(leaf) != HASH_BYTES:
            raise BadProof(f"a leaf hash has 32 bytes, this one has {len(leaf)}")
        levels = self._levels
        level, count = 0, len(levels[0]) // HASH_BYTES
        levels[0] += leaf
        while count & 1:
            leaf = sha256(b"\x01" + levels[level][-2 * HASH_BYTES :]).digest()
            level, count = level + 1, count >> 1
            if level == len(levels):
                levels.append(bytearray())
            levels[level] += leaf

    def leaf(self, seq: int) -> bytes:
        """The leaf hash at position `seq`; raises BadProof outside the tree."""
        if not 0 <= seq < len(self):
            raise BadProof(f"there is no leaf {seq} in a tree of {len(self)}")
        return self._complete(0, seq)

    def root(self, size: int | None = None) -> bytes:
        """The root of the first `size` leaves (all by default); raises BadProof when there are not so many."""
        size = self._size(size)
        return self._range(0, size) if size else EMPTY_ROOT

    def inclusion_proof(self, seq: int, size: int | None = None) -> list[bytes]:
        """PATH(seq, D[size]): the hashes that lead from leaf `seq` to the root of `size` leaves."""
        low, high = 0, self._size(size)
        if not 0 <= seq < high:
            raise BadProof(f"there is no leaf {seq} in a tree of {high}")
        proof: list[bytes] = []
        while high - low > 1:
            middle = low + _split(high - low)
            if seq < middle:
                proof.append(self._range(middle, high))
                high = middle
            else:
                proof.append(self._range(low, middle))
                low = middle
        return proof[::-1]

    def consistency_proof(self, old: int, new: int | None = None) -> list[bytes]:
        """PROOF(old, D[new]): the hashes that show the first `old` leaves unchanged; empty for old 0 or old = new."""
        new = self._size(new)
        if not 0 <= old <= new:
            raise BadProof(f"there is no consistency proof from size {old} to size {new}")
        if old in (0, new):
            return []
        low, high, proof = 0, new, list[bytes]()
        while high != old:
            middle = low + _split(high - low)
            if old <= middle:
                proof.append(self._range(middle, high))
                high = middle
            else:
                proof.append(self._range(low, middle))
                low = middle
        if low > 0:
            proof.append(self._range(low, high))
        return proof[::-1]

    def _size(self, size: int | None) -> int:
        size = len(self) if size is None else size
        if not 0 <= size <= len(self):
            raise BadProof(f"the tree has {len(self)} leaves, not {size}")
        return size

    def _complete(self, level: int, index: int) -> bytes:
        return bytes(self._levels[level][index * HASH_BYTES : (index + 1) * HASH_BYTES])

    def _range(self, low: int, high: int) -> bytes:
        width = high - low
        if width & (width - 1) == 0:
            level = width.bit_length() - 1
            return self._complete(level, low >> level)
        middle = low + _split(width)
        return node_hash(self._range(low, middle), self._range(middle, high))


def root_of(leaves: Iterable[bytes]) -> bytes:
    """The root over leaf hashes."""
    level = list(leaves)
    while len(level) > 1:  # the last of an odd number goes up as it is: the largest complete subtrees are on the left
        level[: len(level) & ~1] = [node_hash(*pair) for pair in zip(level[::2], level[1::2], strict=False)]
    return level[0] if level else EMPTY_ROOT


def verify_inclusion(leaf: bytes, seq: int, size: int, proof: Sequence[bytes], root: bytes) -> None:
    """Raise BadProof unless `proof` leads from `leaf` at `seq` to the `root` of `size` leaves (RFC 9162 2.1.3.2)."""
    if not 0 <= seq < size:
        raise BadProof(f"there is no leaf {seq} in a tree of {size}")
    node, last, result = seq, size - 1, leaf
    for item in proof:
        if last == 0:
            raise BadProof(f"the inclusion proof of leaf {seq} in {size} is too long: {len(proof)} hashes")
        if node & 1 or node == last:
            result = node_hash(item, result)
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            result = node_hash(result, item)
        node, last = node >> 1, last >> 1
    if last != 0:
        raise BadProof(f"the inclusion proof of leaf {seq} in {size} is too short: {len(proof)} hashes")
    if result != root:
        raise BadProof(f"leaf {seq} is not under the root {root.hex()} of size {size}")


def verify_consistency(old: int, new: int, old_root: bytes, new_root: bytes, proof: Sequence[bytes]) -> None:
    """Raise BadProof unless the tree (old, old_root) is a prefix of (new, new_root) (RFC 9162 2.1.4.2).

    From size 0 every tree follows, with an empty proof; equal sizes need equal roots and an empty proof.
    """
    if not 0 <= old <= new:
        raise BadProof(f"a tree cannot shrink from size {old} to size {new}")
    if old in (0, new):
        _verify_trivial(old, new, old_root, new_root, proof)
        return
    path = [old_root, *proof] if old & (old - 1) == 0 else list(proof)
    if not path:
        raise BadProof(f"the consistency proof from {old} to {new} is empty")
    node, last = old - 1, new - 1
    while node & 1:
        node, last = node >> 1, last >> 1
    first = second = path[0]
    for item in path[1:]:
        if last == 0:
            raise BadProof(f"the consistency proof from {old} to {new} is too long: {len(proof)} hashes")
        if node & 1 or node == last:
            first, second = node_hash(item, first), node_hash(item, second)
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            second = node_hash(second, item)
        node, last = node >> 1, last >> 1
    if last != 0 or first != old_root or second != new_root:
        raise BadProof(f"the head of size {new} is not a continuation of the head of size {old}")


def _verify_trivial(old: int, new: int, old_root: bytes, new_root: bytes, proof: Sequence[bytes]) -> None:
    if proof:
        raise BadProof(f"the consistency proof from {old} to {new} must be empty")
    if old == new and old_root != new_root:
        raise BadProof(f"two different roots for the same size {new}")
    if old == 0 and old_root != EMPTY_ROOT:
        raise BadProof("the root of an empty tree must be SHA-256 of nothing")


def _split(width: int) -> int:
    return 1 << ((width - 1).bit_length() - 1)
