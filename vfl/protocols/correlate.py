"""Selection of features across parties: correlations from encrypted columns, then which features stay.

    active (WOE tables, secret key)                       passive (features)

    CandidateRows   which rows train, key, whom to look at  -->
                                                          correlations among its own columns, PSI outside training
                                                      <-- OwnFigures      of the features asked for
                                                      <-- CandidateHint   preprocessed bins (lattice)
    for every two of its own columns x, z, standardised, as integers
    ColumnBlock     [[x_i, z_i]], every row (paillier)  -->
    ColumnQuery     [[x_i, z_i]], every row (lattice)   -->
                                                          [[X_fb, Z_fb]] = sum of [[x_i, z_i]] over bin_f(i) = b
                                                      <-- ColumnSums      [[X_fb, Z_fb]], sealed
    cov(x, f) = sum over b of WOE_fb X_fb / n - mean x mean f
    correlations, variance inflation, a verdict for each feature
    FeaturesKept    which features stay               -->

Features that their information value alone rejects are not asked for. If no column is left on one of the sides, nothing
is encrypted. Correlations between features of two passive parties are found by `correlate_partners`, where that is
agreed (`partner_correlations`). Else they stay unknown, and variance inflation is a lower bound
(`vfl.learn.collinearity`).

Decoys (`vfl.decoys`) count as zeros in the sums; a passive party's own correlations are over all rows it is shown.

Source: the encrypted group-by sum of SecureBoost (Cheng et al. 2021, IEEE Intelligent Systems 36(6), arXiv:1901.08755,
algorithm 1) with standardised columns in place of gradients.

Learns:  active  -> X_fb of each of its own columns, which is their mean in each bin of the features asked for; what the
                    passive tells of itself: with `share_correlation` the correlations among its own features, with
                    `share_psi` how differently those outside training are spread
         passive -> which aligned rows train; which of its features were looked at and which stay; how many columns the
                    active has left
Cost:    paillier, for every two columns: one encryption a row, one addition a row and feature, one seal and decryption
         per packed ciphertext. lattice: 32 KB a bin once; for every two columns 28 bytes a row and 115 KB out, 28
         bytes a bin back
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Annotated

import numpy as np
import numpy.typing as npt
from msgspec import Meta

from vfl.all_rows import HintPart, QueryPart, RowsBlock, send_hint, send_rows, sum_rows, take_hint
from vfl.bits import Mask, pack_bits, unpack_bits
from vfl.channel import Channel
from vfl.crypto.scheme import CellLayout, Codes, Evaluator, KeyHolder, Lanes, Sealed
from vfl.decoys import Shown
from vfl.learn.collinearity import correlations
from vfl.learn.feature_parameters import SelectionParameters
from vfl.learn.rounds import Parts
from vfl.learn.selection import Candidate, Verdict, screen, select
from vfl.learn.stability import outside_training
from vfl.learn.woe import BinTable, WoeFeature, woe_matrix
from vfl.protocols import correlate_partners
from vfl.protocols.correlate_partners import First, KeyFactory, Second
from vfl.randomness import Randomness
from vfl.wire import Message, require

Int64s = npt.NDArray[np.int64]
Reals = npt.NDArray[np.float64]
EvaluatorFactory = Callable[[str, bytes, int], Evaluator]
"""From the scheme's name, the public key bytes and the number of training rows."""
UNIT = 1 << 20
"""Correlations on the wire are integers in units of 1 / UNIT; stability indices in thousandths."""
MAX_FEATURES = 1 << 16
MAX_PSI = 1_000_000
MAX_PARTNERS = 1 << 10


class CandidateRows(Message, frozen=True):
    """Which of the aligned rows train, the key of the columns to come, and which features of the receiver matter."""

    count: int
    train: bytes  # bits
    scheme: str
    key: bytes
    asked: bytes  # bits over the receiver's features
    pairs: int  # of columns to come
    partners: Annotated[list[bool], Meta(max_length=MAX_PARTNERS)]  # then talks with others, as the first of the two?


class OwnFigures(Message, frozen=True):
    """What the sender tells of the features asked for."""

    correlations: bytes  # upper triangle, row by row: int32, little-endian, in units of 1 / UNIT; empty if kept
    psi: Annotated[list[int], Meta(max_length=MAX_FEATURES)]  # in thousandths; -1: not told


class CandidateHint(HintPart, frozen=True):
    """A part of what the scheme needs once from the sender's bins."""


