"""Joint models in notebooks, in the style of scikit-learn: parties in this process, the real protocols between them.

    from vfl.estimators import VerticalGBDTClassifier

    model = VerticalGBDTClassifier(num_leaves=8)
    model.fit({"bank": bank, "telecom": telecom}, label="default", id="customer_id")
    model.predict_proba({"bank": new, "telecom": telecom})

Tables are those of pandas, polars or Arrow. Needs the extra `notebook`.
"""

from vfl.errors import UsageError

try:
    import narwhals  # noqa: F401
    import sklearn  # noqa: F401
except ImportError as error:
    raise UsageError(
        f"estimators need {error.name}, which is not installed", remedy="Install it: pip install 'tallystick[notebook]'"
    ) from None

from vfl.estimators.card import VerticalScorecard
from vfl.estimators.trees import VerticalGBDTClassifier, VerticalGBDTRegressor

__all__ = ["VerticalGBDTClassifier", "VerticalGBDTRegressor", "VerticalScorecard"]
