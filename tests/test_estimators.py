"""Estimators: the same model as between companies, scikit-learn's conventions, and clear words for bad tables."""

from __future__ import annotations

import pickle
import subprocess
import sys
import warnings
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from estimators_checks import ESTIMATORS, EXPECTED
from sklearn.base import clone
from sklearn.metrics import r2_score
from sklearn.model_selection import GridSearchCV
from sklearn.utils.estimator_checks import parametrize_with_checks

from vfl.errors import UsageError
from vfl.estimators import VerticalGBDTClassifier, VerticalGBDTRegressor, VerticalScorecard
from vfl.learn.parameters import GBDTParameters
from vfl.learn.reference import train_reference


def tables(rows: int = 400) -> dict[str, pd.DataFrame]:
    rng = np.random.default_rng(2)
    columns = rng.normal(size=(rows, 5)).round(3)
    columns[rng.random(columns.shape) < 0.05] = np.nan
    known = np.nan_to_num(columns)
    y = (known[:, 0] + known[:, 2] - known[:, 4] + rng.normal(size=rows) > 0).astype(int)
    ids = [f"C-{number}" for number in range(rows)]
    frames = {
        "bank": pd.DataFrame({"customer_id": ids, "income": columns[:, 0], "limit": columns[:, 1], "default": y}),
        "telecom": pd.DataFrame({"phone": ids, "calls": columns[:, 2], "age": columns[:, 3]}),
        "payroll": pd.DataFrame({"phone": ids, "salary": columns[:, 4]}),
    }
    frames["telecom"] = frames["telecom"].sample(frac=1.0, random_state=1)
    frames["payroll"] = frames["payroll"].iloc[20:]
    return frames


IDS = {"bank": "customer_id", "telecom": "phone", "payroll": "phone"}
SMALL: dict[str, Any] = {"num_iterations": 5, "num_leaves": 6, "learning_rate": 0.3, "min_bin_population": 1}


def test_the_model_of_the_pooled_columns() -> None:
    """Of the customers that all know; the same trees as the plain trainer, and new customers are scored by it."""
    data = tables()
    model = VerticalGBDTClassifier(**SMALL).fit(data, label="default", id=IDS)
    assert model.parties_ == ["bank", "telecom", "payroll"]
    assert set(model.shares_) == set(data)
    joined = (
        data["bank"].merge(data["telecom"], left_on="customer_id", right_on="phone").merge(data["payroll"], on="phone")
    )
    columns = ["income", "limit", "calls", "age", "salary"]
    own = {name: value for name, value in SMALL.items() if name != "min_bin_population"}
    plain = train_reference(joined[columns].to_numpy(), joined["default"], GBDTParameters(**own))
    found = model.predict_proba({name: data[name] for name in data})
    assert np.isnan(found[:20]).all()
    due = plain.predict(data["bank"].merge(joined[["customer_id", *columns[2:]]], on="customer_id")[columns].to_numpy())
    np.testing.assert_array_equal(found[20:, 1], due)
    assert model.score(data) == pytest.approx(((due > 0.5) == data["bank"]["default"][20:]).mean())
    assert model.feature_importances_.sum() == pytest.approx(1.0)
    assert model.feature_importances_[[0, 2, 4]].min() > 0
    assert set(model.traffic_) >= {"psi", "bins", "train"}
    with pytest.raises(UsageError, match="20 of 400 customers are not known to every party, first in row 1"):
        model.predict(data)


@pytest.mark.parametrize("kind", ["polars", "arrow"])
def test_tables_of_every_kind(kind: str) -> None:
    turn = {"polars": pl.from_pandas, "arrow": lambda frame: pa.Table.from_pandas(frame, preserve_index=False)}[kind]
    data = tables(250)
    plain = VerticalGBDTClassifier(**SMALL).fit(data, label="default", id=IDS).predict_proba(data)
    turned = {name: turn(frame) for name, frame in data.items()}
    model = VerticalGBDTClassifier(**SMALL).fit(turned, label="default", id=IDS)
    np.testing.assert_array_equal(model.predict_proba(turned), plain)