class ColumnBlock(RowsBlock, frozen=True):
    """Two encrypted columns of consecutive training rows."""


class ColumnQuery(QueryPart, frozen=True):
    """A part of two encrypted columns of all training rows."""


class ColumnSums(Message, frozen=True):
    """The encrypted sums of two columns by bin."""

    pair: int
    sums: Sealed


class FeaturesKept(Message, frozen=True):
    """Which of the receiver's features the model starts from."""

    kept: bytes  # bits


@dataclass(frozen=True, eq=False)
class Selection:
    """What the party with the labels holds at the end.

    verdicts: of all features, own first.   compared: those that the matrix is about, by their place in `verdicts`.
    matrix: their correlations, float64[compared, compared]; NaN = unknown.
    """

    verdicts: tuple[Verdict, ...]
    compared: tuple[int, ...]
    matrix: Reals

    def kept(self, party: int) -> Mask:
        """Which features of a party stay, bool[n_features]; 0 is the active party."""
        return np.array([one.kept for one in self.verdicts if one.candidate.party == party], dtype=np.bool_)


async def active(
    passives: Sequence[Channel],
    names: Sequence[Sequence[str]],
    tables: Sequence[Sequence[BinTable]],
    mine: Sequence[WoeFeature],
    values: Reals,
    parts: Parts,
    parameters: SelectionParameters,
    key: KeyHolder,
    rng: Randomness,
    *,
    shown: Shown | None = None,
) -> Selection:
    """Choose among the features of all parties.

    `names`, `tables`: of the features of each passive party, in its order (`woe.active`). `mine`, `values`: our own
    fitted features and their float64[n, n_features], over our rows, as `parts`. `key`: a fresh one, whose lanes say how
    finely columns are told. `shown`: the agreed rows, where there are decoys among them.
    """
    shown = shown or Shown.plain(parts)
    own = _own_candidates(mine, outside_training(mine, values, parts.train, parameters.min_psi_rows), parameters)
    wanted = np.array([verdict.kept for verdict in own], dtype=np.bool_)
    columns = woe_matrix([one for one, want in zip(mine, wanted, strict=True) if want], values[:, wanted])[parts.train]
    partners = [
        _Partner(passive, number, names[number - 1], tables[number - 1], parameters)
        for number, passive in enumerate(passives, 1)
    ]
    pairs = (columns.shape[1] + 1) // 2
    couples = _couples(partners) if parameters.partner_correlations else []
    for partner in partners:
        await partner.ask(shown, key, pairs, couples)
    for partner in partners:
        await partner.hear(key, parameters, pairs)
    open_partners = [partner for partner in partners if partner.asked.any()] if pairs else []
    open_channels = [partner.channel for partner in open_partners]
    coded = _Coded.of(columns, key.lanes)
    for pair in range(pairs if open_partners else 0):
        g, h = (shown.spread(_over(parts.train, part))[shown.train] for part in coded.pair(pair))
        await send_rows(open_channels, g, h, key, ColumnBlock, ColumnQuery, rng.child(f"pair/{pair}"))
        for partner in open_partners:
            await partner.hear_sums(pair, key, coded)
    between = [await _between(first, second) for first, second in couples]
    selection = _select(own, correlations(columns), partners, between, parameters)
    for partner in partners:
        await partner.channel.send(FeaturesKept(pack_bits(selection.kept(partner.number))))
        await partner.channel.checkpoint()
    return selection


def _couples(partners: Sequence[_Partner]) -> list[tuple[_Partner, _Partner]]:
    """Every two passive parties with features to compare, in one order for everybody."""
    return list(combinations([partner for partner in partners if partner.asked.any()], 2))


async def _between(first: _Partner, second: _Partner) -> _Between:
    """Have two passive parties find the correlations of the first's features with the second's."""
    bins = second.layout.cells
    means = await correlate_partners.active(first.channel, second.channel, len(first.tables), bins)
    parts = np.split(means.T, second.layout.offsets[1:])
    found = [_correlate(part * table.rows, table) for part, table in zip(parts, second.tables, strict=True)]
    return _Between(first, second, np.clip(np.array(found).T, -1.0, 1.0))


def _own_candidates(
    mine: Sequence[WoeFeature], psi: Sequence[float | None], parameters: SelectionParameters
) -> list[Verdict]:
    found = []
    for feature, index in zip(mine, psi, strict=True):
        assert feature.iv is not None
        found.append(Candidate(0, feature.name, feature.n_bins, feature.iv, index))
    return screen(found, parameters)


