"""Vertical logistic regression on weights of evidence, by encrypted residuals.

    active (labels, secret key)                           passive (features)

    once
    FitRows         which rows train, encryption key  -->
                                                      <-- FitHint         preprocessed bins (lattice)
                                                          b = 1 for each feature
                                                      <-- Standing        X b, every row
    CountQuery      [[y_i, 1]], every row (lattice)   -->
                                                      <-- CountSums       their sums by bin, sealed (lattice)
    until no step is large, or all the numbers agreed on are told
    intercept, own coefficients, c: the best over all directions told
    Combination     c                                 -->
                                                          b = sum of c_t d_t; coefficients that crossed 0 are put there
                                                      <-- Standing        X b if some were, else nothing
    r_i = p_i - y_i, as integers
    ResidualBlock   [[r_i]], every row (paillier)     -->
    ResidualQuery   [[r_i]], every row (lattice)      -->
                                                          [[sum of r_i over bin_f(i) = b]], a uniform mask on each
                                                      <-- MaskedSums      masked sums, sealed
    masked X' r
    MaskedGradient  masked X' r, average p (1 - p)    -->
                                                          X' r without the mask; d = what its Newton step has new
                                                      <-- Direction       X d, every row; the largest change it means

The joint model is that of the pooled columns, maximum likelihood or with the agreed penalties: `vfl.learn.blocks` has
the method, `vfl.crypto.weighted` the sums. A partner's coefficients, directions and gradient stay with the partner.

Decoys (`vfl.decoys`) have a residual of 0 and count for nothing.

Source: subspace optimisation over blocks of columns (Narkiss and Zibulevsky 2005); gradients from encrypted residuals
after Hardy et al. 2017 (arXiv:1711.10677), without their third party.

Learns:  active  -> X b and X d: a number for each row the passive is shown, `iterations` times at most. Those are as
                    many combinations of the passive's columns: customers with equal bins show equal numbers, and as
                    many of them as the passive has features span all of its columns. The largest change of a
                    coefficient; with penalties or forced signs also lengths of directions and angles between them.
                    With what `correlate` tells, coefficients can be solved for if the active has as many columns.
                    If dishonest, it chooses those combinations
         passive -> which aligned rows train; X' r of its own features, a number each and no residual; the average
                    p (1 - p); how its directions combine. If dishonest and with `paillier`, it sums over rows of its
                    choice: as many residuals a step as it has features, so those customers' labels. With `lattice` its
                    bins are fixed by the hint, and their goods and bads must be those counted before
Cost:    for every step 4 bytes a row back, and: paillier, one encryption a row, one addition a row and feature, one
         ciphertext a feature; lattice, 28 bytes a row and 115 KB out, 28 bytes a bin back. 32 KB a bin once (lattice)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import numpy.typing as npt
from msgspec import Meta

from vfl.all_rows import HintPart, QueryPart, RowsBlock, send_hint, send_rows, sum_rows, take_hint, take_rows
from vfl.bits import pack_bits, unpack_bits
from vfl.channel import Channel
from vfl.coded import Coded, codes_of
from vfl.crypto.scheme import MAX_CELLS, Sealed
from vfl.crypto.weighted import Room, ShareHolder, Shares, halves, whole
from vfl.decoys import Shown
from vfl.learn.blocks import JointFit, OwnBlock, Told
from vfl.learn.rounds import Parts
from vfl.learn.scorecard_parameters import ScorecardParameters
from vfl.learn.woe import WoeFeature
from vfl.protocols import bystand
from vfl.randomness import Randomness
from vfl.wire import Message, require

Int64s = npt.NDArray[np.int64]
Reals = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int8]
MAX_TOLD = 1000
FARTHEST = 1e6
"""No coefficient, and no combination of directions, is as large."""
FLATTEST = 1e-9
"""Models are not as sure of all customers."""


class FitRows(Message, frozen=True):
    """Which of the aligned rows train, the key their residuals will be encrypted under, what bounds the sums."""

    count: int
    train: bytes  # bits
    scheme: str
    key: bytes
    weight: Annotated[int, Meta(ge=1, le=1 << 40)]
    cells: Annotated[int, Meta(ge=1, le=MAX_CELLS)]  # of any party's bins together


class FitHint(HintPart, frozen=True):
    """A part of what the scheme needs once from the sender's bins."""


class Predictor(Message, frozen=True):
    """A direction of the sender's coefficients, the largest entry 1, as the receiver may know it."""

    predictor: bytes  # its columns times it, every training row: int32, little-endian, in units of 2**-predictor_bits
    products: Annotated[list[float], Meta(max_length=MAX_TOLD)]  # with all its directions so far, itself last
    slope: float  # signs of its coefficients with it


