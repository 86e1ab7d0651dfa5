"""The part of a run that learns a scorecard and scores the hold-out with it.

woe, correlate   bins of all features, which of them stay                   `vfl.features`
fit              coefficients by encrypted residuals
errors           standard errors, where they were agreed on
score            the hold-out is scored jointly
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from vfl import features
from vfl.bits import Mask
from vfl.card_models import card_share, card_table, verdict_lines, verdict_table
from vfl.channel import Channel
from vfl.coded import Coded
from vfl.errors import UsageError
from vfl.features import ActiveFeatures
from vfl.learn.logistic import Inference
from vfl.learn.objective import sigmoid
from vfl.learn.scorecard import Card, Scaling
from vfl.learn.scorecard_parameters import ScorecardModel, ScorecardParameters
from vfl.learn.woe import WoeFeature
from vfl.protocols import bystand, logistic, points, standard_errors
from vfl.protocols.logistic import ActiveFit
from vfl.terms import ActiveOutcome, ActiveTask, PassiveOutcome, PassiveTask

Int64s = npt.NDArray[np.int64]
Reals = npt.NDArray[np.float64]
TABLE = "scorecard.csv"
"""The party's own lines, for people."""
VERDICTS = "features.csv"
"""At the active party: all features, and why they are on the card or not."""


@dataclass(frozen=True, eq=False, kw_only=True)
class CardOutcome(ActiveOutcome):
    """Of the active party. tests: of the intercept and the own coefficients; None where there are none."""

    card: Card
    fit: ActiveFit
    tests: Inference | None


@dataclass(frozen=True, eq=False, kw_only=True)
class PartOutcome(PassiveOutcome):
    """Of a passive party."""

    card: Card
    tests: Inference | None


@dataclass(frozen=True)
class _Partners:
    """Passive parties with features left: their names, channels and bins."""

    names: list[str] = field(default_factory=list)
    channels: list[Channel] = field(default_factory=list)
    coded: list[Coded] = field(default_factory=list)

    @classmethod
    def of(cls, task: ActiveTask, found: ActiveFeatures, woe_bits: int) -> _Partners:
        partners = cls()
        for number, (name, channel) in enumerate(task.passives.items(), 1):
            tables = found.report.partners[number - 1]
            stay = [table for table, kept in zip(tables, found.selection.kept(number), strict=True) if kept]
            if stay:
                partners.names.append(name)
                partners.channels.append(channel)
                partners.coded.append(Coded.told(stay, woe_bits))
        return partners


async def active(task: ActiveTask) -> CardOutcome:
    """The active party's part. Raises UsageError where no feature is left, or columns tell the classes apart."""
    terms, model, rng = task.terms, task.terms.scorecard, task.rng
    labels = task.labels.astype(np.int8)
    found = await features.active(
        list(task.passives.values()), task.mine.names, task.values, labels, task.parts, terms.features,
        rng.child("features"), shown=task.shown, special=task.mine.special, trends=task.mine.trends,
    )  # fmt: skip
    partners = _Partners.of(task, found, model.binning.woe_bits)
    if not partners.names and not found.own.features:
        raise UsageError(
            "no feature of any party is worth a line on a scorecard", remedy="Lower min_iv, or bring other columns."
        )
    fit = await logistic.active(
        partners.channels, partners.coded, found.own.matrix, labels, task.parts, model.card, terms.shares,
        rng.child("logistic"), shown=task.shown,
        bystanders=[channel for name, channel in task.passives.items() if name not in partners.names],
    )  # fmt: skip
    tests = await standard_errors.active(partners.channels, fit, model.card) if _tested(model.card) else None
    card = Card(found.own.features, fit.joint.coefficients, Scaling.of(model.card))
    return await _scored(task, found, partners, fit, card, tests)


def _tested(parameters: ScorecardParameters) -> bool:
    """Whether there are standard errors: they are those of the maximum-likelihood solution, so not with penalties."""
    return parameters.standard_errors and not parameters.l1 and not parameters.l2


