"""The plain trainer equals LightGBM with every objective, weighted or not, and early stopping watches the same loss.

LightGBM's derivatives are float32, so leaf values may differ by rounding; structures are compared by what they say of
every training row.
"""

from __future__ import annotations

from typing import Any

import lightgbm
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vfl.errors import UsageError
from vfl.learn.fixed_point import Scale, to_fixed
from vfl.learn.objective import Binary, checked_labels, checked_weights, objective_of, predictions
from vfl.learn.parameters import GBDTParameters
from vfl.learn.reference import train_reference
from vfl.learn.rounds import Parts, Rounds, Target

from .columns import credit_like

OBJECTIVES = {
    "binary": {},
    "scale_pos_weight": {"scale_pos_weight": 7.5},
    "is_unbalance": {"is_unbalance": True},
    "regression": {"objective": "regression"},
    "multiclass": {"objective": "multiclass", "num_class": 4},
}


def problem(options: dict[str, Any], rows: int = 2500) -> tuple[np.ndarray, np.ndarray, GBDTParameters]:
    """Columns, labels fit for the objective, parameters."""
    rng = np.random.default_rng(4)
    x, y = credit_like(rows, rng)
    risk = x[:, 0] + x[:, 1] * (x[:, 0] > 0) - 0.4 * x[:, 2]
    if options.get("objective") == "regression":
        labels = 1000 * (risk + rng.normal(size=rows))
    elif options.get("objective") == "multiclass":
        labels = np.digitize(risk + rng.normal(size=rows), [-1.5, 0.0, 2.0])
    else:
        labels = y * (rng.random(rows) < 0.5)
    common = {"num_iterations": 8, "max_bin": 31, "num_leaves": 8, "learning_rate": 0.2}
    return x, labels, GBDTParameters.from_mapping({**common, **options})


@pytest.mark.parametrize("average", [True, False], ids=["average", "zero"])
@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
@pytest.mark.parametrize("name", OBJECTIVES)
def test_lightgbm_trees(name: str, weighted: bool, average: bool) -> None:
    x, y, params = problem({**OBJECTIVES[name], "boost_from_average": average})
    weights = np.random.default_rng(8).integers(0, 5, len(y)) * 0.7 if weighted else None
    model = train_reference(x, y, params, weights=weights)
    data = lightgbm.Dataset(x, y, weight=weights)
    theirs = lightgbm.train(params.lightgbm_params(), data, num_boost_round=params.num_iterations)
    unit = 1000 if name == "regression" else 1
    np.testing.assert_allclose(model.predict_raw(x), theirs.predict(x, raw_score=True), atol=2e-6 * unit)
    np.testing.assert_allclose(model.predict(x), theirs.predict(x), atol=2e-6 * unit)
    assert len(model.trees) == theirs.num_trees() == 8 * params.outputs


@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
@pytest.mark.parametrize("name", OBJECTIVES)
def test_early_stopping_as_lightgbm(name: str, weighted: bool) -> None:
    options = {"num_iterations": 100, "learning_rate": 0.5, "early_stopping_round": 3}
    x, y, params = problem({**OBJECTIVES[name], **options}, 1500)
    weights = np.random.default_rng(8).integers(1, 5, len(y)) * 0.7 if weighted else None
    model = train_reference(x[:1000], y[:1000], params, (x[1000:], y[1000:]), weights=weights)
    data = lightgbm.Dataset(x[:1000], y[:1000], weight=None if weights is None else weights[:1000])
    watched = data.create_valid(x[1000:], y[1000:], weight=None if weights is None else weights[1000:])
    theirs = lightgbm.train(params.lightgbm_params(), data, num_boost_round=100, valid_sets=[watched])
    assert len(model.trees) == theirs.best_iteration * params.outputs
    [least] = theirs.best_score["valid_0"].values()
    assert min(model.validation_losses) == pytest.approx(least, rel=1e-5)


def test_a_class_that_cannot_be_split_gets_trees_of_one_leaf() -> None:
    """One class has too few rows; the others go on, as in LightGBM."""
    rng = np.random.default_rng(2)
    x = rng.integers(0, 5, (600, 3)).astype(float)
    y = np.where(np.arange(600) < 6, 2, (x[:, 0] + x[:, 1] > 4).astype(int))
    params = GBDTParameters(
        objective="multiclass", num_class=3, num_iterations=5, min_sum_hessian_in_leaf=6.0, min_data_in_leaf=5
    )
    model = train_reference(x, y, params)
    theirs = lightgbm.train(params.lightgbm_params(), lightgbm.Dataset(x, y), num_boost_round=5)
    assert {tree.n_leaves for tree in model.trees[2::3]} == {1}
    np.testing.assert_allclose(model.predict_raw(x), theirs.predict(x, raw_score=True), atol=1e-6)


def test_going_on_from_scores_is_the_same_training() -> None:
    x, y, params = problem({})
    whole = train_reference(x, y, params)
    half = Rounds(Target(y.astype(np.int8)), Parts(np.ones(len(y), bool), np.zeros(len(y), bool)), params)
    assert half.starts.tolist() == list(whole.starts)
    again = Rounds(
        Target(y.astype(np.int8), scores=whole.predict_raw(x)[:, None]),
        Parts(np.ones(len(y), bool), np.zeros(len(y), bool)),
        params,
    )
    assert again.starts.tolist() == [0.0]
    again.open()
    g = again.gradients(0)
    np.testing.assert_allclose(g.g / g.scale.g, whole.predict(x) - y, atol=2**-24)


