"""Weight of evidence and information value of bins, from their good and bad rows.

    WOE_b = ln( (bads_b / bads) / (goods_b / goods) )          positive: riskier than the average
    IV    = sum over b of (bads_b / bads - goods_b / goods) WOE_b

With this sign the log-odds of default of a row are ln(bads / goods) + WOE_b, and a logistic regression on WOE has
positive coefficients. Siddiqi's book has the sign turned (goods over bads). A bin without a bad or without a good row
would have no finite WOE: half a row is added to both its counts.

Source: N. Siddiqi, Credit Risk Scorecards, Wiley 2006, chapter 6; half a row in empty cells: Haldane (1956).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from vfl.errors import UsageError

Int64s = npt.NDArray[np.int64]
Reals = npt.NDArray[np.float64]

STRENGTHS = ((0.02, "useless"), (0.1, "weak"), (0.3, "medium"), (0.5, "strong"))
"""Siddiqi's words for an IV below each bound; above the last, suspiciously strong."""


def weights_of_evidence(counts: Int64s, bits: int | None = None) -> Reals:
    """WOE of each bin, float64[n], of counts int64[n, 2] (goods, bads); rounded to units of 2**-bits if given.

    Raises UsageError where all rows are of one class.
    """
    goods, bads = _shares(counts)
    woe = np.log(bads / goods)
    return woe if bits is None else np.ldexp(np.rint(np.ldexp(woe, bits)), -bits)


def information_parts(counts: Int64s) -> Reals:
    """Each bin's summand of the information value, float64[n], never negative."""
    goods, bads = _shares(counts)
    return np.asarray((bads - goods) * np.log(bads / goods), dtype=np.float64)


def information_value(counts: Int64s) -> float:
    """The information value of a feature; 0 for a single bin."""
    return float(information_parts(counts).sum()) if len(counts) > 1 else 0.0


def strength(iv: float) -> str:
    """An information value in a word."""
    return next((word for bound, word in STRENGTHS if iv < bound), "suspicious")


def _shares(counts: Int64s) -> tuple[Reals, Reals]:
    """The share of all goods and of all bads in each bin."""
    totals = counts.sum(axis=0)
    if not totals.all():
        raise UsageError(f"{int(totals[0])} goods and {int(totals[1])} bads", remedy="Both classes are needed.")
    filled = counts + 0.5 * (counts == 0).any(axis=1, keepdims=True)
    shares = filled / totals
    return shares[:, 0], shares[:, 1]
