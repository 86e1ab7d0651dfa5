"""The part of a run that learns boosted trees and scores the hold-out with them.

bins, train  boosted trees on encrypted histograms
score        the hold-out is scored jointly
"""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import numpy.typing as npt

from vfl.bits import Mask
from vfl.learn.columns import Columns, left_values
from vfl.learn.ensemble import Ensemble, Place
from vfl.learn.rounds import Target
from vfl.learn.tree import SplitRecord
from vfl.models import active_share, passive_share, read_ensemble, read_records
from vfl.protocols import boost, score
from vfl.randomness import Randomness
from vfl.terms import ActiveOutcome, ActiveTask, Kept, PassiveOutcome, PassiveTask

Reals = npt.NDArray[np.float64]
DECISIONS, ASKED = "decisions.npy", "asked.json"
ROWS_A_BOUNDARY = 50_000
TREES_A_BOUNDARY = 5


def trees_a_boundary(rows: int, *, signed: bool = False) -> int:
    """How many trees over `rows` aligned rows a round boundary may cover, so that it costs little beside them.

    One where each message is signed, for whoever asks for that wants as little as can be left to a party's word.
    """
    return 1 if signed else min(TREES_A_BOUNDARY, max(1, ROWS_A_BOUNDARY // max(1, rows)))


def round_seed(rng: Randomness, number: int) -> Randomness:
    """What a party draws from for tree `number`. `rng`: of its roles."""
    return rng.child("boost").child(f"tree/{number}")


def hint_seed(kept: Kept) -> Randomness:
    """What a passive party draws from once, for its bins."""
    return kept.rng.child("boost").child("hint")


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
    init, scores = await _earlier(task)
    channels, features = list(task.passives.values()), [len(member.features) for member in terms.agreement.passives]
    asked: list[list[list[Place]]] = []
    model = await boost.active(
        channels,
        features,
        columns,
        Target(task.labels, task.weights, scores),
        task.parts,
        parameters,
        key,
        rng.child("boost"),
        shown=shown,
        monotone=terms.monotone,
        init=init,
        every=trees_a_boundary(len(shown.train), signed=terms.sign_messages),
        asked=asked,
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
        files={DECISIONS: _as_file(decisions), ASKED: json.dumps(asked).encode() + b"\n"},
        columns=columns,
        model=model,
        decisions=decisions,
    )


async def _earlier(task: ActiveTask) -> tuple[Ensemble | None, Reals | None]:
    """The model to go on from and its raw scores, float64[rows, outputs]: 0 of rows that are held out."""
    if task.kept.init is None:
        return None, None
    init, fit, shown = read_ensemble(task.kept.init), task.parts.fit, task.shown
    decisions = [left_values(task.values[fit], init.records)]
    for channel, records in zip(task.passives.values(), init.passive_records, strict=True):
        answers = await score.active(channel, shown.fit, records, "init")
        decisions.append(shown.own(shown.fit, answers)[:, fit])
    scores = np.zeros((len(fit), init.outputs))
    scores[fit] = init.raw_scores(decisions)
    for channel in task.passives.values():
        await channel.checkpoint()
    return init, scores


def _as_file(decisions: Sequence[Mask]) -> bytes:
    """What every split of the model says of the hold-out, in the order of the aligned rows: a .npy file of bits."""
    file = io.BytesIO()
    np.save(file, np.packbits(np.concatenate(decisions), axis=1))
    return file.getvalue()


async def passive(task: PassiveTask) -> SplitsOutcome:
    """A passive party's part."""
    terms, mine = task.terms, task.mine
    init = [] if task.kept.init is None else read_records(task.kept.init)
    if task.kept.init is not None:
        await score.passive(task.active, left_values(task.values, init), "init")
        await task.active.checkpoint()
    columns, records = await boost.passive(
        task.active,
        mine.names,
        task.values,
        terms.parameters,
        terms.min_shown_population,
        partial(terms.scheme.evaluator, hints=task.kept.hints, engine=mine.engine),
        task.rng.child("boost"),
        hints=hint_seed(task.kept),
        categorical=mine.categorical,
        init=init,
        every=trees_a_boundary(len(task.values), signed=terms.sign_messages),
    )
    await score.passive(task.active, columns.left_values(records))
    await task.active.checkpoint()
    share = passive_share(terms.agreement, mine.name, columns, records)
    return SplitsOutcome(rows=task.rows, share=share, columns=columns, records=records)
