"""Parameters of a scorecard under one set of names."""

from __future__ import annotations

from dataclasses import fields

import pytest

from vfl.errors import UsageError
from vfl.learn.scorecard_parameters import KINDS, ScorecardModel, ScorecardParameters


def test_every_name_goes_where_it_belongs() -> None:
    model = ScorecardModel.from_mapping({"method": "quantile", "min_iv": 0.1, "pdo": 40})
    assert (model.binning.method, model.selecting.min_iv, model.card.pdo) == ("quantile", 0.1, 40.0)
    assert ScorecardModel.from_mapping(model.as_dict()) == model


def test_no_name_means_two_things() -> None:
    names = [each.name for kind in KINDS for each in fields(kind)]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"base_ods": 50}, "Did you mean 'base_odds'"),
        ({"zzz": 1}, "unknown parameter 'zzz'"),
        ({"share_woe": False}, "partners weigh their own bins"),
        ({"pdo": 0}, "pdo"),
        ({"signs": "negative"}, "signs"),
    ],
)
def test_what_cannot_be_is_refused(values: dict[str, object], words: str) -> None:
    with pytest.raises(UsageError) as told:
        ScorecardModel.from_mapping(values)
    assert words in f"{told.value} {told.value.remedy}"


def test_coefficients_may_be_held_at_zero_by_l1_or_signs() -> None:
    assert not ScorecardParameters(l2=3.0).bounded
    assert ScorecardParameters(l1=0.5).bounded
    assert ScorecardParameters(signs="positive").bounded
