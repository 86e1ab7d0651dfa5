"""What estimators of classes share: labels of any kind, the most probable class, accuracy."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets

from vfl.estimators.base import BadInput, by_party

Reals = npt.NDArray[np.float64]


class Classes(ClassifierMixin):  # type: ignore[misc]
    """Mixed into a `Vertical` that has `predict_proba`. After `fit`: `classes_`."""

    def _encode(self, y: Any) -> Any:
        """Labels as numbers of classes, 0, 1, ..."""
        check_classification_targets(y)
        self.classes_, encoded = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise BadInput(f"only one class: {self.classes_[0]}", remedy="A classifier needs two.")
        return encoded.astype(np.int8 if len(self.classes_) == 2 else np.int16)

    def predict(self, X: Any) -> Any:
        """The most probable class of each row. Raises UsageError for customers that a party does not know."""
        found: Reals = self.predict_proba(X)
        unknown = np.flatnonzero(np.isnan(found).any(axis=1))
        if len(unknown):
            raise BadInput(
                f"{len(unknown)} of {len(found)} customers are not known to every party, first in row {unknown[0] + 1}",
                remedy="Leave them out, or use predict_proba, which has NaN for them.",
            )
        return self.classes_[found.argmax(axis=1)]

    def score(self, X: Any, y: Any = None, sample_weight: Any = None) -> float:
        """Accuracy; of a table a party, of the customers that every party knows, with the label in the active one's."""
        if by_party(X):
            due = np.asarray(self._labels_of(X) if y is None else y)
            found: Reals = self.predict_proba(X)
            known = ~np.isnan(found).any(axis=1)
            return float((self.classes_[found[known].argmax(axis=1)] == due[known]).mean())
        return float(super().score(X, y, sample_weight))
