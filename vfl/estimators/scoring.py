"""Customers that some party does not know."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from vfl.estimators.base import BadInput


def known_rows(found: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Scores [n, outputs] as they are. Raises BadInput where a row has none."""
    unknown = np.flatnonzero(np.isnan(found).any(axis=1))
    if len(unknown):
        raise BadInput(
            f"{len(unknown)} of {len(found)} customers are not known to every party, first in row {unknown[0] + 1}",
            remedy="Leave them out, or use predict_proba, which has NaN for them.",
        )
    return found
