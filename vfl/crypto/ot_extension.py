"""Oblivious pseudorandom function for many bins at once: OT extension with a code (Kolesnikov, Kumaresan, Rosulek &
Trieu, "Efficient batched oblivious PRF with applications to private set intersection", CCS 2016), for peers
that follow the protocol.

    receiver (seeds k_j,0 and k_j,1; an item r_b in each bin b)     sender (bits s_j, seeds k_j,s_j)
    T_j = G(k_j,0)
    U_j = G(k_j,0) xor G(k_j,1) xor C_j             -->             Q_j = G(k_j,s_j) xor s_j U_j
    row b of T                                                      row b of Q = row b of T xor (C(r_b) and s)

j counts the 448 columns, C_j is column j of the matrix whose row b is the codeword C(r_b), and G is AES-128 in counter
mode. From its row the receiver gets F_b(r_b) = H(b, T_b); the sender gets F_b(y) = H(b, Q_b xor (C(y) and s)) for
any y.

The matrices are made in columns and needed in rows. They are turned in blocks of 64 by 64 bits on uint64 words
(Warren, Hacker's Delight, 7-3), all blocks of a span side by side: 6 passes of masked shifts over whole arrays. To save
a further shuffle, the bins of a span of W words are numbered so that the turned words lie as they fall:

    bit k of word w of a column  =  bin  k W + w  of the span

G runs on from span to span, so that no party ever holds a whole matrix of columns.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR

from vfl.crypto.aes_hash import COLUMNS, WORDS
from vfl.crypto.base_ot import Seeds

SPAN = 2**16  # bins in one step: 3.7 MB of columns
Words = npt.NDArray[np.uint64]
_LANES = COLUMNS // 64  # words of codeword in a row
_HALVES = [(1 << step, np.uint64((2**64 - 1) // (2 ** (1 << step) + 1))) for step in reversed(range(6))]


class Receiver:
    """The side with an item in each bin. Feed it the spans in order, once."""

    def __init__(self, zero: Seeds, one: Seeds) -> None:
        """`zero`, `one`: both seeds of each column."""
        self._zero, self._one = _Columns(zero), _Columns(one)

    def span(self, codewords: Words) -> tuple[bytes, Words]:
        """The columns U for the sender and our rows: bytes, 56 for each bin, and uint64, shape (bins, 8).

        `codewords`: uint64, (bins, 8), of the items; bins is a multiple of 64, an empty bin has any codeword.
        """
        words = len(codewords) // 64
        lanes = np.ascontiguousarray(codewords[:, :_LANES].T).reshape(_LANES, 64, words)
        turn(lanes)
        ours = self._zero.next(words)
        lanes ^= ours
        lanes ^= self._one.next(words)
        return lanes.tobytes(), _rows(ours)


class Sender:
    """The side that can evaluate all bins. Feed it the spans in order, once."""

    def __init__(self, choices: npt.NDArray[np.bool_], seeds: Seeds) -> None:
        """`choices`: bool[448], the secret s; `seeds`: the chosen one of each column."""
        self._chosen = _Columns(seeds)
        self._keep = np.where(choices, np.uint64(2**64 - 1), np.uint64(0)).reshape(_LANES, 64, 1)

    def span(self, columns: bytes) -> Words:
        """Our rows: uint64, shape (bins, 8). `columns`: what the receiver sent, 56 bytes for each bin."""
        received = np.frombuffer(columns, "<u8").reshape(_LANES, 64, -1)
        return _rows(self._chosen.next(received.shape[2]) ^ (received & self._keep))


def secret_words(choices: npt.NDArray[np.bool_]) -> Words:
    """The sender's bits s as a row: uint64, shape (8,), the last word zero."""
    bits = np.zeros(64 * WORDS, np.bool_)
    bits[:COLUMNS] = choices
    return np.packbits(bits, bitorder="little").view("<u8").astype(np.uint64)


def turn(lanes: Words) -> None:
    """Transpose 64 x 64 bits in place for every lane and word: uint64, shape (lanes, 64, words).

    Afterwards bit j of [lane, k, w] is what bit k of [lane, j, w] was.
    """
    words = lanes.shape[2]
    for lane in lanes:  # one lane of a span is half a megabyte and stays in the cache for all six passes
        for distance, low in _HALVES:
            pairs = lane.reshape(32 // distance, 2, distance, words)
            upper, lower, shift = pairs[:, 0], pairs[:, 1], np.uint64(distance)
            moved = upper >> shift
            moved ^= lower
            moved &= low
            lower ^= moved
            moved <<= shift
            upper ^= moved


def _rows(lanes: Words) -> Words:
    """Columns to rows: uint64, shape (64 words, 8), the last word zero. Overwrites `lanes`."""
    turn(lanes)
    rows = np.zeros((64 * lanes.shape[2], WORDS), np.uint64)
    rows[:, :_LANES] = lanes.reshape(_LANES, -1).T
    return rows


class _Columns:
    """One pseudorandom stream for each column."""

    def __init__(self, seeds: Seeds) -> None:
        assert len(seeds) == COLUMNS
        self._streams: list[CipherContext] = [Cipher(AES(seed), CTR(bytes(16))).encryptor() for seed in seeds]

    def next(self, words: int) -> Words:
        """uint64, shape (7, 64, words)."""
        zeros = bytes(8 * words)
        flat = bytearray().join([stream.update(zeros) for stream in self._streams])
        return np.frombuffer(flat, "<u8").reshape(_LANES, 64, words)