def test_classes_of_any_name_weights_and_categories() -> None:
    data = tables(300)
    data["bank"]["default"] = np.array(["bad", "good", "late"])[np.arange(300) % 3]
    data["bank"]["weight"] = 1.0 + np.arange(300) % 2
    data["telecom"]["plan"] = np.arange(300) % 7
    named = {"telecom": ["plan"]}
    model = VerticalGBDTClassifier(**SMALL).fit(data, label="default", id=IDS, weight="weight", categorical=named)
    assert model.classes_.tolist() == ["bad", "good", "late"]
    found = model.predict_proba(data)
    assert found.shape == (300, 3)
    np.testing.assert_allclose(found[20:].sum(axis=1), 1.0)
    assert model.n_features_in_ == 6
    known = {**data, "bank": data["bank"].iloc[20:]}
    assert set(model.predict(known)) <= set(model.classes_)


def test_regression() -> None:
    data = tables()
    data["bank"]["loss"] = 100 * data["bank"]["income"].fillna(0) + data["bank"].pop("default")
    model = VerticalGBDTRegressor(num_iterations=10, learning_rate=0.3, num_leaves=12, min_bin_population=1).fit(
        data, label="loss", id=IDS
    )
    found, due = model.predict(data)[20:], data["bank"]["loss"].to_numpy()[20:]
    assert model.score(data) == pytest.approx(r2_score(due, found))
    assert model.score(data) > 0.8
    assert np.isnan(model.predict(data)[:20]).all()


def test_scorecard() -> None:
    data = tables(600)
    model = VerticalScorecard().fit(data, label="default", id=IDS)
    assert {line["party"] for line in model.scorecard_} == set(data)
    assert any(verdict["kept"] for verdict in model.verdicts_)
    pd_, points = model.predict_proba(data)[20:, 1], model.points(data)[20:]
    assert np.corrcoef(pd_, points)[0, 1] < -0.9
    assert model.score(data) > 0.7
    np.testing.assert_allclose(1 / (1 + np.exp(-model.decision_function(data)[20:])), pd_)


def test_parameters_are_those_of_the_options() -> None:
    model = VerticalGBDTClassifier(num_leaves=5)
    found = model.get_params()
    own = {"scheme", "min_bin_population", "min_intersection", "random_state"}
    assert set(found) - own == set(GBDTParameters().as_dict()) - {"objective", "num_class"}
    assert found["learning_rate"] == GBDTParameters().learning_rate
    again = clone(model.set_params(num_iterations=3))
    assert again.get_params() == model.get_params()
    assert repr(model) == "VerticalGBDTClassifier(num_iterations=3, num_leaves=5)"
    with pytest.raises(TypeError, match=r"no parameter 'num_leafs'\. Did you mean 'num_leaves'"):
        VerticalGBDTClassifier(num_leafs=3)


def test_one_table_in_a_search_and_a_pickle() -> None:
    data = tables(200)["bank"].dropna()
    x, y = data[["income", "limit"]], data["default"]
    search = GridSearchCV(VerticalGBDTClassifier(num_iterations=2), {"num_leaves": [2, 4]}, cv=2).fit(x, y)
    best = search.best_estimator_
    assert list(best.feature_names_in_) == ["income", "limit"]
    again = pickle.loads(pickle.dumps(best))
    np.testing.assert_array_equal(again.predict_proba(x), best.predict_proba(x))
    shared = VerticalGBDTClassifier(num_iterations=2).fit(x, y, parties={"a": ["limit"], "b": ["income"]})
    assert shared.parties_ == ["a", "b"]
    assert shared.score(x, y) > 0.5


def test_a_fit_in_the_other_way_leaves_nothing_of_the_one_before() -> None:
    """Tables, then one table, then tables again: each fit predicts from what it was given, and refuses the other."""
    data, one = tables(250), tables(250)["bank"].dropna()
    x, y = one[["income", "limit"]], one["default"]
    model = VerticalGBDTClassifier(**SMALL)
    for _ in range(2):
        model.fit(data, label="default", id=IDS)
        assert model.n_features_in_ == 5
        assert not hasattr(model, "feature_names_in_")
        assert model.score(data) > 0.6
        with pytest.raises(UsageError, match="was fitted on a table a party"):
            model.predict_proba(x)
        model.fit(x, y)
        assert (model.n_features_in_, list(model.feature_names_in_)) == (2, ["income", "limit"])
        assert model.score(x, y) > 0.5
        with pytest.raises(UsageError, match="was fitted on one table"):
            model.predict_proba(data)


