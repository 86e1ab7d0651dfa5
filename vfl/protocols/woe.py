"""Weights of evidence of every party's features, from encrypted labels.

    active (labels, secret key)                           passive (features)

    WoeRows         which rows train, encryption key  -->
                                                          pre-bins of its features, fitted on the training rows
                                                      <-- PreBinLayout    pre-bins per feature, wished trends
                                                      <-- PreBinHint      preprocessed pre-bins (lattice)
    LabelBlock      [[y_i, 1]], every row (paillier)  -->
    LabelQuery      [[y_i, 1]], every row (lattice)   -->
                                                          [[bads_fb, rows_fb]] = sum of [[y_i, 1]] over bin_f(i) = b
                                                      <-- LabelSums       [[bads_fb, rows_fb]], sealed
    merges neighbours by their bads and rows, WOE = ln(share of all bads / share of all goods) of what they become
    WoeBins         groups of pre-bins, their WOE     -->

No pre-bin has fewer training rows than the agreed minimum: the passive party joins them before anything is counted, and
rare special and missing values with them. The active party decides merges for all features, its own and others', by one
rule (`vfl.learn.merging`), so that the bins are those of the pooled columns. Every bin has goods and bads
(`min_class_rows`): one of a single class would tell all its labels. Whether WOE are told is agreed (`share_woe`).

Decoys (`vfl.decoys`) count as zero bads and zero rows; pre-bins are fitted on them as well.

Source: the encrypted group-by sum of SecureBoost (Cheng et al. 2021, IEEE Intelligent Systems 36(6), arXiv:1901.08755,
algorithm 1) with labels in place of gradients; WOE and IV by Siddiqi (2006).

Learns:  active  -> pre-bins per feature, how many of them are of ordinary values, the trend wished; bads_fb and rows_fb
                    of each, never its bounds: so WOE and IV of every feature
         passive -> which aligned rows train; which of its own pre-bins were merged; with `share_woe` how much riskier
                    than all the customers in each of its own bins are together, and so how its columns rank anybody
Cost:    paillier: one encryption a row, one addition a row and feature, one seal and decryption per packed ciphertext.
         lattice: 32 KB a pre-bin once; 28 bytes a row and 115 KB out, 28 bytes a pre-bin back. 4 messages and blocks
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Annotated

import numpy as np
import numpy.typing as npt
from msgspec import Meta

from vfl.all_rows import HintPart, QueryPart, RowsBlock, send_hint, send_rows, sum_rows, take_hint
from vfl.bits import pack_bits, unpack_bits
from vfl.channel import Channel
from vfl.crypto.scheme import CellLayout, Codes, Evaluator, KeyHolder, Sealed
from vfl.decoys import Shown
from vfl.learn.feature_parameters import TRENDS, BinningParameters
from vfl.learn.prebins import PreBins
from vfl.learn.rounds import Parts
from vfl.learn.woe import BinTable, Specials, Trends, WoeFeature, check_wishes, decide, prebin
from vfl.randomness import Randomness
from vfl.wire import Message, require

Int64s = npt.NDArray[np.int64]
Reals = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int8]
EvaluatorFactory = Callable[[str, bytes, int], Evaluator]
"""From the scheme's name, the public key bytes and the number of training rows."""
MAX_FEATURES = 1 << 16
MAX_WOE = 64
"""No WOE of a count that fits 64 bits is as large: ln(2**63) is below 44."""


class WoeRows(Message, frozen=True):
    """Which of the aligned rows train, and the key their labels will be encrypted under."""

    count: int
    train: bytes  # bits
    scheme: str
    key: bytes


class PreBinLayout(Message, frozen=True):
    """The sender's pre-bins: how many of each feature are of ordinary values, how many are set apart."""

    ordinary: Annotated[list[int], Meta(max_length=MAX_FEATURES)]
    apart: Annotated[list[int], Meta(max_length=MAX_FEATURES)]  # special and missing values
    trends: Annotated[list[str], Meta(max_length=MAX_FEATURES)]  # wished for the bad rate of each


class PreBinHint(HintPart, frozen=True):
    """A part of what the scheme needs once from the sender's pre-bins."""


class LabelBlock(RowsBlock, frozen=True):
    """Encrypted (y, 1) of consecutive training rows."""


class LabelQuery(QueryPart, frozen=True):
    """A part of the encrypted (y, 1) of all training rows."""


class LabelSums(Message, frozen=True):
    """The encrypted bads and rows of each of the sender's pre-bins."""

    sums: Sealed


class WoeBins(Message, frozen=True):
    """What becomes of the receiver's pre-bins."""

    groups: bytes  # the bin of each pre-bin, feature by feature: one byte each
    bins: int
    woe: bytes  # of each bin in units of 2**-woe_bits: int32, little-endian; empty where it is kept


