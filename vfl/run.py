"""One run from a party's seat: the order of the protocols, the same for every way of driving them.

    handshake    the same agreement at both ends
    psi, align   common customers, in one agreed order                             with each passive party
    commit       salted roots of aligned columns, labels, hold-out and seeds go on record, before anything is learned
    ...          the model is learned and scores the hold-out: `vfl.run_gbdt`, `vfl.run_scorecard`
    freeze       each party names its share of the model

`active` and `passive` await nothing but their channels, so they run under lockstep, over sockets and in replay alike.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from vfl import __version__, run_gbdt, run_scorecard
from vfl.bits import Mask
from vfl.channel import Channel
from vfl.commitments import Column, Commitment, commit_arrays, commit_columns, commit_seeds
from vfl.decoys import Shown, places_of
from vfl.errors import UsageError
from vfl.holding import Holding
from vfl.learn.objective import Labels, validation_rows
from vfl.learn.rounds import Parts
from vfl.protocols import freeze, handshake, intersect
from vfl.randomness import Randomness
from vfl.terms import BINARY, SCORECARD, ActiveOutcome, ActiveTask, Commit, Kept, PassiveOutcome, PassiveTask, Terms


async def active(
    mine: Holding,
    terms: Terms,
    passives: Mapping[str, Channel],
    rng: Randomness,
    commit: Commit,
    kept: Kept | None = None,
) -> ActiveOutcome:
    """The active party's run. `passives` in the agreement's order."""
    kept = kept or Kept.nothing(rng)
    assert mine.labels is not None
    assert mine.holdout is not None
    for channel in passives.values():
        await handshake.active(channel, terms.run, terms.agreement.encode(), __version__)
    if kept.rows is None:
        left_out = {"excluded": mine.excluded, "duplicates": mine.duplicates}
        rows, _, agreed = await intersect.active(
            passives, mine.tokens, terms.psi, rng.child("psi"), engine=mine.engine, **left_out
        )
    else:
        rows = agreed = kept.rows
    labels, holdout, values = mine.labels[rows], mine.holdout[rows], mine.values[rows]
    weights = {} if mine.weights is None else {"weights": mine.weights[rows]}
    own: dict[str, Column] = {"labels": labels, "holdout": holdout, **weights}
    if terms.psi.decoys:
        own["places"] = places_of(rows, agreed)
    commit("aligned", _before_learning(mine, values, own, terms, rng, kept))
    parts = parts_of(labels, holdout, terms)
    shown = Shown.of(rows, agreed, parts, rng.child("decoys"))
    task = ActiveTask(
        mine, terms, passives, rows, values, labels, holdout, parts, shown, rng, kept, weights.get("weights")
    )
    learn = run_scorecard.active if terms.kind == SCORECARD else run_gbdt.active
    outcome: ActiveOutcome = await learn(task)
    for channel in passives.values():
        await freeze.active(channel, outcome.share, rng.child(f"freeze/{channel.peer}"))
    commit("scored", commit_arrays({"pd": outcome.pd}, rng.child("commit/pd")))
    for channel in passives.values():
        await channel.checkpoint()
    return outcome


async def passive(
    mine: Holding, terms: Terms, active: Channel, rng: Randomness, commit: Commit, kept: Kept | None = None
) -> PassiveOutcome:
    """A passive party's run."""
    kept = kept or Kept.nothing(rng)
    await handshake.passive(active, terms.run, terms.agreement.encode(), __version__)
    rows = kept.rows
    if rows is None:
        left_out = {"excluded": mine.excluded, "duplicates": mine.duplicates}
        rows, _ = await intersect.passive(
            active, mine.tokens, terms.psi, rng.child("psi"), engine=mine.engine, **left_out
        )
    values = mine.values[rows]
    commit("aligned", _before_learning(mine, values, {}, terms, rng, kept))
    learn = run_scorecard.passive if terms.kind == SCORECARD else run_gbdt.passive
    outcome: PassiveOutcome = await learn(PassiveTask(mine, terms, active, rows, values, rng, kept))
    await freeze.passive(active, outcome.share, rng.child("freeze"))
    await active.checkpoint()
    return outcome


def parts_of(labels: Labels, holdout: Mask, terms: Terms) -> Parts:
    """Training and validation rows among those not held out.

    Raises UsageError where a part is empty, or of two classes has one only.
    """
    fit = np.flatnonzero(~holdout)
    aside = validation_rows(len(fit), *terms.validation)
    train, validation = np.zeros(len(labels), np.bool_), np.zeros(len(labels), np.bool_)
    train[fit[~aside]] = True
    validation[fit[aside]] = True
    for what, part in (("training", train), ("validation", validation), ("hold-out", holdout)):
        found = np.unique(labels[part])
        if terms.objective == BINARY and part.any() and len(found) < 2:
            raise UsageError(
                f"the {what} part has {int(part.sum())} common customers, all with label {int(found[0])}",
                remedy="both classes are needed in every part: choose another hold-out, or find more common customers",
            )
    if not train.any():
        raise UsageError("no common customer is left to train on", remedy="choose a smaller hold-out")
    if not holdout.any() and terms.holds_out:
        raise UsageError("no common customer is held out", remedy="choose a larger hold-out")
    return Parts(train, validation)


def _before_learning(
    mine: Holding,
    values: npt.NDArray[np.float64],
    others: Mapping[str, Column],
    terms: Terms,
    rng: Randomness,
    kept: Kept,
) -> list[Commitment]:
    """What a party commits to when it knows the aligned rows: all it will bring, and all it will draw from."""
    salts, seeds = rng.child("commit"), []
    if terms.kind != SCORECARD:
        rounds = [run_gbdt.round_seed(rng, number) for number in range(terms.scheme.trees)]
        seeds = [commit_seeds("seeds/rounds", rounds), commit_seeds("seeds/hint", [run_gbdt.hint_seed(kept)])]
    return [
        *commit_columns(mine.names, values, salts),
        *commit_arrays(others, salts),
        *seeds,
        commit_seeds("seeds/protocol", [rng]),
    ]
