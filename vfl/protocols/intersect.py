"""Private set intersection: which customers do we share, without showing the others (Meadows 1986; DDH over x-only
Curve25519, hash to curve of RFC 9380), and a proof that row k is the same customer on both sides (CPace, the balanced
password-authenticated exchange of draft-irtf-cfrg-cpace, with the aligned table in place of the password).

`PsiTerms.protocol` names the engine of the match: `x25519` (below) or `kkrt` (`vfl.protocols.kkrt`, between the two
Declare and the end of the match), which costs a twentieth of the CPU time in all and relies more on the partner's
program being ours; `auto` is kkrt where both sets have 50,000 ids or more. Everything around the match is the same.

    active (ids X, secret a)                        passive (ids Y, secret b)
  match
    Declare  size, commitment, rule           -->
                                              <--   Declare  size, commitment, rule
    Points   a H(x), shuffled                 -->
                                              <--   Points   b H(y), shuffled
    a b H(y)                                        a b H(x)
                                              <--   Tokens   a b H(x), in the order received, 12 bytes each
    X and Y share where a b H(x) = a b H(y)
  confirm, after a match with every passive party
    Agreed   count, nonce                     -->
    Positions  of the common customers in Y   -->
    root = Merkle root of HMAC(k, row, id)          root = Merkle root of HMAC(k, row, id)
                                              <--   Share    nonce, c H(root)
    Answer   d H(root), proof by c d H(root)  -->
                                              <--   Proof    by c d H(root)

With `PsiTerms.decoys` the agreed rows are a mixture of common customers and others of the passive's stream, drawn by
the active (`vfl.decoys`); no table is common to both sides, and `vfl.protocols.confirm_rows` takes the place of Share,
Answer and Proof.

Both sides mask at the same time: each sends on, and is at most AHEAD blocks of points ahead of what it has received, so
that however large the sets are, neither has to hold what the other has not masked yet.

The agreed order is random, drawn by the active party, and each stream is shuffled: an order by id would tell how many
of the other's customers lie between two common ones. Roots are never compared in the clear: whoever shows a digest of
a table in which the other planted one unknown id hands out something to try a dictionary on. The exchange allows a
liar one guess a run, and a wrong guess ends the run.

Learns:  active  -> size, excluded, duplicates, commitment of the passive's ids; which of its own ids the passive has
         passive -> size, excluded, duplicates, commitment of the active's ids; which of its own ids all parties have,
                    in the agreed order; nothing of a result below the minimum except that it is below; with decoys,
                    rows among which all common ones are, and no more
Cost:    |X| + |Y| maskings on each side and 2 to confirm; 44 |X| + 32 |Y| + 4 rows bytes; messages cross the network
         3 times in a match, once more for every 65,536 ids of the smaller set, and 4 times in a confirmation; with
         decoys, `confirm_rows` instead of the latter
"""

from __future__ import annotations

import hashlib
import hmac
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from math import ceil
from typing import Annotated, ClassVar

import numpy as np
import numpy.typing as npt
from msgspec import Meta

from vfl.channel import Channel
from vfl.crypto.group import POINT, Mask, check_points, domain, hash_to_curve
from vfl.crypto.masking import mask_tokens, mask_twice
from vfl.crypto.set_digest import set_commitment, table_root
from vfl.decoys import DECOY, MOST, with_decoys
from vfl.engine import HERE, Engine, Queue, mapped
from vfl.errors import AgreementError, UsageError
from vfl.protocols import confirm_rows, kkrt
from vfl.randomness import Randomness
from vfl.secret import Secret
from vfl.texts import Texts, first_places
from vfl.wire import Bytes32, Message, require

BLOCK = 4096  # items in one message
AHEAD = 16  # blocks of points said before the peer's first is awaited
TOKEN = 12  # bytes: 2 * log2(LARGEST) + 40 bits, so that two sets collide by chance with probability 2^-40
LARGEST = 2**28  # ids in one set
PROTOCOLS = ("x25519", "kkrt", "auto")
MANY = 50_000  # ids: from here on `auto` takes kkrt
Rows = npt.NDArray[np.int64]
Digest = Annotated[bytes, Bytes32]
Count = Annotated[int, Meta(ge=0, le=2**40)]


class Declare(Message, frozen=True):
    """What I bring, said before any point: my set is fixed by a salted commitment that an auditor can have opened."""

    size: Count
    commitment: Digest
    id_rule: Annotated[str, Meta(max_length=64)]
    excluded: Count
    duplicates: Count


