"""Model shares as files: what was trained comes back to the last bit, and a damaged share is refused."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from functools import cache
from operator import attrgetter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from memory_run import ACTIVE, Told, World, clear_schemes, play

from vfl.errors import UsageError
from vfl.learn.ensemble import Ensemble
from vfl.learn.tree import SplitRecord
from vfl.models import FORMAT, active_share, passive_share, read_ensemble, read_records

WORLD = World.of(("telecom", "retailer"), num_leaves=6)


@cache
def told() -> Told:
    with clear_schemes():
        return play(WORLD)


def share(name: str = ACTIVE) -> bytes:
    return bytes(told().outcomes[name].share)


def assert_same(found: Ensemble, due: Ensemble) -> None:
    assert found.init_score == due.init_score
    assert found.records == due.records
    assert found.passive_features == due.passive_features
    for tree, other in zip(found.trees, due.trees, strict=True):
        for name in ("left", "right", "owner", "record", "leaf_value", "cover.count", "cover.weight", "cover.gain"):
            a, b = map(attrgetter(name), (tree, other))
            assert (a.dtype, a.tobytes()) == (b.dtype, b.tobytes())


def test_the_active_share_holds_the_model_to_the_last_bit() -> None:
    assert_same(read_ensemble(share()), told().outcomes[ACTIVE].model)


@pytest.mark.parametrize("name", ["telecom", "retailer"])
def test_a_passive_share_holds_its_records_and_no_tree(name: str) -> None:
    assert read_records(share(name)) == told().outcomes[name].records
    body = json.loads(share(name))
    assert set(body) == {"format", "party", "agreement", "features", "records"}
    with pytest.raises(UsageError, match="active party's model share is damaged"):
        read_ensemble(share(name))


def test_shares_name_agreement_party_and_owners() -> None:
    body = json.loads(share())
    assert (body["format"], body["party"]) == (FORMAT, "bank")
    assert body["agreement"] == WORLD.terms.agreement.digest
    assert body["owners"] == ["bank", "telecom", "retailer"]
    assert body["features"] == ["income", "limit"]


def test_a_share_is_the_same_bytes_again() -> None:
    outcome = told().outcomes[ACTIVE]
    assert active_share(WORLD.terms.agreement, outcome.columns, outcome.model) == share()
    other = told().outcomes["telecom"]
    assert passive_share(WORLD.terms.agreement, "telecom", other.columns, other.records) == share("telecom")


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.builds(
            SplitRecord,
            st.integers(0, 1),
            st.floats(allow_nan=False, allow_infinity=False),
            st.integers(0, 254),
            st.booleans(),
        ),
        max_size=6,
    ),
    st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=6),
)
def test_every_number_comes_back(records: list[SplitRecord], values: list[float]) -> None:
    outcome = told().outcomes[ACTIVE]
    tree = dataclasses.replace(outcome.model.trees[0], leaf_value=np.array(values))
    model = Ensemble(values[0], (tree,), tuple(records), ((0, 1, 1), (0,)))
    assert_same(read_ensemble(active_share(WORLD.terms.agreement, outcome.columns, model)), model)


def test_a_number_that_is_none_is_never_written() -> None:
    outcome = told().outcomes[ACTIVE]
    broken = dataclasses.replace(outcome.model, init_score=float("nan"))
    with pytest.raises(ValueError, match="not JSON compliant"):
        active_share(WORLD.terms.agreement, outcome.columns, broken)


def damaged(change: Callable[[dict[str, Any]], object]) -> bytes:
    body = json.loads(share())
    change(body)
    return json.dumps(body).encode()


DAMAGE: dict[str, Callable[[], bytes]] = {
    "nothing": lambda: b"",
    "no text": lambda: b"\xff\xfe\x00",
    "a list": lambda: b"[]",
    "a text": lambda: b'"format"',
    "deep": lambda: b"[" * 200_000,
    "another format": lambda: damaged(lambda b: b.update(format="tallystick-gbdt-share-v0")),
    "no format": lambda: damaged(lambda b: b.pop("format")),
    "no features": lambda: damaged(lambda b: b.pop("features")),
    "features as a number": lambda: damaged(lambda b: b.update(features=3)),
    "no records": lambda: damaged(lambda b: b.pop("records")),
    "records as a number": lambda: damaged(lambda b: b.update(records=3)),
    "an unknown feature": lambda: damaged(lambda b: b["records"][0].update(feature="age")),
    "no threshold": lambda: damaged(lambda b: b["records"][0].pop("threshold")),
    "a threshold as text": lambda: damaged(lambda b: b["records"][0].update(threshold="high")),
    "no trees": lambda: damaged(lambda b: b.pop("trees")),
    "trees as a number": lambda: damaged(lambda b: b.update(trees=3)),
    "a tree without children": lambda: damaged(lambda b: b["trees"][0].pop("left")),
    "children as text": lambda: damaged(lambda b: b["trees"][0].update(left=["a"])),
    "a child beyond all numbers": lambda: damaged(lambda b: b["trees"][0].update(left=[2**40] * 3)),
    "an owner beyond all numbers": lambda: damaged(lambda b: b["trees"][0].update(owner=[2**20] * 3)),
    "no start": lambda: damaged(lambda b: b.pop("init_score")),
    "a start as text": lambda: damaged(lambda b: b.update(init_score="low")),
    "features of others as a number": lambda: damaged(lambda b: b.update(passive_features=3)),
    "a tree without counts": lambda: damaged(lambda b: b["trees"][0].pop("leaf_count")),
    "counts as text": lambda: damaged(lambda b: b["trees"][0].update(leaf_count=["many"])),
    "cut short": lambda: share()[:-40],
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_share_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="share"):
        read_ensemble(DAMAGE[name]())
