"""Parameters of evaluation: what is allowed is accepted, everything else refused by name, value and range."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from vfl.errors import UsageError
from vfl.learn.evaluation_parameters import EvaluationParameters


@pytest.mark.parametrize(
    "wrong",
    [
        {"resamples": 10},
        {"resamples": 500.0},
        {"groups": 1},
        {"groups": True},
        {"confidence": 1.0},
        {"profit_good": 0.0},
        {"loss_bad": -1.0},
        {"loss_bad": float("nan")},
        {"loss_bad": "much"},
    ],
)
def test_what_is_out_of_range_is_refused(wrong: dict[str, Any]) -> None:
    (name,) = wrong
    with pytest.raises(UsageError, match=f"parameter '{name}' is"):
        EvaluationParameters(**wrong)


def test_names_are_checked_and_numbers_of_other_kinds_taken() -> None:
    assert EvaluationParameters.from_mapping({"groups": np.int64(5), "loss_bad": 2}).as_dict() == {
        **EvaluationParameters().as_dict(),
        "groups": 5,
        "loss_bad": 2.0,
    }
    with pytest.raises(UsageError, match="unknown parameter 'group'") as told:
        EvaluationParameters.from_mapping({"group": 5})
    assert "Did you mean 'groups'?" in told.value.remedy
