"""Correlations between features of two passive parties, with the active party as messenger.

    active                                                passive

    to and from the second of the two
    PartnerKey      the first's encryption key        -->
                                                      <-- PartnerBins     bins per feature
                                                      <-- PartnerHint     preprocessed bins (lattice)
                                                      <-- YourTurn        the first may speak
    PartnerRows     [[x_i, 1]], every row (paillier)  -->
    PartnerQuery    [[x_i, 1]], every row (lattice)   -->
                                                      <-- PartnerSums     [[X_fb, rows_fb]], sealed for the first
    from and to the first of the two
                                                      <-- PartnerKey      a key of its own
    PartnerBins     the second's                      -->
    PartnerHint     the second's (lattice)            -->
                                                          for every column x of its own, standardised, as integers
                                                      <-- PartnerRows     [[x_i, 1]], every row (paillier)
                                                      <-- PartnerQuery    [[x_i, 1]], every row (lattice)
    PartnerSums     the second's                      -->
                                                      <-- PartnerMeans    X_fb / n of all columns
    r(x, f) = sum over b of WOE_fb X_fb / n / deviation of f

The active party passes on what one of the two says until that one gives the turn away. It holds no key for what it
carries. It could put a key of its own in place of the first's, but would then learn of the second no more than
`correlate` tells it. All figures are over all rows that the passive parties are shown, decoys among them.

Source: the encrypted group-by sum of SecureBoost (Cheng et al. 2021, IEEE Intelligent Systems 36(6), arXiv:1901.08755,
algorithm 1), between passive parties.

Learns:  active  -> X_fb / n of each column of the first: its mean in each bin of the second's features, times the share
                    of rows in the bin
         passive -> the first: the same, and how many rows are in each bin of the second, never its bounds or weights.
                    the second: how many columns the first has
Cost:    paillier, for every column: one encryption a row, one addition a row and feature, one seal and decryption per
         packed ciphertext. lattice: 32 KB a bin once; for every column 28 bytes a row and 115 KB, 28 bytes a bin back.
         Everything but PartnerMeans travels twice
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import numpy.typing as npt
from msgspec import Meta

from vfl.all_rows import HintPart, QueryPart, RowsBlock, send_hint, send_rows, sum_rows, take_hint
from vfl.channel import Channel
from vfl.crypto.scheme import MAX_CELLS, CellLayout, Codes, Evaluator, KeyHolder, Sealed
from vfl.errors import BrokenPromise
from vfl.randomness import Randomness
from vfl.wire import M, Message, require

Int64s = npt.NDArray[np.int64]
Reals = npt.NDArray[np.float64]
EvaluatorFactory = Callable[[str, bytes, int], Evaluator]
"""From the scheme's name, the public key bytes and the number of training rows."""
KeyFactory = Callable[[int, Randomness], KeyHolder]
"""From the number of training rows."""
UNIT = 1 << 20
"""Means on the wire are integers in units of 1 / UNIT of a standard deviation."""
MAX_FEATURES = 1 << 16
MAX_BINS = 1 << 8
MAX_CARRIED = 1 << 24
"""Messages that the active party carries for two others: far above what any two have to say."""


class PartnerKey(Message, frozen=True):
    """The key of the columns to come, and how many they are."""

    scheme: str
    key: bytes
    columns: Annotated[int, Meta(ge=1, le=MAX_FEATURES)]


class PartnerBins(Message, frozen=True):
    """The sender's bins of each feature."""

    bins: Annotated[list[int], Meta(min_length=1, max_length=MAX_FEATURES)]


class PartnerHint(HintPart, frozen=True):
    """A part of what the scheme needs once from the sender's bins."""


class YourTurn(Message, frozen=True):
    """The sender waits for the other passive party; it is not carried."""


class PartnerRows(RowsBlock, frozen=True):
    """Encrypted (x, 1) of consecutive training rows."""


class PartnerQuery(QueryPart, frozen=True):
    """A part of the encrypted (x, 1) of all training rows."""


class PartnerSums(Message, frozen=True):
    """The encrypted sums of a column by bin."""

    sums: Sealed


class PartnerMeans(Message, frozen=True):
    """Sums of all columns of the sender by bin of the other, over rows and deviation: int32, column by column."""

    columns: int
    bins: int
    means: bytes


async def active(first: Channel, second: Channel, columns: int, bins: int) -> Reals:
    """Carry messages between two passive parties until the first tells its means: float64[columns, bins].

    `columns`: features of the first that are looked at; `bins`: of those of the second, all together.
    """
    speaker, hearer = first, second
    for _ in range(MAX_CARRIED):
        said = await speaker.recv(
            PartnerKey, PartnerBins, PartnerHint, PartnerRows, PartnerQuery, PartnerSums, YourTurn, PartnerMeans
        )
        match said:
            case YourTurn():
                speaker, hearer = hearer, speaker
            case PartnerMeans():
                require(speaker is first, "the party with the key tells the means")
                require((said.columns, said.bins) == (columns, bins), f"{columns} columns have means in {bins} bins")
                require(len(said.means) == 4 * columns * bins, "a mean has 4 bytes")
                units = np.frombuffer(said.means, "<i4").astype(np.int64).reshape(columns, bins)
                require((np.abs(units) <= UNIT).all(), "a sum over rows and deviation is at most 1")
                return units / UNIT
            case _:
                await hearer.send(said)
    raise BrokenPromise(f"two parties have at most {MAX_CARRIED} messages for each other")


