"""The `paillier` scheme: encrypted rows once per tree, products per cell, packed and sealed answers.

Paillier, "Public-key cryptosystems based on composite degree residuosity classes", EUROCRYPT 1999, with g = 1 + n:

    Enc(m; r) = (1 + m*n) * r**n mod n**2        Enc(a) * Enc(b) = Enc(a + b)        Enc(a)**k = Enc(k * a)

Node membership is disclosed to passive parties: they are told which rows to multiply.

Cost of 10,000 rows and 320 cells at 2048 bits: `benchmarks/histogram.py`.

Two randomisers, for two adversaries:

* `RowEncryptor` (key holder; adversary without the factors): h**a with a secret random base h and short a.
* `Randomisers` (passive party; adversary *is* the key holder): statistical, no assumption. See there.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import NoReturn

import numpy as np
import numpy.typing as npt

from vfl.crypto.fixed_base import (
    WindowTable,
    big,
    from_bytes,
    gcd,
    inverse,
    power,
    power_secret,
    product_of_powers,
    to_bytes,
)
from vfl.crypto.packing import pack_rows, slots, unpack_cells
from vfl.crypto.paillier_keys import PrivateKey, PublicKey, generate_key, parse_public
from vfl.crypto.scheme import BLOCK_ROWS, Bools, CellLayout, Codes, Int64s, Lanes, Sealed
from vfl.errors import BrokenPromise, UsageError
from vfl.randomness import Randomness
from vfl.secret import Secret

NAME = "paillier"

_ROW_WINDOW = 10
"""Bits per digit of the row tables: 26 windows x 1024 x 2 residues, 14 MB and 0.1 s at 2048 bits."""
_SEAL_BASES = 64
_SEAL_WINDOW = 6
"""64 bases x 7 windows x 64 residues of 512 bytes: 16 MB at 2048 bits."""
_SEAL_SURPLUS_BITS = 512
_SEAL_LEAST_EXPONENT_BITS = 40
_SHORT_EXPONENT_BITS = {512: 256, 1024: 256, 2048: 256, 3072: 256, 4096: 320}
"""Twice the key's strength, as square-root attacks on a short exponent take 2**(bits/2) steps."""


