"""Label inference by a passive party from what training showed it.

Source: Takahashi, Liu, Liu, "Eliminating label leakage in tree-based vertical federated learning" (arXiv:2307.10318):
customers who share tree nodes share labels. The attack here is the supervised form: a ridge logistic regression on node
membership.

The attacker knows its own binned columns, the messages it received, and the labels of a few customers (its own
defaulters, say). Two things it may have from the messages are measured apart:

    node sets      which customers are in which node, where the level names them (`disclosed`)
    chosen splits  which splits of its own columns were chosen: these sides are functions of its own columns, but the
                   choice was made by the labels and says which columns and thresholds matter, at every level

A figure is the AUC of its best guess at the other training customers' labels, with those and own columns, with those
alone, or with own columns alone, less the AUC of the best guess from own columns by someone who never saw a message.
Known customers are drawn anew many times and the figures averaged. One family of attacks on one run: a lower bound of
what could be learned.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vfl.attacks.logistic import Reals, fit
from vfl.attacks.views import PassiveView
from vfl.errors import UsageError
from vfl.learn.metrics import auc
from vfl.randomness import Randomness

Labels = npt.NDArray[np.int8]
Rows = npt.NDArray[np.int64]
Guess = tuple[str | float, ...]
KNOWN = (40, 200)
"""Known labels, as in the study that docs/guide/privacy.md tells of."""
MAX_TESTED = 2000
"""Other customers on whom one draw is judged: fresh ones each time, so a few draws see them all."""
_PENALTIES = (20.0, 200.0)
_TOLD = ("sets", "splits")
_SLOPE = 0.5
"""Weight of a column's rank beside its one-hot bins: few labels find a trend more easily than bin after bin."""
_LEAST_BADS = 2


@dataclass(frozen=True)
class NodeSetFigure:
    """What the messages added. `known`: labels the attacker had.   sets: node sets shown.   splits: own ones chosen.

    own: AUC from own columns alone.   with_sets, with_splits: AUC with the one or the other besides.
    noise: standard error of the greater advantage.
    """

    known: int
    sets: int
    splits: int
    own: float
    with_sets: float
    with_splits: float
    noise: float

    @property
    def advantage(self) -> float:
        """AUC gained from node sets; never negative, as the attacker may ignore them."""
        return self.with_sets - self.own

    @property
    def split_hint(self) -> float:
        """AUC gained from knowing which of its own splits were chosen."""
        return self.with_splits - self.own

    def as_dict(self) -> dict[str, float | int]:
        """JSON-ready."""
        figures = {"advantage": self.advantage, "split_hint": self.split_hint, "noise": self.noise}
        aucs = {"auc_own": self.own, "auc_with_sets": self.with_sets, "auc_with_splits": self.with_splits}
        rounded = {name: round(value, 4) for name, value in (figures | aucs).items()}
        return {"known": self.known, "sets": self.sets, "splits": self.splits, **rounded}


def node_sets(view: PassiveView, labels: Labels, known: int, rng: Randomness, draws: int) -> NodeSetFigure:
    """The figure of one passive party. `labels`: int8[n], true labels of the training rows, which judge the guesses.

    Raises UsageError where there are too few customers or too few of either class.
    """
    _check(labels, known)
    own = _own(view)
    told = {
        name: np.unique(bits, axis=0) for name, bits in (("sets", view.shown), ("splits", view.splits)) if len(bits)
    }
    scores: dict[str, dict[Guess, list[float]]] = {"own": {}, "sets": {}, "splits": {}}
    for number in range(draws):
        knows, tested = _draw(labels, known, rng.child(f"draw/{number}"))
        for (name, manner), (first, then) in _features(own, told, knows, tested).items():
            for penalty in _PENALTIES:
                guess = then @ fit(first, labels[knows], penalty)
                scores[name].setdefault((manner, penalty), []).append(auc(labels[tested], guess))
    alone = _best(scores["own"])
    sets, splits = (_best(scores["own"] | {(name, *key): s for key, s in scores[name].items()}) for name in _TOLD)
    spread = max(float((told - alone).std()) for told in (sets, splits))
    return NodeSetFigure(
        known=known,
        sets=len(view.shown),
        splits=len(view.splits),
        own=float(alone.mean()),
        with_sets=float(sets.mean()),
        with_splits=float(splits.mean()),
        noise=spread / float(np.sqrt(draws)),
    )


def _check(labels: Labels, known: int) -> None:
    classes = np.bincount(labels, minlength=2)
    if len(labels) < 2 * known or classes.min() < 2 * _LEAST_BADS:
        raise UsageError(
            f"{len(labels)} training customers, {int(classes[1])} of them bad, are too few for {known} known labels",
            remedy="use a larger run, or fewer --known",
        )


def _draw(labels: Labels, known: int, rng: Randomness) -> tuple[Rows, Rows]:
    """Known customers, at least two of either class, and others to judge by."""
    for attempt in range(1000):
        order = rng.child(f"attempt/{attempt}").permutation(len(labels))
        knows, tested = order[:known], order[known : known + MAX_TESTED]
        if min(np.bincount(labels[part], minlength=2).min() for part in (knows, tested)) >= _LEAST_BADS:
            return knows, tested
    raise UsageError(f"{known} known labels hardly ever have both classes", remedy="use a larger --known")


def _best(scores: Mapping[Guess, list[float]]) -> Reals:
    """Of the guesses with the best mean, the AUC in every draw."""
    return np.array(max(scores.values(), key=lambda found: float(np.mean(found))))


def _features(
    own: Callable[[Rows], Reals], told: Mapping[str, npt.NDArray[np.bool_]], knows: Rows, tested: Rows
) -> dict[tuple[str, str], tuple[Reals, Reals]]:
    """What is known of the customers of one draw, in each way to look at it: of those known, and of those tested."""
    alone = {"own": (own(knows), own(tested))}
    for name, bits in told.items():
        alone[name] = (bits[:, knows].T.astype(np.float64), bits[:, tested].T.astype(np.float64))
    found = {(name, "alone"): pair for name, pair in alone.items()}
    for name in told:
        first, then = (np.hstack([of_own, more]) for of_own, more in zip(alone["own"], alone[name], strict=True))
        found[name, "with own"] = first, then
    return found


def _own(view: PassiveView) -> Callable[[Rows], Reals]:
    """Own columns of some rows: one-hot bins, and the rank in each column. Made for a draw's rows, not for all."""
    ranks = []
    for column, bins in zip(view.codes.T, view.n_bins, strict=True):
        below = np.cumsum(np.bincount(column, minlength=bins))
        rank = (below + np.append(0, below)[:-1]) / (2.0 * len(column))
        ranks.append(_SLOPE * (rank - 0.5) / max(float(rank[column].std()), 1e-9))

    def of(rows: Rows) -> Reals:
        parts = []
        for codes, rank in zip(view.codes[rows].T, ranks, strict=True):
            parts += [(codes[:, None] == np.arange(len(rank))).astype(np.float64), rank[codes][:, None]]
        return np.hstack(parts)

    return of
