"""Encrypted rows computed once more without p and q, by an auditor who was told the base of their randomness.

    key holder    h**a mod p**2 and q**2, put together        auditor    h**a mod n**2        with h = (-x**2)**n

A ciphertext of Paillier's has one plaintext only: rows that come out as the bytes that were sent are the rows that were
encrypted, whatever x is. Who knows x and no exponents a reads no other row, for h may be public (`RowEncryptor`).
"""

from __future__ import annotations

import hashlib

from vfl.crypto.fixed_base import PowerTable, big, choose_window, power, to_bytes
from vfl.crypto.packing import pack_rows, slots
from vfl.crypto.paillier_keys import parse_public
from vfl.crypto.paillier_random import CHUNK_ROWS, SHORT_EXPONENT_BITS
from vfl.crypto.scheme import BLOCK_ROWS, Int64s, Lanes
from vfl.errors import BrokenPromise
from vfl.randomness import Randomness

_MEMORY = 32 << 20


class RowsAgain:
    """The blocks that `PaillierKeyHolder.open_tree` gives, one by one."""

    def __init__(self, public: bytes, lanes: Lanes, context: bytes, unit: bytes) -> None:
        """`public`: what the key holder sent, `unit`: x, big-endian. Raises BrokenPromise for a bad key or unit."""
        self._public, self._lanes = parse_public(public, context), lanes
        slots(self._public.bits, lanes)
        n, n_squared, x = self._public.n, self._public.n_squared, int.from_bytes(unit, "big")
        if not 0 < x < n:
            raise BrokenPromise("the base of the rows' randomness is not between 1 and n - 1")
        bits = SHORT_EXPONENT_BITS[self._public.bits]
        window = choose_window(bits, BLOCK_ROWS, self._public.cipher_bytes, _MEMORY)
        self._table = PowerTable([power(-x * x % n, n, n_squared)], bits, n_squared, window=window)

    def block(self, g: Int64s, h: Int64s, rng: Randomness, number: int) -> tuple[bytes, bool]:
        """Block `number` of the tree of these rows, and whether it is the last. `rng`: that of `open_tree`."""
        values = hashlib.sha256(g.tobytes() + h.tobytes()).digest()
        stream = rng.child(f"rows/{values.hex()}")
        first, n, n_squared = number * BLOCK_ROWS, big(self._public.n), big(self._public.n_squared)
        found = []
        rows = pack_rows(g, h, self._lanes)
        for start in range(first, min(first + BLOCK_ROWS, len(rows)), CHUNK_ROWS):
            chunk = rows[start : start + CHUNK_ROWS]
            size = len(chunk) * SHORT_EXPONENT_BITS[self._public.bits] // 8
            powers = self._table.products(stream.child(str(start // CHUNK_ROWS)).bytes(size))
            found += [(r + row * r % n * n) % n_squared for row, r in zip(chunk, powers, strict=True)]
        return b"".join(to_bytes(c, self._public.cipher_bytes) for c in found), first + BLOCK_ROWS >= len(rows)
