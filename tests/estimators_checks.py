"""Estimators as scikit-learn's own checks take them: small, and which checks cannot hold."""

from __future__ import annotations

from typing import Any

from vfl.estimators import VerticalGBDTClassifier, VerticalGBDTRegressor, VerticalScorecard

TREES: dict[str, Any] = {"num_iterations": 3, "num_leaves": 4, "min_data_in_leaf": 2, "random_state": 0}
ESTIMATORS = [
    VerticalGBDTClassifier(**TREES),
    VerticalScorecard(
        method="quantile", max_bins=8, trend="none", min_bin_share=0.0, min_class_rows=1, min_iv=0.0,
        max_correlation=1.0, max_vif=0.0, max_psi=0.0, l2=1.0, random_state=0,
    ),
    VerticalGBDTRegressor(**{**TREES, "num_iterations": 8}),
]  # fmt: skip
_WEIGHTS = "bins and minimum rows count customers, not weights, as in LightGBM"
_APART = "its thirty rows are told apart by one column: no bin of it has goods and bads"
EXPECTED = {
    VerticalGBDTClassifier: {"check_sample_weight_equivalence_on_dense_data": _WEIGHTS},
    VerticalGBDTRegressor: {"check_sample_weight_equivalence_on_dense_data": _WEIGHTS},
    VerticalScorecard: dict.fromkeys(("check_pipeline_consistency", "check_classifiers_classes"), _APART),
}
