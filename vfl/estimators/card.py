"""A scorecard of several parties as classifier; parameters are those of `vfl.learn.scorecard_parameters`."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from vfl.card_models import read_card, read_share
from vfl.estimators.base import BadInput, Vertical, by_party, with_options
from vfl.estimators.scoring import known_rows
from vfl.learn.feature_parameters import BinningParameters, SelectionParameters
from vfl.learn.objective import sigmoid
from vfl.learn.scorecard_parameters import ScorecardModel, ScorecardParameters

Reals = npt.NDArray[np.float64]


@with_options(BinningParameters, SelectionParameters, ScorecardParameters)
class VerticalScorecard(ClassifierMixin, Vertical):  # type: ignore[misc]
    """Two classes from a scorecard of several parties.

    Parameters are those of a scenario file with `kind = "scorecard"`. After `fit` also `classes_`, `intercept_`,
    `scorecard_` (a mapping for each attribute: party, feature, attribute, woe, points) and `verdicts_` (why a feature
    is on the card or not). Raises UsageError, and of one table ValueError, for input that must be fixed.
    """

    def fit(
        self, X: Any, y: Any = None, *, label: str | None = None, id: Any = None, parties: Any = None
    ) -> VerticalScorecard:
        """Train jointly, on a table a party or on one table; see `VerticalGBDTClassifier.fit`."""
        if by_party(X):
            if y is not None:
                raise BadInput("y is given beside a table a party", remedy="Name the label column instead: label=...")
            tables = self._federated(X, label, id, None, None)
            self._tables = {one.name: one.id for one in tables}
            assert label is not None
            labels = self._encode(np.asarray(tables[0].values_of(label)))
            self._train(tables, labels, None, (self.min_bin_population, self.min_intersection))
            self.n_features_in_ = sum(len(one.features) for one in self._trained.terms.agreement.members)
            self._label = label
        else:
            X, y = validate_data(self, X, y, dtype=np.float64, ensure_all_finite="allow-nan")
            tables = self._one_table(X, parties)
            self._remember(tables)
            self._train(tables, self._encode(y), None, (1, 1))
        head = read_share(self.shares_[self.parties_[0]])
        self.intercept_, self.verdicts_ = float(head["intercept"]), head["verdicts"]
        return self

    def _encode(self, y: Any) -> Any:
        check_classification_targets(y)
        self.classes_, encoded = np.unique(y, return_inverse=True)
        if len(self.classes_) != 2:
            found = f"only one class: {self.classes_[0]}" if len(self.classes_) == 1 else "more than two classes"
            raise BadInput(f"Only binary classification is supported. The labels have {found}.")
        return encoded.astype(np.int8)

    def _model(self) -> dict[str, Any]:
        return {"kind": "scorecard", **ScorecardModel.from_mapping(self._given()).as_dict()}

    @property
    def scorecard_(self) -> list[dict[str, Any]]:
        """Every attribute with its points, party by party."""
        check_is_fitted(self, "shares_")
        return [
            {"party": party, "feature": one.feature, "attribute": one.attribute, "woe": one.woe, "points": one.points}
            for party, share in self.shares_.items()
            for one in read_card(share).attributes()
        ]

    def decision_function(self, X: Any) -> Reals:
        """Log-odds of the second of `classes_`: float64[n], NaN for customers that a party does not know."""
        return self._scores(X)[0]

    def predict_proba(self, X: Any) -> Reals:
        """Probabilities of `classes_`: float64[n, 2], NaN for customers that a party does not know."""
        found = sigmoid(self._scores(X)[0])
        return np.column_stack([1.0 - found, found])

    def predict(self, X: Any) -> Any:
        """The more probable class of each row. Raises UsageError for customers that a party does not know."""
        found = known_rows(self.predict_proba(X))
        return self.classes_[found.argmax(axis=1)]

    def points(self, X: Any) -> Reals:
        """Points of each row, more are better: float64[n], NaN for customers that a party does not know."""
        return self._scores(X)[1]

    def score(self, X: Any, y: Any = None, sample_weight: Any = None) -> float:
        """Accuracy; of a table a party, of the customers that every party knows."""
        if by_party(X):
            due = np.asarray(self._labels_of(X) if y is None else y)
            found = self.predict_proba(X)
            known = ~np.isnan(found).any(axis=1)
            return float((self.classes_[found[known].argmax(axis=1)] == due[known]).mean())
        return float(super().score(X, y, sample_weight))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_class = False
        return tags
