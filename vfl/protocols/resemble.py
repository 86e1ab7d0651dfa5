"""Whose columns repeat whose: how far the features of one passive party explain each column of another.

    active                                            passive
                                                  <-- BinRows         rows in each bin of each of its features
    then for every two, in both directions, as the messenger of `correlate_partners`
                                                      the first's columns are ranks, the second's features bins
    ratio(x, f) = sum over b of (X_fb / n)^2 / (rows_fb / n)
    of column x the greatest ratio over the second's features f

The ratio is the correlation ratio: the share of the variance of x that the bins of f explain. For a copy it is near 1,
also under any monotone change of its values, because ranks are compared; for independent columns it is near 0.

Source: the correlation ratio, Pearson, On the general theory of skew correlation and non-linear regression (1905); the
sums as in `correlate_partners`.

Learns:  active  -> rows in each bin of each passive party's features, never bounds; of every two passive parties what
                    `correlate_partners` says, in both directions: mean ranks of the one's columns in the other's bins
         passive -> what `correlate_partners` says of every other one, in both directions
Cost:    that of `correlate_partners` for every two passive parties, twice; 4 bytes a bin
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Annotated

import numpy as np
import numpy.typing as npt
from msgspec import Meta

from vfl.channel import Channel
from vfl.crypto.scheme import MAX_CELLS, Codes
from vfl.protocols import correlate_partners
from vfl.protocols.correlate_partners import MAX_BINS, MAX_FEATURES, EvaluatorFactory, First, KeyFactory, Second
from vfl.randomness import Randomness
from vfl.wire import Message, require

Reals = npt.NDArray[np.float64]
_Rows = Annotated[int, Meta(ge=0, le=2**32 - 1)]
_OneFeature = Annotated[list[_Rows], Meta(min_length=1, max_length=MAX_BINS)]


class BinRows(Message, frozen=True):
    """How many rows are in each bin, feature by feature."""

    rows: Annotated[list[_OneFeature], Meta(min_length=1, max_length=MAX_FEATURES)]


@dataclass(frozen=True, eq=False)
class Resembling:
    """A passive party's side.

    columns: float64[rows, features], NaN = missing, none of them empty.   codes: their bins, uint8[rows, features].
    n_bins: by feature.   place: among the passive parties.   widths: features of each of those.
    """

    columns: Reals
    codes: Codes
    n_bins: tuple[int, ...]
    place: int
    widths: tuple[int, ...]
    keys: KeyFactory
    evaluators: EvaluatorFactory


async def active(passives: Mapping[str, Channel], widths: Sequence[int], rows: int) -> dict[tuple[str, str], Reals]:
    """Of every two passive parties, in both directions: how far the second explains each column of the first.

    `widths`: features of each, in the order of `passives`.   rows: customers in common. Values: float64[features of the
    first], 0 to 1.
    """
    bins = {}
    for (name, channel), width in zip(passives.items(), widths, strict=True):
        told = await channel.recv(BinRows)
        require(len(told.rows) == width, f"{width} features have bins")
        require(all(sum(one) == rows for one in told.rows), f"the bins of a feature hold all {rows} rows")
        require(sum(map(len, told.rows)) <= MAX_CELLS, f"all features together have at most {MAX_CELLS} bins")
        bins[name] = told.rows
    found = {}
    width_of = dict(zip(passives, widths, strict=True))
    for first, second in permutations(passives, 2):
        cells = sum(map(len, bins[second]))
        means = await correlate_partners.active(passives[first], passives[second], width_of[first], cells)
        found[first, second] = _explained(means, bins[second], rows)
    for channel in passives.values():
        await channel.checkpoint()
    return found


async def passive(active: Channel, mine: Resembling, rng: Randomness) -> None:
    """One passive party: tells its bins, then is the first of every two, and the second."""
    counts = zip(mine.codes.T, mine.n_bins, strict=True)
    await active.send(BinRows([np.bincount(codes, minlength=count).tolist() for codes, count in counts]))
    ranks = np.column_stack([_ranks(column) for column in mine.columns.T])
    for first, second in permutations(range(len(mine.widths)), 2):
        side: First | Second
        if mine.place == first:
            side = First(ranks, mine.keys)
        elif mine.place == second:
            side = Second(mine.codes, mine.n_bins, mine.widths[first], mine.evaluators)
        else:
            continue
        await correlate_partners.passive(active, side, rng.child(f"{first}/{second}"))
    await active.checkpoint()


def _explained(means: Reals, bins: Sequence[Sequence[int]], rows: int) -> Reals:
    """From X_fb / n in standard deviations, float64[columns, cells]: the greatest ratio of each column."""
    ends = np.cumsum([len(one) for one in bins])[:-1]
    ratios = [
        (part**2 / (np.maximum(counts, 1) / rows)).sum(axis=1)  # in a bin without rows nothing is summed
        for part, counts in zip(np.split(means, ends, axis=1), bins, strict=True)
    ]
    found: Reals = np.clip(np.max(ratios, axis=0), 0.0, 1.0)
    return found


def _ranks(column: Reals) -> Reals:
    """Mean ranks, missing values below all others; float64[n]."""
    filled = np.where(np.isnan(column), -np.inf, column)
    _, place, counts = np.unique(filled, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    found: Reals = (ends - (counts - 1) / 2.0)[place]
    return found
