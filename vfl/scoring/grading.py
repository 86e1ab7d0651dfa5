"""From a probability of default to points, a band and a decision, by the rules of `serving.toml`.

    points = offset - factor * log-odds of default          factor = pdo / ln 2      (`vfl.learn.scorecard.Scaling`)

A scorecard has points of its own. Bands are cut where the hold-out's points have equal shares; A is the safest.
"""

from __future__ import annotations

import string
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from vfl.errors import UsageError
from vfl.learn.metrics import ks
from vfl.learn.scorecard import Scaling
from vfl.learn.scorecard_parameters import ScorecardParameters
from vfl.scoring.answers import Outcome
from vfl.scoring.policy import DecisionRules

Reals = npt.NDArray[np.float64]
Int64s = npt.NDArray[np.int64]
_OUTCOMES: tuple[Outcome, ...] = ("approve", "refer", "decline")


@dataclass(frozen=True, eq=False)
class Grades:
    """scaling: of trees.   cut_off, refer_from: PDs above which is declined, from which is referred.

    floors: the least points of each band but the last, falling.
    """

    scaling: Scaling
    cut_off: float
    refer_from: float
    floors: Int64s

    @classmethod
    def of(cls, rules: DecisionRules, pd: Reals, points: Int64s | None, labels: npt.ArrayLike) -> Grades:
        """By the rules, and what they leave open by the hold-out: pd float64[n], points int64[n] of a scorecard.

        Raises UsageError where people are to look only at who is declined.
        """
        scaling = Scaling.of(ScorecardParameters(pdo=rules.pdo, base_score=rules.base_score, base_odds=rules.base_odds))
        cut_off = rules.cut_off if rules.cut_off is not None else best_cut_off(labels, pd)
        refer = rules.refer_from if rules.refer_from is not None else cut_off
        if refer > cut_off:
            raise UsageError(
                f"[decision] refer_from = {refer} lies above the cut-off of the hold-out, {cut_off:.4f}",
                remedy="write a lower refer_from, or a cut_off above it",
            )
        known = points if points is not None else points_of(scaling, pd)
        places = np.arange(1, rules.bands) * len(known) // rules.bands
        floors = np.unique(np.sort(known)[places])[::-1] if len(known) else np.array([])
        return cls(scaling, cut_off, refer, floors.astype(np.int64))

    def band(self, points: int) -> str:
        """The band's letter."""
        return self.bands(np.array([points]))[0]

    @cached_property
    def _rising(self) -> Int64s:
        return np.sort(self.floors)

    def bands(self, points: Int64s) -> list[str]:
        """Letters of many: int64[n]."""
        best = len(self._rising)
        return [string.ascii_uppercase[best - at] for at in np.searchsorted(self._rising, points, "right").tolist()]

    def outcome(self, pd: float) -> Outcome:
        """What is decided."""
        return self.outcomes(np.array([pd]))[0]

    def outcomes(self, pd: Reals) -> list[Outcome]:
        """Of many: float64[n]."""
        refer = (pd >= self.refer_from) & (self.refer_from < self.cut_off)
        return [_OUTCOMES[code] for code in np.where(pd > self.cut_off, 2, refer).tolist()]


def points_of(scaling: Scaling, pd: Reals) -> Int64s:
    """Points of probabilities: float64[n] -> int64[n]; those of 0 and 1 are what float64 next to them has."""
    inside = np.clip(pd, np.finfo(np.float64).tiny, 1.0 - np.finfo(np.float64).epsneg)
    return np.rint(scaling.offset - scaling.factor * (np.log(inside) - np.log1p(-inside))).astype(np.int64)


def best_cut_off(labels: npt.ArrayLike, pd: Reals) -> float:
    """The PD at which the shares of bad and of good customers declined differ most (KS); 0.5 where there are none."""
    y = np.asarray(labels)
    if not len(y) or y.min() == y.max() or ks(y, pd) <= 0.0:
        return 0.5
    order = np.argsort(pd, kind="stable")
    ordered, bad = pd[order], y[order] == 1
    gap = np.cumsum(~bad) / (~bad).sum() - np.cumsum(bad) / bad.sum()
    last = np.append(ordered[1:] != ordered[:-1], True)  # of equal PDs
    return float(ordered[int(np.argmax(np.where(last, gap, -np.inf)))])