class RowEncryptor:
    """Encrypts with the help of p and q.

    Default: r**n = h**a mod n**2 with h = (-x**2)**n for a random secret x and a uniform of 260 bits (4096-bit keys:
    320). Damgard, Jurik, Nielsen, "A generalization of Paillier's public-key system with applications to electronic
    voting", IJIS 2010, with a shorter exponent. Assumption on top of decisional composite residuosity: h**a for such
    short a cannot be told from h**a for full a by someone who does not know the factors of n. Here h is not published
    either.

    `textbook=True`: r uniform in Z_n^*, r**n in full; no further assumption, about 35 times the time.

    Table look-ups depend on a; they are made in bulk while no peer can time one of them.
    """

    __slots__ = ("_key", "_tables", "_textbook", "_windows")

    def __init__(self, key: PrivateKey, rng: Randomness, *, textbook: bool = False) -> None:
        self._key, self._textbook = key, textbook
        self._windows = -(-_SHORT_EXPONENT_BITS[key.public.bits] // _ROW_WINDOW)
        tables: tuple[WindowTable, ...] = ()
        if not textbook:
            x = _unit(key.public.n, rng)
            base = -x * x % key.public.n
            tables = tuple(
                WindowTable(_residue(base, r, s, key.public.n), square, window=_ROW_WINDOW, windows=self._windows)
                for r, s, square in _primes(key)
            )
        self._tables = Secret(tables)

    def encrypt(self, rows: Sequence[int], rng: Randomness) -> list[int]:
        """One ciphertext per signed plaintext, |row| < n/2."""
        n, n_squared = big(self._key.public.n), big(self._key.public.n_squared)
        powers = self._textbook_powers(len(rows), rng) if self._textbook else self._short_powers(len(rows), rng)
        # (1 + m*n) * r = r + (m*r mod n) * n: the product is taken mod n, half as wide.
        return [(r + row * r % n * n) % n_squared for row, r in zip(rows, powers, strict=True)]

    def _short_powers(self, count: int, rng: Randomness) -> list[int]:
        words = np.frombuffer(rng.bytes(2 * count * self._windows), dtype="<u2") & ((1 << _ROW_WINDOW) - 1)
        digits = words.reshape(count, self._windows).tolist()
        mod_p, mod_q = self._tables.expose()
        return self._join([(mod_p.power(own), mod_q.power(own)) for own in digits])

    def _textbook_powers(self, count: int, rng: Randomness) -> list[int]:
        n, sides = self._key.public.n, _primes(self._key)
        drawn = (_unit(n, rng) for _ in range(count))
        return self._join([(_residue(x, *sides[0][:2], n), _residue(x, *sides[1][:2], n)) for x in drawn])

    def _join(self, residues: list[tuple[int, int]]) -> list[int]:
        (_, _, p_squared), (_, _, q_squared) = _primes(self._key)
        factor = inverse(p_squared, q_squared)
        return [a + (b - a) * factor % q_squared * p_squared for a, b in residues]

    def __reduce__(self) -> NoReturn:
        raise TypeError("an encryptor holds the private key: it cannot be pickled or copied")


class Randomisers:
    """Random n-th residues that are uniform even to whoever knows, and chose, the factors of n.

    The first 64 are full powers B_j = x_j**n with x_j uniform in Z_n^*: exactly uniform on R, the group of n-th
    residues (|R| = phi(n); `parse_public` has checked gcd(n, phi(n)) = 1). Every later one is

        X = product over j < 64 of B_j**e_j,      e_j uniform and fresh below M = 2**b,  64*b >= bits(n) + 512

    through window tables. The key holder may know all B_j: X is close to uniform *given* them, so it does no harm that
    each has served as a randomiser itself, and a run that seals little never pays for tables.

    Distance. `parse_public` has checked that n = p*q, so R is a product of two cyclic groups and has at most d**2
    characters of order d. For given B the distance D of X from uniform satisfies
    4*D**2 <= sum over characters chi != 1 of the product over j of |E chi(B_j)**e|**2. For chi of order d, chi(B_j) is
    a uniform d-th root of unity.

    * d > 1024: the mean over B of one factor is Pr[e = e' mod d] <= 1/d + 1/M, so the mean of the sum is below
      sum d**2 * (2/d)**64 + |R| * (2/M)**64 < 2**-546 + 2**(64 - 512): by Jensen this part of D has mean < 2**-224.
    * d <= 1024, a power of two: d divides M, so one j with chi(B_j) != 1 makes the product 0. None exists with
      probability d**-64; the three characters of order 2 give 3 * 2**-64, all others less than 2**-120.
    * other d <= 1024: a factor with chi(B_j) != 1 is at most (d / 2M)**2. Fewer than three such j exist with
      probability < 2021 * d**-62, over all characters < 2**-84; otherwise this part of the sum is below
      2**29 * (2**10 / 2**41)**6 < 2**-157, and D < 2**-79.

    So, but for a failure of probability < 2**-62 once per run, each X is within 2**-78 of uniform: a run of 2**30
    sealed ciphertexts stays below the 2**-40 asked for.
    """

    __slots__ = ("_bases", "_count", "_n", "_n_squared", "_tables", "_windows")

    def __init__(self, public: PublicKey) -> None:
        self._n, self._n_squared = big(public.n), big(public.n_squared)
        bits = max(_SEAL_LEAST_EXPONENT_BITS, -(-(public.bits + _SEAL_SURPLUS_BITS) // _SEAL_BASES))
        self._windows = -(-bits // _SEAL_WINDOW)
        self._bases: Secret[list[int]] = Secret([])
        self._tables: Secret[list[WindowTable]] = Secret([])
        self._count = 0

    @property
    def modulus(self) -> int:
        """n**2."""
        return self._n_squared

    @property
    def count(self) -> int:
        """Randomisers given so far."""
        return self._count

    def draw(self, rng: Randomness) -> int:
        """The next randomiser."""
        self._count += 1
        bases = self._bases.expose()
        if len(bases) < _SEAL_BASES:
            bases.append(power(_unit(self._n, rng), self._n, self._n_squared))
            return bases[-1]
        tables = self._tables.expose()
        if not tables:
            tables.extend(
                WindowTable(base, self._n_squared, window=_SEAL_WINDOW, windows=self._windows) for base in bases
            )
        words = np.frombuffer(rng.bytes(_SEAL_BASES * self._windows), dtype=np.uint8) & ((1 << _SEAL_WINDOW) - 1)
        return product_of_powers(tables, words.reshape(_SEAL_BASES, self._windows).tolist(), self._n_squared)


def seal(sums: Sequence[int], randomisers: Randomisers, rng: Randomness) -> Sealed:
    """Multiplies each ciphertext by a fresh randomiser: what leaves carries the plaintext and nothing of its origin.

    Without it the key holder, who drew the randomness of every row, finds by comparing products which rows a sum has.
    The stream is bound to the ciphertexts and to the count of seals: a caller that hands over one `rng` twice still
    gets independent randomisers. Gives fixed-width big-endian ciphertexts, concatenated.
    """
    modulus = randomisers.modulus
    width = (int(modulus).bit_length() + 7) // 8
    digest = hashlib.sha256(b"".join(to_bytes(one, width) for one in sums)).hexdigest()
    stream = rng.child(f"seal/{randomisers.count}/{digest}")
    return Sealed(b"".join(to_bytes(one * randomisers.draw(stream) % modulus, width) for one in sums))


def read_ciphertexts(data: bytes, count: int, public: PublicKey, what: str) -> list[int]:
    """`count` ciphertexts from the wire, each an element of Z_{n^2}^* with randomness in it, none twice.

    Nothing but comparisons and one product mod n happens before all are accepted. Raises BrokenPromise.
    """
    width, n, n_squared = public.cipher_bytes, big(public.n), big(public.n_squared)
    if len(data) != count * width:
        raise BrokenPromise(f"{what} has {len(data)} bytes; {count} ciphertexts of {width} bytes were due")
    ciphertexts = [from_bytes(data[start : start + width]) for start in range(0, len(data), width)]
    product = big(1)
    for index, ciphertext in enumerate(ciphertexts):
        if not 0 < ciphertext < n_squared:
            raise BrokenPromise(f"ciphertext {index} of {what} is not between 1 and n^2 - 1")
        residue = ciphertext % n
        if residue == 1:
            raise BrokenPromise(f"ciphertext {index} of {what} carries no randomness")
        product = product * residue % n
    if gcd(product, n) != 1:
        raise BrokenPromise(f"a ciphertext of {what} shares a factor with n")
    if len(set(ciphertexts)) != count:
        raise BrokenPromise(f"{what} repeats a ciphertext")
    return ciphertexts


def cell_sums(rows: Sequence[int], codes: Codes, layout: CellLayout, member: Bools, modulus: int) -> list[int]:
    """The product of the member rows of every cell; 1, an encryption of 0, for an empty cell.

    `rows`: residues mod `modulus`, one per row. `codes`: (rows, features). `member`: bool, (rows,).

    Features are taken in groups. A group's rows are multiplied once into the occupied *joint* cells of its features;
    summing the joint cells out again, one feature at a time, costs as many multiplications as there are joint cells.
    A feature joins a group while that is cheaper than the group's mean so far: two features of 32 bins cost
    rows + 1,024 instead of 2 * rows.
    """
    index = np.flatnonzero(member)
    sums = [big(1)] * layout.cells
    if not index.size:
        return sums
    members = [rows[row] for row in index.tolist()]
    own = codes[index]
    feature = 0
    while feature < layout.features:
        group, keys = _joint_cells(own, layout, feature)
        # `values[i]` is the product of one joint cell and `at[i]` one member row that lies in it.
        values, at = _products(members, keys[-1], modulus)
        for level in range(len(group) - 1, -1, -1):
            column = own[at, group[level]]
            marginal, some = _products(values, column, modulus)
            for code, product in zip(column[some].tolist(), marginal, strict=True):
                sums[layout.offsets[group[level]] + code] = product
            if level:
                values, some = _products(values, keys[level - 1][at], modulus)
                at = at[some]
        feature += len(group)
    return sums


def pack_cells(sums: Sequence[int], public: PublicKey, lanes: Lanes) -> list[int]:
    """Cell ciphertexts packed `slots` to one, lowest cell first, by Horner: a shift by one cell is a power 2**w."""
    per, modulus = slots(public.bits, lanes), big(public.n_squared)
    packed = []
    for start in range(0, len(sums), per):
        result, shift = big(1), 0
        for one in reversed(sums[start : start + per]):
            shift += lanes.cell_bits
            if one != 1:
                # Empty cells only widen the next shift; above the highest occupied cell there is nothing to shift.
                result = one if result == 1 else power(result, 1 << shift, modulus) * one % modulus
                shift = 0
        packed.append(result if result == 1 or not shift else power(result, 1 << shift, modulus))
    return packed


class PaillierKeyHolder:
    """The active side of one run (`scheme.KeyHolder`)."""

    __slots__ = ("_encryptor", "_key", "_lanes", "_layouts", "_public", "_rng", "_textbook")

    def __init__(
        self,
        lanes: Lanes,
        context: bytes,
        rng: Randomness,
        *,
        bits: int = 2048,
        textbook: bool = False,
        small_keys_for_tests: bool = False,
    ) -> None:
        """Draws a key of its own for the run.

        `context`: what the proof is bound to, equal at both parties (run id). `bits`: 2048, 3072 or 4096.
        Raises UsageError for another size or when a cell does not fit a plaintext.
        """
        self._key = generate_key(bits, rng.child("paillier/key"), small_keys_for_tests=small_keys_for_tests)
        slots(bits, lanes)
        self._lanes, self._textbook = lanes, textbook
        self._rng = rng.child("paillier/base")
        self._public = self._key.public_bytes(context)
        self._encryptor: RowEncryptor | None = None
        self._layouts: dict[str, CellLayout] = {}

    @property
    def name(self) -> str:
        """`paillier`."""
        return NAME

    @property
    def discloses_membership(self) -> bool:
        """True: the rows of a node are named in the clear."""
        return True

    @property
    def key(self) -> PrivateKey:
        """The run's key, for tests and for writing a key file."""
        return self._key

    def public(self) -> bytes:
        """Key and proofs; layout in `paillier_keys`."""
        return self._public

    def accept_hint(self, peer: str, hint: bytes, layout: CellLayout) -> None:
        """Notes the peer's layout; this scheme has no hint. Raises BrokenPromise for one that is not empty."""
        if hint:
            raise BrokenPromise(f"a hint of {len(hint)} bytes came; {NAME} has none", peer=peer)
        if peer in self._layouts:
            raise BrokenPromise("a second layout came; one belongs to a run", peer=peer)
        self._layouts[peer] = layout

    def open_tree(self, g: Int64s, h: Int64s, rng: Randomness) -> list[bytes]:
        """The encrypted rows, in order, in blocks of 4096. See `scheme.KeyHolder`.

        The stream is bound to the values: one `rng` used for two trees would otherwise use randomness twice, and the
        quotient of two such ciphertexts shows the difference of their plaintexts.
        """
        rows = pack_rows(g, h, self._lanes)
        if self._encryptor is None:
            self._encryptor = RowEncryptor(self._key, self._rng, textbook=self._textbook)
        stream = rng.child(f"rows/{hashlib.sha256(g.tobytes() + h.tobytes()).hexdigest()}")
        width = self._key.public.cipher_bytes
        return [
            b"".join(to_bytes(c, width) for c in self._encryptor.encrypt(rows[start : start + BLOCK_ROWS], stream))
            for start in range(0, len(rows), BLOCK_ROWS)
        ]

    def query(self, member: Bools, rng: Randomness) -> bytes:
        """Empty: the plain row set says it all."""
        _check_member(member, self._lanes.rows)
        return b""

    def decrypt(self, peer: str, answer: bytes, layout: CellLayout) -> Int64s:
        """The cell sums in `answer`. See `scheme.KeyHolder`."""
        if self._layouts.get(peer) != layout:
            raise UsageError(f"layout of {peer} is not the one accepted for this run; allowed: that one")
        public = self._key.public
        count = -(-layout.cells // slots(public.bits, self._lanes))
        try:
            ciphertexts = read_ciphertexts(answer, count, public, "the answer")
            plaintexts = [self._key.decrypt(ciphertext) for ciphertext in ciphertexts]
            return unpack_cells(plaintexts, public.n, layout.cells, self._lanes)
        except BrokenPromise as broken:
            broken.peer = peer
            raise

    def __reduce__(self) -> NoReturn:
        raise TypeError("a key holder cannot be pickled or copied")


class PaillierEvaluator:
    """A passive side of one run (`scheme.Evaluator`)."""

    __slots__ = ("_codes", "_lanes", "_layout", "_public", "_randomisers", "_rows")

    def __init__(self, public: bytes, lanes: Lanes, context: bytes, *, small_keys_for_tests: bool = False) -> None:
        """`public`: what the key holder sent; `lanes`, `context`: as agreed. Raises BrokenPromise for a bad key."""
        self._public = parse_public(public, context, small_keys_for_tests=small_keys_for_tests)
        slots(self._public.bits, lanes)
        self._lanes = lanes
        self._randomisers = Randomisers(self._public)
        self._codes: Codes | None = None
        self._layout: CellLayout | None = None
        self._rows: list[int] | None = None

    @property
    def key_bits(self) -> int:
        """Bits of the key holder's modulus, to compare with what was agreed."""
        return self._public.bits

    @property
    def discloses_membership(self) -> bool:
        """True: the rows of a node are named in the clear."""
        return True

    def hint(self, codes: Codes, layout: CellLayout, rng: Randomness) -> bytes:
        """Binds the bins; empty, as this scheme needs no hint. Raises UsageError."""
        layout.check_codes(codes, self._lanes.rows)
        self._codes, self._layout = codes.copy(), layout
        return b""

    def open_tree(self, blocks: list[bytes]) -> None:
        """Takes the rows of a tree. A refused tree leaves none open. See `scheme.Evaluator`."""
        self._rows = None
        total, width = self._lanes.rows, self._public.cipher_bytes
        due = [min(BLOCK_ROWS, total - start) for start in range(0, total, BLOCK_ROWS)]
        if [len(block) for block in blocks] != [count * width for count in due]:
            raise BrokenPromise(f"the blocks of a tree do not hold {total} ciphertexts of {width} bytes")
        self._rows = read_ciphertexts(b"".join(blocks), total, self._public, "the tree")

    def answer(self, query: bytes, member: Bools | None, rng: Randomness) -> Sealed:
        """The packed and sealed sums over `member`. See `scheme.Evaluator`."""
        if query:
            raise BrokenPromise(f"a query of {len(query)} bytes came; {NAME} has none")
        if self._rows is None:
            raise BrokenPromise("a query came while no tree was open")
        if self._codes is None or self._layout is None:
            raise UsageError("codes are not bound; allowed: answers after hint()")
        if member is None:
            raise UsageError(f"member is None; allowed: bool of shape {(self._lanes.rows,)}")
        _check_member(member, self._lanes.rows)
        sums = cell_sums(self._rows, self._codes, self._layout, member, big(self._public.n_squared))
        return seal(pack_cells(sums, self._public, self._lanes), self._randomisers, rng)


def _joint_cells(codes: Codes, layout: CellLayout, start: int) -> tuple[list[int], list[npt.NDArray[np.int64]]]:
    """The features that share a pass, from `start` on, and for each prefix of them the joint cell of every row.

    Joint cells are numbered 0.. densely at each step, so that keys of many features stay small.
    """
    keys = [np.unique(codes[:, start], return_inverse=True)[1].astype(np.int64)]
    group, cost = [start], codes.shape[0]
    for feature in range(start + 1, layout.features):
        joint = keys[-1] * layout.n_bins[feature] + codes[:, feature]
        occupied, key = np.unique(joint, return_inverse=True)
        if occupied.size * len(group) >= cost:
            break
        cost += occupied.size
        group.append(feature)
        keys.append(key.astype(np.int64))
    return group, keys


def _products(
    values: Sequence[int], keys: npt.NDArray[np.integer], modulus: int
) -> tuple[list[int], npt.NDArray[np.int64]]:
    """The product of the values of each key, by ascending key, and the position of one value of each."""
    order = np.argsort(keys, kind="stable")
    bounds = np.flatnonzero(np.diff(keys[order])) + 1
    starts = np.concatenate(([0], bounds))
    positions, products = order.tolist(), []
    for start, end in zip(starts.tolist(), [*bounds.tolist(), len(positions)], strict=True):
        product = values[positions[start]]
        for position in positions[start + 1 : end]:
            product = product * values[position] % modulus
        products.append(product)
    return products, order[starts]


def _check_member(member: Bools, rows: int) -> None:
    if member.dtype != np.bool_ or member.shape != (rows,):
        raise UsageError(f"member is {member.dtype}{member.shape}; allowed: bool{(rows,)}")


def _unit(n: int, rng: Randomness) -> int:
    """A uniform element of Z_n^*."""
    while gcd(drawn := big(rng.below(int(n))), n) != 1:
        pass
    return drawn


def _primes(key: PrivateKey) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    private = key.expose()
    p, q = big(private.p), big(private.q)
    return (p, q, p * p), (q, p, q * q)


def _residue(base: int, own: int, other: int, n: int) -> int:
    """base**n mod own**2, as (base**other mod own)**own: the inner power is half as wide."""
    return power_secret(power_secret(base % own, other, own), own, own * own)
