"""Parameters of the boosted trees: LightGBM's names, LightGBM's defaults, each written exactly once.

Everything that shows or reads a parameter (command line, agreement, README table) derives it from the fields of
`GBDTParameters`; range, aliases and explanation are the field's metadata.

Source: LightGBM 4.x, docs/Parameters.rst.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from vfl.errors import UsageError
from vfl.learn.options import Options, option

_MAX_SEED = 2_147_483_647
_METRICS = {"binary": "binary_logloss", "regression": "l2", "multiclass": "multi_logloss"}
_ALL_ROWS = 2_000_000_000  # rows LightGBM may sample for its bins: more than it can hold, so never a sample


@dataclass(frozen=True, kw_only=True)
class GBDTParameters(Options):
    """What the parties agree on before they grow trees together; raises UsageError for a value out of range."""

    objective: str = option(
        "binary",
        "what is learned",
        choices=tuple(_METRICS),
        aliases=("objective_type", "app", "application", "loss"),
    )
    num_class: int = option(
        1, "classes, labelled 0, 1, 2, ..., of objective multiclass", low=1, high=1_000, aliases=("num_classes",)
    )
    num_iterations: int = option(
        100,
        "rounds at most; a round grows one tree, or one a class",
        low=1,
        high=100_000,
        aliases=(
            "num_iteration",
            "n_iter",
            "num_tree",
            "num_trees",
            "num_round",
            "num_rounds",
            "nrounds",
            "num_boost_round",
            "n_estimators",
            "max_iter",
        ),
    )
    learning_rate: float = option(
        0.1, "shrinkage of each tree", low=0.0, above=True, high=10.0, aliases=("shrinkage_rate", "eta")
    )
    num_leaves: int = option(
        31,
        "leaves of a tree at most",
        low=2,
        high=131_072,
        aliases=("num_leaf", "max_leaves", "max_leaf", "max_leaf_nodes"),
    )
    max_depth: int = option(-1, "depth of a tree at most; 0 or below: no limit", low=-1, high=1_000)
    min_data_in_leaf: int = option(
        20,
        "rows in a leaf at least",
        low=1,
        high=2_147_483_647,
        aliases=("min_data_per_leaf", "min_data", "min_child_samples", "min_samples_leaf"),
    )
    min_sum_hessian_in_leaf: float = option(
        1e-3,
        "sum of second derivatives in a leaf at least",
        low=0.0,
        aliases=("min_sum_hessian_per_leaf", "min_sum_hessian", "min_hessian", "min_child_weight"),
    )
    lambda_l1: float = option(0.0, "L1 penalty on leaf values", low=0.0, aliases=("reg_alpha", "l1_regularization"))
    lambda_l2: float = option(
        0.0, "L2 penalty on leaf values", low=0.0, aliases=("reg_lambda", "lambda", "l2_regularization")
    )
    min_gain_to_split: float = option(0.0, "gain of a split at least", low=0.0, aliases=("min_split_gain",))
    max_bin: int = option(
        255, "bins of a feature at most, the one for missing values included", low=2, high=65_535, aliases=("max_bins",)
    )
    min_data_in_bin: int = option(3, "rows in a bin, where the values allow it", low=1, high=2_147_483_647)
    bagging_fraction: float = option(
        1.0,
        "share of the training rows in a bag",
        low=0.0,
        above=True,
        high=1.0,
        aliases=("sub_row", "subsample", "bagging"),
    )
    bagging_freq: int = option(
        0, "a new bag after so many rounds; 0: no bags", low=0, high=100_000, aliases=("subsample_freq",)
    )
    bagging_seed: int = option(
        3, "chooses bags and the rows of goss", low=0, high=_MAX_SEED, aliases=("bagging_fraction_seed",)
    )
    data_sample_strategy: str = option(
        "bagging",
        "rows of a tree: bags, or those with the largest |g h| and some others",
        choices=("bagging", "goss"),
    )
    top_rate: float = option(0.2, "goss: share of the rows with the largest |g h|", low=0.0, above=True, high=1.0)
    other_rate: float = option(0.1, "goss: share of the other rows, weighed up", low=0.0, above=True, high=1.0)
    feature_fraction: float = option(
        1.0,
        "share of all parties' features in a tree",
        low=0.0,
        above=True,
        high=1.0,
        aliases=("sub_feature", "colsample_bytree"),
    )
    feature_fraction_seed: int = option(2, "chooses the features of each tree", low=0, high=_MAX_SEED)
    max_cat_to_onehot: int = option(
        4, "categorical features with so many bins or fewer: one category goes left", low=1, high=65_535
    )
    max_cat_threshold: int = option(32, "categories that go left at most", low=1, high=65_535)
    cat_smooth: float = option(
        10.0, "smooths the order of categories; those with fewer rows in a node stay right", low=0.0, high=1e9
    )
    cat_l2: float = option(10.0, "L2 penalty of splits of many categories, beside lambda_l2", low=0.0, high=1e9)
    min_data_per_group: int = option(100, "rows of categories that join the left side together", low=1, high=_MAX_SEED)
    is_unbalance: bool = option(
        False, "weigh the rarer label up to equal sums", aliases=("unbalance", "unbalanced_sets")
    )
    scale_pos_weight: float = option(1.0, "weight of rows with label 1", low=0.0, above=True, high=1e6)
    early_stopping_round: int = option(
        0,
        "stop after so many rounds without a better validation loss; 0: never",
        low=0,
        high=100_000,
        aliases=("early_stopping_rounds", "early_stopping", "n_iter_no_change"),
    )
    boost_from_average: bool = option(
        True, "start from the mean of the training labels, for classes from the logarithm of their odds"
    )
    seed: int = option(0, "chooses the validation rows", low=0, high=_MAX_SEED, aliases=("random_seed", "random_state"))
    validation_fraction: float = option(
        0.0, "share of rows kept aside for early stopping (not LightGBM's)", low=0.0, high=0.5
    )
    gradient_bits: int = option(24, "the largest gradient of a tree has so many bits (not LightGBM's)", low=8, high=32)

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_together()

    def _check_together(self) -> None:
        """Raise UsageError for values that exclude each other, as LightGBM does."""
        many = self.objective == "multiclass"
        if many != (self.num_class > 1):
            least = "2 or more" if many else "1"
            raise UsageError(
                f"parameter 'num_class' is {self.num_class} with objective {self.objective!r}",
                remedy=f"Set num_class to {least}, or objective to {'binary' if many else 'multiclass'!r}.",
            )
        if (self.is_unbalance or self.scale_pos_weight != 1.0) and self.objective != "binary":
            name = "is_unbalance" if self.is_unbalance else "scale_pos_weight"
            raise UsageError(
                f"parameter {name!r} is set with objective {self.objective!r}",
                remedy="It is for objective 'binary' alone; weigh rows with a weight column instead.",
            )
        if self.is_unbalance and self.scale_pos_weight != 1.0:
            raise UsageError(
                f"parameter 'scale_pos_weight' is {self.scale_pos_weight} beside 'is_unbalance'",
                remedy="Keep one of them.",
            )
        if self.data_sample_strategy != "goss":
            return
        if self.bagging_freq and self.bagging_fraction < 1.0:
            raise UsageError(
                f"parameter 'bagging_fraction' is {self.bagging_fraction} with data_sample_strategy 'goss'",
                remedy="Keep one way to sample rows.",
            )
        if self.top_rate + self.other_rate > 1.0:
            raise UsageError(
                f"parameters 'top_rate' and 'other_rate' are {self.top_rate} and {self.other_rate}",
                remedy="Their sum is 1 at most.",
            )

    @property
    def outputs(self) -> int:
        """Trees of a round: one for each class where there are several."""
        return self.num_class

    @property
    def scale(self) -> int:
        """Integer that stands for the largest gradient: 2**gradient_bits."""
        return 1 << self.gradient_bits

    def lightgbm_params(self) -> dict[str, Any]:
        """The `params` with which `lightgbm.train` grows the same trees on the pooled columns.

        Hand `num_iterations` over as `num_boost_round`: LightGBM warns when it finds it among the parameters.
        `early_stopping_round` appears only when set, since LightGBM then demands a validation set.
        """
        ours = {"num_iterations", "validation_fraction", "gradient_bits", "early_stopping_round"}
        same = {name: value for name, value in self.as_dict().items() if name not in ours}
        if self.early_stopping_round:
            same["early_stopping_round"] = self.early_stopping_round
        return same | {
            "metric": _METRICS[self.objective],
            "boosting": "gbdt",
            "deterministic": True,
            "force_col_wise": True,
            "num_threads": 1,
            "verbosity": -1,
            "enable_bundle": False,
            "feature_pre_filter": False,
            "use_missing": True,
            "zero_as_missing": False,
            "bin_construct_sample_cnt": _ALL_ROWS,
        }