@dataclass(frozen=True, eq=False)
class FeatureReport:
    """What the party with the labels holds at the end: its own features, and a table of every feature of the others."""

    own: tuple[WoeFeature, ...]
    partners: tuple[tuple[BinTable, ...], ...]


async def active(
    passives: Sequence[Channel],
    features: Sequence[int],
    mine: Sequence[WoeFeature],
    labels: Labels,
    parts: Parts,
    parameters: BinningParameters,
    min_population: int,
    key: KeyHolder,
    rng: Randomness,
    *,
    shown: Shown | None = None,
) -> FeatureReport:
    """Find the WOE of the features of all passive parties, who have agreed to bring so many `features` each.

    `mine`: our own features, fitted (`fit_features`). `labels`: int8[n], over our rows, as `parts`; only training rows
    count. `key`: with lanes for g = 1 and h = 1 at least, over the agreed training rows. `shown`: the agreed rows,
    where there are decoys among them.
    """
    shown = shown or Shown.plain(parts)
    told = WoeRows(len(shown.train), pack_bits(shown.train), key.name, key.public())
    for passive in passives:
        passive.enter("woe")
        await passive.send(told)
    layouts = [
        await _layout(passive, count, parameters, key) for passive, count in zip(passives, features, strict=True)
    ]
    bads, ones = (shown.spread(values.astype(np.int64))[shown.train] for values in (labels, np.ones_like(labels)))
    await send_rows(passives, bads, ones, key, LabelBlock, LabelQuery, rng)
    total, least = (int(bads.sum()), int(ones.sum())), 0 if shown.decoys else min_population
    tables = []
    for passive, layout in zip(passives, layouts, strict=True):
        answer = await passive.recv(LabelSums)
        cells = key.decrypt(passive.peer, [answer.sums], layout.cells)[0]
        _require_counts(cells, layout, total, least)
        decided = layout.decide(cells, parameters, min_population)
        tables.append(tuple(table for _, table in decided))
        await passive.send(_woe_bins([groups for groups, _ in decided], tables[-1], parameters))
    for passive in passives:
        await passive.checkpoint()
    return FeatureReport(tuple(mine), tuple(tables))


@dataclass(frozen=True)
class _Layout:
    """The pre-bins of a passive party: how many of each feature, how many of those are of ordinary values, trends."""

    cells: CellLayout
    ordinary: tuple[int, ...]
    trends: tuple[str, ...]

    def decide(
        self, cells: Int64s, parameters: BinningParameters, min_population: int
    ) -> list[tuple[Int64s, BinTable]]:
        """Groups and table of each feature. `cells`: bads and rows of all pre-bins, int64[cells, 2]."""
        counts = np.column_stack([cells[:, 1] - cells[:, 0], cells[:, 0]])
        features = zip(np.split(counts, self.cells.offsets[1:]), self.ordinary, self.trends, strict=True)
        return [
            decide(own, ordinary, replace(parameters, trend=trend), min_population) for own, ordinary, trend in features
        ]


async def _layout(passive: Channel, agreed: int, parameters: BinningParameters, key: KeyHolder) -> _Layout:
    """The layout of a party's pre-bins, and its hint."""
    told = await passive.recv(PreBinLayout)
    sizes = {len(told.ordinary), len(told.apart), len(told.trends)}
    require(sizes == {agreed}, f"one entry for each of the {agreed} features agreed on")
    require(all(trend in TRENDS for trend in told.trends), f"a trend is one of {', '.join(TRENDS)}")
    pairs, most = list(zip(told.ordinary, told.apart, strict=True)), parameters.max_prebins
    require(all(a >= 1 and b >= 0 and a + b <= most for a, b in pairs), f"a feature has 1 to {most} pre-bins")
    cells = CellLayout(tuple(a + b for a, b in pairs))
    await take_hint(passive, key, cells, PreBinHint)
    return _Layout(cells, tuple(told.ordinary), tuple(told.trends))


def _require_counts(cells: Int64s, layout: _Layout, total: tuple[int, int], least: int) -> None:
    """Counts of rows: every feature's bins are all the rows, and no bin is too small to be looked at."""
    require(((cells[:, 0] >= 0) & (cells[:, 0] <= cells[:, 1])).all(), "the bads of a bin are some of its rows")
    sums = np.add.reduceat(cells, layout.cells.offsets, axis=0)
    wrong = np.flatnonzero((sums != total).any(axis=1))
    require(len(wrong) == 0, f"the bins of feature {wrong[0] if len(wrong) else 0} hold all bads and all rows")
    alone = np.repeat(np.array(layout.cells.n_bins) == 1, layout.cells.n_bins)
    require((alone | (cells[:, 1] >= least)).all(), f"a pre-bin has {least} rows at least")


