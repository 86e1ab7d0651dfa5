"""A scorecard of several parties as classifier; parameters are those of `vfl.learn.scorecard_parameters`."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.utils.validation import check_is_fitted

from vfl.card_models import read_card, read_share
from vfl.estimators.base import BadInput, Vertical, with_options
from vfl.estimators.classes import Classes
from vfl.learn.feature_parameters import BinningParameters, SelectionParameters
from vfl.learn.objective import sigmoid
from vfl.learn.scorecard_parameters import ScorecardModel, ScorecardParameters

Reals = npt.NDArray[np.float64]


@with_options(BinningParameters, SelectionParameters, ScorecardParameters)
class VerticalScorecard(Classes, Vertical):
    """Two classes from a scorecard of several parties.

    Parameters are those of a scenario file with `kind = "scorecard"`. After `fit` also `classes_`, `intercept_`,
    `scorecard_` (a mapping for each attribute: party, feature, attribute, woe, points) and `verdicts_` (why a feature
    is on the card or not). Raises UsageError, and of one table ValueError, for input that must be fixed.
    """

    def fit(
        self, X: Any, y: Any = None, *, label: str | None = None, id: Any = None, parties: Any = None
    ) -> VerticalScorecard:
        """Train jointly, on a table a party or on one table; see `VerticalGBDTClassifier.fit`."""
        self._fit(X, y, None, label, id, None, None, parties)
        head = read_share(self.shares_[self.parties_[0]])
        self.intercept_, self.verdicts_ = float(head["intercept"]), head["verdicts"]
        return self

    def _encode(self, y: Any) -> Any:
        found = super()._encode(y)
        if len(self.classes_) > 2:
            raise BadInput("Only binary classification is supported. The labels have more than two classes.")
        return found

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

    def points(self, X: Any) -> Reals:
        """Points of each row, more are better: float64[n], NaN for customers that a party does not know."""
        return self._scores(X)[1]

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_class = False
        return tags
