"""Hashing of many items at once by AES under public keys that are fresh in each run: codewords, and rows to masks.

    Code       C(h) = AES_1(h) || AES_2(h) || AES_3(h) || AES_4(h), cut to 448 bits
    RowHash    H(x_1 x_2 x_3 x_4) = v_4 xor w_4   with w_j = v_{j-1} xor x_j, v_j = AES(w_j), v_0 = 0

The code is the pseudorandom code of Kolesnikov, Kumaresan, Rosulek & Trieu (CCS 2016): two codewords must differ in
128 places or more, the security parameter, but for probability 2^-40 over all pairs that meet in a bin. Random words
of 448 bits are closer than that with probability 2^-66.5 (binomial tail), and 3n pairs meet, one for each id of the
sender and each of its bins; an empty bin counts as the word zero. So 448 columns, the published length for n <= 2^24,
have room for 2^26.5 pairs. `distance_bits` computes the figure for the tests.

RowHash must be correlation robust: for a secret s, H(x xor (D and s)) looks random for all known x and D of weight 128
or more. x is 448 bits of row and 64 bits of bin number. The model is that AES under a fixed key is a random
permutation, as for H(x) = AES(x) xor x (Guo, Katz, Wang & Yu, "Efficient and secure multiparty computation from
fixed-key block ciphers", IEEE S&P 2020), which is the last step here: v_4 xor w_4 is random unless w_4 has been asked
before. To ask it one hits it by chance, with probability 2^-128 for each query and mask, or follows the chain from
w_1 on, which takes a query for each guess of the bits of s that D lets through: those are 2^128. The exclusive or with
w_4 keeps the last step from being inverted. With q queries the loss is about (q + 3n) 3n / 2^127. The step from one
block to four is argued here and has had no outside review.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import comb, log2

import numpy as np
import numpy.typing as npt
from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import ECB

from vfl.engine import HERE, Engine, mapped, parts
from vfl.texts import Texts

COLUMNS = 448  # bits of a codeword
WORDS = 8  # uint64 in a row: 7 of codeword, 1 that is zero or the number of the bin
DISTANCE = 128  # places in which two codewords differ
Words = npt.NDArray[np.uint64]
_KEY = 16


class Code:
    """The pseudorandom code under one public key."""

    KEY = 4 * _KEY  # bytes

    def __init__(self, key: bytes) -> None:
        """`key`: 64 bytes."""
        self._ciphers = [_permutation(key[i : i + _KEY]) for i in range(0, self.KEY, _KEY)]

    def words(self, hashes: Words) -> Words:
        """Codewords: uint64, shape (n, 8), the last word zero. `hashes`: uint64, (n, 2)."""
        out = np.empty((len(hashes), WORDS), np.uint64)
        for i, cipher in enumerate(self._ciphers):
            out[:, 2 * i : 2 * i + 2] = _turned(cipher, np.ascontiguousarray(hashes))
        out[:, WORDS - 1] = 0
        return out


class RowHash:
    """Rows to masks under one public key."""

    KEY = _KEY  # bytes

    def __init__(self, key: bytes) -> None:
        """`key`: 16 bytes."""
        self._cipher = _permutation(key)

    def masks(self, rows: Words) -> Words:
        """uint64, shape (n, 2): random looking. `rows`: uint64, (n, 8), the last word the number of the bin."""
        mixed = np.ascontiguousarray(rows[:, :2])
        state = _turned(self._cipher, mixed)
        for word in range(2, WORDS, 2):
            mixed = state ^ rows[:, word : word + 2]
            state = _turned(self._cipher, mixed)
        return state ^ mixed


def keyed_hashes(tokens: Sequence[str], key: bytes, engine: Engine = HERE) -> Words:
    """BLAKE2b-128 of each token under `key` (32 bytes): uint64, shape (n, 2)."""
    texts, found = Texts.of(tokens), np.empty((len(tokens), 2), np.uint64)
    places = list(parts(len(texts), engine.partition_rows))
    pieces = ((texts[part], key) for part in places)
    for part, digests in zip(places, mapped(engine, Texts.digests, pieces), strict=True):
        found[part] = digests
    return found


def distance_bits(columns: int, distance: int = DISTANCE) -> float:
    """-log2 of the probability that two random words of `columns` bits differ in fewer than `distance` places."""
    return columns - log2(sum(comb(columns, places) for places in range(distance)))


def _turned(cipher: CipherContext, blocks: Words) -> Words:
    return np.frombuffer(cipher.update(blocks.reshape(-1).view(np.uint8).data), "<u8").reshape(-1, 2)


def _permutation(key: bytes) -> CipherContext:
    return Cipher(AES(key), ECB()).encryptor()  # noqa: S305  a fixed permutation of single blocks, not encryption
