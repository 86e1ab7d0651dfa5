"""The `paillier` scheme: encrypted rows once per tree, products per cell, packed and sealed answers.

Paillier, "Public-key cryptosystems based on composite degree residuosity classes", EUROCRYPT 1999, with g = 1 + n:

    Enc(m; r) = (1 + m*n) * r**n mod n**2        Enc(a) * Enc(b) = Enc(a + b)        Enc(a)**k = Enc(k * a)

Node membership is disclosed to passive parties: they are told which rows to multiply.

Cost of 10,000 rows and 320 cells at 2048 bits: `benchmarks/histogram.py`.

Randomness: `paillier_random`. Sums: `paillier_cells`. Processes: `paillier_workers`. Keys: `paillier_keys`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import NoReturn

import numpy as np
import numpy.typing as npt

from vfl.crypto.fixed_base import big, from_bytes, gcd, power, to_bytes
from vfl.crypto.packing import pack_rows, slots, unpack_cells
from vfl.crypto.paillier_cells import Marginals, Pass, finish, multiply, pack_cells, plan
from vfl.crypto.paillier_keys import PrivateKey, PublicKey, generate_key, parse_public
from vfl.crypto.paillier_random import (
    CHUNK_ROWS,
    TABLE_MEMORY,
    Material,
    Randomisers,
    RowEncryptor,
    SealWorker,
    dealt,
    draw_unit,
    seal,
)
from vfl.crypto.paillier_workers import Crew, worker_count
from vfl.crypto.scheme import BLOCK_ROWS, Bools, CellLayout, Codes, Int64s, Lanes, Sealed
from vfl.errors import BrokenPromise, UsageError
from vfl.randomness import Randomness
from vfl.secret import Secret

NAME = "paillier"

_IDLE_SEALS = 8
"""Randomisers that one call of `idle` makes, in 15 ms at 2048 bits; the first 64 take 0.1 s, their table 0.5 to 1 s."""
_MOST_SEALS_AHEAD = 4096
"""2 MB of randomisers at 2048 bits."""
_QUERIES = 32
"""Queries of a run about which nothing else is known: one tree of 31 splits."""


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


def own_key(rng: Randomness, bits: int, *, small_keys_for_tests: bool = False) -> PrivateKey:
    """The key that a key holder with this `rng` draws."""
    return generate_key(bits, rng.child("paillier/key"), small_keys_for_tests=small_keys_for_tests)


class KeyWorker:
    """What a process of the key holder's crew does."""

    __slots__ = ("_encryptor", "_key")

    def __init__(self, key: PrivateKey, encryptor: RowEncryptor) -> None:
        self._key, self._encryptor = key, encryptor

    def powers(self, material: Material) -> list[int]:
        """The randomness of a chunk of rows."""
        return self._encryptor.powers(material)

    def encrypt(self, rows: list[int], material: Material) -> list[int]:
        """The ciphertexts of a chunk of rows."""
        return self._encryptor.encrypt(rows, self._encryptor.powers(material))

    def decrypt(self, ciphertexts: list[int]) -> list[int]:
        """The plaintexts of checked ciphertexts."""
        return [self._key.decrypt(ciphertext) for ciphertext in ciphertexts]

    def __reduce__(self) -> NoReturn:
        raise TypeError("a worker holds the private key: it cannot be pickled or copied")


def key_worker(p: int, q: int, unit: int | None, uses: int, memory: int) -> KeyWorker:
    """The worker of a child process."""
    key = PrivateKey(p, q)
    return KeyWorker(key, RowEncryptor(key, unit, uses=uses, memory=memory))


