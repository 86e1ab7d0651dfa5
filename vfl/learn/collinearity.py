"""How much features repeat each other: correlations and variance inflation factors.

A joint matrix of several parties may have unknown places (NaN). A variance inflation factor never falls when features
are added, so what the known places give is a lower bound; where nothing is unknown it is the factor itself.

Source: Pearson correlation; VIF_j = 1 / (1 - R_j^2), the diagonal of the inverse correlation matrix (Marquardt,
Technometrics 12(3), 1970).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Reals = npt.NDArray[np.float64]
Int64s = npt.NDArray[np.int64]

_DEPENDENT = 1e-10
"""A share of variance of its own below this is none: rounding leaves more."""


def correlations(columns: Reals) -> Reals:
    """Pearson correlations of columns float64[n, d]: float64[d, d]. A constant column has 0 with every other."""
    centred = columns - columns.mean(axis=0)
    length = np.sqrt((centred**2).sum(axis=0))
    # What rounding leaves of a constant column is no variance.
    constant = length <= 1e-12 * np.abs(columns).max(axis=0, initial=1e-300) * np.sqrt(len(columns))
    unit = centred / np.where(constant, np.inf, length)
    found = np.clip(unit.T @ unit, -1.0, 1.0)
    np.fill_diagonal(found, 1.0)
    return np.asarray(found, dtype=np.float64)


def inflation(matrix: Reals) -> Reals:
    """Variance inflation factors from correlations float64[d, d] without NaN: float64[d], inf where one is the others'.

    By least squares of each feature on the others, so that one dependent pair leaves the others' factors finite.
    """
    found = np.empty(len(matrix))
    for own in range(len(matrix)):
        others = np.arange(len(matrix)) != own
        with_own = matrix[others, own]
        explained = with_own @ np.linalg.pinv(matrix[np.ix_(others, others)], hermitian=True) @ with_own
        found[own] = 1.0 / (1.0 - explained) if explained < 1.0 - _DEPENDENT else np.inf
    return found


def known_inflation(matrix: Reals, owners: Int64s) -> Reals:
    """The greatest factor of each feature among sets of features whose correlations are all known: float64[d].

    `matrix`: float64[d, d], NaN = unknown. `owners`: the party of each feature, int64[d]; party 0 knows its own.
    """
    found = np.ones(len(matrix))
    for members in _known_sets(matrix, owners):
        found[members] = np.maximum(found[members], inflation(matrix[np.ix_(members, members)]))
    return found


def _known_sets(matrix: Reals, owners: Int64s) -> Sequence[Int64s]:
    """All features if nothing is unknown; else those of party 0 with each other party's, or with one of them."""
    if np.isfinite(matrix).all():
        return [np.arange(len(matrix))]
    own = np.flatnonzero(owners == 0)
    found = []
    for party in np.unique(owners[owners != 0]):
        theirs = np.flatnonzero(owners == party)
        joint = np.concatenate([own, theirs])
        if np.isfinite(matrix[np.ix_(joint, joint)]).all():
            found.append(joint)
        else:
            found += [np.append(own, one) for one in theirs]
    return found
