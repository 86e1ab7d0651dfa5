"""Parameters carry LightGBM's names and defaults and refuse what LightGBM would."""

from __future__ import annotations

import pytest

from vfl.errors import UsageError
from vfl.learn.parameters import GBDTParameters


def test_defaults_are_lightgbm_s() -> None:
    assert GBDTParameters().as_dict() == {
        "objective": "binary",
        "num_class": 1,
        "num_iterations": 100,
        "learning_rate": 0.1,
        "num_leaves": 31,
        "max_depth": -1,
        "min_data_in_leaf": 20,
        "min_sum_hessian_in_leaf": 1e-3,
        "lambda_l1": 0.0,
        "lambda_l2": 0.0,
        "min_gain_to_split": 0.0,
        "max_bin": 255,
        "min_data_in_bin": 3,
        "bagging_fraction": 1.0,
        "bagging_freq": 0,
        "bagging_seed": 3,
        "data_sample_strategy": "bagging",
        "top_rate": 0.2,
        "other_rate": 0.1,
        "feature_fraction": 1.0,
        "feature_fraction_seed": 2,
        "max_cat_to_onehot": 4,
        "max_cat_threshold": 32,
        "cat_smooth": 10.0,
        "cat_l2": 10.0,
        "min_data_per_group": 100,
        "is_unbalance": False,
        "scale_pos_weight": 1.0,
        "early_stopping_round": 0,
        "boost_from_average": True,
        "seed": 0,
        "validation_fraction": 0.0,
        "gradient_bits": 24,
    }


def test_aliases() -> None:
    given = {"n_estimators": 7, "eta": 0.3, "min_child_samples": 5, "reg_lambda": 1, "lambda": 1}
    with pytest.raises(UsageError, match="'lambda_l2' is given twice"):
        GBDTParameters.from_mapping(given)
    given.pop("lambda")
    assert GBDTParameters.from_mapping(given) == GBDTParameters(
        num_iterations=7, learning_rate=0.3, min_data_in_leaf=5, lambda_l2=1.0
    )


def test_round_trip() -> None:
    params = GBDTParameters(num_leaves=8, seed=3)
    assert GBDTParameters.from_mapping(params.as_dict()) == params


@pytest.mark.parametrize(
    ("name", "near"), [("num_leafs", "num_leaf"), ("learning_rat", "learning_rate"), ("lamda", "lambda")]
)
def test_unknown_name_suggests(name: str, near: str) -> None:
    with pytest.raises(UsageError, match=f"unknown parameter '{name}'") as caught:
        GBDTParameters.from_mapping({name: 1})
    assert near in caught.value.remedy


def test_unknown_name_without_likeness_lists_all() -> None:
    with pytest.raises(UsageError) as caught:
        GBDTParameters.from_mapping({"xyzzy": 1})
    assert "num_leaves" in caught.value.remedy


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("num_leaves", 1, "a whole number with 2 <= num_leaves <= 131072"),
        ("num_leaves", 7.5, "a whole number"),
        ("num_leaves", True, "a whole number"),
        ("num_leaves", "31", "a whole number"),
        ("learning_rate", 0, "0.0 < learning_rate <= 10.0"),
        ("learning_rate", float("nan"), "a number"),
        ("lambda_l2", -1, "0.0 <= lambda_l2."),
        ("lambda_l2", float("inf"), "a number"),
        ("max_bin", 70_000, "2 <= max_bin <= 65535"),
        ("validation_fraction", 0.9, "0.0 <= validation_fraction <= 0.5"),
        ("boost_from_average", 1, "true or false"),
        ("objective", "poisson", "'binary' or 'regression' or 'multiclass'"),
    ],
)
def test_wrong_value_names_the_range(name: str, value: object, allowed: str) -> None:
    with pytest.raises(UsageError, match=f"parameter '{name}' is ") as caught:
        GBDTParameters.from_mapping({name: value})
    assert repr(value) in str(caught.value)
    assert allowed in caught.value.remedy
    with pytest.raises(UsageError):
        GBDTParameters(**{name: value})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"objective": "multiclass"}, "'num_class' is 1 with objective 'multiclass'"),
        ({"num_class": 3}, "'num_class' is 3 with objective 'binary'"),
        ({"objective": "regression", "is_unbalance": True}, "'is_unbalance' is set with objective 'regression'"),
        ({"objective": "regression", "scale_pos_weight": 2}, "'scale_pos_weight' is set with objective 'regression'"),
        ({"is_unbalance": True, "scale_pos_weight": 2.0}, "'scale_pos_weight' is 2.0 beside 'is_unbalance'"),
        ({"data_sample_strategy": "goss", "bagging_freq": 1, "bagging_fraction": 0.5}, "'bagging_fraction' is 0.5"),
        ({"data_sample_strategy": "goss", "top_rate": 0.8, "other_rate": 0.3}, "are 0.8 and 0.3"),
    ],
)
def test_values_that_exclude_each_other(given: dict[str, object], words: str) -> None:
    with pytest.raises(UsageError, match=words) as caught:
        GBDTParameters.from_mapping(given)
    assert caught.value.remedy
