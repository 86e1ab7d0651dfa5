"""The proof that row k is the same customer on both sides, where some rows are decoys and only the active party knows
which: one exchange for each row, checked by the active party at its real rows.

    active (id x_k, or none)                         passive (id y_k)
    Probes   c_k H(k, x_k), or c_k H(k, random)  -->
                                                 <-- Replies  d_k c_k H(k, x_k) and d_k H(k, y_k)
    c_k d_k H(k, y_k) = d_k c_k H(k, x_k) for every row k with a customer

`vfl.protocols.intersect` runs it in place of its own proof once the agreed rows are told, after either engine. H hashes
to Curve25519 under a domain of its own and of the run; masks commute (Meadows 1986). c_k and d_k are fresh secrets for
each row, so that nothing known of one row helps with another: a passive party passes row k by H(k, x_k) alone, and an
active party tries a guess at the row that it was made for alone.

A dishonest active party can put a guess in place of each decoy, or of a customer: one id for one row, which counts like
one more id of its set (`PsiTerms.with_decoys`). The passive party cannot check the alignment: it would learn which rows
are real. If it answers falsely at one row, it learns from whether the run ends if that row is real, one bit, and the
run has ended.

Learns:  active  -> that its rows are aligned, and of decoys nothing; if dishonest, of one id for each row whether it is
                    the passive's there
         passive -> nothing, as probes of customers and of decoys look alike; if dishonest, of one row whether it is
                    real, from whether the run ends
Cost:    4 maskings and 2 fresh secrets a row; 96 bytes a row; messages cross the network 2 times
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated

from msgspec import Meta

from vfl.channel import Channel
from vfl.crypto.group import POINT, Mask, check_points, domain, hash_to_curve, split
from vfl.randomness import Randomness
from vfl.secret import Secret
from vfl.wire import Message, require

BLOCK = 4096  # rows in one message
_DECOY, _ID = b"\0", b"\1"  # first byte of what is hashed: no id is ever taken for a decoy's random bytes
Flat = Annotated[bytes, Meta(max_length=BLOCK * POINT)]


class Probes(Message, frozen=True):
    """A point for each row of a block, masked by the active party."""

    index: int
    points: Flat


class Replies(Message, frozen=True):
    """The probes of a block masked again, and the points of the passive party's own ids in these rows."""

    index: int
    probes: Flat
    own: Flat


async def active(passive: Channel, tokens: Sequence[str | None], run: str, rng: Randomness) -> None:
    """Prove for `tokens` in the agreed order, None for a decoy. Raises BrokenPromise if a customer is another there."""
    masks = _masks(rng, len(tokens))
    blinds = split(rng.child("decoys").bytes(POINT * len(tokens)))
    for index, start, count in _blocks(len(tokens)):
        rows = slice(start, start + count)
        items = [_DECOY + b if t is None else _ID + t.encode() for t, b in zip(tokens[rows], blinds[rows], strict=True)]
        await passive.send(Probes(index, _masked(masks[rows], _points(items, start, run))))
    same = True
    for index, start, count in _blocks(len(tokens)):
        said = await passive.recv(Replies)
        require(said.index == index, f"block {index} is due")
        check_points(said.probes, count)
        check_points(said.own, count)
        own = split(_masked(masks[start : start + count], said.own))
        pairs = zip(tokens[start : start + count], own, split(said.probes), strict=True)
        same &= all(ours == theirs for token, ours, theirs in pairs if token is not None)
    # Only once all are here: at which row a lie was found is nobody's business.
    require(same, "row k is the same customer on both sides")


async def passive(active: Channel, tokens: Sequence[str], run: str, rng: Randomness) -> None:
    """Answer for `tokens` in the agreed order."""
    masks = _masks(rng, len(tokens))
    for index, start, count in _blocks(len(tokens)):
        said = await active.recv(Probes)
        require(said.index == index, f"block {index} is due")
        check_points(said.points, count)
        rows = slice(start, start + count)
        own = _points([_ID + token.encode() for token in tokens[rows]], start, run)
        await active.send(Replies(index, _masked(masks[rows], said.points), _masked(masks[rows], own)))


def _blocks(rows: int) -> Iterator[tuple[int, int, int]]:
    """Number, first row and row count of each block."""
    return ((start // BLOCK, start, min(BLOCK, rows - start)) for start in range(0, rows, BLOCK))


def _masks(rng: Randomness, rows: int) -> list[Secret[bytes]]:
    return [Secret(scalar) for scalar in split(rng.child("masks").bytes(POINT * rows))]


def _masked(scalars: Sequence[Secret[bytes]], points: bytes) -> bytes:
    """Each point masked by the secret of its row."""
    return b"".join(Mask(scalar).apply(point) for scalar, point in zip(scalars, split(points), strict=True))


def _points(items: Sequence[bytes], first: int, run: str) -> bytes:
    """H(k, item) for rows k from `first` on."""
    rows = [row.to_bytes(8, "big") + item for row, item in enumerate(items, first)]
    return hash_to_curve(rows, domain("align-rows", run))