def _over(train: Mask, values: Int64s) -> Int64s:
    """Values of the training rows over all our rows; others have 0."""
    found = np.zeros(len(train), dtype=np.int64)
    found[train] = values
    return found


@dataclass(frozen=True, eq=False)
class _Coded:
    """Our columns as integers: the first of two signed in g, the second raised above zero in h.

    scaled: the centred columns over their greatest absolute value, float64[n_train, d], in -1 to 1.
    """

    scaled: Reals
    lanes: Lanes

    @classmethod
    def of(cls, columns: Reals, lanes: Lanes) -> _Coded:
        centred = columns - columns.mean(axis=0)
        largest = np.abs(centred).max(axis=0, initial=0.0)
        return cls(centred / np.where(largest > 0, largest, 1.0), lanes)

    def pair(self, number: int) -> tuple[Int64s, Int64s]:
        """The integers of two columns, int64[n_train] each; a column that is not there is zero."""
        first, second = self.scaled[:, 2 * number], self._second(number)
        g = np.rint(first * self.lanes.g_max).astype(np.int64)
        return g, np.rint((second + 1.0) / 2.0 * self.lanes.h_max).astype(np.int64)

    def sums(self, cells: Int64s, rows: Int64s) -> Reals:
        """Sums of both columns by bin, float64[n_bins, 2], from sums of their integers and the rows in each bin."""
        first, raised = cells.T / np.array([[self.lanes.g_max], [self.lanes.h_max]])
        return np.column_stack([first, 2.0 * raised - rows])

    def _second(self, number: int) -> Reals:
        place = 2 * number + 1
        return self.scaled[:, place] if place < self.scaled.shape[1] else np.zeros(len(self.scaled))


class _Partner:
    """What the active party knows of one passive party's features, and asks."""

    def __init__(
        self,
        channel: Channel,
        number: int,
        names: Sequence[str],
        tables: Sequence[BinTable],
        parameters: SelectionParameters,
    ) -> None:
        self.channel, self.number = channel, number
        everyone = [
            Candidate(number, name, len(table.counts), table.iv) for name, table in zip(names, tables, strict=True)
        ]
        self.verdicts = screen(everyone, parameters)
        self.asked = np.array([verdict.kept for verdict in self.verdicts], dtype=np.bool_)
        self.tables = [table for table, want in zip(tables, self.asked, strict=True) if want]
        self.own = np.eye(len(self.tables))  # correlations among its features
        self.across: list[Reals] = []  # correlations with one of our columns each

    async def ask(self, shown: Shown, key: KeyHolder, pairs: int, couples: Sequence[tuple[_Partner, _Partner]]) -> None:
        """Name rows, key and features, and its part in talks with others."""
        self.channel.enter("correlate")
        train, asked = pack_bits(shown.train), pack_bits(self.asked)
        parts = [first is self for first, second in couples if self in (first, second)]
        await self.channel.send(CandidateRows(len(shown.train), train, key.name, key.public(), asked, pairs, parts))

    async def hear(self, key: KeyHolder, parameters: SelectionParameters, pairs: int) -> None:
        """What it tells of itself, and its hint."""
        told, count = await self.channel.recv(OwnFigures), len(self.tables)
        self.own = _read_triangle(told.correlations, count, parameters)
        require(parameters.share_psi or set(told.psi) <= {-1}, "stability is told only where that is agreed")
        require(len(told.psi) == count, f"one stability index for each of the {count} features asked for")
        require(all(-1 <= index <= MAX_PSI for index in told.psi), f"a stability index is at most {MAX_PSI // 1000}")
        indices = iter([None if index < 0 else index / 1000.0 for index in told.psi])
        self.verdicts = screen(
            [replace(one.candidate, psi=next(indices)) if one.kept else one.candidate for one in self.verdicts],
            parameters,
        )
        if count and pairs:
            await take_hint(self.channel, key, self.layout, CandidateHint)

    @property
    def layout(self) -> CellLayout:
        """Bins of the features asked for."""
        return CellLayout(tuple(len(table.counts) for table in self.tables))

    async def hear_sums(self, pair: int, key: KeyHolder, coded: _Coded) -> None:
        """Correlations of two of our columns with all its features."""
        answer = await self.channel.recv(ColumnSums)
        require(answer.pair == pair, f"the sums are of pair {pair}")
        cells = key.decrypt(self.channel.peer, [answer.sums], self.layout)[0]
        rows = np.concatenate([table.counts.sum(axis=1) for table in self.tables])
        _require_sums(cells, self.layout, rows, coded, pair)
        sums = np.split(coded.sums(cells, rows), self.layout.offsets[1:])
        by_feature = [_correlate(part, table) for part, table in zip(sums, self.tables, strict=True)]
        deviations = coded.scaled[:, 2 * pair : 2 * pair + 2].std(axis=0)
        found = np.array(by_feature).T[: len(deviations)] / np.where(deviations > 0, deviations, np.inf)[:, None]
        self.across += list(np.clip(found, -1.0, 1.0))


