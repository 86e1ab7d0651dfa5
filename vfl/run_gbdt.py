"""The part of a run that learns boosted trees and scores the hold-out with them.

bins, train  boosted trees on encrypted histograms
score        the hold-out is scored jointly
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from vfl.bits import Mask
from vfl.learn.columns import Columns
from vfl.learn.ensemble import Ensemble
from vfl.learn.rounds import Target
from vfl.learn.tree import SplitRecord
from vfl.models import active_share, passive_share
from vfl.protocols import boost, score
from vfl.terms import ActiveOutcome, ActiveTask, PassiveOutcome, PassiveTask

DECISIONS = "decisions.npy"


@dataclass(frozen=True, eq=False, kw_only=True)
class TreesOutcome(ActiveOutcome):
    """Of the active party. decisions: of each party, what its splits say of the hold-out rows, bool[n_records,
    n_holdout], own first.
    """

    columns: Columns
    model: Ensemble
    decisions: Sequence[Mask]


@dataclass(frozen=True, eq=False, kw_only=True)
class SplitsOutcome(PassiveOutcome):
    """Of a passive party."""

    columns: Columns
    records: list[SplitRecord]


async def active(task: ActiveTask) -> TreesOutcome:
    """The active party's part."""
    terms, shown, holdout, rng = task.terms, task.shown, task.holdout, task.rng
    count = int(shown.train.sum())
    parameters = replace(terms.parameters, gradient_bits=terms.scheme.bits(count))
    columns = Columns.fit(
        task.mine.names, task.values, task.parts.train, parameters, terms.min_bin_population, task.mine.categorical
    )
    key = terms.scheme.key_holder(count, task.kept.rng.child("key"), task.kept.hints)
    channels, features = list(task.passives.values()), [len(member.features) for member in terms.agreement.passives]
    model = await boost.active(
        channels,
        features,
        columns,
        Target(task.labels, task.weights),
        task.parts,
        parameters,
        key,
        rng.child("boost"),
        shown=shown,
        monotone=terms.monotone,
    )
    decisions = [columns.left_values(model.records)[:, holdout]]
    for channel, records in zip(channels, model.passive_records, strict=True):
        answers = await score.active(channel, shown.holdout, records)
        decisions.append(shown.own(shown.holdout, answers)[:, holdout])
    for channel in channels:
        await channel.checkpoint()
    return TreesOutcome(
        rows=task.rows,
        labels=task.labels,
        holdout=holdout,
        parts=task.parts,
        shown=shown,
        pd=model.predict(decisions),
        share=active_share(terms.agreement, columns, model),
        files={DECISIONS: _as_file(decisions)},
        columns=columns,
        model=model,
        decisions=decisions,
    )


def _as_file(decisions: Sequence[Mask]) -> bytes:
    """What every split of the model says of the hold-out, in the order of the aligned rows: a .npy file of bits."""
    file = io.BytesIO()
    np.save(file, np.packbits(np.concatenate(decisions), axis=1))
    return file.getvalue()


async def passive(task: PassiveTask) -> SplitsOutcome:
    """A passive party's part."""
    terms, mine = task.terms, task.mine
    columns, records = await boost.passive(
        task.active,
        mine.names,
        task.values,
        terms.parameters,
        terms.min_shown_population,
        partial(terms.scheme.evaluator, hints=task.kept.hints),
        task.rng.child("boost"),
        hints=task.kept.rng.child("boost").child("hint"),
        categorical=mine.categorical,
    )
    await score.passive(task.active, columns.left_values(records))
    await task.active.checkpoint()
    share = passive_share(terms.agreement, mine.name, columns, records)
    return SplitsOutcome(rows=task.rows, share=share, columns=columns, records=records)
