"""Models that parties trained together, merged: LightGBM loads them, predicts the same bits, attributes the same."""

from __future__ import annotations

import lightgbm
import numpy as np
import pytest
from hypothesis import given, settings

from vfl.learn.explain import shapley
from vfl.learn.lightgbm_text import lightgbm_text
from vfl.learn.tree import go_left

from .boosting import Case, cases, clear, credit, share_of, train


def require_parity(case: Case) -> None:
    tapes = train(case, clear(False))
    model, shares = tapes["bank"].result, share_of(tapes, case)
    names = [[f"{party}.f{i}" for i in range(width)] for party, width in enumerate(case.owned)]
    rate = case.parameters.learning_rate
    booster = lightgbm.Booster(model_str=lightgbm_text(model, shares, names, learning_rate=rate))
    decisions = [
        np.array([go_left(case.of(party)[:, r.feature], r) for r in records]).reshape(len(records), len(case.labels))
        for party, records in enumerate(shares)
    ]
    assert booster.predict(case.values, raw_score=True).tobytes() == model.predict_raw(decisions).tobytes()
    attributed = booster.predict(case.values, pred_contrib=True)
    near = 1e-9 * max(1.0, np.abs(attributed).max())
    for output, due in enumerate(np.split(attributed, model.outputs, axis=1)):
        found = shapley(model, decisions, case.owned, output)
        np.testing.assert_allclose(found.values, due[:, :-1], rtol=0, atol=near)
        np.testing.assert_allclose(found.base, due[:, -1], rtol=0, atol=near)


@settings(deadline=None, max_examples=80)
@given(cases(watched=True))
def test_whatever_was_trained_merges(case: Case) -> None:
    require_parity(case)


@pytest.mark.parametrize("owned", [(2, 2), (1, 3, 2), (2, 1, 2, 3)])
def test_a_model_in_which_everybody_has_a_say(owned: tuple[int, ...]) -> None:
    require_parity(credit(300, owned, num_iterations=8, num_leaves=9, learning_rate=0.3))