async def _scored(
    task: ActiveTask, found: ActiveFeatures, partners: _Partners, fit: ActiveFit, card: Card, tests: Inference | None
) -> CardOutcome:
    """Score the hold-out with everybody whose features are on the card."""
    held = task.values[task.holdout][:, found.own.kept]
    intercept = fit.joint.intercept
    total, parts = card.scaling.base(intercept) + card.points(held), []
    ours = _among(task.shown.holdout, task.shown.places[task.holdout])
    for channel in partners.channels:
        told, theirs = await points.active(channel, task.shown.holdout)
        total += theirs[ours]
        parts.append(told[ours])
    score = points.joined(intercept + card.predictor(held), parts)
    for channel in task.passives.values():
        await channel.checkpoint()
    own = None if tests is None else _without_intercept(tests)
    base = intercept, card.scaling.base(intercept), tests
    more = _more(task, found, partners, fit, tests)
    return CardOutcome(
        rows=task.rows,
        labels=task.labels,
        holdout=task.holdout,
        parts=task.parts,
        shown=task.shown,
        pd=sigmoid(score),
        points=total,
        share=card_share(task.terms.agreement, task.mine.name, card, own, more),
        files={TABLE: card_table(card, own, base), VERDICTS: verdict_table(more["verdicts"])},
        card=card,
        fit=fit,
        tests=tests,
    )


def _among(asked: Mask, places: Int64s) -> Int64s:
    """Where rows at `places` stand among those asked for."""
    found: Int64s = np.cumsum(asked)[places] - 1
    return found


def _without_intercept(tests: Inference) -> Inference:
    return Inference(tests.errors[1:], tests.z[1:], tests.p_values[1:])


def _more(
    task: ActiveTask, found: ActiveFeatures, partners: _Partners, fit: ActiveFit, tests: Inference | None
) -> dict[str, Any]:
    """What only the active party's share holds."""
    intercept, agreement = fit.joint.intercept, task.terms.agreement
    scaling = Scaling.of(task.terms.scorecard.card)
    names = [agreement.active.name, *(member.name for member in agreement.passives)]
    return {
        "intercept": intercept,
        "base_points": scaling.base(intercept),
        "intercept_standard_error": None if tests is None else float(tests.errors[0]),
        "converged": fit.converged,
        "standard_errors": tests is not None,
        "numbers_told": dict(zip(partners.names, fit.told, strict=True)),
        "verdicts": verdict_lines(names, found.selection.verdicts),
    }


async def passive(task: PassiveTask) -> PartOutcome:
    """A passive party's part."""
    terms, model, rng, mine = task.terms, task.terms.scorecard, task.rng, task.mine
    found = await features.passive(
        task.active, mine.names, task.values, terms.features, rng.child("features"),
        special=mine.special, trends=mine.trends,
    )  # fmt: skip
    coefficients, tests = np.zeros(0), None
    if found.features:
        coefficients, tests = await _fit(task, found.features, found.values, model)
    else:
        await bystand.passive(task.active, model.card.iterations)
    card = Card(found.features, coefficients, Scaling.of(model.card))
    if found.features:
        await points.passive(task.active, card.predictor(found.values), card.points(found.values))
    await task.active.checkpoint()
    return PartOutcome(
        rows=task.rows,
        share=card_share(terms.agreement, mine.name, card, tests),
        files={TABLE: card_table(card, tests)},
        card=card,
        tests=tests,
    )


async def _fit(
    task: PassiveTask, own: Sequence[WoeFeature], values: Reals, model: ScorecardModel
) -> tuple[Reals, Inference | None]:
    """The own coefficients and their tests."""
    rng, bits = task.rng.child("logistic"), model.binning.woe_bits
    fit = await logistic.passive(task.active, own, values, model.card, bits, task.terms.shares, rng)
    tests = await standard_errors.passive(task.active, fit, model.card) if _tested(model.card) else None
    return fit.coefficients, tests