@dataclass(frozen=True, eq=False)
class _Between:
    """Correlations of the features looked at of two passive parties, float64[of the first, of the second]."""

    first: _Partner
    second: _Partner
    found: Reals


def _correlate(sums: Reals, table: BinTable) -> Reals:
    """Covariances of centred columns with a standardised feature, from sums by bin float64[n_bins, columns]:
    float64[columns]; 0 if the feature is constant.
    """
    rows = table.counts.sum(axis=1)
    mean = (rows * table.woe).sum() / rows.sum()
    deviation = np.sqrt((rows * (table.woe - mean) ** 2).sum() / rows.sum())
    covariances = (table.woe - mean) @ sums / rows.sum()
    return np.asarray(covariances / deviation if deviation > 0 else 0.0 * covariances, dtype=np.float64)


def _require_sums(cells: Int64s, layout: CellLayout, rows: Int64s, coded: _Coded, pair: int) -> None:
    """Every feature's bins must add up to the columns, and no bin to more than its rows can."""
    g, h = coded.pair(pair)
    sums = np.add.reduceat(cells, layout.offsets, axis=0)
    wrong = np.flatnonzero((sums != (g.sum(), h.sum())).any(axis=1))
    require(len(wrong) == 0, f"the bins of feature {wrong[0] if len(wrong) else 0} sum to the columns")
    most = rows[:, None] * np.array([coded.lanes.g_max, coded.lanes.h_max])
    inside = (np.abs(cells[:, 0]) <= most[:, 0]) & (cells[:, 1] >= 0) & (cells[:, 1] <= most[:, 1])
    require(inside.all(), "no sum is beyond what the rows of its bin can have")


def _read_triangle(data: bytes, count: int, parameters: SelectionParameters) -> Reals:
    """Correlations as told, float64[count, count]; NaN beside the diagonal where they were kept."""
    upper = np.triu_indices(count, 1)
    found = np.eye(count)
    if not data and len(upper[0]):
        found[~np.eye(count, dtype=np.bool_)] = np.nan
        return found
    require(parameters.share_correlation or not data, "own correlations are told only where that is agreed")
    require(len(data) == 4 * len(upper[0]), f"{count} features have {len(upper[0])} correlations")
    units = np.frombuffer(data, "<i4").astype(np.int64)
    require((np.abs(units) <= UNIT).all(), "a correlation is between -1 and 1")
    found[upper] = units / UNIT
    found.T[upper] = units / UNIT
    return found


def _select(
    own: Sequence[Verdict],
    matrix: Reals,
    partners: Sequence[_Partner],
    between: Sequence[_Between],
    parameters: SelectionParameters,
) -> Selection:
    """The joint matrix of all features that were looked at and still stand, and the verdicts from it."""
    own_places, starts, count = slice(0, len(matrix)), {}, len(matrix)
    for partner in partners:
        starts[partner.number] = count
        count += len(partner.tables)
    joint = np.full((count, count), np.nan)
    joint[own_places, own_places] = matrix
    for partner in partners:
        place = slice(starts[partner.number], starts[partner.number] + len(partner.tables))
        joint[place, place] = partner.own
        joint[own_places, place] = np.array(partner.across).reshape(len(matrix), len(partner.tables))
    for couple in between:
        row, column = starts[couple.first.number], starts[couple.second.number]
        joint[row : row + couple.found.shape[0], column : column + couple.found.shape[1]] = couple.found
    joint = np.where(np.isnan(joint), joint.T, joint)
    verdicts, looked = list(own), np.flatnonzero([one.kept for one in own]).tolist()
    for partner in partners:
        looked += (len(verdicts) + np.flatnonzero(partner.asked)).tolist()
        verdicts += partner.verdicts
    still = np.array([verdicts[place].kept for place in looked], dtype=np.bool_)
    compared = tuple(place for place, stands in zip(looked, still, strict=True) if stands)
    joint = joint[np.ix_(still, still)]
    return Selection(tuple(select(verdicts, joint, parameters)), compared, joint)


