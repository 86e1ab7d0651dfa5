"""Standard errors of a joint logistic regression, once it is fitted.

    active (labels, what was told in `logistic`)          passive (features, coefficients)

                                                      <-- Basis           directions told that span its features
                                                      <-- Completion      X d of others that are missing for it
    W = p (1 - p), A = [1, own columns, what was told of everybody]
    (A' W A)^-1
    Covariance      the passive's block               -->
                                                          errors of its coefficients, p-values

The inverse information matrix is that of the pooled columns, whatever the number of parties (`vfl.learn.joint_errors`).
A passive party that would have to tell more numbers of a row than were agreed on in all says so, and there are no
standard errors for anybody; nor are there where coefficients have not settled.

Source: Wald tests (McCullagh and Nelder, Generalized Linear Models, 1989, chapter 4), in other coordinates.

Learns:  active  -> as many numbers of each row as the passive has features with a coefficient: all combinations of its
                    columns then, and so which customers are equal to it; how many features those are
         passive -> the covariance of its own coefficients, so how well they are known; whether all parties took part
Cost:    4 bytes a row for each direction that is missing, often none; 8 bytes times the square of the features back
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import numpy as np
import numpy.typing as npt
from msgspec import Meta

from vfl.channel import Channel
from vfl.errors import BrokenPromise, UsageError
from vfl.learn.joint_errors import block_inference, joint_covariances
from vfl.learn.logistic import Inference
from vfl.learn.scorecard_parameters import ScorecardParameters
from vfl.protocols.logistic import MAX_TOLD, ActiveFit, Directions, PassiveFit, Predictor
from vfl.wire import Message, require

Reals = npt.NDArray[np.float64]


class Basis(Message, frozen=True):
    """Which directions told span the sender's coefficients, and how many are missing; -1: too many to be told."""

    chosen: Annotated[list[int], Meta(max_length=MAX_TOLD)]
    missing: Annotated[int, Meta(ge=-1, le=MAX_TOLD)]


class Completion(Predictor, frozen=True):
    """One of the directions that are missing."""


class Covariance(Message, frozen=True):
    """The covariance of the receiver's combination: float64[s, s], little-endian; empty where there is none."""

    size: int
    values: bytes


async def active(passives: Sequence[Channel], fit: ActiveFit, parameters: ScorecardParameters) -> Inference | None:
    """Tests of the intercept and the own coefficients.

    None where coefficients have not settled, a party kept numbers to itself, or columns repeat each other.
    """
    spans = [await _span(passive, known, fit, parameters) for passive, known in zip(passives, fit.known, strict=True)]
    own, blocks = None, None
    known = [span for span in spans if span is not None]
    if len(known) == len(spans) and fit.converged:
        try:
            own, blocks = joint_covariances(fit.joint, known)
        except UsageError:  # columns that repeat each other, in this party's words: nothing to test
            own, blocks = None, None
    for number, passive in enumerate(passives):
        values = b"" if blocks is None else blocks[number].astype("<f8").tobytes()
        await passive.send(Covariance(0 if blocks is None else len(blocks[number]), values))
    for passive in passives:
        await passive.checkpoint()
    return own


async def _span(passive: Channel, known: Directions, fit: ActiveFit, parameters: ScorecardParameters) -> Reals | None:
    """Numbers of every training row that span the columns of a passive party: float64[n, s]."""
    passive.enter("errors")
    said = await passive.recv(Basis)
    told, features = fit.joint.told(known.number), len(known.coded.layout.n_bins)
    require(sorted(set(said.chosen)) == said.chosen, "directions are named once, in their order")
    require(all(0 <= one < len(told) for one in said.chosen), f"directions are numbered up to {len(told) - 1}")
    if said.missing < 0:
        return None
    require(len(said.chosen) + said.missing <= features, f"there are {features} features")
    require(known.told + said.missing <= parameters.iterations, "no more numbers are told than were agreed on")
    more = []
    for _ in range(said.missing):
        more.append(known.read(await passive.recv(Completion)).predictor)
    return np.column_stack([np.zeros((len(fit.joint.own[0]), 0)), *(told[one] for one in said.chosen), *more])


async def passive(active: Channel, fit: PassiveFit, parameters: ScorecardParameters) -> Inference | None:
    """Tests of the own coefficients; None where there are none for anybody."""
    active.enter("errors")
    block, owner = fit.owner.block, fit.owner
    chosen, missing = block.basis()
    if owner.told + missing > parameters.iterations:
        await active.send(Basis([], -1))
        directions = np.zeros((0, len(block.coefficients)))
    else:
        await active.send(Basis(chosen, missing))
        directions, new = block.complete(chosen)
        for told in new:
            await active.send(Completion(*owner.words(told)))
    said = await active.recv(Covariance)
    found = _inference(said, block.coefficients, directions)
    await active.checkpoint()
    return found


def _inference(said: Covariance, coefficients: Reals, directions: Reals) -> Inference | None:
    size = len(directions)
    require(said.size in (0, size), f"a covariance of {size} directions")
    require(len(said.values) == 8 * said.size**2, "a number of 8 bytes for each two directions")
    if not said.size:
        return None
    values = np.frombuffer(said.values, "<f8").astype(np.float64).reshape(size, size)
    require(np.isfinite(values).all() and (np.abs(values) < 1e100).all(), "covariances are numbers")
    require(np.array_equal(values, values.T), "a covariance is symmetric")
    found = block_inference(coefficients, directions, values)
    if np.isnan(found.errors[coefficients != 0.0]).any():
        raise BrokenPromise("not so: no variance is below 0")
    return found
