"""Boosted trees of several parties as classifier and regressor; parameters are LightGBM's (`vfl.learn.parameters`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from vfl.errors import UsageError
from vfl.estimators.base import BadInput, Vertical, by_party, with_options
from vfl.estimators.scoring import known_rows
from vfl.learn.explain import split_columns
from vfl.learn.objective import checked_weights
from vfl.learn.parameters import GBDTParameters
from vfl.models import read_ensemble

Reals = npt.NDArray[np.float64]
_OURS = ("objective", "num_class")


class _Trees(Vertical):
    """Fits and scores; what is learned is said by the classes below."""

    def _objective(self) -> dict[str, Any]:
        raise NotImplementedError

    def _model(self) -> dict[str, Any]:
        parameters = GBDTParameters.from_mapping({**self._given(), **self._objective()})
        return {"kind": "gbdt", **parameters.as_dict()}

    def _fit_tables(
        self, X: Mapping[str, Any], y: Any, label: str | None, id: Any, weight: str | None, categorical: Any
    ) -> None:
        if y is not None:
            raise BadInput("y is given beside a table a party", remedy="Name the label column instead: label=...")
        tables = self._federated(X, label, id, weight, categorical)
        self._tables = {one.name: one.id for one in tables}
        assert label is not None
        encoded = self._encode(np.asarray(tables[0].values_of(label)))
        self._train(tables, encoded, tables[0].read_weights(), (self.min_bin_population, self.min_intersection))
        self.n_features_in_ = sum(len(one.features) for one in self._trained.terms.agreement.members)
        self._label = label

    def _fit_one_table(self, X: Any, y: Any, sample_weight: Any, parties: Any) -> None:
        X, y = validate_data(self, X, y, dtype=np.float64, ensure_all_finite="allow-nan", y_numeric=self._numeric)
        if len(X) < 2:
            raise BadInput("one sample (n_samples = 1) is not enough to train on")
        weights = None if sample_weight is None else _weights(sample_weight, len(X))
        tables = self._one_table(X, parties)
        self._remember(tables)
        self._train(tables, self._encode(y), weights, (1, 1))

    _numeric = False

    def _encode(self, y: Any) -> Any:
        raise NotImplementedError

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


def _weights(given: Any, rows: int) -> Reals:
    try:
        values = np.asarray(given, dtype=np.float64)
        return checked_weights(np.full(rows, float(values)) if values.ndim == 0 else values, rows)
    except UsageError as error:
        raise BadInput(f"sample_weight: {error}", remedy=error.remedy) from None


@with_options(GBDTParameters, omit=_OURS)
class VerticalGBDTClassifier(ClassifierMixin, _Trees):  # type: ignore[misc]
    """Classes from boosted trees of several parties.

    Parameters are LightGBM's, with its defaults; `scheme`, `min_bin_population` and `min_intersection` are those of a
    scenario file; `random_state`: all randomness of the parties follows from it, None draws fresh.
    After `fit` also `classes_`. Raises UsageError, and of one table ValueError, for input that must be fixed.
    """

    def fit(
        self, X: Any, y: Any = None, sample_weight: Any = None, *, label: str | None = None, id: Any = None,
        weight: str | None = None, categorical: Mapping[str, Sequence[str]] | None = None, parties: Any = None,
    ) -> VerticalGBDTClassifier:  # fmt: skip
        """Train jointly, on a table a party (`label`, `id`, `weight`, `categorical` name columns) or on one table.

        id: of all parties, or by party.   parties: the columns of one table that each party has; by default half each.
        """
        if by_party(X):
            self._fit_tables(X, y, label, id, weight, categorical)
        else:
            self._fit_one_table(X, y, sample_weight, parties)
        return self

    def _encode(self, y: Any) -> Any:
        check_classification_targets(y)
        self.classes_, encoded = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise BadInput(f"only one class: {self.classes_[0]}", remedy="A classifier needs two.")
        return encoded.astype(np.int8 if len(self.classes_) == 2 else np.int16)

    def _objective(self) -> dict[str, Any]:
        count = len(self.classes_)
        return {"objective": "binary"} if count == 2 else {"objective": "multiclass", "num_class": count}

    def predict_proba(self, X: Any) -> Reals:
        """Probabilities of `classes_`: float64[n, n_classes], NaN for customers that a party does not know."""
        found, _ = self._scores(X)
        return np.column_stack([1.0 - found, found]) if found.ndim == 1 else found

    def predict(self, X: Any) -> Any:
        """The most probable class of each row. Raises UsageError for customers that a party does not know."""
        found = known_rows(self.predict_proba(X))
        return self.classes_[found.argmax(axis=1)]

    def score(self, X: Any, y: Any = None, sample_weight: Any = None) -> float:
        """Accuracy; of a table a party, of the customers that every party knows, with the label in the active one's."""
        if by_party(X):
            due = np.asarray(self._labels_of(X) if y is None else y)
            found = self.predict_proba(X)
            known = ~np.isnan(found).any(axis=1)
            return float((self.classes_[found[known].argmax(axis=1)] == due[known]).mean())
        return float(super().score(X, y, sample_weight))


@with_options(GBDTParameters, omit=(*_OURS, "is_unbalance", "scale_pos_weight"))
class VerticalGBDTRegressor(RegressorMixin, _Trees):  # type: ignore[misc]
    """Numbers from boosted trees of several parties; see `VerticalGBDTClassifier`."""

    _numeric = True

    def fit(
        self, X: Any, y: Any = None, sample_weight: Any = None, *, label: str | None = None, id: Any = None,
        weight: str | None = None, categorical: Mapping[str, Sequence[str]] | None = None, parties: Any = None,
    ) -> VerticalGBDTRegressor:  # fmt: skip
        """Train jointly; see `VerticalGBDTClassifier.fit`."""
        if by_party(X):
            self._fit_tables(X, y, label, id, weight, categorical)
        else:
            self._fit_one_table(X, y, sample_weight, parties)
        return self

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
            return float(1.0 - ((due - found)[known] ** 2).sum() / ((due - due[known].mean())[known] ** 2).sum())
        return float(super().score(X, y, sample_weight))
