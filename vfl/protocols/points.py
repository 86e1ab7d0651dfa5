"""Joint prediction with a scorecard: one message each way, for one row or for many.

    active                                          passive
    PointRows   rows                          -->
                                              <--   PartScores   its part of the log-odds, its points, of every row
    log-odds = intercept + own part + parts of all passives

Source: additive scorecards (Siddiqi, Credit Risk Scorecards, 2006, chapter 6), each summand at its owner.

Learns:  active  -> for each row asked, the passive's part of the log-odds and its points in all; not which features
                    they come from
         passive -> which of the aligned rows are scored
Cost:    1 round; n/8 bytes out, 8 bytes a row back; no encryption
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from vfl.bits import Mask, pack_bits, unpack_bits
from vfl.channel import Channel
from vfl.errors import UsageError
from vfl.wire import Message, require

Reals = npt.NDArray[np.float64]
Int64s = npt.NDArray[np.int64]
UNIT_BITS = 20
_MOST = 2**31 - 1


class PointRows(Message, frozen=True):
    """Which of the aligned rows to score."""

    count: int  # aligned rows
    rows: bytes  # bits


class PartScores(Message, frozen=True):
    """The sender's part of the score of each row asked for."""

    predictors: bytes  # of the log-odds, in units of 2**-20: int32, little-endian
    points: bytes  # int32, little-endian


def as_told(predictor: Reals) -> Reals:
    """A part of the log-odds as a passive tells it: rounded to units of 2**-UNIT_BITS."""
    return np.ldexp(np.rint(np.ldexp(predictor, UNIT_BITS)), -UNIT_BITS)


def joined(own: Reals, parts: Sequence[Reals]) -> Reals:
    """Log-odds of the own part, intercept included, and of the told parts.

    Their sum comes first: it is exact, so the result is the same in any order, and where only the sum was told.
    """
    return own + sum(parts, np.zeros(len(own)))


async def active(passive: Channel, rows: Mask) -> tuple[Reals, Int64s]:
    """Ask for the parts of `rows`, bool over the aligned rows: log-odds float64[asked] and points int64[asked]."""
    passive.enter("score")
    await passive.send(PointRows(len(rows), pack_bits(rows)))
    told, asked = await passive.recv(PartScores), int(rows.sum())
    require(len(told.predictors) == len(told.points) == 4 * asked, f"two numbers of 4 bytes for each of {asked} rows")
    units = np.frombuffer(told.predictors, "<i4").astype(np.float64)
    return np.ldexp(units, -UNIT_BITS), np.frombuffer(told.points, "<i4").astype(np.int64)


async def passive(active: Channel, predictor: Reals, points: Int64s) -> Mask:
    """Answer from the own parts of all aligned rows, float64[n] and int64[n]. Returns the rows asked.

    Raises UsageError for a part of more than 32 bits.
    """
    active.enter("score")
    asked = await active.recv(PointRows)
    require(asked.count == len(predictor), "the rows asked for are the aligned rows")
    rows = unpack_bits(asked.rows, asked.count)
    units = np.rint(np.ldexp(predictor[rows], UNIT_BITS))
    if max(np.abs(units).max(initial=0.0), np.abs(points[rows]).max(initial=0)) > _MOST:
        raise UsageError("coefficients or points are too large", remedy="Set l2, or a smaller pdo.")
    await active.send(PartScores(units.astype("<i4").tobytes(), points[rows].astype("<i4").tobytes()))
    return rows