class Block(Message, frozen=True):
    """A part of a stream of equally wide items."""

    WIDTH: ClassVar[int]
    index: int
    count: int
    last: bool
    items: Annotated[bytes, Meta(max_length=BLOCK * POINT)]


class Points(Block, frozen=True):
    """Masked points, in the sender's shuffled order."""

    WIDTH = POINT


class Tokens(Block, frozen=True):
    """The low bytes of the receiver's points after a second mask, in the order they came."""

    WIDTH = TOKEN


class Positions(Block, frozen=True):
    """Places in the receiver's stream (uint32, little endian), in the agreed order."""

    WIDTH = 4


class Agreed(Message, frozen=True):
    """How many customers all parties share, and decoys; 0 if those are fewer than agreed, and then nothing follows."""

    count: Count
    nonce: Digest


class Share(Message, frozen=True):
    """The passive's half of the exchange."""

    nonce: Digest
    point: Digest


class Answer(Message, frozen=True):
    """The active's half, and the proof that it holds the same table."""

    point: Digest
    proof: Digest


class Proof(Message, frozen=True):
    """The passive's proof that it holds the same table."""

    proof: Digest


@dataclass(frozen=True)
class PsiTerms:
    """What was agreed about the intersection. `id_rule`: name@version of the normalisation of ids.

    `protocol`: one of PROTOCOLS. `decoys`: for each common customer, 0 to MOST; 0 shows passive parties the common
    customers themselves.
    """

    run: str
    id_rule: str
    max_set_size: int
    min_intersection: int
    protocol: str = "x25519"
    decoys: float = 0.0

    def __post_init__(self) -> None:
        if self.protocol not in PROTOCOLS:
            raise UsageError(f"protocol is one of {', '.join(PROTOCOLS)}, not {self.protocol!r}")
        if not 1 <= self.max_set_size <= LARGEST:
            raise UsageError(f"max_set_size is 1 to {LARGEST}, not {self.max_set_size}")
        if not 1 <= self.min_intersection <= self.max_set_size:
            raise UsageError(f"min_intersection is 1 to max_set_size, not {self.min_intersection}")
        if not 0 <= self.decoys <= MOST:
            raise UsageError(f"decoys is 0 to {MOST:g}, not {self.decoys}")

    def with_decoys(self, size: int) -> int:
        """So many ids and their decoys. Each decoy lets a dishonest active party try one id more than it declared."""
        return size + ceil(self.decoys * size)

    def engine(self, sizes: tuple[int, int]) -> str:
        """The engine for two sets of these sizes, x25519 or kkrt: the same on both sides, as sizes are declared."""
        if self.protocol != "auto":
            return self.protocol
        return "kkrt" if min(sizes) >= MANY and max(sizes) <= kkrt.LARGEST else "x25519"


@dataclass(frozen=True)
class Match:
    """The active's result with one partner: `tokens[own[i]]` is the id at `positions[i]` of the partner's stream."""

    own: Rows
    positions: Rows
    declared: Declare  # by the partner
    salt: Secret[bytes]  # opens our commitment


@dataclass(frozen=True)
class PassiveStream:
    """The passive's state after a match: position i of its stream is `tokens[order[i]]`."""

    order: Rows
    declared: Declare  # by the active
    salt: Secret[bytes]  # opens our commitment


async def active(
    passives: Mapping[str, Channel],
    tokens: Sequence[str],
    terms: PsiTerms,
    rng: Randomness,
    *,
    excluded: int = 0,
    duplicates: int = 0,
    engine: Engine = HERE,
) -> tuple[Rows, dict[str, Match], Rows]:
    """Intersect with every passive party in turn; returns our indices of the common customers in the agreed order, and
    those of all agreed rows, DECOY for a decoy. Where there are decoys, the two orders have nothing in common.

    `tokens`: normalised and unique. `excluded`, `duplicates`: ids left out before, by count.
    """
    tokens, matches = Texts.of(tokens), {}
    for name, passive in passives.items():
        left_out = {"excluded": excluded, "duplicates": duplicates}
        matches[name] = await active_match(passive, tokens, terms, rng.child(f"match/{name}"), engine, **left_out)
    rows, positions = common(matches, rng.child("order"))
    agreed = rows
    if terms.decoys and len(rows) >= terms.min_intersection:
        sizes = {name: match.declared.size for name, match in matches.items()}
        agreed, positions = with_decoys(rows, positions, sizes, terms.decoys, rng.child("decoys"))
    known = tokens.take(rows)
    table = [None if row == DECOY else tokens[row] for row in agreed.tolist()] if terms.decoys else known
    withheld = None
    for name, passive in passives.items():
        try:
            await active_confirm(passive, positions[name], table, terms, rng.child(f"confirm/{name}"), engine)
        except AgreementError as error:  # the other partners wait to hear it too
            withheld = error
    if withheld:
        raise withheld
    return rows, matches, agreed


