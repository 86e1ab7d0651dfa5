"""The randomness of ciphertexts: of encrypted rows, and of sealed sums. Two adversaries, so two constructions:

* `RowEncryptor` (key holder; adversary without the factors): h**a with a secret random base h and short a.
* `Randomisers` (passive party; adversary *is* the key holder): statistical, no assumption. See there.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import NoReturn, TypeVar

from vfl.crypto.fixed_base import PowerTable, big, choose_window, gcd, inverse, power, power_secret, to_bytes
from vfl.crypto.paillier_keys import PrivateKey, PublicKey
from vfl.crypto.paillier_workers import Crew
from vfl.crypto.scheme import Sealed
from vfl.errors import UsageError
from vfl.randomness import Randomness
from vfl.secret import Secret

T = TypeVar("T")
TABLE_MEMORY = 128 << 20
"""Bytes that a party's window tables may take in all its processes together."""
_OBJECT_BYTES = 56
"""What a residue takes in memory beside its digits."""
_SEAL_BASES = 64
_SEAL_SURPLUS_BITS = 512
_SEAL_LEAST_EXPONENT_BITS = 40
_BOUND_BITS = 256
CHUNK_ROWS = 256
"""Rows whose randomness comes from one stream: the unit in which row encryption is dealt out or done ahead."""
SHORT_EXPONENT_BITS = {512: 256, 1024: 256, 2048: 256, 3072: 256, 4096: 320}
"""Twice the key's strength, as square-root attacks on a short exponent take 2**(bits/2) steps."""

Material = bytes | list[int]
"""What a chunk of row randomness is computed from: short exponents, or (textbook) units mod n."""


