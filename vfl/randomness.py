"""Randomness as an argument: one seed per party and run, children by label.

A role never draws from module state. It is handed a `Randomness`, derives children by label
(`rng.child("tree/3").child("seal")`) and draws from those, so that the same seed gives the same bytes again: that is
what makes replay, crash recovery and a regulator's re-execution possible.

    seed_child = SHA-256("tallystick-randomness-v1" || len(label) || label || seed)
    stream     = ChaCha20(key = seed, nonce = 0)            (RFC 8439, counter from 0)

Drawing advances the stream of this object only; deriving a child does not.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from typing import NoReturn

import numpy as np
import numpy.typing as npt
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import ChaCha20

SEED_BYTES = 32
_DOMAIN = b"tallystick-randomness-v1"


class Randomness:
    """A deterministic cryptographic random stream; refuses to be shown, copied or pickled."""

    __slots__ = ("_seed", "_stream")

    def __init__(self, seed: bytes) -> None:
        """`seed`: 32 bytes of full entropy. Raises ValueError for any other length."""
        if len(seed) != SEED_BYTES:
            raise ValueError(f"a seed has {SEED_BYTES} bytes, not {len(seed)}")
        self._seed = seed
        self._stream = Cipher(ChaCha20(seed, bytes(16)), mode=None).encryptor()

    @classmethod
    def system(cls) -> Randomness:
        """A stream seeded by the operating system."""
        return cls(os.urandom(SEED_BYTES))

    def child(self, label: str) -> Randomness:
        """An independent stream; the same label gives the same child, whatever was drawn before."""
        name = label.encode()
        return Randomness(hashlib.sha256(_DOMAIN + len(name).to_bytes(4, "big") + name + self._seed).digest())

    def commitment(self) -> bytes:
        """SHA-256 of the seed under a label of its own: names the stream and tells nothing of it."""
        return hashlib.sha256(_DOMAIN + b"/commitment" + self._seed).digest()

    def expose_seed(self) -> bytes:
        """The 32 bytes that all of this stream and of its children follow from: for an auditor's eyes."""
        return self._seed

    def bytes(self, count: int) -> bytes:
        """The next `count` bytes of the stream."""
        return self._stream.update(bytes(count))

    def bits(self, count: int) -> int:
        """A uniform integer of `count` bits, 0 <= x < 2**count."""
        return int.from_bytes(self.bytes((count + 7) // 8), "big") >> (-count % 8)

    def below(self, bound: int) -> int:
        """A uniform integer, 0 <= x < bound, by rejection."""
        if bound < 1:
            raise ValueError(f"there is no integer in [0, {bound})")
        size = (bound - 1).bit_length()
        while (drawn := self.bits(size)) >= bound:
            pass
        return drawn

    def uint64(self, count: int) -> npt.NDArray[np.uint64]:
        """`count` uniform 64-bit words, shape (count,)."""
        return np.frombuffer(self.bytes(8 * count), dtype="<u8").astype(np.uint64)

    def permutation(self, count: int) -> npt.NDArray[np.int64]:
        """A uniform permutation of 0..count-1, shape (count,), int64: the order of distinct random keys."""
        while True:
            keys = self.uint64(count)
            order = np.argsort(keys, kind="stable")
            if count < 2 or not np.any(keys[order[1:]] == keys[order[:-1]]):
                return order.astype(np.int64)

    def __repr__(self) -> str:
        return "Randomness(<hidden>)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a random stream cannot be pickled or copied: derive a child instead")

    def __copy__(self) -> NoReturn:
        raise TypeError("a random stream cannot be copied: derive a child instead")

    def __deepcopy__(self, memo: object) -> NoReturn:
        raise TypeError("a random stream cannot be copied: derive a child instead")


def fresh_seed() -> bytes:
    """32 bytes from the operating system."""
    return fresh_bytes(SEED_BYTES)


def fresh_bytes(count: int) -> bytes:
    """Bytes from the operating system, for salts and nonces of files that are encrypted."""
    return secrets.token_bytes(count)
