"""Boosted trees of several parties as classifier and regressor; parameters are LightGBM's (`vfl.learn.parameters`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from sklearn.base import RegressorMixin
from sklearn.utils.validation import check_is_fitted

from vfl.estimators.base import BadInput, Vertical, by_party, with_options
from vfl.estimators.classes import Classes
from vfl.learn.explain import split_columns
from vfl.learn.metrics import r_squared
from vfl.learn.parameters import GBDTParameters
from vfl.models import read_ensemble

Reals = npt.NDArray[np.float64]
Fitted = TypeVar("Fitted", bound="_Trees")
_OURS = ("objective", "num_class")


class _Trees(Vertical):
    """Fits and scores; what is learned is said by the classes below."""

    def _objective(self) -> dict[str, Any]:
        raise NotImplementedError

    def _model(self) -> dict[str, Any]:
        parameters = GBDTParameters.from_mapping({**self._given(), **self._objective()})
        return {"kind": "gbdt", **parameters.as_dict()}

    def fit(
        self: Fitted, X: Any, y: Any = None, sample_weight: Any = None, *, label: str | None = None, id: Any = None,
        weight: str | None = None, categorical: Mapping[str, Sequence[str]] | None = None, parties: Any = None,
    ) -> Fitted:  # fmt: skip
        """Train jointly, on a table a party (`label`, `id`, `weight`, `categorical` name columns) or on one table.

        id: of all parties, or by party.   parties: the columns of one table that each party has; by default half each.
        """
        self._fit(X, y, sample_weight, label, id, weight, categorical, parties)
        return self

    @property
    def feature_importances_(self) -> Reals:
        """Gain of the splits on each column, the parties' side by side, summing to 1: float64[n_features]."""
        check_is_fitted(self, "shares_")
        model = read_ensemble(self.shares_[self.parties_[0]])
        members = self._trained.terms.agreement
        widths = [len(member.features) for member in (members.active, *members.passives)]
        columns, gain = split_columns(model, widths), np.zeros(sum(widths))
        for tree in model.trees:
            assert tree.cover is not None
            for owner, record, its in zip(tree.owner, tree.record, tree.cover.gain, strict=True):
                gain[columns[owner][record]] += its
        return gain / gain.sum() if gain.any() else gain


@with_options(GBDTParameters, omit=_OURS)
class VerticalGBDTClassifier(Classes, _Trees):
    """Classes from boosted trees of several parties.

    Parameters are LightGBM's, with its defaults; `scheme`, `min_bin_population` and `min_intersection` are those of a
    scenario file; `random_state`: all randomness of the parties follows from it, None draws fresh.
    After `fit` also `classes_`. Raises UsageError, and of one table ValueError, for input that must be fixed.
    """

    def _objective(self) -> dict[str, Any]:
        count = len(self.classes_)
        return {"objective": "binary"} if count == 2 else {"objective": "multiclass", "num_class": count}

    def predict_proba(self, X: Any) -> Reals:
        """Probabilities of `classes_`: float64[n, n_classes], NaN for customers that a party does not know."""
        found, _ = self._scores(X)
        return np.column_stack([1.0 - found, found]) if found.ndim == 1 else found


@with_options(GBDTParameters, omit=(*_OURS, "is_unbalance", "scale_pos_weight"))
class VerticalGBDTRegressor(RegressorMixin, _Trees):  # type: ignore[misc]
    """Numbers from boosted trees of several parties; see `VerticalGBDTClassifier`."""

    _numeric = True

    def _encode(self, y: Any) -> Any:
        try:
            return np.asarray(y, dtype=np.float64)
        except (TypeError, ValueError):
            raise BadInput("the label is not numeric", remedy="A regression learns numbers.") from None

    def _objective(self) -> dict[str, Any]:
        return {"objective": "regression"}

    def predict(self, X: Any) -> Reals:
        """Predicted numbers: float64[n], NaN for customers that a party does not know."""
        return self._scores(X)[0]

    def score(self, X: Any, y: Any = None, sample_weight: Any = None) -> float:
        """R squared; of a table a party, of the customers that every party knows."""
        if by_party(X):
            found, due = self.predict(X), np.asarray(self._labels_of(X) if y is None else y, dtype=np.float64)
            known = ~np.isnan(found)
            return r_squared(due[known], found[known])
        return float(super().score(X, y, sample_weight))