async def passive(
    active: Channel,
    tokens: Sequence[str],
    terms: PsiTerms,
    rng: Randomness,
    *,
    excluded: int = 0,
    duplicates: int = 0,
    engine: Engine = HERE,
) -> tuple[Rows, PassiveStream]:
    """Returns our indices of the customers that all parties have, or of those and decoys, in the agreed order."""
    tokens, left_out = Texts.of(tokens), {"excluded": excluded, "duplicates": duplicates}
    stream = await passive_match(active, tokens, terms, rng.child("match"), engine, **left_out)
    return await passive_confirm(active, tokens, stream, terms, rng.child("confirm"), engine), stream


async def active_match(
    passive: Channel,
    tokens: Sequence[str],
    terms: PsiTerms,
    rng: Randomness,
    engine: Engine = HERE,
    *,
    excluded: int = 0,
    duplicates: int = 0,
) -> Match:
    """Find which of `tokens` one partner has. `rng`: another for each partner, so that two cannot compare points."""
    passive.enter("psi")
    left_out, texts = {"excluded": excluded, "duplicates": duplicates}, Texts.of(tokens)
    theirs, salt = await _declare(passive, "active", texts, terms, rng, engine, **left_out)
    if terms.engine((len(tokens), theirs.size)) == "kkrt":
        hits = await kkrt.active(passive, texts, theirs.size, terms.run, rng.child("kkrt"), engine)
        await passive.checkpoint()
        return Match(hits.own, hits.positions, theirs, salt)
    order, secret = rng.child("shuffle").permutation(len(tokens)), _secret(rng, "mask")
    twice = _items(await _mask_both(passive, texts.take(order), secret, theirs.size, terms, engine), Tokens)
    found = _items(await _receive(passive, Tokens, len(tokens)), Tokens)
    require(_distinct(found), "the tokens of distinct points are distinct")
    await passive.checkpoint()
    _, places, positions = np.intersect1d(found, twice, assume_unique=True, return_indices=True)
    rising = np.argsort(places)
    return Match(order[places[rising]], positions[rising].astype(np.int64), theirs, salt)


async def passive_match(
    active: Channel,
    tokens: Sequence[str],
    terms: PsiTerms,
    rng: Randomness,
    engine: Engine = HERE,
    *,
    excluded: int = 0,
    duplicates: int = 0,
) -> PassiveStream:
    """Let the active party find which of its ids are among `tokens`."""
    active.enter("psi")
    left_out, texts = {"excluded": excluded, "duplicates": duplicates}, Texts.of(tokens)
    theirs, salt = await _declare(active, "passive", texts, terms, rng, engine, **left_out)
    if terms.engine((len(tokens), theirs.size)) == "kkrt":
        order = await kkrt.passive(active, texts, theirs.size, terms.run, rng.child("kkrt"), engine)
    else:
        order, secret = rng.child("shuffle").permutation(len(tokens)), _secret(rng, "mask")
        await _send(active, Tokens, await _mask_both(active, texts.take(order), secret, theirs.size, terms, engine))
    await active.checkpoint()
    return PassiveStream(order, theirs, salt)


