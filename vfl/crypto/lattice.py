"""The `lattice` scheme: encrypted group-by sums with a preprocessed public part; membership stays hidden.

Ring R = Z_q[x]/(x^4096 + 1), q = 2^108; s, r ternary, e centred binomial (variance 5). a_t: one public element for
each block of 4,096 rows, a_*: one more, all expanded from a seed. d_jt: the 0/1 rows of cell j = (feature, bin) in
block t; the constant term of b d(1/x) is the sum of b over d.

    hint    once        P_j = sum_t a_t d_jt(1/x) + a_* r_j(1/x) + e_j
    query   a vector    b_t = a_t s + e_t + D m_t,   b_* = a_* s + e_*      m: the values, zero outside the node
    answer  a cell      y_j = sum of b over the rows of j + <r_j, b_*> + flood
    decrypt a cell      (y_j - constant term of P_j s) / D, rounded

Source: the linear step of SimplePIR (Henzinger, Hong, Corrigan-Gibbs, Meiklejohn, Vaikuntanathan, USENIX Security 2023)
with the data as the database, in ring form; circuit privacy by noise flooding. A query per value, fresh s each; all
queries share the a_t (multi-secret RLWE with a common a, Peikert, Vaikuntanathan, Waters, CRYPTO 2008).

Security. Ternary RLWE with N = 4096 and log2 q = 108 <= 109: 128 bits, classical, by the table of the Homomorphic
Encryption Standard (2018). To the passive party b is pseudorandom. To the active party P_j is pseudorandom (RLWE under
r_j, e_j), and an answer shows D (sum of m over j) plus the noise

    E_j = <d_j, e> + <r_j, e_*> - (e_j s)_0 + rounding of the hint

which the active party could recognise, was it not drowned: flood is uniform in [-F, F], F = D/4. Two answers whose
noises differ by E are |E| / (2F + 1) apart, so all answers of the run together are within

    queries * cells * B / F,    B = 9 sqrt(5 rows + 2 * 5 * 4096) >= |E_j| but for 2^-57 (sums of subgaussian e_i)

of answers that depend on the sums alone (the rounding of the hint is known to both and cancels). `LatticeParameters`
computes this from rows, cells and queries and refuses more than 2^-40.

Correctness. |E_j| + F < D/2 always: |<d_j, e>| <= 10 rows, |<r_j, e_*>|, |(e_j s)_0| <= 10 * 4096, rounding <= 2^55;
with D >= 2^60 the failure probability is zero, not small. Sums are below q / (2 D).
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
import numpy.typing as npt

from vfl.crypto import ring
from vfl.crypto.cell_noise import cell_noise
from vfl.crypto.row_sums import RowSums, blocks_a_part, products, thirds
from vfl.crypto.scheme import MAX_NODES, Bools, CellLayout, Codes, HintStore, Int64s, Lanes, NoHints, Sealed
from vfl.engine import HERE, Engine, mapped, parts
from vfl.errors import BrokenPromise, UsageError
from vfl.randomness import Randomness

Reals = npt.NDArray[np.float64]
NAME = "lattice"
SEED_BYTES = 32
NAME_BYTES = 32
HE_STANDARD = {1024: 27, 2048: 54, 4096: 109, 8192: 218, 16384: 438}
"""Largest log2 q for 128-bit security with ternary secrets: Homomorphic Encryption Standard (2018), table 1."""
MAX_LEAK_LOG2 = -40.0
"""Statistical distance, in bits, that the answers of a run may show beyond their sums."""
HINT_DROPPED = 44
"""Bits of the hint that do not travel: 108 - 64."""
QUERY_VECTORS = 64
"""Encrypted vectors times ring blocks in one block of a query: 3.7 MB, or one ring block of more vectors."""
HINT_CELLS = 512
"""Cells in one block of a hint: 16.8 MB."""
HINT_STEP = 64
"""Cells of a hint computed at once: what bounds the memory of the transforms to 34 MB."""
KEPT_CELLS = 1024
"""Cells whose hint is kept as floating-point numbers beside its bits: 67 MB at most."""
VALUES = 2  # g and h
_TAIL = 9.0  # standard deviations: a subgaussian sum passes them with probability below 2^-57
_LEAST_DELTA = 60


@dataclass(frozen=True)
class LatticeParameters:
    """Scale and flood for a run, from its bounds. `queries`: node queries of the whole run; `cells`: of one party.

    Raises UsageError below the 128-bit table, or when the answers of the run could show more than 2^-40.
    """

    lanes: Lanes
    cells: int
    queries: int
    degree: int = ring.N
    log_q: int = ring.LOG_Q

    def __post_init__(self) -> None:
        allowed = HE_STANDARD.get(self.degree, 0)
        if self.log_q > allowed:
            raise UsageError(
                f"log_q is {self.log_q} at ring degree {self.degree}; allowed for 128-bit security: at most {allowed}"
            )
        if self.log_delta < _LEAST_DELTA or self.leak_log2 > MAX_LEAK_LOG2:
            raise UsageError(
                f"sums of {self.largest.bit_length()} bits over {self.lanes.rows} rows, {self.cells} cells and "
                f"{self.queries} queries would show 2^{self.leak_log2:.1f}; allowed: 2^{MAX_LEAK_LOG2:.0f}",
                remedy="use fewer gradient_bits",
            )

    @property
    def largest(self) -> int:
        """Largest absolute sum with its noise, in fixed-point units."""
        return max(abs(bound) for bounds in self.lanes.least_and_most() for bound in bounds)

    @property
    def log_delta(self) -> int:
        """log2 of the scale D: what q leaves above sign and sum."""
        return self.log_q - 1 - self.largest.bit_length()

    @property
    def modulus_bits(self) -> int:
        """Sums are numbers modulo 2 to the power of this."""
        return self.log_q - self.log_delta

    @property
    def flood_bits(self) -> int:
        """log2 of the flood's half-width F."""
        return self.log_delta - 2

    @property
    def leak_log2(self) -> float:
        """log2 of the statistical distance of all answers of the run from answers that depend on the sums alone."""
        noise = _TAIL * math.sqrt(5.0 * self.lanes.rows + 2 * 5.0 * self.degree)
        return math.log2(noise) + math.log2(max(1, self.cells * self.queries * VALUES)) - self.flood_bits


