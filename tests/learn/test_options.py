"""Parameters: what is allowed is accepted as it is, everything else is refused by name, value and range."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import pytest

from vfl.errors import UsageError
from vfl.learn.feature_parameters import BinningParameters, SelectionParameters
from vfl.learn.options import Options, canonical_name, option


@dataclass(frozen=True, kw_only=True)
class Some(Options):
    count: int = option(3, "a count", low=1, high=9, aliases=("number",))
    share: float = option(0.5, "a share", low=0.0, above=True)
    kind: str = option("a", "a kind", choices=("a", "b"))
    loud: bool = option(False, "a switch")


def test_what_is_allowed_comes_back_in_the_type_of_the_default() -> None:
    some = Some(count=np.int64(9), share=1, kind="b", loud=True)
    assert some.as_dict() == {"count": 9, "share": 1.0, "kind": "b", "loud": True}
    assert type(some.count) is int
    assert type(some.share) is float
    assert Some.from_mapping({"count": 4}) == Some(count=4)


@pytest.mark.parametrize(
    ("name", "value", "remedy"),
    [
        ("count", 0, "a whole number with 1 <= count <= 9"),
        ("count", 2.0, "a whole number"),
        ("count", True, "a whole number"),
        ("share", 0.0, r"a number with 0.0 < share\."),
        ("share", float("nan"), "a number"),
        ("share", float("inf"), "a number"),
        ("share", "0.5", "a number"),
        ("kind", "c", "'a' or 'b'"),
        ("kind", 1, "'a' or 'b'"),
        ("loud", 1, "true or false"),
    ],
)
def test_everything_else_is_refused(name: str, value: Any, remedy: str) -> None:
    with pytest.raises(UsageError, match=f"parameter '{name}' is ") as refused:
        Some(**{name: value})
    assert repr(value) in str(refused.value)
    assert re.search(remedy, refused.value.remedy)


def test_a_name_of_several_sets_by_its_own_name_or_an_alias() -> None:
    kinds = (Some, BinningParameters, SelectionParameters)
    assert [canonical_name(name, *kinds) for name in ("count", "number", "min_iv")] == ["count", "count", "min_iv"]
    with pytest.raises(UsageError, match="unknown parameter 'min_vi'") as refused:
        canonical_name("min_vi", *kinds)
    assert refused.value.remedy.startswith("Did you mean 'min_iv'? Parameters: count, ")
    assert refused.value.remedy.endswith("partner_correlations.")


def test_an_unknown_name_is_refused_with_the_nearest_known() -> None:
    with pytest.raises(UsageError, match="unknown parameter 'cuont'") as refused:
        Some.from_mapping({"cuont": 4})
    assert "Did you mean 'count'? Parameters: count, share, kind, loud." in refused.value.remedy
    with pytest.raises(UsageError) as refused:
        Some.from_mapping({"zzz": 4})
    assert refused.value.remedy.startswith("Parameters: ")


@pytest.mark.parametrize("kind", [BinningParameters, SelectionParameters])
def test_every_parameter_is_explained_and_its_default_allowed(kind: type[Options]) -> None:
    assert kind.from_mapping(kind().as_dict()) == kind()
    for each in fields(kind):
        assert each.metadata["about"], each.name