def _woe_bins(groups: Sequence[Int64s], tables: Sequence[BinTable], parameters: BinningParameters) -> WoeBins:
    bins = sum(len(table.woe) for table in tables)
    units = np.concatenate([np.ldexp(table.woe, parameters.woe_bits) for table in tables])
    woe = units.astype("<i4").tobytes() if parameters.share_woe else b""
    return WoeBins(np.concatenate(groups).astype(np.uint8).tobytes(), bins, woe)


async def passive(
    active: Channel,
    names: Sequence[str],
    values: Reals,
    parameters: BinningParameters,
    min_population: int,
    evaluators: EvaluatorFactory,
    rng: Randomness,
    *,
    special: Specials | None = None,
    trends: Trends | None = None,
) -> list[WoeFeature]:
    """Pre-bin the own columns, sum the encrypted labels by pre-bin, and hear which bins they become.

    `values`: float64[n, n_features], NaN = missing, over the aligned rows. `min_population`: rows in a bin at least.
    `special`: special values by feature name; nobody else hears of them. `trends`: by feature name, where another than
    that of `parameters` is wished. Raises UsageError for a bad column, and where either names what is not there.
    """
    coded, directed = special or {}, trends or {}
    check_wishes(names, coded, directed)
    active.enter("woe")
    told = await active.recv(WoeRows)
    require(told.count == len(values), f"the rows are the {len(values)} aligned rows")
    train = unpack_bits(told.train, told.count)
    require(train.any(), "some rows train")
    evaluator = evaluators(told.scheme, told.key, int(train.sum()))
    prebins = [
        prebin(name, column[train], parameters, min_population, coded.get(name, ()))
        for name, column in zip(names, values.T, strict=True)
    ]
    ordinary, wished = [one.values for one in prebins], [directed.get(name, parameters.trend) for name in names]
    await active.send(PreBinLayout(ordinary, [one.n_bins - one.values for one in prebins], wished))
    layout = CellLayout(tuple(one.n_bins for one in prebins))
    await send_hint(active, evaluator, _codes(prebins, values[train]), layout, PreBinHint, rng.child("hint"))
    sums = await sum_rows(active, evaluator, int(train.sum()), LabelBlock, LabelQuery, rng.child("seal"))
    await active.send(LabelSums(sums))
    features = _features(names, prebins, await active.recv(WoeBins), parameters)
    await active.checkpoint()
    return features


def _codes(prebins: Sequence[PreBins], values: Reals) -> Codes:
    codes = np.empty(values.shape, dtype=np.uint8, order="F")
    for feature, one in enumerate(prebins):
        codes[:, feature] = one.codes(values[:, feature])
    return codes


def _features(
    names: Sequence[str], prebins: Sequence[PreBins], told: WoeBins, parameters: BinningParameters
) -> list[WoeFeature]:
    """The features as told, every claim checked first."""
    cells = sum(one.n_bins for one in prebins)
    require(len(told.groups) == cells, f"{cells} pre-bins have a bin each")
    starts = np.cumsum([one.n_bins for one in prebins])[:-1]
    groups = np.split(np.frombuffer(told.groups, np.uint8).astype(np.int64), starts)
    for name, one, mine in zip(names, prebins, groups, strict=True):
        require(_in_order(mine, one.values), f"the bins of {name!r} are neighbours, numbered in order")
    counts = [int(mine.max()) + 1 for mine in groups]
    require(told.bins == sum(counts), f"there are {sum(counts)} bins")
    require(len(told.woe) == 4 * told.bins * parameters.share_woe, "the WOE of every bin is told, or of none")
    if not parameters.share_woe:
        return [WoeFeature(*known, None) for known in zip(names, prebins, groups, strict=True)]
    woe = np.ldexp(np.frombuffer(told.woe, "<i4").astype(np.float64), -parameters.woe_bits)
    require((np.abs(woe) <= MAX_WOE).all(), f"a WOE is at most {MAX_WOE}")
    split = np.split(woe, np.cumsum(counts)[:-1])
    return [WoeFeature(*known) for known in zip(names, prebins, groups, split, strict=True)]


def _in_order(groups: Int64s, ordinary: int) -> bool:
    """Whether ordinary pre-bins are grouped with neighbours, and the others stand alone or join an ordinary bin."""
    steps = np.diff(groups[:ordinary])
    if groups[0] != 0 or not np.isin(steps, (0, 1)).all():
        return False
    free = int(groups[ordinary - 1]) + 1
    bound = free
    for group in groups[ordinary:].tolist():
        if group == free:
            free += 1
        elif group >= bound:
            return False
    return True
