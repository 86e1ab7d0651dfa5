"""Who plays for whom: entities are one, and parties that repeat each other are one."""

from __future__ import annotations

import numpy as np
import pytest

from vfl.agreement import Agreement, Member
from vfl.settle.clusters import players_of, similarities
from vfl.settlement import Settlement
from vfl.terms import Terms

PARTIES = ["wallet", "telecom", "bureau", "copycat"]


def names(clause: Settlement, **similar: float) -> list[str]:
    pairs = {tuple(pair.split("_")): share for pair, share in similar.items()}
    return [one.name for one in players_of(PARTIES, pairs, clause)]  # type: ignore[arg-type]


def test_each_party_is_a_player_unless_data_or_law_join_them() -> None:
    clause = Settlement(similarity=0.9)
    assert names(clause) == PARTIES
    assert names(clause, bureau_copycat=0.95, wallet_telecom=0.89) == ["wallet", "telecom", "bureau + copycat"]
    assert names(clause, telecom_copycat=0.9, wallet_copycat=1.0) == ["wallet + telecom + copycat", "bureau"]
    group = Settlement(entities={"wallet": "Group", "bureau": "Group"})
    assert names(group) == ["Group", "telecom", "copycat"]
    assert names(group, bureau_copycat=0.99) == ["Group + copycat", "telecom"]
    (one, _) = players_of(PARTIES, {("bureau", "copycat"): 0.99}, group)
    assert one.entities == (("Group", ("wallet", "bureau")), ("copycat", ("copycat",)))
    assert one.parties == ("wallet", "bureau", "copycat")


@pytest.mark.parametrize("scheme", ["lattice", "paillier"])
def test_a_copy_is_known_under_encryption(scheme: str) -> None:
    rng = np.random.default_rng(1)
    rows = 400 if scheme == "lattice" else 60
    bureau = rng.normal(size=(rows, 2))
    copy = np.column_stack([rng.normal(size=rows), -(bureau[:, 0] ** 3), np.round(bureau[:, 1], 2)])
    columns = {"wallet": rng.normal(size=(rows, 2)), "bureau": bureau, "copycat": copy}
    members = (Member("bank", "active", ("x",)), *(Member(name, "passive", ("a",)) for name in columns))
    privacy = {"scheme": scheme, "key_bits": 2048, "min_bin_population": 10}
    agreement = Agreement("s", "p", members, {"kind": "gbdt"}, privacy, {}, {})
    found = similarities(Terms("run", agreement), columns)
    assert set(found) == {("wallet", "bureau"), ("wallet", "copycat"), ("bureau", "copycat")}
    assert found["bureau", "copycat"] > 0.95
    assert max(share for pair, share in found.items() if "wallet" in pair) < 0.35


def test_one_partner_alone_resembles_nobody() -> None:
    assert similarities(None, {"wallet": np.zeros((3, 1))}) == {}  # type: ignore[arg-type]