class _Way:
    """Talk with another passive party by way of the active one."""

    def __init__(self, carrier: Channel) -> None:
        self._carrier, self._speaking = carrier, False

    @property
    def peer(self) -> str:
        """The messenger: it is who can be told by name."""
        return self._carrier.peer

    async def send(self, message: Message) -> None:
        """Say it to the messenger, whose turn it is to carry."""
        self._speaking = True
        await self._carrier.send(message)

    async def recv(self, *kinds: type[M]) -> M:
        """Give the turn away, if it is ours, and hear the other."""
        await self.rest()
        return await self._carrier.recv(*kinds)

    async def rest(self) -> None:
        """Have nothing more to say for now."""
        if self._speaking:
            self._speaking = False
            await self._carrier.send(YourTurn())


@dataclass(frozen=True, eq=False)
class First:
    """The side with a key: its columns of the training rows, float64[rows, features], none of them empty."""

    columns: Reals
    keys: KeyFactory


@dataclass(frozen=True, eq=False)
class Second:
    """The side with bins: of the same rows, uint8[rows, features]. It sums `most` columns of the first at most."""

    codes: Codes
    n_bins: tuple[int, ...]
    most: int
    evaluators: EvaluatorFactory


async def passive(active: Channel, side: First | Second, rng: Randomness) -> None:
    """Either of the two passive parties; the first tells the active party the means."""
    if isinstance(side, First):
        await _hold(active, side, rng)
    else:
        await _sum(_Way(active), side, rng)


async def _hold(active: Channel, side: First, rng: Randomness) -> None:
    """Encrypt the own columns, decrypt their sums, tell the means."""
    way, (rows, count) = _Way(active), side.columns.shape
    key = side.keys(rows, rng.child("key"))
    await way.send(PartnerKey(key.name, key.public(), count))
    told = await way.recv(PartnerBins)
    require(all(1 <= bins <= MAX_BINS for bins in told.bins), f"a feature has 1 to {MAX_BINS} bins")
    require(sum(told.bins) <= MAX_CELLS, f"all features together have at most {MAX_CELLS} bins")
    layout = CellLayout(tuple(told.bins))
    await take_hint(way, key, layout, PartnerHint)
    ones, means = np.ones(rows, dtype=np.int64), np.empty((count, layout.cells), dtype="<i4")
    for number, column in enumerate(side.columns.T):
        g = _integers(column, key.lanes.g_max)
        await send_rows([way], g, ones, key, PartnerRows, PartnerQuery, rng.child(f"column/{number}"))
        cells = key.decrypt(way.peer, [(await way.recv(PartnerSums)).sums], layout)[0]
        _require_sums(cells, layout, g, key.lanes.g_max)
        deviation = float(np.sqrt((g.astype(np.float64) ** 2).mean()))
        means[number] = np.rint(np.clip(cells[:, 0] / rows / (deviation or np.inf), -1.0, 1.0) * UNIT)
    await active.send(PartnerMeans(count, layout.cells, means.tobytes()))


def _require_sums(cells: Int64s, layout: CellLayout, g: Int64s, largest: int) -> None:
    """Every feature's bins hold all rows and add up to the column, and no bin has more than its rows can."""
    sums = np.add.reduceat(cells, layout.offsets, axis=0)
    require((sums == (g.sum(), len(g))).all(), "the bins of every feature hold all rows and sum to the column")
    within = (cells[:, 1] >= 0) & (np.abs(cells[:, 0]) <= cells[:, 1] * largest)
    require(within.all(), "no sum is beyond what the rows of its bin can have")


def _integers(column: Reals, largest: int) -> Int64s:
    """The centred column in units of its greatest absolute value over `largest`."""
    centred = column - column.mean()
    scale = float(np.abs(centred).max()) or 1.0
    units: Int64s = np.rint(centred / scale * largest).astype(np.int64)
    return units


async def _sum(way: _Way, side: Second, rng: Randomness) -> None:
    """Sum what it cannot read by the own bins."""
    told, layout = await way.recv(PartnerKey), CellLayout(side.n_bins)
    require(told.columns <= side.most, f"at most {side.most} columns are to come")
    evaluator = side.evaluators(told.scheme, told.key, len(side.codes))
    await way.send(PartnerBins(list(side.n_bins)))
    await send_hint(way, evaluator, side.codes, layout, PartnerHint, rng.child("hint"))
    for number in range(told.columns):
        stream = rng.child(f"seal/{number}")
        sums = await sum_rows(way, evaluator, len(side.codes), PartnerRows, PartnerQuery, stream)
        await way.send(PartnerSums(sums))
    await way.rest()