class Standing(Predictor, frozen=True):
    """The sender's coefficients are `scale` times this; nothing told: they are the combination asked for."""

    scale: float


class Combination(Message, frozen=True):
    """How the receiver's directions combine to its coefficients; `closed`: these are the last."""

    coefficients: Annotated[list[float], Meta(min_length=1, max_length=MAX_TOLD)]
    closed: bool


class CountQuery(QueryPart, frozen=True):
    """A part of the encrypted labels, and a one for each, of all training rows."""


class CountSums(Message, frozen=True):
    """Their sums by bin: those that were counted when weights of evidence were made."""

    sums: Sealed


class ResidualBlock(RowsBlock, frozen=True):
    """Encrypted residuals of consecutive training rows."""


class ResidualQuery(QueryPart, frozen=True):
    """A part of the encrypted residuals of all training rows."""


class MaskedSums(Message, frozen=True):
    """The masked sums of residuals by bin, or weighted by feature, as the scheme has it."""

    sums: Sealed


class MaskedGradient(Message, frozen=True):
    """The receiver's gradient under its own masks, and the average p (1 - p)."""

    share: bytes
    curvature: float


class Direction(Predictor, frozen=True):
    """Where the sender wants to go, and how far; nothing told: nowhere."""

    step: float


@dataclass(frozen=True, eq=False)
class ActiveFit:
    """What the active party holds at the end.

    joint: intercept, own coefficients and what was told.   known: of each passive party.   converged: whether
    coefficients have settled.
    """

    joint: JointFit
    known: tuple[Directions, ...]
    converged: bool

    @property
    def told(self) -> tuple[int, ...]:
        """Numbers that each passive party told of every row."""
        return tuple(one.told for one in self.known)


@dataclass(frozen=True, eq=False)
class PassiveFit:
    """What a passive party holds at the end: its coefficients, and how many numbers of every row it told."""

    owner: Owner

    @property
    def coefficients(self) -> Reals:
        """Of its features, float64[d]."""
        return self.owner.block.coefficients


async def active(
    passives: Sequence[Channel],
    coded: Sequence[Coded],
    mine: Reals,
    labels: Labels,
    parts: Parts,
    parameters: ScorecardParameters,
    shares: Shares,
    rng: Randomness,
    *,
    shown: Shown | None = None,
    bystanders: Sequence[Channel] = (),
) -> ActiveFit:
    """Fit with all passive parties, who have the `coded` features each, some at every one.

    `mine`: weights of evidence of our own columns, float64[n, d], `labels`: int8[n], both over our rows, as `parts`.
    `shown`: the agreed rows, where there are decoys among them. `bystanders`: passives without features.
    Raises UsageError where the columns tell labels apart.
    """
    shown = shown or Shown.plain(parts)
    room = _room(int(shown.train.sum()), coded, parameters)
    holder, bits = shares.holder(room, rng.child("key")), shares.bits(room)
    fit = JointFit(mine[parts.train], labels[parts.train], len(passives), parameters)
    ours = _ours(shown, parts)
    known = [Directions(number, one, room.rows, parameters.predictor_bits, ours) for number, one in enumerate(coded)]
    partners = [_Partner(passive, own, fit, parameters) for passive, own in zip(passives, known, strict=True)]
    for partner in partners:
        await partner.open(shown, holder, room)
    for partner in partners:
        await partner.hear_start(holder)
    if not holder.key.discloses_membership:
        ones = _over(parts, np.ones(int(parts.train.sum()), np.int64))
        y, one = (shown.spread(values)[shown.train] for values in (ones * (labels == 1), ones))
        await send_rows(passives, y, one, holder.key, ResidualBlock, CountQuery, rng.child("counts"))
        for partner in partners:
            await partner.prove_bins(holder)
    converged = False
    for step in range(parameters.iterations):
        settled = fit.solve()
        most = parameters.iterations - 2  # a direction, and a start anew, may still come
        closed = converged or step > most or any(partner.known.told > most for partner in partners)
        for partner in partners:
            settled &= await partner.move(step, closed)
        if closed:
            break
        r, curvature = fit.residuals()
        curvature = max(curvature, FLATTEST)
        stream = rng.child(f"residuals/{step}")
        g, h = (shown.spread(_over(parts, half))[shown.train] for half in halves(r, bits))
        await send_rows(passives, g, h, holder.key, ResidualBlock, ResidualQuery, stream)
        largest = [await partner.improve(holder, curvature) for partner in partners]
        converged = settled and max(largest, default=0.0) <= parameters.tolerance
        await _end_round(passives, bystanders, step)
    await _end_round(passives, bystanders, step, last=True)
    return ActiveFit(fit, tuple(partner.known for partner in partners), converged)


