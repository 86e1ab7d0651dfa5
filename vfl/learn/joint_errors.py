"""Standard errors of a joint logistic regression, from what was told of the blocks of others (`vfl.learn.blocks`).

With directions B_k that span a block's coefficients, b_k = B_k' c_k, and Z_k = X_k B_k':

    covariance of (b_0, c_1, c_2, ..) = (A' W A)^-1        A = [1, X_0, Z_1, Z_2, ..],  W = p (1 - p)
    covariance of b_k                 = B_k' covariance(c_k) B_k

which is the inverse information matrix of the pooled columns, block by block: nobody needs another's columns for it,
and blocks of any number of owners come together in A.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from vfl.learn.blocks import JointFit
from vfl.learn.logistic import Inference, covariance, information
from vfl.learn.objective import sigmoid

Reals = npt.NDArray[np.float64]


def joint_covariances(joint: JointFit, spans: Sequence[Reals]) -> tuple[Inference, list[Reals]]:
    """Tests of the intercept and the own coefficients, and the covariance of each block's combination.

    `spans`: Z_k of each block, float64[n, s_k]. Raises UsageError where columns repeat each other.
    """
    design, standing = joint.own
    everything = np.column_stack([design[:, standing], *spans])
    whole = covariance(information(everything, sigmoid(joint.predictor())))
    own = int(standing.sum())
    starts = own + np.cumsum([0, *(span.shape[1] for span in spans)])
    blocks = [whole[a:b, a:b] for a, b in pairwise(starts.tolist())]
    estimates = np.append(joint.intercept, joint.coefficients)
    return Inference.of(estimates, standing, whole[:own, :own]), blocks


def block_inference(coefficients: Reals, directions: Reals, combined: Reals) -> Inference:
    """Tests of a block's coefficients, float64[d].

    `combined`: the covariance of how its `directions`, float64[s, d], combine, float64[s, s].
    """
    standing = np.asarray(directions.any(axis=0) & (coefficients != 0.0), dtype=np.bool_)
    own = directions[:, standing]
    return Inference.of(coefficients, standing, np.asarray(own.T @ combined @ own, dtype=np.float64))
