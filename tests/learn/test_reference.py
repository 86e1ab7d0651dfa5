"""The plain trainer grows LightGBM's trees.

Two comparisons. With our fixed-point gradients LightGBM's sums are exact, so its tree must be ours, node by node. With
its own objective its gradients are float32, so values may differ by rounding: 24 fractional bits, 1e-6 in leaf values.

Where two splits of one node divide its rows alike (a bin that is empty in the node, no missing value in the node, two
equal columns) LightGBM's choice depends on rounding. Structures are compared on data where such ties stay within one
feature; on all data the scores of the training rows are.
"""

from __future__ import annotations

import lightgbm
import numpy as np
import pytest

from vfl.errors import UsageError
from vfl.learn.binning import BinMapper
from vfl.learn.metrics import auc
from vfl.learn.objective import validation_rows
from vfl.learn.parameters import GBDTParameters
from vfl.learn.reference import ReferenceModel, train_reference
from vfl.learn.tree import SplitRecord, go_left

from .columns import (
    credit_like,
    odd_columns,
    shapes,
    spanish,
    taiwanese,
    train_lightgbm,
    train_lightgbm_on_integers,
)

OPTIONS = [
    {},
    {"num_leaves": 8, "learning_rate": 0.2},
    {"max_depth": 3},
    {"lambda_l1": 1.0, "lambda_l2": 2.0},
    {"min_gain_to_split": 2.0},
    {"min_data_in_leaf": 100},
    {"min_data_in_leaf": 1, "min_sum_hessian_in_leaf": 20.0, "boost_from_average": False},
]
NAMES = ["defaults", "small", "shallow", "penalties", "gain", "rows", "hessian"]


def assert_same_trees(model: ReferenceModel, booster: lightgbm.Booster, x: np.ndarray, bias: float) -> int:
    """Shape, features, thresholds, default directions, and leaf values to 1e-6; `bias` is inside the first tree.

    A threshold or direction may differ where both divide the node's rows alike; returns in how many nodes.
    """
    theirs = shapes(booster)
    assert len(theirs) == len(model.trees)
    alike = 0
    for number, (tree, (nodes, values)) in enumerate(zip(model.trees, theirs, strict=True)):
        assert list(zip(tree.left, tree.right, strict=True)) == [node[3:] for node in nodes], f"tree {number}"
        np.testing.assert_allclose(tree.leaf_value + (bias if number == 0 else 0.0), values, atol=1e-6)
        rows = {0: np.ones(len(x), bool)}
        for place, (feature, threshold, side, left, right) in enumerate(nodes):
            record = model.records[tree.record[place]]
            assert record.feature == feature, f"tree {number}, node {place}"
            goes_left = go_left(x[:, feature], record)
            if (record.threshold, record.default_left) != (threshold, record.default_left if side is None else side):
                other = SplitRecord(feature, threshold, record.bin, record.default_left if side is None else side)
                assert not np.any((goes_left != go_left(x[:, feature], other)) & rows[place])
                alike += 1
            rows[left], rows[right] = rows[place] & goes_left, rows[place] & ~goes_left
    return alike


@pytest.mark.parametrize("options", OPTIONS, ids=NAMES)
@pytest.mark.parametrize("missing", [0.0, 0.5], ids=["full", "missing"])
def test_lightgbm_trees(missing: float, options: dict[str, float]) -> None:
    x, y = credit_like(4000, np.random.default_rng(3), missing)
    params = GBDTParameters.from_mapping({"num_iterations": 10, "max_bin": 15, "min_data_in_leaf": 40, **options})
    model = train_reference(x, y, params)
    assert len(model.trees) == 10
    exact = assert_same_trees(model, train_lightgbm_on_integers(x, y, params), x, 0.0)
    rounded = assert_same_trees(model, train_lightgbm(x, y, params), x, model.init_score)
    if not missing:
        assert exact == rounded == 0


@pytest.mark.parametrize("options", OPTIONS, ids=NAMES)
def test_same_training_scores_on_odd_columns(options: dict[str, float]) -> None:
    rng = np.random.default_rng(5)
    columns = odd_columns(2500, rng)
    columns.pop("neighbours")
    x = np.column_stack(list(columns.values()))
    risk = columns["normal"] + columns["ties"] * np.nan_to_num(columns["missing"]) + columns["integers"] / 25 - 1
    y = (rng.random(len(x)) < 1 / (1 + np.exp(-risk))).astype(np.int8)
    params = GBDTParameters.from_mapping({"num_iterations": 15, **options})
    model = train_reference(x, y, params)
    exact = train_lightgbm_on_integers(x, y, params).predict(x, raw_score=True)
    np.testing.assert_allclose(model.predict_raw(x) - model.init_score, exact, atol=1e-12)
    np.testing.assert_allclose(model.predict_raw(x), train_lightgbm(x, y, params).predict(x, raw_score=True), atol=1e-6)