@given(
    st.lists(st.tuples(st.floats(-1e30, 1e30), st.floats(0, 1e30)), min_size=1),
    st.integers(8, 32),
    st.sampled_from([(0.0, 0.0), (1.0, 0.25)]),
)
@settings(max_examples=200)
def test_integers_stay_in_bounds_whatever_the_derivatives(
    rows: list[tuple[float, float]], bits: int, usual: tuple[float, float]
) -> None:
    g, h = np.array([row[0] for row in rows]), np.array([row[1] for row in rows])
    scale = Scale.of(g, h, bits, usual)
    assert np.abs(to_fixed(g, scale.g)).max() <= 2**bits
    assert to_fixed(h, scale.h).min() >= 0
    assert to_fixed(h, scale.h).max() <= 2 ** (bits - 2)
    if np.abs(g).max() > max(usual[0], 1e-270):
        assert np.abs(to_fixed(g, scale.g)).max() > 2 ** (bits - 1) - 1  # and no coarser than it must be


def test_usual_gradients_have_the_usual_scale() -> None:
    assert Scale.of(np.array([0.3]), np.array([0.01]), 24, (1.0, 0.25)) == Scale(2.0**24, 2.0**24)


def test_predictions_of_scores() -> None:
    scores = np.array([[0.0, 1.0], [2.0, 2.0]])
    np.testing.assert_allclose(predictions("multiclass", scores).sum(axis=1), 1.0)
    assert predictions("regression", scores[:, :1]).tolist() == [0.0, 2.0]
    assert predictions("binary", scores[:, :1])[0] == 0.5


@pytest.mark.parametrize(
    ("options", "labels", "words"),
    [
        ({"objective": "multiclass", "num_class": 3}, [0, 1, 3], "whole numbers from 0 to 2, found 3"),
        ({"objective": "multiclass", "num_class": 3}, [0, 1.5, 2], "whole numbers from 0 to 2, found 1.5"),
        ({"objective": "multiclass", "num_class": 3}, [0, 2, 2], "no training row has label 1"),
        ({"objective": "regression"}, [0.5, float("nan")], "finite numbers"),
        ({"objective": "regression"}, [0.5, 1e300], "finite numbers"),
        ({"objective": "regression"}, [0.5, 0.5], "all 2 labels are 0.5"),
        ({"objective": "regression"}, [], "at least one row"),
    ],
)
def test_bad_labels(options: dict[str, Any], labels: list[float], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        checked_labels(GBDTParameters(**options), labels)


def test_bad_weights() -> None:
    with pytest.raises(UsageError, match="weight -1 in row 2"):
        checked_weights([1, -1], 2)
    with pytest.raises(UsageError, match="weight nan in row 1"):
        checked_weights([float("nan"), 1], 2)
    with pytest.raises(UsageError, match="one column of 3 rows"):
        checked_weights([1, 1], 3)


@pytest.mark.parametrize("name", OBJECTIVES)
@pytest.mark.parametrize("what", ["training", "validation"])
def test_a_part_of_which_no_row_counts(name: str, what: str) -> None:
    """Also where weights are so small that float32 has no number for them."""
    _, y, params = problem(OBJECTIVES[name], 60)
    aside = np.arange(60) % 3 == 0
    weights = np.where(aside == (what == "validation"), 1e-60, 1.0)
    with pytest.raises(
        UsageError, match=f"the weights of all {20 if what == 'validation' else 40} {what} rows are zero"
    ):
        Rounds(Target(checked_labels(params, y), weights), Parts(~aside, aside), params)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_derivatives_are_those_of_the_loss(name: str) -> None:
    """By finite differences of the loss of each row; the second is LightGBM's multiple of it for classes."""
    _, y, params = problem(OBJECTIVES[name], 40)
    labels = checked_labels(params, y)
    objective, step = objective_of(params, labels), 1e-4
    scores = np.random.default_rng(1).normal(size=(40, params.outputs))
    g, h = objective.derivatives(scores, labels)
    weigh = np.where(labels == 1, *reversed(objective.weight_of)) if isinstance(objective, Binary) else 1.0
    half = 0.5 if name == "regression" else 1.0  # the loss that is watched is the whole square
    for output in range(params.outputs):
        moved = np.zeros_like(scores)
        moved[:, output] = step
        up, down = (
            np.array([objective.loss(at[i : i + 1], labels[i : i + 1], None) for i in range(40)]) * half * weigh
            for at in (scores + moved, scores - moved)
        )
        np.testing.assert_allclose(g[:, output], (up - down) / (2 * step), atol=1e-5)
        ahead, behind = (objective.derivatives(at, labels)[0][:, output] for at in (scores + moved, scores - moved))
        factor = params.num_class / (params.num_class - 1.0) if name == "multiclass" else 1.0
        np.testing.assert_allclose(h[:, output], factor * (ahead - behind) / (2 * step), atol=1e-5)