@dataclass(frozen=True)
class Others:
    """What a passive party was agreed to do with others: keys and evaluators for it, how many features each has."""

    keys: KeyFactory
    evaluators: EvaluatorFactory
    widths: tuple[int, ...]

    def first(self, columns: Reals) -> First:
        """The side that encrypts its columns."""
        return First(columns, self.keys)

    def second(self, wanted: Sequence[WoeFeature], mine: Reals) -> Second:
        """The side that sums by its bins."""
        return Second(_codes(wanted, mine), tuple(one.n_bins for one in wanted), max(self.widths), self.evaluators)


async def passive(
    active: Channel,
    features: Sequence[WoeFeature],
    values: Reals,
    columns: int,
    parameters: SelectionParameters,
    evaluators: EvaluatorFactory,
    rng: Randomness,
    *,
    others: Others | None = None,
) -> Mask:
    """Sum the active party's encrypted columns by the own bins; hear which of the own features stay.

    `values`: float64[n, n_features] over the aligned rows. `columns`: how many features the active party was agreed to
    have. `others`: what was agreed about talks with other passive parties, if any. Returns bool[n_features].
    """
    active.enter("correlate")
    told = await active.recv(CandidateRows)
    require(told.count == len(values), f"the rows are the {len(values)} aligned rows")
    train, asked = unpack_bits(told.train, told.count), unpack_bits(told.asked, len(features))
    require(train.any(), "some rows train")
    require(0 <= told.pairs <= (columns + 1) // 2, f"{columns} columns at most are to come")
    wanted = [one for one, want in zip(features, asked, strict=True) if want]
    await active.send(_own_figures(wanted, values[:, asked], train, parameters))
    mine = values[train][:, asked]
    if wanted and told.pairs:
        await _serve(active, told, wanted, mine, evaluators, rng)
    require(len(told.partners) <= (len(others.widths) if others else 0), "talks are with parties and as agreed")
    require(wanted or not told.partners, "nothing to talk about")
    for number, as_first in enumerate(told.partners):
        assert others is not None
        side: First | Second = others.first(woe_matrix(wanted, mine)) if as_first else others.second(wanted, mine)
        await correlate_partners.passive(active, side, rng.child(f"partner/{number}"))
    kept = unpack_bits((await active.recv(FeaturesKept)).kept, len(features))
    require(not (kept & ~asked).any(), "only features that were asked for stay")
    await active.checkpoint()
    return kept


def _own_figures(
    wanted: Sequence[WoeFeature], values: Reals, train: Mask, parameters: SelectionParameters
) -> OwnFigures:
    known = parameters.share_correlation and all(one.woe is not None for one in wanted)
    matrix = correlations(woe_matrix(wanted, values[train])) if known else np.zeros((0, 0))
    units = np.rint(matrix[np.triu_indices(len(matrix), 1)] * UNIT).astype("<i4").tobytes()
    indices = outside_training(wanted, values, train, parameters.min_psi_rows)
    told = [index if parameters.share_psi else None for index in indices]
    return OwnFigures(units, [-1 if index is None else min(MAX_PSI, round(1000 * index)) for index in told])


async def _serve(
    active: Channel,
    told: CandidateRows,
    wanted: Sequence[WoeFeature],
    mine: Reals,
    evaluators: EvaluatorFactory,
    rng: Randomness,
) -> None:
    """The sums of all pairs of columns."""
    evaluator = evaluators(told.scheme, told.key, len(mine))
    layout = CellLayout(tuple(one.n_bins for one in wanted))
    await send_hint(active, evaluator, _codes(wanted, mine), layout, CandidateHint, rng.child("hint"))
    for pair in range(told.pairs):
        stream = rng.child(f"seal/{pair}")
        sums = await sum_rows(active, evaluator, len(mine), ColumnBlock, ColumnQuery, stream)
        await active.send(ColumnSums(pair, sums))


def _codes(wanted: Sequence[WoeFeature], mine: Reals) -> Codes:
    codes = np.empty(mine.shape, dtype=np.uint8, order="F")
    for place, one in enumerate(wanted):
        codes[:, place] = one.codes(mine[:, place])
    return codes
