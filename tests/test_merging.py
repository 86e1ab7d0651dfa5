"""Merged models: LightGBM says what the parties say together; without the clause nothing is merged."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import lightgbm
import numpy as np
import pytest
from memory_run import ACTIVE, FEATURES, Told, World, clear_schemes, play

from vfl.errors import AgreementError, UsageError
from vfl.learn.explain import shapley
from vfl.learn.objective import sigmoid
from vfl.merging import merged_text
from vfl.terms import Terms

PARTNERS = {"one": ("telecom",), "two": ("telecom", "retailer")}


def allowed(partners: tuple[str, ...], **model: object) -> World:
    world = World.of(partners, customers=160, num_iterations=6, num_leaves=7, **model)
    agreement = world.terms.agreement
    return replace(world, terms=Terms("run-7", replace(agreement, privacy={**agreement.privacy, "merge_models": True})))


@cache
def told(partners: tuple[str, ...] = PARTNERS["two"]) -> tuple[World, Told]:
    world = allowed(partners)
    with clear_schemes():
        return world, play(world)


def merged(world: World, run: Told) -> str:
    shares = {name: outcome.share for name, outcome in run.outcomes.items()}
    return merged_text(world.terms.agreement, world.terms.parameters, shares)


@pytest.mark.parametrize("partners", PARTNERS.values(), ids=PARTNERS)
def test_lightgbm_predicts_and_explains_as_the_parties_do(partners: tuple[str, ...]) -> None:
    world, run = told(partners)
    booster = lightgbm.Booster(model_str=merged(world, run))
    names = (ACTIVE, *partners)
    assert booster.feature_name() == [f"{name}.{feature}" for name in names for feature in FEATURES[name]]
    active = run.outcomes[ACTIVE]
    pooled = np.column_stack([run.outcomes[name].columns.values for name in names])
    assert np.isnan(pooled).any()
    assert any(active.model.passive_records)
    raw = booster.predict(pooled[active.holdout], raw_score=True)
    assert sigmoid(raw).tobytes() == active.pd.tobytes()
    widths = [len(FEATURES[name]) for name in names]
    found = shapley(active.model, active.decisions, widths)
    due = booster.predict(pooled[active.holdout], pred_contrib=True)
    np.testing.assert_allclose(found.values, due[:, :-1], rtol=0, atol=1e-9)
    np.testing.assert_allclose(found.base, due[:, -1], rtol=0, atol=1e-9)


@pytest.mark.parametrize("clause", [None, False, "true", 1])
def test_without_the_clause_nothing_is_merged(clause: object) -> None:
    world, run = told()
    privacy = {key: value for key, value in world.terms.agreement.privacy.items() if key != "merge_models"}
    privacy |= {} if clause is None else {"merge_models": clause}
    agreement = replace(world.terms.agreement, privacy=privacy)
    with pytest.raises(AgreementError, match="does not allow to merge") as caught:
        merged_text(agreement, world.terms.parameters, {n: o.share for n, o in run.outcomes.items()})
    assert "merge_models = true" in caught.value.remedy


def another(name: str, change: Callable[[dict[str, Any]], object]) -> dict[str, bytes]:
    """The shares, one of them changed."""
    _, run = told()
    shares = {party: outcome.share for party, outcome in run.outcomes.items()}
    body = json.loads(shares[name])
    change(body)
    return {**shares, name: json.dumps(body).encode()}


REFUSED: dict[str, tuple[str, Callable[[dict[str, Any]], object], str]] = {
    "of another run": ("telecom", lambda b: b.update(agreement="00" * 32), "telecom is of another agreement"),
    "of another party": ("telecom", lambda b: b.update(party="retailer"), "telecom is of another party"),
    "the active one's, of another run": ("bank", lambda b: b.update(agreement="0"), "bank is of another agreement"),
    "without a party": ("telecom", lambda b: b.pop("party"), "telecom is of another party: None"),
    "with other columns": ("telecom", lambda b: b["features"].reverse(), "telecom has other features"),
    "with a record fewer": ("telecom", lambda b: b["records"].pop(), "bank and telecom are not of one model"),
    "with another column split": (
        "telecom",
        lambda b: b["records"][0].update(feature={"calls": "age", "age": "calls"}[b["records"][0]["feature"]]),
        "bank and telecom are not of one model",
    ),
    "damaged": ("retailer", lambda b: b.pop("records"), "share is damaged"),
    "not one": ("retailer", lambda b: b.pop("format"), "not a model share"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_shares_that_do_not_fit_are_refused(case: str) -> None:
    world, _ = told()
    name, change, words = REFUSED[case]
    with pytest.raises(UsageError, match=words):
        merged_text(world.terms.agreement, world.terms.parameters, another(name, change))


def test_early_stopping_leaves_records_that_no_tree_uses() -> None:
    world = allowed(("telecom",), validation_fraction=0.3, early_stopping_round=1, seed=3)
    with clear_schemes():
        run = play(world)
    active = run.outcomes[ACTIVE]
    used = sum(len(tree.left) for tree in active.model.trees)
    assert used < len(active.model.records) + sum(active.model.passive_records)
    booster = lightgbm.Booster(model_str=merged(world, run))
    pooled = np.column_stack([run.outcomes[name].columns.values for name in (ACTIVE, "telecom")])
    assert sigmoid(booster.predict(pooled[active.holdout], raw_score=True)).tobytes() == active.pd.tobytes()
