"""The clause of settlement: read from a scenario file, part of the agreement, and refused where it cannot be."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from vfl.agreement import Agreement, Member
from vfl.errors import AgreementError, UsageError
from vfl.settlement import Settlement
from vfl.settlement_table import read_clause
from vfl.toml_table import TomlTable

PARTIES = ["bank", "telecom"]
MEMBERS = (Member("bank", "active", ("income",)), Member("telecom", "passive", ("calls",)))
PLAIN = Agreement("s", "p", MEMBERS, {"kind": "gbdt"}, {}, {}, {})


def read(**keys: Any) -> Settlement:
    return read_clause(TomlTable({"settlement": keys}, "my.toml").table("settlement"), PARTIES)


def test_what_is_left_out_has_its_default() -> None:
    assert read() == Settlement()
    found = read(value="bad-rate", price=3, currency="JPY", approve=0.5, entities={"telecom": "Telecom plc"})
    assert (found.entity("telecom"), found.entity("bank")) == ("Telecom plc", "bank")
    assert (found.value, found.price, found.currency, found.approve) == ("bad-rate", 3, "JPY", 0.5)


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"value": "auc"}, "value is 'auc'"),
        ({"approve": 1.0}, "approve is '1.0'"),
        ({"approve": "most"}, "approve is a text"),
        ({"price": 0}, "price is '0'"),
        ({"price": 1.5}, "price is a number"),
        ({"stake": True}, "stake is true/false"),
        ({"currency": "euro"}, "currency is 'euro'"),
        ({"period": "week"}, "period is 'week'"),
        ({"similarity": 0.2}, "similarity is '0.2'"),
        ({"in_cluster": "last"}, "in_cluster is 'last'"),
        ({"entities": {"shop": "Shop"}}, "'shop' is no party"),
        ({"prize": 3}, "unknown key 'prize'"),
        ({"dispute_hours": 0}, "dispute_hours is '0'"),
    ],
)
def test_a_wrong_value_is_named(keys: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=r"my\.toml") as refused:
        read(**keys)
    assert said in str(refused.value)
    assert refused.value.remedy


def test_it_is_part_of_the_agreement_and_an_agreement_without_it_stays_what_it_was() -> None:
    assert b"settlement" not in PLAIN.encode()
    assert Agreement.decode(PLAIN.encode()) == PLAIN
    agreed = replace(PLAIN, settlement=Settlement(entities={"telecom": "Telecom plc"}))
    assert Agreement.decode(agreed.encode()) == agreed
    assert agreed.digest != PLAIN.digest


@pytest.mark.parametrize(
    "change",
    [{"value": "auc"}, {"price": "40"}, {"price": True}, {"approve": 1}, {"approve": 0.0}, {"currency": "eur"},
     {"entities": {"telecom": ""}}, {"entities": 3}, {"more": 1}],
)  # fmt: skip
def test_nobody_signs_a_clause_that_means_nothing(change: dict[str, Any]) -> None:
    with pytest.raises(AgreementError, match="settlement"):
        Settlement.from_json({**Settlement().to_json(), **change})
    body = Settlement().to_json()
    body.pop("price")
    with pytest.raises(AgreementError, match="price"):
        Settlement.from_json(body)
    with pytest.raises(AgreementError):
        Settlement.from_json(None)