@pytest.mark.parametrize("seed", [6, 32, 54, 67, 101, 103])
def test_rows_of_the_first_bin_are_estimated_as_lightgbm_does(seed: int) -> None:
    """Small leaves and missing values: a split is allowed or not by the estimate for bin 0 (`modal_first`)."""
    rng = np.random.default_rng(seed)
    rows = int(rng.choice([700, 3000]))
    x = rng.integers(0, 6, (rows, 6)).astype(float)
    x[rng.random(x.shape) < 0.15] = np.nan
    x[:, 3:] *= x[:, 3:] > 3
    y = (rng.random(rows) < 1 / (1 + np.exp(1.0 - np.nansum(x[:, :2], axis=1) / 3))).astype(np.int8)
    params = GBDTParameters(num_iterations=10, learning_rate=0.3, min_data_in_leaf=int(rng.choice([20, 50])))
    model = train_reference(x, y, params)
    assert all(mapper.modal_first for mapper in model.mappers)
    exact = train_lightgbm_on_integers(x, y, params).predict(x, raw_score=True)
    np.testing.assert_allclose(model.predict_raw(x) - model.init_score, exact, atol=1e-12)


@pytest.mark.parametrize("num_leaves", [8, 15])
def test_spanish_credit(num_leaves: int) -> None:
    x, y = spanish()
    params = GBDTParameters(num_iterations=30, num_leaves=num_leaves, max_bin=32, learning_rate=1.6 / num_leaves)
    aside = validation_rows(len(y), 0.3, seed=1)
    model, theirs = train_reference(x[~aside], y[~aside], params), train_lightgbm(x[~aside], y[~aside], params)
    np.testing.assert_allclose(model.predict(x[~aside]), theirs.predict(x[~aside]), atol=1e-6)
    assert auc(y[aside], model.predict(x[aside])) == pytest.approx(auc(y[aside], theirs.predict(x[aside])), abs=5e-4)
    assert auc(y[aside], model.predict(x[aside])) > 0.82


def test_taiwanese_credit() -> None:
    x, y = taiwanese()
    params = GBDTParameters(num_iterations=20, num_leaves=15, max_bin=32)
    aside = validation_rows(len(y), 0.3, seed=1)
    model, theirs = train_reference(x[~aside], y[~aside], params), train_lightgbm(x[~aside], y[~aside], params)
    assert assert_same_trees(model, theirs, x[~aside], model.init_score) == 0
    np.testing.assert_allclose(model.predict(x[aside]), theirs.predict(x[aside]), atol=1e-6)


def test_early_stopping_as_lightgbm() -> None:
    x, y = credit_like(1500, np.random.default_rng(7))
    params = GBDTParameters(num_iterations=200, learning_rate=0.3, max_bin=15, early_stopping_round=5)
    watched = x[1000:], y[1000:]
    model = train_reference(x[:1000], y[:1000], params, valid=watched)
    data = lightgbm.Dataset(x[:1000], y[:1000])
    theirs = lightgbm.train(
        params.lightgbm_params(), data, num_boost_round=200, valid_sets=[lightgbm.Dataset(*watched, reference=data)]
    )
    assert len(model.trees) == theirs.best_iteration < 200
    assert model.validation_losses[len(model.trees) - 1] == pytest.approx(
        theirs.best_score["valid_0"]["binary_logloss"], abs=1e-5
    )


def test_validation_rows_are_not_trained_on() -> None:
    x, y = credit_like(1200, np.random.default_rng(8))
    params = GBDTParameters(num_iterations=5, validation_fraction=0.25, early_stopping_round=3, seed=4)
    aside = validation_rows(1200, 0.25, seed=4)
    explicit = train_reference(x[~aside], y[~aside], params, valid=(x[aside], y[aside]))
    implicit = train_reference(x, y, params)
    assert aside.sum() == 300
    assert np.array_equal(implicit.predict(x), explicit.predict(x))


def test_given_bins_are_used() -> None:
    x, y = credit_like(1500, np.random.default_rng(9), missing=0.005)
    fitted = [BinMapper.fit(column, 255, 3) for column in x.T]
    merged = [mapper.merge_small(mapper.transform(column), 50) for mapper, column in zip(fitted, x.T, strict=True)]
    model = train_reference(x, y, GBDTParameters(num_iterations=5), mappers=merged)
    allowed = [{mapper.threshold(code) for code in range(len(mapper.upper))} for mapper in merged]
    assert all(record.threshold in allowed[record.feature] for record in model.records)
    assert max(mapper.n_bins for mapper in merged) <= 30
    assert np.all(np.isfinite(model.predict(x)))


def test_nothing_to_learn_gives_the_base_rate() -> None:
    y = np.array([0, 0, 0, 1] * 25)
    model = train_reference(np.ones((100, 1)), y, GBDTParameters())
    assert model.trees == ()
    np.testing.assert_allclose(model.predict(np.ones((2, 1))), 0.25)


def test_what_cannot_be_trained() -> None:
    x, y = credit_like(100, np.random.default_rng(1))
    with pytest.raises(UsageError, match="early stopping needs validation rows"):
        train_reference(x, y, GBDTParameters(early_stopping_round=5))
    with pytest.raises(UsageError, match="100 rows of columns, but 99 labels"):
        train_reference(x, y[1:], GBDTParameters())
    with pytest.raises(UsageError, match="two dimensions"):
        train_reference(x[:, 0], y, GBDTParameters())
    with pytest.raises(UsageError, match="all 100 labels are 0"):
        train_reference(x, y * 0, GBDTParameters())
