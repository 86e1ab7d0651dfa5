"""The fast engine of the intersection: batched oblivious PRF from OT extension (Kolesnikov, Kumaresan, Rosulek & Trieu,
"Efficient batched oblivious PRF with applications to private set intersection", CCS 2016).

    active (ids X)                                    passive (ids Y, secret bits s)
    Offer    point, half of the salt          -->
                                              <--   Choices  448 points, half of the salt
    X in bins, one id each
    Columns  matrix U, bins in order          -->
    F_b(x) for the id x of bin b                    F_b(y) for any b and y
                                              <--   Masks    F_b(y), b = h_0(y), h_1(y), h_2(y), Y in a secret order
    X and Y share x where F_b(x) = F_b(y)

`vfl.protocols.intersect` declares sizes before and confirms rows after, as with its own engine; both engines give the
same result. Base transfers: `vfl.crypto.base_ot`; bins: `cuckoo`; F and U: `ot_extension`, `aes_hash`.

The salt hashes ids, makes the code and keys H; it is made of both halves and the run after both sets are fixed by their
commitments. If X has no placement (2^-40), the active goes on to the next salt, and says so by `attempt`.

Masks are cut to 40 + log2(|X| |Y|) bits: an id x is compared with one list of masks, that of the hash function that put
x into its bin, which makes |X| |Y| pairs and a false one with probability 2^-40 (CONFIRM then ends the run). The three
masks of an id travel side by side: the one that meets shows the active only its own placement of x, the others belong
to bins of other ids and look random. Positions are those of a shuffled stream, as with the other engine.

Holds against peers that follow the protocol. A passive party that does not can put three ids behind each place of its
stream instead of one. An active party that does not can send a U that is made of no codewords and learn a few bits of s
from each customer that it knows to be common; with all of s it can try any number of ids offline, where the other
engine stops at the declared size. Neither shows during the run: CONFIRM proves rows, not inputs. Both show when the
run is replayed from seed and set commitment, as every message here is a function of the two, of the salt and of what
was received, and the ledger holds its digest. Who does not trust the partner's program to be ours agrees on `x25519`.

Learns:  active  -> which of its own ids the passive has, and where in the passive's shuffled stream
         passive -> nothing, but for an `attempt` above 0 (2^-40)
Cost:    448 base transfers, 2 scalar multiplications each on either side; a BLAKE2b for each id; AES blocks: 15 at the
         active and 3.5 at the passive for each bin, 16 at the passive for each of its ids; 71.2 |X| + 30 |Y| bytes at
         2^20 ids, and 43 kB; messages cross the network 4 times
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil, log2
from typing import Annotated

import numpy as np
import numpy.typing as npt
from msgspec import Meta

from vfl.channel import Channel
from vfl.crypto import base_ot
from vfl.crypto.aes_hash import COLUMNS, WORDS, Code, RowHash, keyed_hashes
from vfl.crypto.cuckoo import FUNCTIONS, Places, bins_for, place, places
from vfl.crypto.ot_extension import SPAN, Receiver, Sender, secret_words
from vfl.engine import HERE, Engine
from vfl.errors import AgreementError, UsageError
from vfl.randomness import Randomness
from vfl.wire import Bytes32, Message, require

LARGEST = 2**24  # ids in one set: what 448 columns serve
ATTEMPTS = 8  # salts tried before giving up
BLOCK = 2**16  # ids in one message of masks
STEP = 2**13  # rows hashed at once: half a megabyte, which stays in the cache
MASK = 16  # bytes of a mask before it is cut
COLUMN_BYTES = COLUMNS // 8  # for each bin
Rows = npt.NDArray[np.int64]
Words = npt.NDArray[np.uint64]
Digest = Annotated[bytes, Bytes32]


class Offer(Message, frozen=True):
    """The point that all base transfers share, and the active's half of the salt."""

    point: Annotated[bytes, Meta(min_length=base_ot.POINT, max_length=base_ot.POINT)]
    salt: Digest


class Choices(Message, frozen=True):
    """The answer of each base transfer, one for each column, and the passive's half of the salt."""

    points: Annotated[bytes, Meta(max_length=COLUMNS * base_ot.POINT)]
    salt: Digest


class Columns(Message, frozen=True):
    """The matrix U for a span of bins. `attempt`: which salt has been used, the same in all."""

    attempt: int
    index: int
    count: int
    last: bool
    columns: Annotated[bytes, Meta(max_length=SPAN * COLUMN_BYTES)]


class Masks(Message, frozen=True):
    """The cut masks of a part of the passive's stream: all of hash function 0, then 1, then 2."""

    index: int
    count: int
    last: bool
    items: Annotated[bytes, Meta(max_length=BLOCK * FUNCTIONS * MASK)]


@dataclass(frozen=True)
class Hits:
    """`tokens[own[i]]` is the id at `positions[i]` of the partner's stream; both int64, by rising `own`."""

    own: Rows
    positions: Rows