async def active_confirm(
    passive: Channel,
    positions: Rows,
    tokens: Sequence[str | None],
    terms: PsiTerms,
    rng: Randomness,
    engine: Engine = HERE,
) -> None:
    """Tell one partner the common customers and prove to each other that row k is the same one on both sides.

    `positions`: of its stream, `tokens`: our ids, None for a decoy, both in the agreed order. Raises AgreementError, on
    both sides, if there are fewer than the agreed minimum; the partner is not told how many.
    """
    passive.enter("align")
    own = tokens if isinstance(tokens, Texts) else [token for token in tokens if token is not None]
    nonce, enough = rng.child("nonce").bytes(32), len(own) >= terms.min_intersection
    await passive.send(Agreed(len(tokens) if enough else 0, nonce))
    if not enough:
        await passive.checkpoint()
        raise AgreementError(
            f"{len(own)} customers in common, and at least {terms.min_intersection} were agreed on: no result",
            remedy="check that both sides use the same kind of id, or agree on another min_intersection",
        )
    await _send(passive, Positions, positions.astype("<u4").tobytes())
    if terms.decoys:
        await confirm_rows.active(passive, tokens, terms.run, rng.child("rows"))
        await passive.checkpoint()
        return
    share = await passive.recv(Share)
    check_points(share.point, 1)
    mask, base = Mask(_secret(rng, "share")), _base(own, nonce, share.nonce, terms, engine)
    point = mask.apply(base)
    key = hashlib.sha256(mask.apply(share.point) + share.point + point).digest()
    await passive.send(Answer(point, _proof(key, "active")))
    proof = await passive.recv(Proof)
    require(hmac.compare_digest(proof.proof, _proof(key, "passive")), "row k is the same customer on both sides")
    await passive.checkpoint()


async def passive_confirm(
    active: Channel,
    tokens: Sequence[str],
    stream: PassiveStream,
    terms: PsiTerms,
    rng: Randomness,
    engine: Engine = HERE,
) -> Rows:
    """Learn which of `tokens` all parties have; returns their indices in the agreed order. See `active_confirm`."""
    active.enter("align")
    agreed = await active.recv(Agreed)
    if agreed.count == 0:
        await active.checkpoint()
        raise AgreementError(f"fewer than the agreed {terms.min_intersection} customers in common: no result")
    most = min(len(tokens), terms.with_decoys(stream.declared.size))
    require(terms.min_intersection <= agreed.count <= most, f"{terms.min_intersection} to {most} customers in common")
    positions = np.frombuffer(await _receive(active, Positions, agreed.count), "<u4").astype(np.int64)
    require(positions.max() < len(tokens), "each position is one of our stream")
    require(len(np.unique(positions)) == len(positions), "no position comes twice")
    rows = stream.order[positions]
    table = Texts.of(tokens).take(rows)
    if terms.decoys:
        await confirm_rows.passive(active, table, terms.run, rng.child("rows"))
        await active.checkpoint()
        return rows
    nonce, mask = rng.child("nonce").bytes(32), Mask(_secret(rng, "share"))
    point = mask.apply(_base(table, agreed.nonce, nonce, terms, engine))
    await active.send(Share(nonce, point))
    answer = await active.recv(Answer)
    check_points(answer.point, 1)
    key = hashlib.sha256(mask.apply(answer.point) + point + answer.point).digest()
    require(hmac.compare_digest(answer.proof, _proof(key, "active")), "row k is the same customer on both sides")
    await active.send(Proof(_proof(key, "passive")))
    await active.checkpoint()
    return rows


def common(matches: Mapping[str, Match], rng: Randomness) -> tuple[Rows, dict[str, Rows]]:
    """What all partners have: our token indices in a random order, and the positions in each partner's stream."""
    shared = np.sort(reduce(np.intersect1d, [match.own for match in matches.values()]))
    rows = shared[rng.permutation(len(shared))]
    positions = {}
    for name, match in matches.items():
        rising = np.argsort(match.own)
        positions[name] = match.positions[rising[np.searchsorted(match.own, rows, sorter=rising)]]
    return rows, positions


async def _declare(
    peer: Channel,
    role: str,
    tokens: Sequence[str],
    terms: PsiTerms,
    rng: Randomness,
    engine: Engine = HERE,
    *,
    excluded: int,
    duplicates: int,
) -> tuple[Declare, Secret[bytes]]:
    tokens = Texts.of(tokens)
    if not tokens or not tokens.lengths.all() or not _unique(tokens):
        raise UsageError(f"{len(tokens)} ids: one or more, none blank, none twice are needed")
    cap = terms.max_set_size
    if len(tokens) > cap:
        raise AgreementError(f"{len(tokens)} ids here, and at most {cap} were agreed on")
    salt = Secret(rng.child("salt").bytes(32))
    commitment = set_commitment(role, tokens, salt, engine)
    await peer.send(Declare(len(tokens), commitment, terms.id_rule, excluded, duplicates))
    theirs = await peer.recv(Declare)
    if theirs.id_rule != terms.id_rule:
        raise AgreementError(f"{peer.peer} normalises its ids by {theirs.id_rule!r}; {terms.id_rule!r} was agreed on")
    if theirs.size > cap:
        raise AgreementError(f"{peer.peer} declares {theirs.size} ids, and at most {cap} were agreed on")
    size = len(tokens) if role == "active" else theirs.size
    if terms.with_decoys(size) > cap:
        raise AgreementError(
            f"{size} ids of the active party and decoys are {terms.with_decoys(size)}; at most {cap} were agreed on",
            remedy="agree on a larger max_set_size or on fewer decoys",
        )
    require(theirs.size >= 1, "a set has one id or more")
    await peer.checkpoint()
    return theirs, salt


