"""What a ranking of customers is worth: lift and gain by group, bad rate and profit by how many are approved.

Customers with equal scores cannot be told apart: a group or an approval that takes only some of them is counted with
their average, so no figure depends on the order of rows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vfl.learn.metrics import checked

Reals = npt.NDArray[np.float64]
Int64s = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Lift:
    """Groups of equal size, the riskiest first; all arrays are [n_groups].

    customers, bads: in the group.   bad_rate: bads / customers.   lift: bad_rate / bad rate of all.
    captured: share of all bads in this and the riskier groups.   cumulative_lift: of these groups together.
    lowest: the lowest score in the group.
    """

    customers: Int64s
    bads: Reals
    bad_rate: Reals
    lift: Reals
    captured: Reals
    cumulative_lift: Reals
    lowest: Reals


@dataclass(frozen=True, eq=False)
class Approvals:
    """What follows when the safest customers are approved; all arrays are of equal length.

    approved: share of all customers.   cutoff: highest score approved, -inf where nobody is.
    bad_rate: of those approved, 0 where nobody is.   profit: per applicant, in the unit of the two amounts given.
    """

    approved: Reals
    cutoff: Reals
    bad_rate: Reals
    profit: Reals


@dataclass(frozen=True, eq=False)
class Ranking:
    """Customers by ascending score.

    score: float64[n].   bads: among the k safest, equal scores at their average, float64[n + 1].
    """

    score: Reals
    bads: Reals

    @classmethod
    def of(cls, y: npt.ArrayLike, score: npt.ArrayLike) -> Ranking:
        """Rank customers with labels `y` [n] by `score` [n]. Raises UsageError for what cannot be ranked."""
        labels, values = checked(y, score)
        order = np.argsort(values, kind="stable")
        _, group, size = np.unique(values, return_inverse=True, return_counts=True)
        average = np.bincount(group, weights=labels) / size
        return cls(values[order], np.append(0.0, np.cumsum(average[group[order]])))

    def lift(self, groups: int) -> Lift:
        """Groups from the riskiest to the safest; fewer where there are fewer customers."""
        count = len(self.score)
        edges = np.unique(np.rint(np.linspace(0, count, groups + 1)).astype(np.int64))
        customers = np.diff(edges)
        total = self.bads[-1]
        riskier = total - self.bads[count - edges]
        bads, rate = np.diff(riskier), total / count
        captured = riskier[1:] / total
        return Lift(
            customers=customers,
            bads=bads,
            bad_rate=bads / customers,
            lift=bads / customers / rate,
            captured=captured,
            cumulative_lift=captured * count / edges[1:],
            lowest=self.score[count - edges[1:]],
        )

    def at_shares(self, shares: npt.ArrayLike, profit_good: float, loss_bad: float) -> Approvals:
        """Approve these shares of all customers, each in 0..1."""
        counts = np.rint(np.asarray(shares, np.float64) * len(self.score)).astype(np.int64)
        return self._approve(counts, profit_good, loss_bad)

    def at_cutoffs(self, cutoffs: npt.ArrayLike, profit_good: float, loss_bad: float) -> Approvals:
        """Approve every customer whose score is not above the cut-off, for each of `cutoffs`."""
        counts = np.searchsorted(self.score, np.asarray(cutoffs, np.float64), side="right")
        return self._approve(counts, profit_good, loss_bad)

    def best(self, profit_good: float, loss_bad: float) -> Approvals:
        """The cut-off with the greatest profit, the lowest of equal ones: arrays of length 1.

        It is found on the same customers that it is judged by, and so looks somewhat better than it will be on others.
        """
        ends = np.append(0, np.flatnonzero(np.append(np.diff(self.score) > 0, True)) + 1)
        found = self._approve(ends, profit_good, loss_bad)
        return self._approve(ends[[int(np.argmax(found.profit))]], profit_good, loss_bad)

    def _approve(self, counts: Int64s, profit_good: float, loss_bad: float) -> Approvals:
        total, bads = len(self.score), self.bads[counts]
        return Approvals(
            approved=counts / total,
            cutoff=np.append(-np.inf, self.score)[counts],
            bad_rate=bads / np.maximum(counts, 1),
            profit=((counts - bads) * profit_good - bads * loss_bad) / total,
        )