async def _end_round(
    passives: Sequence[Channel], bystanders: Sequence[Channel], step: int, *, last: bool = False
) -> None:
    for passive in passives:
        await passive.checkpoint()
    for passive in bystanders:
        await bystand.active(passive, step, last=last)


def _room(rows: int, coded: Sequence[Coded], parameters: ScorecardParameters) -> Room:
    """What bounds the sums of all parties."""
    weight = max((one.weight for one in coded), default=1)
    cells = max((one.layout.cells for one in coded), default=1)
    return Room(rows, weight, cells, parameters.iterations + 1)


def _ours(shown: Shown, parts: Parts) -> Int64s:
    """Where our training rows stand among those that passive parties tell numbers of: int64[n_train]."""
    places = np.cumsum(shown.train) - 1
    found: Int64s = places[shown.places[parts.train]]
    return found


def _over(parts: Parts, values: Int64s) -> Int64s:
    """Values of the training rows over all our rows; others have 0."""
    found = np.zeros(len(parts.train), dtype=np.int64)
    found[parts.train] = values
    return found


class Directions:
    """What the active party was told of the directions of a passive one."""

    def __init__(self, number: int, coded: Coded, rows: int, bits: int, ours: Int64s) -> None:
        """`number`: of the party.   `rows`: that it tells numbers of, `ours` of them, in units of 2**-bits."""
        self.number, self.coded, self.told = number, coded, 0
        self._rows, self._bits, self._ours = rows, bits, ours
        self._gram = np.zeros((0, 0))

    def restart(self) -> None:
        """Those so far are forgotten."""
        self._gram = np.zeros((0, 0))

    def read(self, said: Predictor) -> Told:
        """A direction beside the others; every claim that can be checked is."""
        require(len(said.predictor) == 4 * self._rows, f"a number of 4 bytes for each of {self._rows} rows")
        values = np.ldexp(np.frombuffer(said.predictor, "<i4").astype(np.float64), -self._bits)
        most = self.coded.farthest + 1.0
        require((np.abs(values) <= most).all(), f"no combination of these features is above {most:.3f}")
        known, features = len(self._gram), len(self.coded.layout.n_bins)
        require(len(said.products) == known + 1, f"products with {known + 1} directions")
        require(all(abs(one) <= features for one in (*said.products, said.slope)), "directions have entries up to 1")
        gram = np.empty((known + 1, known + 1))
        gram[:known, :known] = self._gram
        gram[known] = gram[:, known] = said.products
        require(np.linalg.eigvalsh(gram).min() >= -1e-6 * features, "products of directions are those of some")
        self._gram = gram
        self.told += 1
        return Told(values[self._ours], np.array(said.products), said.slope)


class _Partner:
    """A passive party, as the active one asks it."""

    def __init__(self, channel: Channel, known: Directions, fit: JointFit, parameters: ScorecardParameters) -> None:
        self.channel, self.known, self.fit, self.parameters = channel, known, fit, parameters

    async def open(self, shown: Shown, holder: ShareHolder, room: Room) -> None:
        """Name rows and key."""
        self.channel.enter("fit")
        key, train = holder.key, pack_bits(shown.train)
        await self.channel.send(FitRows(len(shown.train), train, key.name, key.public(), room.weight, room.cells))

    async def hear_start(self, holder: ShareHolder) -> None:
        """The hint, and where its coefficients start."""
        await take_hint(self.channel, holder.key, self.known.coded.layout, FitHint)
        said = await self.channel.recv(Standing)
        require(said.predictor, "the start is told")
        self._restart(said)

    async def prove_bins(self, holder: ShareHolder) -> None:
        """Hear that the bins of the hint, which all sums to come are by, are those that were counted before."""
        said, coded = await self.channel.recv(CountSums), self.known.coded
        [found] = holder.key.decrypt(self.channel.peer, [said.sums], coded.layout)
        assert coded.counts is not None
        due = np.column_stack([coded.counts[:, 1], coded.counts.sum(axis=1)])
        require(np.array_equal(found, due), "bins have the goods and bads that were counted before")

    async def move(self, step: int, closed: bool) -> bool:
        """Tell the best combination; False if a coefficient came to 0, so that it is another."""
        self.channel.enter("fit", step)
        await self.channel.send(Combination(self.fit.combination(self.known.number), closed))
        said = await self.channel.recv(Standing)
        if said.predictor:
            require(self.parameters.bounded, "without penalties and forced signs every combination will do")
            self._restart(said)
        return not said.predictor

    async def improve(self, holder: ShareHolder, curvature: float) -> float:
        """Give the masked gradient back, and hear where it leads: the largest change to a coefficient."""
        answer, coded = await self.channel.recv(MaskedSums), self.known.coded
        share = holder.share(self.channel.peer, answer.sums, coded.layout, coded.weights)
        await self.channel.send(MaskedGradient(share, curvature))
        said = await self.channel.recv(Direction)
        require(0.0 <= said.step <= FARTHEST, "a step is a number, 0 or more")
        if said.predictor:
            self.fit.add(self.known.number, self.known.read(said))
        else:
            require(said.step == 0.0, "a step is told")
        return said.step

    def _restart(self, said: Standing) -> None:
        require(0.0 < said.scale <= FARTHEST, "coefficients have a scale")
        self.known.restart()
        self.fit.restart(self.known.number, said.scale, self.known.read(said))