def _unique(tokens: Texts) -> bool:
    return bool((first_places(tokens) == np.arange(len(tokens))).all())


def _secret(rng: Randomness, label: str) -> Secret[bytes]:
    return Secret(rng.child(label).bytes(32))


async def _mask_both(
    peer: Channel, tokens: Sequence[str], secret: Secret[bytes], total: int, terms: PsiTerms, engine: Engine = HERE
) -> bytes:
    """Say our points while hearing the peer's `total`, block by block; what is compared of each after our mask."""
    texts, tag = Texts.of(tokens), domain("psi", terms.run)
    points, twice = bytearray(), bytearray()
    queue = Queue(engine, mask_twice, twice.extend)

    async def hear(start: int) -> None:
        items = await _receive_block(peer, Points, start, total)
        points.extend(items)
        queue.add(items, secret.expose(), TOKEN)

    due = deque(range(0, total, BLOCK))
    pieces = ((texts[start : start + BLOCK], secret.expose(), tag) for start in range(0, len(texts), BLOCK))
    for index, said in enumerate(mapped(engine, mask_tokens, pieces)):
        await peer.send(Points(index, len(said) // POINT, (index + 1) * BLOCK >= len(texts), said))
        if index >= AHEAD and due:
            await hear(due.popleft())
    while due:
        await hear(due.popleft())
    queue.finish()
    require(_distinct(_items(points, Points)), "no point comes twice in a stream")
    # Points that differ by a component of small order are spellings of one id: their masked values are equal.
    require(_distinct(_items(twice, Tokens)), "no two points of a stream stand for the same id")
    return bytes(twice)


async def _send(peer: Channel, kind: type[Block], flat: bytes) -> None:
    total = len(flat) // kind.WIDTH
    for start in range(0, total, BLOCK):
        part = flat[start * kind.WIDTH : (start + BLOCK) * kind.WIDTH]
        await peer.send(kind(start // BLOCK, len(part) // kind.WIDTH, start + BLOCK >= total, part))


async def _receive(peer: Channel, kind: type[Block], total: int) -> bytes:
    return b"".join([await _receive_block(peer, kind, start, total) for start in range(0, total, BLOCK)])


async def _receive_block(peer: Channel, kind: type[Block], start: int, total: int) -> bytes:
    block, count = await peer.recv(kind), min(BLOCK, total - start)
    require(block.index == start // BLOCK, f"block {start // BLOCK} is due")
    require(block.count == count, f"the block has {count} of {total} items")
    require(block.last == (start + count == total), f"the last block ends with item {total}")
    require(len(block.items) == count * kind.WIDTH, f"{count} items of {kind.WIDTH} bytes")
    return block.items


def _items(flat: bytes | bytearray, kind: type[Block]) -> npt.NDArray[np.bytes_]:
    """Equally wide items, to be compared; as all are of one width, zeros at their ends do not matter."""
    return np.frombuffer(flat, f"S{kind.WIDTH}")


def _distinct(items: npt.NDArray[np.bytes_]) -> bool:
    ranked = np.sort(items)
    return bool((ranked[1:] != ranked[:-1]).all())


def _base(
    tokens: Sequence[str], active_nonce: bytes, passive_nonce: bytes, terms: PsiTerms, engine: Engine = HERE
) -> bytes:
    """The point that stands for an aligned table in one run, c H(root) before the secret."""
    key = hashlib.sha256(b"tallystick-align-v1" + active_nonce + passive_nonce + terms.run.encode()).digest()
    return hash_to_curve([table_root(key, tokens, engine)], domain("align", terms.run))


def _proof(key: bytes, role: str) -> bytes:
    return hmac.digest(key, b"tallystick-align-v1 " + role.encode(), "sha256")
