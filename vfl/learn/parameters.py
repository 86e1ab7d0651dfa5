"""Parameters of the boosted trees: LightGBM's names, LightGBM's defaults, each written exactly once.

Everything that shows or reads a parameter (command line, agreement, README table) derives it from the fields of
`GBDTParameters`; range, aliases and explanation are the field's metadata.

Source: LightGBM 4.x, docs/Parameters.rst.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from numbers import Integral, Real
from typing import Any

from vfl.errors import UsageError

_ALL_ROWS = 2_000_000_000  # rows LightGBM may sample for its bins: more than it can hold, so never a sample


def _option(
    default: Any,
    about: str,
    *,
    low: float = -math.inf,
    high: float = math.inf,
    above: bool = False,
    choices: tuple[str, ...] = (),
    aliases: tuple[str, ...] = (),
) -> Any:
    """A dataclass field with its range `low <= value <= high` (`low < value` when `above`), aliases and explanation."""
    return field(
        default=default,
        metadata={"about": about, "low": low, "high": high, "above": above, "choices": choices, "aliases": aliases},
    )


@dataclass(frozen=True, kw_only=True)
class GBDTParameters:
    """What the parties agree on before they grow trees together; raises UsageError for a value out of range."""

    objective: str = _option(
        "binary", "what is learned", choices=("binary",), aliases=("objective_type", "app", "application", "loss")
    )
    num_iterations: int = _option(
        100,
        "trees at most",
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
    learning_rate: float = _option(
        0.1, "shrinkage of each tree", low=0.0, above=True, high=10.0, aliases=("shrinkage_rate", "eta")
    )
    num_leaves: int = _option(
        31,
        "leaves of a tree at most",
        low=2,
        high=131_072,
        aliases=("num_leaf", "max_leaves", "max_leaf", "max_leaf_nodes"),
    )
    max_depth: int = _option(-1, "depth of a tree at most; 0 or below: no limit", low=-1, high=1_000)
    min_data_in_leaf: int = _option(
        20,
        "rows in a leaf at least",
        low=1,
        high=2_147_483_647,
        aliases=("min_data_per_leaf", "min_data", "min_child_samples", "min_samples_leaf"),
    )
    min_sum_hessian_in_leaf: float = _option(
        1e-3,
        "sum of second derivatives in a leaf at least",
        low=0.0,
        aliases=("min_sum_hessian_per_leaf", "min_sum_hessian", "min_hessian", "min_child_weight"),
    )
    lambda_l1: float = _option(0.0, "L1 penalty on leaf values", low=0.0, aliases=("reg_alpha", "l1_regularization"))
    lambda_l2: float = _option(
        0.0, "L2 penalty on leaf values", low=0.0, aliases=("reg_lambda", "lambda", "l2_regularization")
    )
    min_gain_to_split: float = _option(0.0, "gain of a split at least", low=0.0, aliases=("min_split_gain",))
    max_bin: int = _option(
        255, "bins of a feature at most, the one for missing values included", low=2, high=65_535, aliases=("max_bins",)
    )
    min_data_in_bin: int = _option(3, "rows in a bin, where the values allow it", low=1, high=2_147_483_647)
    early_stopping_round: int = _option(
        0,
        "stop after so many trees without a better validation log-loss; 0: never",
        low=0,
        high=100_000,
        aliases=("early_stopping_rounds", "early_stopping", "n_iter_no_change"),
    )
    boost_from_average: bool = _option(True, "start from the log-odds of the training labels")
    seed: int = _option(
        0, "chooses the validation rows", low=0, high=2_147_483_647, aliases=("random_seed", "random_state")
    )
    validation_fraction: float = _option(
        0.0, "share of rows kept aside for early stopping (not LightGBM's)", low=0.0, high=0.5
    )
    gradient_bits: int = _option(
        24, "gradients are integers in units of 2**-gradient_bits (not LightGBM's)", low=8, high=32
    )

    def __post_init__(self) -> None:
        for option in fields(self):
            object.__setattr__(self, option.name, _checked(option.name, getattr(self, option.name)))

    @classmethod
    def from_mapping(cls, values: Mapping[str, object]) -> GBDTParameters:
        """Parameters from names and values, LightGBM's aliases included.

        Raises UsageError naming an unknown parameter and the closest known one, a parameter given twice under two
        names, and a value of the wrong type or out of range.
        """
        known = _known_names()
        chosen: dict[str, Any] = {}
        for name, value in values.items():
            canonical = known.get(name)
            if canonical is None:
                near = difflib.get_close_matches(str(name), known, n=1, cutoff=0.5)
                remedy = f"Did you mean {near[0]!r}?" if near else f"Known parameters: {', '.join(_OPTIONS)}."
                raise UsageError(f"unknown parameter {name!r}", remedy=remedy)
            if canonical in chosen:
                raise UsageError(
                    f"parameter {canonical!r} is given twice, once as {name!r}", remedy="Keep one of them."
                )
            chosen[canonical] = value
        return cls(**chosen)

    def as_dict(self) -> dict[str, Any]:
        """Every parameter by its canonical name, in declared order."""
        return asdict(self)

    @property
    def scale(self) -> int:
        """Integer that stands for 1.0 in fixed-point gradients: 2**gradient_bits."""
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
            "metric": "binary_logloss",
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
            "bagging_fraction": 1.0,
            "bagging_freq": 0,
            "feature_fraction": 1.0,
        }


_OPTIONS = {option.name: option for option in fields(GBDTParameters)}


def _known_names() -> dict[str, str]:
    """Every accepted name and the canonical name it stands for."""
    known = {name: name for name in _OPTIONS}
    for name, option in _OPTIONS.items():
        known.update(dict.fromkeys(option.metadata["aliases"], name))
    return known


def _checked(name: str, value: object) -> Any:
    """The value in its declared Python type; raises UsageError naming parameter, value and allowed range."""
    option = next(candidate for candidate in fields(GBDTParameters) if candidate.name == name)
    about = option.metadata
    kind: type = type(option.default)
    if kind is bool or kind is str:
        right = isinstance(value, kind) and (kind is bool or value in about["choices"])
        allowed = "true or false" if kind is bool else " or ".join(map(repr, about["choices"]))
        if not right:
            raise UsageError(f"parameter {name!r} is {value!r}", remedy=f"Allowed: {allowed}.")
        return value
    number = Integral if kind is int else Real
    right = isinstance(value, number) and not isinstance(value, bool)
    if right:
        exact = kind(value)
        above_low = about["low"] < exact if about["above"] else about["low"] <= exact
        right = above_low and exact <= about["high"] and math.isfinite(exact)
    if not right:
        relation = "<" if about["above"] else "<="
        noun = "a whole number" if kind is int else "a number"
        upper = f" <= {about['high']}" if math.isfinite(about["high"]) else ""
        raise UsageError(
            f"parameter {name!r} is {value!r}", remedy=f"Allowed: {noun} with {about['low']} {relation} {name}{upper}."
        )
    return exact