class SumWorker(SealWorker):
    """What a process of a passive party's crew does."""

    def __init__(self, n: int) -> None:
        super().__init__(n)
        self._public, self._modulus = PublicKey(n), big(n * n)
        self._rows: Sequence[int] = ()

    def hold(self, rows: Sequence[int]) -> None:
        """Takes the rows of a tree."""
        self._rows = rows

    def multiply(self, index: npt.NDArray[np.int64], one: Pass) -> Marginals:
        """The products of one pass over the rows of `index`."""
        return multiply([self._rows[row] for row in index.tolist()], one, self._modulus)

    def pack(self, sums: list[int], lanes: Lanes) -> list[int]:
        """Packed cells; all but the last `sums` of a node must fill whole ciphertexts."""
        return pack_cells(sums, self._public, lanes)


class PaillierKeyHolder:
    """The active side of one run (`scheme.KeyHolder`)."""

    __slots__ = (
        "_ahead", "_crew", "_encryptor", "_following", "_key", "_lanes", "_layouts", "_opened", "_past", "_public",
        "_ready", "_rng", "_trees",
    )  # fmt: skip

    def __init__(
        self,
        lanes: Lanes,
        context: bytes,
        rng: Randomness,
        *,
        bits: int = 2048,
        trees: int = 1,
        workers: int | None = None,
        ahead: bool = False,
        textbook: bool = False,
        small_keys_for_tests: bool = False,
    ) -> None:
        """Draws a key of its own for the run.

        `context`: what the proof is bound to, equal at both parties (run id). `bits`: 2048, 3072 or 4096. `trees`:
        trees expected, to size tables by. `workers`: processes that share the work, by default as the environment
        says (`paillier_workers`). `ahead`: the randomness of a tree's rows depends on the tree before, not on the
        tree's own values, so that `idle` can make it early; see `open_tree`. Of these only `ahead` changes any byte.
        Raises UsageError for another size, another number of workers, or when a cell does not fit a plaintext.
        """
        workers = worker_count(workers)
        self._key = own_key(rng, bits, small_keys_for_tests=small_keys_for_tests)
        slots(bits, lanes)
        self._lanes, self._trees, self._ahead = lanes, trees, ahead
        self._rng = rng.child("paillier/base")
        self._public = self._key.public_bytes(context)
        self._layouts: dict[str, CellLayout] = {}
        self._opened, self._past = 0, b""
        self._following: Randomness | None = None
        self._ready: Secret[list[list[int]]] = Secret([])
        unit = Secret(None if textbook else draw_unit(big(self._key.public.n), self._rng))
        key, uses, memory = self._key, -(-lanes.rows * trees // workers), TABLE_MEMORY // workers
        self._encryptor = RowEncryptor(key, unit.expose(), uses=uses, memory=memory)

        def secrets() -> tuple[int, int, int | None, int, int]:
            private = key.expose()
            # phe orders p < q; the key's own order is by the residue mod 8.
            p, q = sorted((int(private.p), int(private.q)), key=lambda prime: prime % 8)
            return p, q, unit.expose(), uses, memory

        self._crew = Crew(KeyWorker(key, self._encryptor), key_worker, secrets, workers)

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

    @property
    def lanes(self) -> Lanes:
        """The bounds of the run."""
        return self._lanes

    def public(self) -> bytes:
        """Key and proofs; layout in `paillier_keys`."""
        return self._public

    def expose_base(self) -> bytes:
        """What the randomness of all rows is a power of: for an auditor's eyes (`paillier_again`)."""
        return self._encryptor.expose_unit()

    def expect_hint(self, peer: str, layout: CellLayout, name: bytes = b"") -> int:
        """Notes the peer's layout; this scheme has no hint."""
        if peer in self._layouts:
            raise BrokenPromise("a second layout came; one belongs to a run", peer=peer)
        self._layouts[peer] = layout
        return 0

    def accept_hint(self, peer: str, block: bytes) -> None:
        """Refuses: this scheme has no hint."""
        raise BrokenPromise(f"a hint of {len(block)} bytes came; {NAME} has none", peer=peer)

    def open_tree(self, g: Int64s, h: Int64s, rng: Randomness) -> list[bytes]:
        """The encrypted rows, in order, in blocks of 4096. See `scheme.KeyHolder`.

        Two trees with one stream would use randomness twice, and the quotient of two such ciphertexts shows the
        difference of their plaintexts. So the stream is bound to the values. With `ahead` that of every tree but the
        first comes from the key's own seed, the number of the tree and the values of all trees before: never used
        twice by one key holder, but a run repeated from its seed must say the values that it said before. A caller
        that asks for `ahead` has them on durable record before they leave.
        """
        rows, values = pack_rows(g, h, self._lanes), hashlib.sha256(g.tobytes() + h.tobytes()).digest()
        stream = self._following or rng.child(f"rows/{values.hex()}")
        ready = self._ready.expose()
        chunks = [rows[start : start + CHUNK_ROWS] for start in range(0, len(rows), CHUNK_ROWS)]
        found = [self._encryptor.encrypt(own, powers) for own, powers in zip(chunks, ready, strict=False)]
        rest = [(chunks[index], self._material(index, stream)) for index in range(len(ready), len(chunks))]
        found += self._crew.map("encrypt", rest)
        ready.clear()
        self._opened, self._past = self._opened + 1, hashlib.sha256(self._past + values).digest()
        if self._ahead:
            self._following = self._rng.child(f"rows/{self._opened}/{self._past.hex()}")
        width, per = self._key.public.cipher_bytes, BLOCK_ROWS // CHUNK_ROWS
        return [
            b"".join(to_bytes(c, width) for chunk in found[start : start + per] for c in chunk)
            for start in range(0, len(found), per)
        ]

    def idle(self) -> bool:
        """Does a little of the next tree's work; for a driver that has nothing else to do. Whether some is left."""
        ready, chunks = self._ready.expose(), -(-self._lanes.rows // CHUNK_ROWS)
        if self._following is None or self._opened >= self._trees:
            return False
        numbers = range(len(ready), min(chunks, len(ready) + self._crew.size))
        ready.extend(self._crew.map("powers", [(self._material(index, self._following),) for index in numbers]))
        return len(ready) < chunks

    def close(self) -> None:
        """Ends child processes. A key holder that is forgotten ends them too."""
        self._crew.close()

    def _material(self, chunk: int, stream: Randomness) -> Material:
        count = min(CHUNK_ROWS, self._lanes.rows - chunk * CHUNK_ROWS)
        return self._encryptor.material(count, stream.child(str(chunk)))

    def query(self, members: Bools, rng: Randomness) -> Iterator[bytes]:
        """No blocks: the plain row sets say it all."""
        _check_members(members, self._lanes.rows)
        return iter(())

    def decrypt(self, peer: str, answers: Sequence[bytes], layout: CellLayout) -> Int64s:
        """The cell sums in `answers`. See `scheme.KeyHolder`."""
        if self._layouts.get(peer) != layout:
            raise UsageError(f"layout of {peer} is not the one accepted for this run; allowed: that one")
        return np.stack([self._decrypt_node(peer, answer, layout) for answer in answers])

    def residues(self, peer: str, answer: bytes, count: int) -> list[int]:
        """The plaintexts mod n of `count` ciphertexts, whatever they are. Raises BrokenPromise for other bytes."""
        try:
            return self._plaintexts(answer, count)
        except BrokenPromise as broken:
            broken.peer = peer
            raise

    def _plaintexts(self, answer: bytes, count: int) -> list[int]:
        ciphertexts = read_ciphertexts(answer, count, self._key.public, "the answer")
        chunks = [(part,) for part in dealt(ciphertexts, self._crew.size)]
        return [one for chunk in self._crew.map("decrypt", chunks) for one in chunk]

    def _decrypt_node(self, peer: str, answer: bytes, layout: CellLayout) -> Int64s:
        public = self._key.public
        count = -(-layout.cells // slots(public.bits, self._lanes))
        try:
            return unpack_cells(self._plaintexts(answer, count), public.n, layout.cells, self._lanes)
        except BrokenPromise as broken:
            broken.peer = peer
            raise

    def __reduce__(self) -> NoReturn:
        raise TypeError("a key holder cannot be pickled or copied")


class PaillierEvaluator:
    """A passive side of one run (`scheme.Evaluator`)."""

    __slots__ = (
        "_codes", "_crew", "_lanes", "_layout", "_members", "_opened", "_public", "_queries", "_randomisers", "_seals",
        "_trees",
    )  # fmt: skip

    def __init__(
        self,
        public: bytes,
        lanes: Lanes,
        context: bytes,
        *,
        queries: int = _QUERIES,
        trees: int = 1,
        workers: int | None = None,
        small_keys_for_tests: bool = False,
    ) -> None:
        """`public`: what the key holder sent; `lanes`, `context`: as agreed.

        `queries`: queries expected in the run, to size tables by. `trees`: trees expected; `idle` works ahead for one
        of them. `workers`: processes that share the work, by default as the environment says (`paillier_workers`).
        None of these changes any byte. Raises BrokenPromise for a bad key, UsageError for another number of workers.
        """
        workers = worker_count(workers)
        self._public = parse_public(public, context, small_keys_for_tests=small_keys_for_tests)
        slots(self._public.bits, lanes)
        self._lanes, self._queries, self._trees = lanes, queries, trees
        n = self._public.n
        self._crew = Crew(SumWorker(n), SumWorker, lambda: (n,), workers)
        self._randomisers: Randomisers | None = None
        self._codes: Codes | None = None
        self._layout: CellLayout | None = None
        self._opened = False
        self._members: Bools | None = None
        self._seals = 0

    @property
    def key_bits(self) -> int:
        """Bits of the key holder's modulus, to compare with what was agreed."""
        return self._public.bits

    @property
    def discloses_membership(self) -> bool:
        """True: the rows of a node are named in the clear."""
        return True

    @property
    def hint_name(self) -> bytes:
        """Empty: this scheme has no hint."""
        return b""

    def hint(self, codes: Codes, layout: CellLayout, rng: Randomness) -> Iterator[bytes]:
        """Binds the bins; no blocks, as this scheme needs no hint. `rng` seeds every seal. Raises UsageError."""
        layout.check_codes(codes, self._lanes.rows)
        self._codes, self._layout = codes.copy(), layout
        if self._randomisers is None:  # One for the whole run: a second would begin at number 0 again.
            self._seals = self._queries * -(-layout.cells // slots(self._public.bits, self._lanes))
            self._randomisers = Randomisers(self._public, rng.child("seals"), self._crew, uses=self._seals)
        return iter(())

    def open_tree(self, blocks: list[bytes]) -> None:
        """Takes the rows of a tree. A refused tree leaves none open. See `scheme.Evaluator`."""
        self._opened = False
        total, width = self._lanes.rows, self._public.cipher_bytes
        due = [min(BLOCK_ROWS, total - start) for start in range(0, total, BLOCK_ROWS)]
        if [len(block) for block in blocks] != [count * width for count in due]:
            raise BrokenPromise(f"the blocks of a tree do not hold {total} ciphertexts of {width} bytes")
        self._crew.tell("hold", read_ciphertexts(b"".join(blocks), total, self._public, "the tree"))
        self._opened = True

    def open_query(self, members: Bools | None, nodes: int) -> int:
        """Notes the rows to sum; no blocks follow."""
        if not self._opened:
            raise BrokenPromise("a query came while no tree was open")
        if members is None:
            raise UsageError(f"members is None; allowed: bool of shape {(nodes, self._lanes.rows)}")
        _check_members(members, self._lanes.rows)
        self._members = members
        return 0

    def absorb(self, block: bytes) -> None:
        """Refuses: a query of this scheme has no blocks."""
        raise BrokenPromise(f"a query of {len(block)} bytes came; {NAME} has none")

    def answer(self, rng: Randomness) -> list[Sealed]:
        """The packed and sealed sums over the rows of each node. See `scheme.Evaluator`."""
        if self._codes is None or self._layout is None or self._randomisers is None:
            raise UsageError("codes are not bound; allowed: answers after hint()")
        if not self._opened or self._members is None:
            raise UsageError("no query is open; allowed: an answer to each")
        members, self._members = self._members, None
        packed = [self._pack(self._sums(self._codes, self._layout, member)) for member in members]
        return [seal(cells, self._randomisers, rng) for cells in packed]  # bound to the count of seals: never alike

    def answer_weighted(self, weights: Int64s, rng: Randomness) -> tuple[Sealed, list[int]]:
        """For each feature the sum of its cells times `weights`, int64[cells], of one node, masked uniformly mod n.

        Returns what may leave, a ciphertext a feature, and the masks.
        """
        if self._codes is None or self._layout is None or self._randomisers is None:
            raise UsageError("codes are not bound; allowed: answers after hint()")
        if not self._opened or self._members is None or len(self._members) != 1:
            raise UsageError("no query over one node is open; allowed: an answer to each")
        members, self._members = self._members, None
        n, modulus = big(self._public.n), big(self._public.n_squared)
        cells = self._sums(self._codes, self._layout, members[0])
        sums, masks = [], []
        said = b"".join(to_bytes(one, self._public.cipher_bytes) for one in cells)
        stream = rng.child(f"masks/{hashlib.sha256(said).hexdigest()}")  # one stream never masks two answers alike
        for offset, count in zip(self._layout.offsets, self._layout.n_bins, strict=True):
            masks.append(stream.below(int(n)))
            total = 1 + big(masks[-1]) * n
            for cell, weight in zip(cells[offset:], weights[offset : offset + count].tolist(), strict=False):
                total = total * power(cell, weight, modulus) % modulus
            sums.append(total)
        return seal(sums, self._randomisers, rng), masks

    def go_on_after(self, nodes: int) -> None:
        """Leaves out the randomisers of so many nodes of the run, from its first on."""
        if self._randomisers is None or self._layout is None:
            raise UsageError("codes are not bound; allowed: answers after hint()")
        self._randomisers.go_on_after(nodes * -(-self._layout.cells // slots(self._public.bits, self._lanes)))

    def idle(self) -> bool:
        """Makes a few randomisers ahead; for a driver that has nothing else to do. Whether some are left to make.

        At most as many as one tree takes: trees that ask for less than was announced leave little made in vain.
        """
        if self._randomisers is None:
            return False
        most = min(self._seals - self._randomisers.count, -(-self._seals // self._trees), _MOST_SEALS_AHEAD)
        self._randomisers.fill(min(most, self._randomisers.ahead + _IDLE_SEALS))
        return self._randomisers.ahead < most

    def close(self) -> None:
        """Ends child processes. An evaluator that is forgotten ends them too."""
        self._crew.close()

    def _sums(self, codes: Codes, layout: CellLayout, member: Bools) -> list[int]:
        """`paillier_cells.cell_sums`, a pass at a time in every process."""
        index, modulus = np.flatnonzero(member), big(self._public.n_squared)
        if not index.size:
            return [big(1)] * layout.cells
        passes = sorted(plan(codes[index], layout), key=lambda one: -one.spent)
        products = self._crew.map("multiply", [(index, one) for one in passes])
        return finish(passes, products, layout, modulus)

    def _pack(self, sums: list[int]) -> list[int]:
        per = slots(self._public.bits, self._lanes)
        full = -(-len(sums) // per)
        step = -(-full // self._crew.size) * per
        chunks = [(sums[start : start + step], self._lanes) for start in range(0, len(sums), step)]
        return [one for chunk in self._crew.map("pack", chunks) for one in chunk]


def _check_members(members: Bools, rows: int) -> None:
    if members.dtype != np.bool_ or members.ndim != 2 or members.shape[1] != rows:
        raise UsageError(f"members is {members.dtype}{members.shape}; allowed: bool{('nodes', rows)}")