def affordable_bits(rows: int, cells: int, queries: int, wanted: int, noise: float = 0.0) -> int:
    """The most fixed-point bits, at most `wanted`, that the bounds of a run allow. Raises UsageError below 8.

    `noise`: half-width of agreed noise on a cell, in largest values of one row.
    """
    for bits in range(wanted, 7, -1):
        try:
            LatticeParameters(Lanes(rows, 1 << bits, 1 << bits, round(noise * (1 << bits))), cells, queries)
        except UsageError:
            continue
        return bits
    raise UsageError(f"{rows} rows, {cells} cells and {queries} queries leave fewer than 8 gradient_bits")


def blocks_of(rows: int) -> int:
    """Ring blocks that hold `rows` values."""
    return -(-rows // ring.N)


def _blocks_per_message(nodes: int) -> int:
    """Ring blocks in one block of a query over so many nodes."""
    return max(1, QUERY_VECTORS // (VALUES * nodes))


def _messages(rows: int, nodes: int) -> list[range]:
    """The ring blocks in each block of a query; the pad is the last of all."""
    count, step = blocks_of(rows) + 1, _blocks_per_message(nodes)
    return [range(start, min(start + step, count)) for start in range(0, count, step)]


def _public_elements(seed: bytes, context: bytes, count: int) -> Iterator[Int64s]:
    """The uniform elements of a run, one after the other: a_0 .. and a_* last."""
    root = Randomness(hashlib.sha256(b"tallystick-lattice-v1" + seed + context).digest())
    return (ring.uniform(root.child(f"a/{number}")) for number in range(count))


class LatticeKeyHolder:
    """The active side of one run (`scheme.KeyHolder`)."""

    def __init__(
        self, parameters: LatticeParameters, context: bytes, rng: Randomness, hints: HintStore | None = None
    ) -> None:
        """`context`: equal at both parties (run id). `hints`: where those of earlier trainings are."""
        self._start(parameters, context, rng.child("lattice/seed").bytes(SEED_BYTES), hints)

    @classmethod
    def again(cls, parameters: LatticeParameters, context: bytes, public: bytes) -> LatticeKeyHolder:
        """One that encrypts as the holder whose `public` bytes these are. Raises BrokenPromise for other bytes."""
        if len(public) != SEED_BYTES:
            raise BrokenPromise(f"the seed of the public elements has {len(public)} bytes; {SEED_BYTES} are due")
        holder = cls.__new__(cls)
        holder._start(parameters, context, public, None)
        return holder

    def _start(self, parameters: LatticeParameters, context: bytes, seed: bytes, hints: HintStore | None) -> None:
        self._parameters, self._seed = parameters, seed
        self._rows = parameters.lanes.rows
        count = blocks_of(self._rows) + 1
        self._spectra = np.stack([ring.spectrum(a) for a in _public_elements(self._seed, context, count)])
        self._hints: dict[str, _Hint] = {}
        self._names: dict[str, bytes] = {}
        self._store = hints or NoHints()
        self._values = np.empty((VALUES, 0), dtype=np.int64)
        self._named = b""  # digest of the values
        self._secrets: npt.NDArray[np.int8] | None = None

    @property
    def name(self) -> str:
        """`lattice`."""
        return NAME

    @property
    def discloses_membership(self) -> bool:
        """False: rows outside a node are encrypted zeros."""
        return False

    @property
    def lanes(self) -> Lanes:
        """The bounds of the run."""
        return self._parameters.lanes

    def public(self) -> bytes:
        """The seed of the public elements, 32 bytes."""
        return self._seed

    def expose_base(self) -> bytes:
        """Nothing: all secrets come of the tree's seed."""
        return b""

    def expect_hint(self, peer: str, layout: CellLayout, name: bytes = b"") -> int:
        """How many blocks the hint of `peer` has; none if it is kept under `name`."""
        if peer in self._hints:
            raise BrokenPromise("a second layout came; one belongs to a run", peer=peer)
        if layout.cells > self._parameters.cells:
            raise BrokenPromise(f"{layout.cells} cells, more than the {self._parameters.cells} agreed", peer=peer)
        if len(name) not in (0, NAME_BYTES):
            raise BrokenPromise(f"a hint's name of {len(name)} bytes; {NAME_BYTES} are due", peer=peer)
        hint = self._hints[peer] = _Hint(layout)
        self._names[peer] = name
        kept = self._store.find(name) if name else None
        for block in kept or ():
            hint.accept(block, peer)
        return -(-layout.cells // HINT_CELLS) if kept is None else 0

    def accept_hint(self, peer: str, block: bytes) -> None:
        """Takes the next block of a hint; a whole one is kept."""
        hint = self._hints[peer]
        hint.accept(block, peer)
        if hint.complete and self._names[peer]:
            for _ in self._store.keep(self._names[peer], hint.blocks()):
                pass

    def open_tree(self, g: Int64s, h: Int64s, rng: Randomness) -> list[bytes]:
        """Keeps the values; nothing is sent until a query."""
        lanes = self._parameters.lanes
        if len(g) != self._rows or len(h) != self._rows:
            raise UsageError(f"g and h have {len(g)} and {len(h)} rows; allowed: {self._rows}")
        if max(-int(g.min()), int(g.max())) > lanes.g_max or int(h.min()) < 0 or int(h.max()) > lanes.h_max:
            raise UsageError(f"a value exceeds the agreed bounds |g| <= {lanes.g_max}, 0 <= h <= {lanes.h_max}")
        self._values = np.stack([g, h])
        self._named = hashlib.sha256(self._values.tobytes()).digest()
        return []

    def query(self, members: Bools, rng: Randomness) -> Iterator[bytes]:
        """The encrypted values of each node's rows, zero elsewhere, in blocks; the pad block ends the last one.

        The stream is bound to the values, so that one `rng` used twice never encrypts two vectors under one secret:
        a run that resumes says the same bytes, or bytes that have nothing to do with them.
        """
        if members.ndim != 2 or not 1 <= len(members) <= MAX_NODES or members.shape[1] != self._values.shape[1]:
            raise UsageError(f"members is bool{members.shape}; allowed: 1 to {MAX_NODES} nodes, {self._rows} rows")
        asked = hashlib.sha256(self._named + repr(members.shape).encode() + np.packbits(members).tobytes())
        rng = rng.child(f"query/{asked.hexdigest()}")
        self._secrets = ring.ternary(rng.child("secret"), VALUES * len(members))
        return self._encrypt(members, ring.spectrum(self._secrets), rng.child("noise"))

    def _encrypt(self, members: Bools, secrets: ring.Spectrum, rng: Randomness) -> Iterator[bytes]:
        for blocks in _messages(self._rows, len(members)):
            yield b"".join(self._encrypt_block(t, members, secrets, rng.child(str(t))) for t in blocks)

    def _encrypt_block(self, t: int, members: Bools, secrets: ring.Spectrum, rng: Randomness) -> bytes:
        """b_t of all nodes and values, row by row, 14 bytes each; of the last block only the rows there are."""
        limbs = ring.coefficients(self._spectra[t][:, None, :] * secrets)  # [limb, vector, row]
        limbs[0] += ring.binomial(rng, len(secrets), ring.N)
        rows = slice(t * ring.N, (t + 1) * ring.N)  # none for the pad
        values = members[:, None, rows] * self._values[:, rows]  # [node, value, row]
        count = values.shape[2]
        place, shift = divmod(self._parameters.log_delta, ring.LIMB_BITS)
        limbs[place, :, :count] += values.reshape(len(secrets), count) << shift
        low, high = ring.words(ring.carry(limbs, 0))
        used = count or ring.N
        return ring.to_wire(low[:, :used].T, high[:, :used].T)

    def decrypt(self, peer: str, answers: Sequence[bytes], layout: CellLayout) -> Int64s:
        """The cell sums of the latest query."""
        sums = self.residues(peer, answers, layout)
        least, most = self._parameters.lanes.least_and_most()
        if (sums < least).any() or (sums > most).any():
            raise BrokenPromise("a sum is beyond what the agreed bounds allow", peer=peer)
        return sums

    def residues(self, peer: str, answers: Sequence[bytes], layout: CellLayout) -> Int64s:
        """What the answers say modulo 2^modulus_bits, signed, whatever it is: int64[nodes, cells, 2]."""
        hint = self._hints.get(peer)
        if hint is None or hint.layout != layout or self._secrets is None:
            raise UsageError(f"layout of {peer} is not the one accepted for this run; allowed: that one")
        if len(answers) * VALUES != len(self._secrets):
            raise BrokenPromise(f"{len(answers)} answers for {len(self._secrets) // VALUES} nodes", peer=peer)
        tops = []
        for answer in answers:
            elements = ring.from_wire(answer)
            if elements is None or len(elements[0]) != layout.cells * VALUES:
                raise BrokenPromise(f"the answer is not {layout.cells} pairs of ring elements", peer=peer)
            tops.append(_top(*elements).reshape(layout.cells, VALUES))
        return _subtract_and_round(np.stack(tops), hint, self._secrets, self._parameters)


class _Hint:
    """The hint of one passive party: the top 64 bits of every coefficient, uint64[cells, 4096]."""

    def __init__(self, layout: CellLayout) -> None:
        self.layout = layout
        self.top = np.empty((layout.cells, ring.N), dtype=np.uint64)
        self._filled = 0
        self._kept: dict[int, tuple[Reals, Reals]] = {}

    def accept(self, block: bytes, peer: str) -> None:
        count = min(HINT_CELLS, self.layout.cells - self._filled)
        if len(block) != count * ring.N * 8 or not count:
            raise BrokenPromise(f"a hint block of {len(block)} bytes where {count * ring.N * 8} are due", peer=peer)
        self.top[self._filled : self._filled + count] = np.frombuffer(block, "<u8").reshape(count, ring.N)
        self._filled += count

    @property
    def complete(self) -> bool:
        return self._filled == self.layout.cells

    def blocks(self) -> Iterator[bytes]:
        """The hint as it came."""
        for start in range(0, self.layout.cells, HINT_CELLS):
            yield self.top[start : start + HINT_CELLS].astype("<u8").tobytes()

    def constant_terms(self, secrets: npt.NDArray[np.int8]) -> tuple[Int64s, Int64s]:
        """Constant terms of P_j s for each cell and secret, as hi 2^76 + lo 2^44 (mod q): int64[cells, values] each."""
        if not self.complete:
            raise UsageError("the hint is not complete; allowed: decryption after all its blocks")
        picked = np.empty(secrets.shape[::-1], dtype=np.float64)
        picked[0] = secrets[:, 0]
        picked[1:] = -secrets[:, :0:-1].T  # coefficient i of P meets coefficient N - i of s, negated
        # Sums of 4096 32-bit numbers are below 2^44: exact in double precision, and BLAS does them.
        low = np.empty((self.layout.cells, secrets.shape[0]), dtype=np.int64)
        high = np.empty_like(low)
        for start in range(0, self.layout.cells, HINT_CELLS):
            lower, upper = self._halves(start)
            low[start : start + HINT_CELLS] = lower @ picked
            high[start : start + HINT_CELLS] = upper @ picked
        return high, low

    def _halves(self, start: int) -> tuple[Reals, Reals]:
        """Lower and upper 32 bits of some cells as numbers; kept while they are few, as every node needs them."""
        if (found := self._kept.get(start)) is not None:
            return found
        words = self.top[start : start + HINT_CELLS].view("<u4").reshape(-1, ring.N, 2)
        found = words[:, :, 0].astype(np.float64), words[:, :, 1].astype(np.float64)
        if self.layout.cells <= KEPT_CELLS:
            self._kept[start] = found
        return found


def _top(low: ring.Words, high: ring.Words) -> Int64s:
    """The top 64 of 108 bits; int64, whose arithmetic wraps: arithmetic mod 2^64 = q / 2^44."""
    return ((low >> np.uint64(HINT_DROPPED)) | (high << np.uint64(ring.WORD_BITS - HINT_DROPPED))).view(np.int64)


def _subtract_and_round(
    tops: Int64s, hint: _Hint, secrets: npt.NDArray[np.int8], parameters: LatticeParameters
) -> Int64s:
    """(y - P s) / D, rounded, for the top halves of y, int64[nodes, cells, values]: of the same shape."""
    high, low = hint.constant_terms(secrets)
    # What is below 2^44 is far inside the noise.
    products = (low + (high << 32)).reshape(tops.shape[1], tops.shape[0], VALUES).transpose(1, 0, 2)
    shift = parameters.log_delta - HINT_DROPPED
    return (tops - products + (1 << (shift - 1))) >> shift


class LatticeEvaluator:
    """A passive side of one run (`scheme.Evaluator`)."""

    def __init__(
        self,
        public: bytes,
        parameters: LatticeParameters,
        context: bytes,
        hints: HintStore | None = None,
        engine: Engine = HERE,
    ) -> None:
        """`public`: what the key holder sent. `hints`: where those made before are. `engine`: does work over rows.

        Raises BrokenPromise unless `public` is a seed.
        """
        if len(public) != SEED_BYTES:
            raise BrokenPromise(f"a public part of {len(public)} bytes where {SEED_BYTES} are due")
        self._seed, self._parameters, self._context = public, parameters, context
        self._rows = parameters.lanes.rows
        self._store, self._engine = hints or NoHints(), engine
        self.hint_name = b""
        self._layout: CellLayout | None = None
        self._by_cell: RowSums | None = None
        self._masks = np.empty((0, ring.N), dtype=np.int8)  # r_j
        self._numbers: Reals | None = None
        self._sums: Int64s | None = None  # [cell, third of an element, vector]
        self._due: list[range] = []

    @property
    def discloses_membership(self) -> bool:
        """False: rows outside a node are encrypted zeros."""
        return False

    @property
    def layout(self) -> CellLayout:
        """The cells of the bins that are bound."""
        assert self._layout is not None
        return self._layout

    def hint(self, codes: Codes, layout: CellLayout, rng: Randomness) -> Iterator[bytes]:
        """Binds the bins; the blocks of the hint, each computed when asked for, or as they are kept.

        Masks and noise are drawn for these bins alone: two hints with the same masks would show how bins differ.
        """
        layout.check_codes(codes, self._rows)
        self._layout = layout
        self._by_cell = RowSums(codes, layout, self._engine)
        bound = hashlib.sha256(self._seed + self._context + repr((layout.n_bins, codes.dtype.str)).encode())
        bound.update(np.ascontiguousarray(codes).tobytes())
        rng = rng.child(f"bins/{bound.hexdigest()}")
        self.hint_name = rng.child("name").bytes(NAME_BYTES)
        self._masks = ring.ternary(rng.child("mask"), layout.cells)
        self._numbers = None
        kept = self._store.find(self.hint_name)
        if kept is not None:
            return kept
        return self._store.keep(self.hint_name, self._hint_blocks(codes, layout, rng.child("noise")))

    def _hint_blocks(self, codes: Codes, layout: CellLayout, rng: Randomness) -> Iterator[bytes]:
        elements = map(ring.spectrum, _public_elements(self._seed, self._context, blocks_of(self._rows) + 1))
        # `elements` runs on from part to part and ends with a_*
        rows = parts(self._rows, blocks_a_part(self._engine) * ring.N)
        bound = [self._bound(codes[part], list(islice(elements, blocks_of(part.stop - part.start)))) for part in rows]
        pad = next(elements)
        for start in range(0, layout.cells, HINT_CELLS):
            stop = min(start + HINT_CELLS, layout.cells)
            steps = [range(at, min(at + HINT_STEP, stop)) for at in range(start, stop, HINT_STEP)]
            yield b"".join(self._hint_of(cells, bound, layout, pad, rng.child(str(cells.start))) for cells in steps)

    def _bound(self, codes: Codes, spectra: list[ring.Spectrum]) -> tuple[Codes, list[ring.Spectrum]]:
        return self._engine.keep(codes), self._engine.keep(spectra)

    def _hint_of(
        self,
        cells: range,
        bound: list[tuple[Codes, list[ring.Spectrum]]],
        layout: CellLayout,
        pad: ring.Spectrum,
        rng: Randomness,
    ) -> bytes:
        """The top 64 bits of P_j for some cells."""
        masked = ring.spectrum(self._masks[cells.start : cells.stop]).conj()[:, None, :] * pad
        limbs = ring.coefficients(masked)
        limbs[:, 0] += ring.binomial(rng, len(cells), ring.N)
        for partial in mapped(self._engine, products, ((cells, codes, layout, spectra) for codes, spectra in bound)):
            limbs += partial
        return _top(*ring.words(np.moveaxis(ring.carry(limbs, 1), 1, 0))).astype("<i8").tobytes()

    def open_tree(self, blocks: list[bytes]) -> None:
        """Nothing is sent per tree in this scheme. Raises BrokenPromise if something was."""
        if blocks:
            raise BrokenPromise("rows came with a tree; this scheme sends them with a query")

    def open_query(self, members: Bools | None, nodes: int) -> int:
        """A query begins; how many blocks follow."""
        if members is not None:
            raise BrokenPromise("rows are named; this scheme hides them")
        if not 1 <= nodes <= MAX_NODES:
            raise BrokenPromise(f"a query over {nodes} nodes; allowed: 1 to {MAX_NODES}")
        if self._layout is None or self._by_cell is None:
            raise UsageError("codes are not bound; allowed: answers after hint()")
        self._sums = np.zeros((self._layout.cells, 3, VALUES * nodes), dtype=np.int64)
        self._by_cell.begin(VALUES * nodes)
        self._due = _messages(self._rows, nodes)
        return len(self._due)

    def absorb(self, block: bytes) -> None:
        """Adds the rows of one block to their cells. Raises BrokenPromise for a wrong size or value."""
        assert self._sums is not None
        assert self._by_cell is not None
        if not self._due:
            raise BrokenPromise("a query block came beyond the last one")
        blocks, vectors = self._due[0], self._sums.shape[2]
        rows = min(blocks.stop * ring.N, self._rows) - min(blocks.start * ring.N, self._rows)
        due = rows if self._due[1:] else rows + ring.N  # the pad
        elements = ring.from_wire(block)
        if elements is None or len(elements[0]) != vectors * due:
            raise BrokenPromise(f"a query block of {len(block)} bytes where {due} encrypted rows are due")
        self._due = self._due[1:]
        low, high = (words.reshape(-1, vectors) for words in elements)
        self._by_cell.add(blocks.start, low[:rows], high[:rows])
        if due > rows:
            flat = thirds(low[rows:], high[rows:]).reshape(ring.N, -1)
            padded = self._mask_numbers() @ flat.astype(np.float64)  # below 2^48: exact
            self._sums += padded.astype(np.int64).reshape(self._sums.shape)
            self._sums += self._by_cell.finish()

    def _mask_numbers(self) -> Reals:
        """r_j as numbers, float64[cells, 4096]; kept while they are few, as every query needs them."""
        if self._numbers is not None:
            return self._numbers
        numbers = self._masks.astype(np.float64)
        if len(numbers) <= KEPT_CELLS:
            self._numbers = numbers
        return numbers

    def answer(self, rng: Randomness) -> list[Sealed]:
        """The flooded sums of each node, with the noise agreed on, 28 bytes a cell."""
        if self._sums is None or self._due:
            raise UsageError("the query is not complete; allowed: an answer after all its blocks")
        stream = rng.child(f"flood/{hashlib.sha256(self._sums.tobytes()).hexdigest()}")
        nodes = self._sums.reshape(len(self._sums), 3, -1, VALUES).transpose(2, 0, 3, 1)  # [node, cell, value, third]
        return [self._sealed(node, stream.child(str(number))) for number, node in enumerate(nodes)]

    def answer_masked(self, rng: Randomness) -> tuple[Sealed, Int64s]:
        """The flooded sums of a single node, and the uniform masks that were added to them: int64[cells, 2].

        Modulo 2^modulus_bits a masked sum is uniform and says nothing of the sum.
        """
        if self._sums is None or self._due or self._sums.shape[2] != VALUES:
            raise UsageError("no complete query over one node; allowed: an answer after all its blocks")
        stream = rng.child(f"masked/{hashlib.sha256(self._sums.tobytes()).hexdigest()}")
        drawn = stream.child("masks").uint64(self._sums.shape[0] * VALUES).reshape(-1, VALUES)
        masks = (drawn >> np.uint64(64 - self._parameters.modulus_bits)).astype(np.int64)
        sums = self._sums.transpose(0, 2, 1)  # [cell, value, third]
        return flooded(sums, self._parameters.flood_bits, stream, masks, self._parameters.log_delta), masks

    def _sealed(self, sums: Int64s, rng: Randomness) -> Sealed:
        assert self._layout is not None
        noise = cell_noise(self._layout, self._parameters.lanes, rng)
        return flooded(sums, self._parameters.flood_bits, rng, noise, self._parameters.log_delta)

    def go_on_after(self, nodes: int) -> None:
        """Nothing to do: what an answer draws does not depend on those before it."""

    def idle(self) -> bool:
        """No work of this scheme can be done ahead."""
        return False


def flooded(
    sums: Int64s, flood_bits: int, rng: Randomness, added: Int64s | None = None, log_delta: int = _LEAST_DELTA
) -> Sealed:
    """`sums` int64[cells, values, 3], 36-bit limbs, plus uniform noise of half-width 2^flood_bits each, mod q.

    `added`: whole numbers, int64[cells, values], that the decrypted sums are to be more.
    """
    count = sums.shape[0] * sums.shape[1]
    noise = np.frombuffer(rng.bytes(16 * count), dtype="<u4").astype(np.int64).reshape(count, 4)
    bits = flood_bits + 1  # uniform in 0 .. 2^bits - 1, then shifted down by the half-width
    widths = [min(27, max(0, bits - 27 * place)) for place in range(ring.LIMBS)]
    limbs = np.stack([noise[:, place] & ((1 << width) - 1) for place, width in enumerate(widths)])
    place, shift = divmod(flood_bits, 27)
    limbs[place] -= 1 << shift
    for number, third in enumerate(np.moveaxis(sums.reshape(count, 3), 1, 0)):
        _add_at(limbs, third, 36 * number)
    if added is not None:
        _add_at(limbs, added.reshape(-1), log_delta)
    return Sealed(ring.to_wire(*ring.words(ring.carry(limbs, 0))))


def _add_at(limbs: Int64s, values: Int64s, position: int) -> None:
    """limbs += values * 2^position, for |values| < 2^62."""
    place, shift = divmod(position, ring.LIMB_BITS)
    low = values & ((1 << (ring.LIMB_BITS - shift)) - 1)
    limbs[place] += low << shift
    if place + 1 < ring.LIMBS:
        limbs[place + 1] += values >> (ring.LIMB_BITS - shift)