BAD: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    ({}, {"id": "customer_id"}, "party 'telecom' has no column 'customer_id'"),
    ({}, {"label": "defaulted"}, "no party has a column 'defaulted'"),
    ({}, {"label": None}, "needs the names of the columns"),
    ({}, {"id": {"bank": "customer_id"}}, "no id column is named for party 'telecom'"),
    ({}, {"weight": "w"}, "party 'bank' has no column 'w'"),
    ({}, {"categorical": {"telecom": ["calls"]}}, "party 'telecom', column 'calls': .* is no category"),
    ({}, {"categorical": {"telecom": ["plan"]}}, "categorical column 'plan' is no feature of party 'telecom'"),
    ({"telecom": lambda f: f.assign(calls="x")}, {}, "party 'telecom', column 'calls' is .*numeric"),
    ({"telecom": lambda f: f.assign(age=np.inf)}, {}, "party 'telecom', column 'age' is infinite in row 1"),
    ({"telecom": lambda f: f.assign(phone="C-1")}, {}, "party 'telecom', column 'phone': 399 rows repeat"),
    ({"telecom": lambda f: f[["phone"]]}, {}, "party 'telecom' has no feature columns"),
    ({"telecom": lambda f: f.assign(default=1)}, {}, "2 parties have a column 'default'"),
    ({"telecom": lambda f: f.to_numpy()}, {}, "the table of party 'telecom' is a ndarray"),
    ({"bank": lambda f: f.assign(default=1)}, {}, "only one class: 1"),
]


@pytest.mark.parametrize(("change", "words", "sentence"), BAD, ids=[one[2][:40] for one in BAD])
def test_bad_tables_are_named(change: dict[str, Any], words: dict[str, Any], sentence: str) -> None:
    data = tables()
    data |= {name: turn(data[name]) for name, turn in change.items()}
    with pytest.raises(UsageError, match=sentence):
        VerticalGBDTClassifier(**SMALL).fit(data, **{"label": "default", "id": IDS, **words})


def test_wrong_ways_to_use_it() -> None:
    data = tables(250)
    model = VerticalGBDTClassifier(**SMALL)
    with pytest.raises(ValueError, match="fewer than the agreed 300 customers in common"):
        clone(model).set_params(min_intersection=300).fit(data, label="default", id=IDS)
    with pytest.raises(ValueError, match="y is given beside"):
        model.fit(data, [1, 0], label="default", id=IDS)
    with pytest.raises(ValueError, match="1 party is no federation"):
        model.fit({"bank": data["bank"]}, label="default", id=IDS)
    with pytest.raises(ValueError, match="scheme is 'rot13'"):
        clone(model).set_params(scheme="rot13").fit(data, label="default", id=IDS)
    model.fit(data, label="default", id=IDS)
    with pytest.raises(ValueError, match="no table of party 'payroll'"):
        model.predict_proba({name: data[name] for name in ("bank", "telecom")})
    with pytest.raises(ValueError, match="fitted on a table a party"):
        model.predict_proba(data["bank"][["income", "limit"]])
    one = VerticalGBDTClassifier(num_iterations=2).fit(data["bank"][["income", "limit"]], data["bank"]["default"])
    with pytest.raises(ValueError, match="fitted on one table"):
        one.predict_proba(data)
    with pytest.raises(ValueError, match="no column 'wage' for party 'a'"):
        one.fit(data["bank"][["income", "limit"]], data["bank"]["default"], parties={"a": ["wage"], "b": ["limit"]})


def test_without_scikit_learn_the_extra_is_named() -> None:
    script = "import sys; sys.modules['sklearn'] = None\nimport vfl.estimators"
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert "estimators need sklearn" in ended.stderr


@parametrize_with_checks(ESTIMATORS[:2], expected_failed_checks=lambda estimator: EXPECTED[type(estimator)])
def test_scikit_learn_checks(estimator: Any, check: Any) -> None:
    run_check(estimator, check)


@pytest.mark.slow
@parametrize_with_checks(ESTIMATORS[2:], expected_failed_checks=lambda estimator: EXPECTED[type(estimator)])
def test_scikit_learn_checks_of_the_regressor(estimator: Any, check: Any) -> None:
    run_check(estimator, check)


def run_check(estimator: Any, check: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of checks that hand over odd data on purpose
        check(estimator)