class RowEncryptor:
    """Encrypts with the help of p and q.

    Default: r**n = h**a mod n**2 with h = (-x**2)**n for a random secret x and a uniform of 256 bits (4096-bit keys:
    320). Damgard, Jurik, Nielsen, "A generalization of Paillier's public-key system with applications to electronic
    voting", IJIS 2010, with a shorter exponent. Assumption on top of decisional composite residuosity: h**a for such
    short a cannot be told from h**a for full a by someone who does not know the factors of n. Here h is not published
    either.

    `unit`: x; None for textbook encryption, r uniform in Z_n^*, r**n in full: no further assumption, about 35 times
    the time. `uses`: encryptions expected, for the size of the tables (`fixed_base.choose_window`, for the residues
    mod p**2 and q**2).

    Table look-ups depend on a; they are made in bulk while no peer can time one of them.
    """

    __slots__ = ("_key", "_memory", "_tables", "_unit", "_uses")

    def __init__(self, key: PrivateKey, unit: int | None, *, uses: int = 1, memory: int = TABLE_MEMORY) -> None:
        self._key, self._uses, self._memory = key, uses, memory
        self._unit = Secret(unit)
        self._tables: Secret[list[PowerTable]] = Secret([])

    def expose_unit(self) -> bytes:
        """x, big-endian; empty for textbook encryption."""
        x = self._unit.expose()
        return b"" if x is None else to_bytes(x, self._key.public.bits // 8)

    def material(self, count: int, rng: Randomness) -> Material:
        """What `powers` makes the randomness of `count` rows from."""
        if self._unit.expose() is None:
            return [draw_unit(big(self._key.public.n), rng) for _ in range(count)]
        return rng.bytes(count * SHORT_EXPONENT_BITS[self._key.public.bits] // 8)

    def powers(self, material: Material) -> list[int]:
        """r**n mod n**2 for each row."""
        n, sides = self._key.public.n, _primes(self._key)
        if isinstance(material, list):
            mod_p, mod_q = ([_residue(x, *side[:2], n) for x in material] for side in sides)
        else:
            mod_p, mod_q = (table.products(material) for table in self._ready_tables())
        (_, _, p_squared), (_, _, q_squared) = sides
        factor = inverse(p_squared, q_squared)
        return [a + (b - a) * factor % q_squared * p_squared for a, b in zip(mod_p, mod_q, strict=True)]

    def encrypt(self, rows: Sequence[int], powers: Sequence[int]) -> list[int]:
        """One ciphertext per signed plaintext, |row| < n/2."""
        n, n_squared = big(self._key.public.n), big(self._key.public.n_squared)
        # (1 + m*n) * r = r + (m*r mod n) * n: the product is taken mod n, half as wide.
        return [(r + row * r % n * n) % n_squared for row, r in zip(rows, powers, strict=True)]

    def _ready_tables(self) -> list[PowerTable]:
        tables, x, n = self._tables.expose(), self._unit.expose(), self._key.public.n
        if not tables and x is not None:
            bits = SHORT_EXPONENT_BITS[self._key.public.bits]
            entry = self._key.public.bits // 8 + _OBJECT_BYTES
            window = choose_window(bits, self._uses, 2 * entry, self._memory)
            base = -x * x % n
            for own, other, square in _primes(self._key):
                tables.append(PowerTable([_residue(base, own, other, n)], bits, square, window=window))
        return tables

    def __reduce__(self) -> NoReturn:
        raise TypeError("an encryptor holds the private key: it cannot be pickled or copied")


class SealWorker:
    """The arithmetic of `Randomisers` in one process."""

    def __init__(self, n: int) -> None:
        self._n, self._n_squared = big(n), big(n * n)
        self._table: PowerTable | None = None

    def full_powers(self, units: list[int]) -> list[int]:
        """x**n mod n**2."""
        return [power(x, self._n, self._n_squared) for x in units]

    def set_bases(self, bases: list[int], bits: int, window: int) -> None:
        """Makes the table of `products`."""
        self._table = PowerTable(bases, bits, self._n_squared, window=window)

    def products(self, exponents: bytes) -> list[int]:
        """Products of powers of the bases."""
        assert self._table is not None
        return self._table.products(exponents)


class Randomisers:
    """Random n-th residues that are uniform even to whoever knows, and chose, the factors of n.

    The first 64 are full powers B_j = x_j**n with x_j uniform in Z_n^*: exactly uniform on R, the group of n-th
    residues (|R| = phi(n); `parse_public` has checked gcd(n, phi(n)) = 1). Every later one is

        X = product over j < 64 of B_j**e_j,      e_j uniform and fresh below M = 2**b,  64*b >= bits(n) + 512

    through a window table sized for the seals expected. The key holder may know all B_j: X is close to uniform *given*
    them, so it does no harm that each has served as a randomiser itself.

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

    Randomiser number i of a run is a function of the run's seed and of i, so it can be made before it is needed, here
    or in a child process, and none is ever made twice. `bind` adds what depends on the ciphertexts themselves: should
    a run be repeated from one seed with other sums, equal randomisers would give the quotient of the sums away. The
    factor B**d, with B one more secret full power and d of 256 bits, hides it then, if only computationally.
    """

    __slots__ = (
        "_bases", "_bits", "_bound", "_crew", "_entry_bytes", "_n", "_ready", "_rng", "_tabled", "_uses", "count",
        "modulus",
    )  # fmt: skip

    def __init__(self, public: PublicKey, rng: Randomness, crew: Crew, *, uses: int = 1) -> None:
        """`rng`: the run's own. `crew`: of `SealWorker`s. `uses`: seals expected in the run."""
        self._rng, self._crew, self._uses = rng, crew, uses
        self._n, self.modulus = big(public.n), big(public.n_squared)
        self._entry_bytes = public.cipher_bytes + _OBJECT_BYTES
        self._tabled = False
        self._bits = max(_SEAL_LEAST_EXPONENT_BITS, -(-(public.bits + _SEAL_SURPLUS_BITS) // _SEAL_BASES))
        self._bases: Secret[list[int]] = Secret([])
        self._ready: Secret[list[int]] = Secret([])
        self._bound: PowerTable | None = None
        self.count = 0
        """Randomisers given so far."""

    @property
    def ahead(self) -> int:
        """Randomisers made and not yet drawn."""
        return len(self._ready.expose())

    def go_on_after(self, count: int) -> None:
        """Leaves out randomisers, so that the next one drawn is number `count`. Raises UsageError backwards."""
        if count < self.count or self.ahead:
            raise UsageError(f"randomiser {count} is wanted after {self.count + self.ahead}; allowed: later ones")
        bases = range(min(self.count, _SEAL_BASES), min(count, _SEAL_BASES))
        self._bases.expose().extend(self._spread([self._unit(f"base/{number}") for number in bases]))
        self.count = count

    def fill(self, count: int) -> None:
        """Makes randomisers until `count` are ready."""
        ready = self._ready.expose()
        first = self.count + len(ready)
        numbers = range(first, self.count + max(count, len(ready)))
        bases = [number for number in numbers if number < _SEAL_BASES]
        if bases:
            found = self._spread([self._unit(f"base/{number}") for number in bases])
            self._bases.expose().extend(found)
            ready.extend(found)
        later = [self._exponents(number) for number in numbers if number >= _SEAL_BASES]
        if later:
            self._prepare_table()
            chunks = [(b"".join(part),) for part in dealt(later, self._crew.size)]
            ready.extend(one for chunk in self._crew.map("products", chunks) for one in chunk)

    def draw(self) -> int:
        """The next randomiser."""
        self.fill(1)
        self.count += 1
        return self._ready.expose().pop(0)

    def bind(self, rng: Randomness, count: int) -> list[int]:
        """`count` factors drawn from `rng`, the second line of defence."""
        if self._bound is None:
            (base,) = self._crew.map("full_powers", [([self._unit("bound")],)])
            window = choose_window(_BOUND_BITS, max(self._uses, count), self._entry_bytes, TABLE_MEMORY // 8)
            self._bound = PowerTable(base, _BOUND_BITS, self.modulus, window=window)
        return self._bound.products(rng.bytes(count * _BOUND_BITS // 8))

    def _unit(self, label: str) -> int:
        return draw_unit(self._n, self._rng.child(label))

    def _exponents(self, number: int) -> bytes:
        return self._rng.child(f"seal/{number}").bytes(_SEAL_BASES * self._bits // 8)

    def _spread(self, units: list[int]) -> list[int]:
        chunks = [(part,) for part in dealt(units, self._crew.size)]
        return [one for chunk in self._crew.map("full_powers", chunks) for one in chunk]

    def _prepare_table(self) -> None:
        if self._tabled:
            return
        # A run that goes on beyond what was announced is taken to go on for as long again.
        uses = max(self._uses - _SEAL_BASES, _SEAL_BASES) // self._crew.size
        window = choose_window(_SEAL_BASES * self._bits, uses, self._entry_bytes, TABLE_MEMORY // self._crew.size)
        self._crew.tell("set_bases", self._bases.expose(), self._bits, window)
        self._tabled = True


def seal(sums: Sequence[int], randomisers: Randomisers, rng: Randomness) -> Sealed:
    """Multiplies each ciphertext by a fresh randomiser: what leaves carries the plaintext and nothing of its origin.

    Without it the key holder, who drew the randomness of every row, finds by comparing products which rows a sum has.
    `rng`, bound to the ciphertexts and to the count of seals, gives the second factor of `Randomisers.bind`. Gives
    fixed-width big-endian ciphertexts, concatenated.
    """
    modulus = randomisers.modulus
    width = (int(modulus).bit_length() + 7) // 8
    digest = hashlib.sha256(b"".join(to_bytes(one, width) for one in sums)).hexdigest()
    bound = randomisers.bind(rng.child(f"seal/{randomisers.count}/{digest}"), len(sums))
    randomisers.fill(len(sums))
    return Sealed(
        b"".join(
            to_bytes(one * factor % modulus * randomisers.draw() % modulus, width)
            for one, factor in zip(sums, bound, strict=True)
        )
    )


def dealt(items: Sequence[T], parts: int) -> list[Sequence[T]]:
    """At most `parts` runs of items of nearly equal length, in order, none empty."""
    step = max(1, -(-len(items) // parts))
    return [items[start : start + step] for start in range(0, len(items), step)]


def draw_unit(n: int, rng: Randomness) -> int:
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
