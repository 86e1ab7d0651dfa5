"""Is the difference of two AUCs on the same customers more than chance? The test of DeLong et al.

Source: E. DeLong, D. DeLong and D. Clarke-Pearson, Biometrics 44 (1988) 837-845, in the form with midranks of X. Sun
and W. Xu, IEEE Signal Processing Letters 21 (2014) 1389-1393, Algorithm 2.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr

from vfl.errors import UsageError
from vfl.learn.metrics import checked

Reals = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class DeLong:
    """AUCs of several models, float64[n_models], and their covariance, float64[n_models, n_models]."""

    auc: Reals
    covariance: Reals

    def p_value(self, one: int, other: int) -> float:
        """Two-sided probability of so large a difference if the two models were equally good; 1 if they agree."""
        contrast = np.zeros(len(self.auc))
        contrast[one] += 1.0
        contrast[other] -= 1.0
        spread = math.sqrt(max(float(contrast @ self.covariance @ contrast), 0.0))
        difference = float(contrast @ self.auc)
        if spread == 0.0:
            return 1.0 if difference == 0.0 else 0.0
        return float(2.0 * ndtr(-abs(difference) / spread))


def delong(y: npt.ArrayLike, scores: Sequence[npt.ArrayLike]) -> DeLong:
    """AUCs and covariance of `scores`, [n] each, at customers with labels `y` [n].

    Raises UsageError for what cannot be measured, and for a class of a single customer.
    """
    labels, _ = checked(y, scores[0])
    bads, goods = int(labels.sum(dtype=np.int64)), int((1 - labels).sum(dtype=np.int64))
    if min(bads, goods) < 2:
        raise UsageError(f"{bads} bad and {goods} good customers are too few for a variance", remedy="Hold out more.")
    found, at_bads, at_goods = [], [], []
    for score in scores:
        _, values = checked(y, score)
        bad, good = values[labels == 1], values[labels == 0]
        everywhere = _ranks(np.concatenate([bad, good]))
        at_bads.append((everywhere[:bads] - _ranks(bad)) / goods)
        at_goods.append(1.0 - (everywhere[bads:] - _ranks(good)) / bads)
        found.append(float(at_bads[-1].mean()))
    covariance = np.atleast_2d(np.cov(at_bads)) / bads + np.atleast_2d(np.cov(at_goods)) / goods
    return DeLong(np.array(found), np.asarray(covariance))


def _ranks(values: Reals) -> Reals:
    """From 1 on; equal values share the mean of their ranks."""
    _, at, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2)[at]
