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

from vfl.agreement import Agreement
from vfl.errors import UsageError
from vfl.learn.ensemble import Ensemble
from vfl.learn.tree import Cover, SplitRecord, TreeShape
from vfl.models import FORMAT, active_share, passive_share, read_ensemble, read_records, require_share

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
    st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=5),
)
def test_every_number_comes_back(records: list[SplitRecord], values: list[float]) -> None:
    outcome = told().outcomes[ACTIVE]
    shape = TreeShape()
    for leaf, value in enumerate(values[1:]):
        shape.split(leaf, 1 + leaf % 2, leaf // 2, value)
    cover = Cover(np.arange(1, len(values) + 1), np.array(values[::-1]), np.array(shape.gains))
    model = Ensemble((values[0],), (shape.tree(values, cover),), tuple(records), ((0, 1, 1), (0, 0)))
    assert_same(read_ensemble(active_share(WORLD.terms.agreement, outcome.columns, model)), model)


def test_a_number_that_is_none_is_never_written() -> None:
    outcome = told().outcomes[ACTIVE]
    broken = dataclasses.replace(outcome.model, starts=(float("nan"),))
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
    "no start": lambda: damaged(lambda b: b.pop("starts")),
    "a start as text": lambda: damaged(lambda b: b.update(starts=["low"])),
    "features of others as a number": lambda: damaged(lambda b: b.update(passive_features=3)),
    "a tree without counts": lambda: damaged(lambda b: b["trees"][0].pop("leaf_count")),
    "a leaf without a count": lambda: damaged(lambda b: b["trees"][0]["leaf_count"].pop()),
    "a leaf without a value": lambda: damaged(lambda b: b["trees"][0]["leaf_value"].pop()),
    "a leaf of less than nothing": lambda: damaged(lambda b: b["trees"][0]["leaf_count"].__setitem__(0, -1)),
    "nobody in any leaf": lambda: damaged(lambda b: b["trees"][0].update(leaf_count=[0] * 6)),
    "a split without a gain": lambda: damaged(lambda b: b["trees"][0]["gain"].pop()),
    "a ring": lambda: damaged(lambda b: b["trees"][0]["left"].__setitem__(0, 0)),
    "a leaf twice": lambda: damaged(lambda b: b["trees"][0].update(right=b["trees"][0]["left"])),
    "an owner that is nobody": lambda: damaged(lambda b: b["trees"][0]["owner"].__setitem__(0, 3)),
    "a record that nobody has": lambda: damaged(lambda b: b["trees"][0]["record"].__setitem__(0, 10**6)),
    "counts as text": lambda: damaged(lambda b: b["trees"][0].update(leaf_count=["many"])),
    "cut short": lambda: share()[:-40],
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_share_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="share"):
        read_ensemble(DAMAGE[name]())


@pytest.mark.parametrize(
    ("agreement", "party", "words"),
    [
        (WORLD.terms.agreement, "telecom", "telecom is of another party: 'bank', not 'telecom'"),
        (World.of(("telecom",)).terms.agreement, ACTIVE, "bank is of another agreement"),
    ],
)
def test_a_share_is_of_a_party_and_an_agreement(agreement: Agreement, party: str, words: str) -> None:
    require_share(share(), WORLD.terms.agreement, ACTIVE)
    with pytest.raises(UsageError, match=words):
        require_share(share(), agreement, party)


def test_a_share_has_the_features_of_the_agreement() -> None:
    with pytest.raises(UsageError, match="bank has other features"):
        require_share(damaged(lambda b: b["features"].reverse()), WORLD.terms.agreement, ACTIVE)