@dataclass(frozen=True)
class Salted:
    """What one salt makes: the hash of ids, the code and the hash of rows."""

    id_key: bytes
    code: Code
    row_hash: RowHash

    @classmethod
    def of(cls, run: str, active_half: bytes, passive_half: bytes, attempt: int) -> Salted:
        """For the salt of one attempt in one run."""
        head = b"tallystick-kkrt-v1" + active_half + passive_half + attempt.to_bytes(1, "big")
        keys = hashlib.shake_256(head + run.encode()).digest(32 + Code.KEY + RowHash.KEY)
        return cls(keys[:32], Code(keys[32 : 32 + Code.KEY]), RowHash(keys[32 + Code.KEY :]))


async def active(
    passive: Channel, tokens: Sequence[str], theirs: int, run: str, rng: Randomness, engine: Engine = HERE
) -> Hits:
    """Find which of `tokens` (unique) the partner has. `theirs`: size of the partner's set."""
    check_sizes(len(tokens), theirs)
    transfers, half = base_ot.Sender(rng.child("transfers")), rng.child("salt").bytes(32)
    await passive.send(Offer(transfers.point, half))
    chosen = await passive.recv(Choices)
    receiver = Receiver(*transfers.keys(chosen.points, COLUMNS))
    for attempt in range(ATTEMPTS):
        salted = Salted.of(run, half, chosen.salt, attempt)
        if placed := placement(tokens, salted, engine):
            break
    else:
        raise UsageError(f"{len(tokens)} ids found no place under {ATTEMPTS} salts", remedy="run again")
    hashes, held = placed
    masks = np.empty((len(held), 2), np.uint64)
    for start, count, last in _parts(len(held), SPAN):
        columns, masks[start : start + count] = receiver_span(receiver, salted, hashes, held, start, count)
        await passive.send(Columns(attempt, start // SPAN, count, last, columns))
    own = OwnMasks(masks, held, mask_bytes(len(tokens), theirs))
    for start, count, last in _parts(theirs, BLOCK):
        block = await passive.recv(Masks)
        require(block.index == start // BLOCK, f"block {start // BLOCK} is due")
        require(block.count == count, f"the block has {count} of {theirs} ids")
        require(block.last == last, f"the last block ends with id {theirs}")
        require(len(block.items) == count * FUNCTIONS * own.width, f"{FUNCTIONS} masks of {own.width} bytes an id")
        own.meet(block.items, start, count)
    hits = own.hits()
    require(np.all(np.diff(hits.own) > 0), "no id comes twice in a stream")
    require(np.all(np.bincount(hits.positions) <= 1), "a place in the stream has one id")
    return hits


async def passive(
    active: Channel, tokens: Sequence[str], theirs: int, run: str, rng: Randomness, engine: Engine = HERE
) -> Rows:
    """Let the partner find which of its ids are among `tokens` (unique). `theirs`: size of the partner's set.

    Returns the order of our stream: position i is `tokens[order[i]]`.
    """
    check_sizes(theirs, len(tokens))
    order, half = rng.child("shuffle").permutation(len(tokens)), rng.child("salt").bytes(32)
    choices = np.unpackbits(np.frombuffer(rng.child("choices").bytes(COLUMNS // 8), np.uint8)).astype(np.bool_)
    offer = await active.recv(Offer)
    points, seeds = base_ot.choose(offer.point, choices, rng.child("transfers"))
    await active.send(Choices(points, half))
    sender, bins, attempt = Sender(choices, seeds), bins_for(theirs), 0
    rows = np.empty((bins, WORDS), np.uint64)
    for start, count, last in _parts(bins, SPAN):
        span = await active.recv(Columns)
        require(0 <= span.attempt < ATTEMPTS, f"{ATTEMPTS} salts are tried")
        require(start == 0 or span.attempt == attempt, "all columns are for one salt")
        require(span.index == start // SPAN, f"span {start // SPAN} is due")
        require(span.count == count, f"the span has {count} of {bins} bins")
        require(span.last == last, f"the last span ends with bin {bins}")
        require(len(span.columns) == count * COLUMN_BYTES, f"{COLUMN_BYTES} bytes a bin")
        attempt = span.attempt
        rows[start : start + count] = sender.span(span.columns)
    salted, secret = Salted.of(run, offer.salt, half, attempt), secret_words(choices)
    width = mask_bytes(theirs, len(tokens))
    hashes = keyed_hashes(tokens, salted.id_key, engine)[order]
    for start, count, last in _parts(len(tokens), BLOCK):
        items = sender_masks(rows, secret, salted, hashes[start : start + count], width)
        await active.send(Masks(start // BLOCK, count, last, items))
    return order


def check_sizes(active_size: int, passive_size: int) -> None:
    """Raises AgreementError for a set that is larger than the code serves."""
    if max(active_size, passive_size) > LARGEST:
        raise AgreementError(
            f"sets of {active_size} and {passive_size} ids, and kkrt serves {LARGEST}", remedy="agree on x25519"
        )


def mask_bytes(active_size: int, passive_size: int) -> int:
    """Width of a cut mask: two of |X| |Y| pairs meet by chance with probability 2^-40; 8 or more."""
    pairs = max(1, active_size) * max(1, passive_size)
    return max(8, ceil((40 + log2(pairs)) / 8))


def placement(tokens: Sequence[str], salted: Salted, engine: Engine = HERE) -> tuple[Words, Places] | None:
    """The active's hashes, uint64 (n, 2), and which of them each bin holds, int32 (bins,), -1 for none; or None."""
    hashes, bins = keyed_hashes(tokens, salted.id_key, engine), bins_for(len(tokens))
    held = place(places(hashes, bins), bins)
    return None if held is None else (hashes, held)


def receiver_span(
    receiver: Receiver, salted: Salted, hashes: Words, held: Places, start: int, count: int
) -> tuple[bytes, Words]:
    """The active's columns for `count` bins from `start` on, and its masks of them, uint64 (count, 2)."""
    part = held[start : start + count]
    codewords = np.zeros((count, WORDS), np.uint64)  # of an empty bin: zero, hidden like any other
    filled = np.flatnonzero(part >= 0)
    codewords[filled] = salted.code.words(hashes[part[filled]])
    columns, rows = receiver.span(codewords)
    rows[:, WORDS - 1] = np.arange(start, start + count, dtype=np.uint64)
    masks = [salted.row_hash.masks(rows[at : at + STEP]) for at in range(0, count, STEP)]
    return columns, np.concatenate(masks)


def sender_masks(rows: Words, secret: Words, salted: Salted, hashes: Words, width: int) -> bytes:
    """The passive's cut masks of a block of ids, 3 n `width` bytes. `rows`: uint64 (bins, 8); `hashes`: (n, 2)."""
    cut = np.empty((FUNCTIONS, len(hashes), width), np.uint8)
    for start in range(0, len(hashes), STEP):
        part = hashes[start : start + STEP]
        offsets = salted.code.words(part) & secret
        for z, bins in enumerate(places(part, len(rows))):
            inputs = rows.take(bins, axis=0)
            inputs ^= offsets
            inputs[:, WORDS - 1] = bins
            masks = salted.row_hash.masks(inputs)
            cut[z, start : start + len(part)] = masks.view(np.uint8).reshape(-1, MASK)[:, :width]
    return cut.tobytes()


class OwnMasks:
    """The active's masks by hash function, sorted, and the passive's that have met them."""

    def __init__(self, masks: Words, held: Places, width: int) -> None:
        """`masks`: uint64, (bins, 2), of all bins; `held`: which id each bin has, -1 for none."""
        self.width = width
        keep = np.frombuffer(b"\xff" * width + bytes(MASK - width), "<u8")
        table = len(held) // FUNCTIONS
        self._lists: list[tuple[Words, Words, Places]] = []
        for z in range(FUNCTIONS):
            here = slice(z * table, (z + 1) * table)
            filled = np.flatnonzero(held[here] >= 0)
            cut = masks[here][filled] & keep
            order = np.argsort(cut[:, 0])
            self._lists.append((cut[order, 0], cut[order, 1], held[here][filled][order]))
        self._own: list[Rows] = []
        self._positions: list[Rows] = []

    def meet(self, items: bytes, start: int, count: int) -> None:
        """Compare a block of the stream, `count` ids from position `start` on."""
        whole = np.zeros((FUNCTIONS, count, MASK), np.uint8)
        whole[:, :, : self.width] = np.frombuffer(items, np.uint8).reshape(FUNCTIONS, count, self.width)
        for came, (first, second, ids) in zip(whole.view("<u8"), self._lists, strict=True):
            order = np.argsort(came[:, 0])  # in rising order the search walks `first` once, and the cache helps
            came_first, came_second = came[order, 0], came[order, 1]
            at = np.searchsorted(first, came_first)
            while len(order):  # once, and again where 8 bytes agree and the rest does not
                near = at < len(first)
                near[near] = first[at[near]] == came_first[near]
                order, at, came_first, came_second = order[near], at[near], came_first[near], came_second[near]
                met = second[at] == came_second
                self._own.append(ids[at[met]].astype(np.int64))
                self._positions.append(order[met] + start)
                order, at, came_first, came_second = order[~met], at[~met] + 1, came_first[~met], came_second[~met]

    def hits(self) -> Hits:
        """All that met, by rising own index."""
        if not self._own:
            return Hits(np.empty(0, np.int64), np.empty(0, np.int64))
        own, positions = np.concatenate(self._own), np.concatenate(self._positions)
        order = np.argsort(own, kind="stable")
        return Hits(own[order], positions[order])


def _parts(total: int, size: int) -> Iterator[tuple[int, int, bool]]:
    """Start, count and whether it is the last, of each part of a stream."""
    for start in range(0, total, size):
        yield start, min(size, total - start), start + size >= total
