"""The encrypted group-by sum over all training rows as messages: what the protocols that ask for it have in common.

    active                                       passive
                                                 HintPart    preprocessed bins, where the scheme has a hint
    RowsBlock   the rows, where the scheme sends them as such
    QueryPart   the rows, where the scheme sends them as a query
                                                 a Sealed

A protocol derives its own messages from these, so that its script names what it sends.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from vfl.bits import Mask
from vfl.crypto.scheme import BLOCK_ROWS, CellLayout, Codes, Evaluator, KeyHolder, Sealed
from vfl.errors import UsageError
from vfl.randomness import Randomness
from vfl.wire import M, Message, require

Int64s = npt.NDArray[np.int64]


class Talk(Protocol):
    """What is asked of a channel here."""

    @property
    def peer(self) -> str:
        """Who is at the other end."""
        ...

    async def send(self, message: Message) -> None: ...

    async def recv(self, *kinds: type[M]) -> M:
        """The next message, which must be one of `kinds`."""
        ...


class HintPart(Message, frozen=True):
    """A part of what the scheme needs once from the sender's bins."""

    index: int
    hint: bytes


class RowsBlock(Message, frozen=True):
    """Encrypted (g, h) of consecutive training rows."""

    index: int
    last: bool
    rows: bytes


class QueryPart(Message, frozen=True):
    """A part of the encrypted (g, h) of all training rows."""

    index: int
    rows: bytes


async def take_hint(passive: Talk, key: KeyHolder, layout: CellLayout, part: type[HintPart]) -> None:
    """The active side: accept the layout and hint of a passive party."""
    for index in range(key.expect_hint(passive.peer, layout)):
        block = await passive.recv(part)
        require(block.index == index, f"block {index} of the hint")
        key.accept_hint(passive.peer, block.hint)


async def send_rows(
    passives: Sequence[Talk],
    g: Int64s,
    h: Int64s,
    key: KeyHolder,
    block: type[RowsBlock],
    part: type[QueryPart],
    rng: Randomness,
) -> None:
    """The active side: encrypt every training row's (g, h), int64[rows] each, once for everybody.

    Raises UsageError for a key with noise on cells: sums over all rows are used as they are.
    """
    if key.lanes.g_noise or key.lanes.h_noise:
        raise UsageError(
            "cell_noise is for the sums of tree nodes: counts and correlations over all rows are exact",
            remedy="Leave [privacy] cell_noise out.",
        )
    blocks = key.open_tree(g, h, rng.child("rows"))
    for passive in passives:
        for index, rows in enumerate(blocks):
            await passive.send(block(index, index + 1 == len(blocks), rows))
    everyone = np.ones((1, len(g)), np.bool_)
    for index, rows in enumerate(key.query(everyone, rng.child("query"))):
        for passive in passives:
            await passive.send(part(index, rows))


async def send_hint(
    active: Talk, evaluator: Evaluator, codes: Codes, layout: CellLayout, part: type[HintPart], rng: Randomness
) -> None:
    """The passive side: bind the bins, `codes` [rows, features]."""
    for index, block in enumerate(evaluator.hint(codes, layout, rng)):
        await active.send(part(index, block))


async def sum_rows(
    active: Talk,
    evaluator: Evaluator,
    rows: int,
    block: type[RowsBlock],
    part: type[QueryPart],
    rng: Randomness,
) -> Sealed:
    """The passive side: take the encrypted rows, as the scheme has it; their sums by bin."""
    await take_rows(active, evaluator, rows, block, part)
    return evaluator.answer(rng)[0]


async def take_rows(
    active: Talk, evaluator: Evaluator, rows: int, block: type[RowsBlock], part: type[QueryPart]
) -> None:
    """The passive side: take the encrypted rows, as the scheme has it, up to the answer."""
    evaluator.open_tree(await _blocks(active, evaluator, rows, block))
    everyone: Mask | None = np.ones((1, rows), np.bool_) if evaluator.discloses_membership else None
    for index in range(evaluator.open_query(everyone, 1)):
        said = await active.recv(part)
        require(said.index == index, f"block {index} of the query")
        evaluator.absorb(said.rows)


async def _blocks(active: Talk, evaluator: Evaluator, rows: int, block: type[RowsBlock]) -> list[bytes]:
    blocks: list[bytes] = []
    last = not evaluator.discloses_membership
    while not last:
        said = await active.recv(block)
        require(said.index == len(blocks) <= (rows - 1) // BLOCK_ROWS, f"{rows} rows come in blocks of {BLOCK_ROWS}")
        blocks.append(said.rows)
        last = said.last
    return blocks
