"""Joint prediction with boosted trees: one message each way, for one row or for many.

    active                                          passive
    ScoreRows   rows                          -->
                                              <--   Decisions   record r says left for row i, all r and i
    walk every tree with the own and the received decisions

Before a training that goes on from a model, the same is asked of the rows that train and validate.

Source: the one-round evaluation of SecureBoost models (Cheng et al. 2021, IEEE Intelligent Systems 36(6), section on
prediction), in the form where the active party alone walks the trees.

Learns:  active  -> for each row asked, the yes/no of each split the passive holds, and so, as it chose their features,
                    what each feature adds to the score
         passive -> which of the aligned rows are scored
Cost:    1 round; n/8 bytes out, n * splits / 8 bytes back; no encryption
"""

from __future__ import annotations

from vfl.bits import Mask, pack_bits, unpack_bits
from vfl.channel import Channel
from vfl.wire import Message, require


class ScoreRows(Message, frozen=True):
    """Which of the aligned rows to decide."""

    count: int  # aligned rows
    rows: bytes  # one bit a row, first row in the highest bit


class Decisions(Message, frozen=True):
    """Yes/no of every split of the sender for the rows asked for."""

    records: int
    left: bytes  # bits, record by record, then padded to a byte


async def active(passive: Channel, rows: Mask, records: int, phase: str = "score") -> Mask:
    """Ask for the decisions of the `records` splits the passive holds, for `rows` (bool over the aligned rows).

    Returns bool of shape (records, rows asked).
    """
    passive.enter(phase)
    await passive.send(ScoreRows(len(rows), pack_bits(rows)))
    decisions = await passive.recv(Decisions)
    require(decisions.records == records, f"the passive party holds {records} splits of the model")
    return unpack_bits(decisions.left, records, int(rows.sum()))


async def passive(active: Channel, left: Mask, phase: str = "score") -> Mask:
    """Answer from `left`, bool[records, aligned rows]: what each own split says of each row. Returns the rows asked."""
    active.enter(phase)
    asked = await active.recv(ScoreRows)
    require(asked.count == left.shape[1], "the rows asked for are the aligned rows")
    rows = unpack_bits(asked.rows, asked.count)
    await active.send(Decisions(left.shape[0], pack_bits(left[:, rows])))
    return rows