async def passive(
    active: Channel,
    features: Sequence[WoeFeature],
    values: Reals,
    parameters: ScorecardParameters,
    woe_bits: int,
    shares: Shares,
    rng: Randomness,
) -> PassiveFit:
    """Find the coefficients of the own features, at least one. `values`: float64[n, d] over the aligned rows."""
    active.enter("fit")
    said = await active.recv(FitRows)
    require(said.count == len(values), f"the rows are the {len(values)} aligned rows")
    train = unpack_bits(said.train, said.count)
    require(train.any(), "some rows train")
    rows, codes = int(train.sum()), codes_of(features, values[train])
    coded = Coded.of(features, woe_bits)
    require(coded.layout.cells <= said.cells, f"there are {coded.layout.cells} bins here")
    room = Room(rows, said.weight, said.cells, parameters.iterations + 1)
    evaluator = shares.evaluator(said.scheme, said.key, room)
    await send_hint(active, evaluator.evaluator, codes, coded.layout, FitHint, rng.child("hint"))
    owner = Owner(OwnBlock(coded.columns(codes), parameters), parameters)
    await active.send(owner.stand())
    if not evaluator.evaluator.discloses_membership:
        stream = rng.child("counts")
        counted = await sum_rows(active, evaluator.evaluator, rows, ResidualBlock, CountQuery, stream)
        await active.send(CountSums(counted))
    for step in range(parameters.iterations):
        active.enter("fit", step)
        asked = await active.recv(Combination)
        await active.send(owner.move(asked))
        if asked.closed:
            break
        await take_rows(active, evaluator.evaluator, rows, ResidualBlock, ResidualQuery)
        sealed, own = evaluator.answer(coded.weights, rng.child(f"mask/{step}"))
        await active.send(MaskedSums(sealed))
        told = await active.recv(MaskedGradient)
        require(FLATTEST <= told.curvature <= 0.25, f"an average of p (1 - p) is from {FLATTEST:g} to 1/4")
        sums = whole(evaluator.join(own, told.share), shares.bits(room))
        await active.send(owner.improve(np.ldexp(sums, -woe_bits), told.curvature))
        await active.checkpoint()
    else:
        require(False, f"there are at most {parameters.iterations} steps")
    await active.checkpoint()
    return PassiveFit(owner)


class Owner:
    """What a passive party says of its block; it counts the numbers it has told of every row."""

    def __init__(self, block: OwnBlock, parameters: ScorecardParameters) -> None:
        self.block, self.parameters, self.told = block, parameters, 0

    def stand(self) -> Standing:
        """Where the block is, told anew."""
        scale, told = self.block.restart()
        return Standing(*self.words(told), scale)

    def move(self, asked: Combination) -> Standing:
        """Move as asked, as far as signs allow."""
        require(len(asked.coefficients) == self.block.directions, "a coefficient for each direction")
        require(all(abs(one) <= FARTHEST for one in asked.coefficients), f"coefficients are at most {FARTHEST:g}")
        return Standing(b"", [], 0.0, 0.0) if self.block.combine(asked.coefficients) else self.stand()

    def improve(self, gradient: Reals, curvature: float) -> Direction:
        """The next direction."""
        step, told = self.block.step(gradient, curvature)
        step = min(step, FARTHEST)
        return Direction(b"", [], 0.0, step) if told is None else Direction(*self.words(told), step)

    def words(self, told: Told) -> tuple[bytes, list[float], float]:
        self.told += 1
        most = self.parameters.iterations
        require(self.told <= most, f"at most {most} numbers are told of a row")
        units = np.ldexp(told.predictor, self.parameters.predictor_bits)
        return units.astype("<i4").tobytes(), told.products.tolist(), told.slope
