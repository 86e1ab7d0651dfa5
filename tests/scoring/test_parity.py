"""Train = batch = online: what is scored on demand is what the run said, bit for bit."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scoring_kit import copied, policy, predictions, run, stages_of, table

from vfl.card_models import read_card, read_share
from vfl.card_scores import joint_log_odds
from vfl.clock import SystemClock
from vfl.learn.objective import sigmoid
from vfl.models import read_ensemble, read_records
from vfl.scores import joint_scores
from vfl.scoring.answers import Decision
from vfl.scoring.models import JointModel, partners_of
from vfl.scoring.partner import Half
from vfl.seat import RunFile, read_own_holding


def agree(rows: Sequence[dict[str, str]], decided: Sequence[Decision]) -> None:
    assert [repr(one.pd) for one in decided] == [row["pd"] for row in rows]
    if "points" in rows[0]:
        assert [str(one.points) for one in decided] == [row["points"] for row in rows]
    assert not any(one.degraded for one in decided)
    assert {state.state for one in decided for state in one.parties.values()} == {"ok"}


def own_rows(root: Path) -> dict[str, dict[str, float | None]]:
    """The bank's values by identifier, as a request writes them."""
    file = RunFile.read(root)
    mine = read_own_holding(root / "bank", file.agreement)
    return {
        customer: {name: None if math.isnan(x) else x for name, x in zip(mine.names, row, strict=True)}
        for customer, row in zip(mine.ids, mine.values.tolist(), strict=True)
    }


@pytest.mark.parametrize("kind", ["trees", "card", "masked"])
def test_stored_rows_score_as_the_run_did(kind: str, request: pytest.FixtureRequest) -> None:
    root = request.getfixturevalue("trees" if kind == "trees" else "card")
    rows, fresh = predictions(root), own_rows(root)
    ids = [row["id"] for row in rows]

    async def work() -> None:
        async with table(root, policy(masked=kind == "masked")) as here:
            agree(rows[:5], [await here.score(each) for each in ids[:5]])
            agree(rows, await here.batch(ids))
            agree(rows, await asyncio.gather(*map(here.score, ids)))
            agree(rows[:20], await asyncio.gather(*(here.score(each, **fresh[each]) for each in ids[:20])))

    run(work())


def test_reasons_are_those_of_the_report(trees: Path) -> None:
    """And of masked sums only the bank's own features can be reasons."""
    records = [json.loads(line) for line in (trees / "bank" / "decisions.jsonl").read_text().splitlines()]

    async def work() -> None:
        async with table(trees) as here:
            for record, one in zip(records, await here.batch([each["id"] for each in records]), strict=True):
                assert [(r["party"], r["words"]) for r in record["reasons"]] == [(r.party, r.text) for r in one.reasons]

    run(work())


def test_masked_sums_tell_no_reasons_of_partners(card: Path) -> None:
    ids = [row["id"] for row in predictions(card)]

    async def work(masked: bool) -> set[str]:
        async with table(card, policy(masked=masked)) as here:
            return {reason.party for one in await here.batch(ids) for reason in one.reasons}

    assert run(work(False)) == {"bank", "telecom", "payroll"}
    assert run(work(True)) == {"bank"}


def test_the_order_of_a_partners_table_does_not_matter(card: Path, tmp_path: Path) -> None:
    """Nor that of the bank's: rows are found by identifier."""
    rows = predictions(card)
    turned = tmp_path / "tables"
    turned.mkdir()
    _turn(card, "payroll", turned)

    async def work() -> None:
        async with table(card) as here:
            agree(rows, await here.batch([row["id"] for row in rows]))

    run(work())


def _turn(root: Path, party: str, folder: Path) -> None:
    """Give a party its table in another order."""
    place = root / party / "party.json"
    body = json.loads(place.read_text())
    lines = Path(body["table"]).read_text().splitlines()
    other = folder / Path(body["table"]).name
    other.write_text("\n".join([lines[0], *reversed(lines[1:])]) + "\n")
    body["table"] = str(other)
    place.write_text(json.dumps(body))


def halves(root: Path) -> tuple[JointModel, Any, dict[str, Half]]:
    """The model, the grades of a service, and each partner's half."""

    async def work() -> tuple[JointModel, Any]:
        async with table(root, wait=False) as here:
            return here.opened.home.bench.model, here.opened.home.grades

    model, grades = run(work())
    stages = stages_of(root, SystemClock())
    return model, grades, {name: stage.partner.half for name, stage in stages.items()}


@pytest.fixture(scope="module")
def tree_halves(trees_made: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    root = copied(trees_made, tmp_path_factory.mktemp("trees"))
    return root, *halves(root)


@pytest.fixture(scope="module")
def card_halves(card_made: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    root = copied(card_made, tmp_path_factory.mktemp("card"))
    return root, *halves(root)


def drawn(data: st.DataObject, model: JointModel) -> list[np.ndarray]:
    """Values of every party's features: any numbers, missing ones among them."""
    n = data.draw(st.integers(1, 8))
    members = (model.agreement.active, *model.agreement.passives)
    numbers = st.one_of(
        st.just(math.nan), st.floats(-4, 4), st.floats(allow_infinity=False), st.sampled_from([0.0, -0.0])
    )
    return [
        np.array([[data.draw(numbers) for _ in member.features] for _ in range(n)], np.float64).reshape(n, -1)
        for member in members
    ]


@settings(max_examples=60)
@given(st.data())
def test_trees_of_any_values_are_those_of_one_table(tree_halves: Any, data: st.DataObject) -> None:
    root, model, grades, half = tree_halves
    own, *others = drawn(data, model)
    told = [
        half[name].tell(np.ones(len(own), np.bool_), values)
        for name, values in zip(partners_of(model), others, strict=True)
    ]
    share = {name: (root / name / "share.json").read_bytes() for name in ("bank", *half)}
    ensemble = read_ensemble(share["bank"])
    records = [ensemble.records, *(read_records(share[name]) for name in half)]
    expected = joint_scores(ensemble, records, [own, *others])
    np.testing.assert_array_equal(model.judge(own, told, grades).pd, expected)


@settings(max_examples=60)
@given(st.data())
def test_a_scorecard_of_any_values_is_the_one_of_one_table(card_halves: Any, data: st.DataObject) -> None:
    root, model, grades, half = card_halves
    own, *others = drawn(data, model)
    told = [
        half[name].tell(np.ones(len(own), np.bool_), values)
        for name, values in zip(partners_of(model), others, strict=True)
    ]
    judged = model.judge(own, told, grades)
    members = (model.agreement.active, *model.agreement.passives)
    shares = [(root / member.name / "share.json").read_bytes() for member in members]
    expected = joint_log_odds(shares, RunFile.read(root).terms, [own, *others])
    np.testing.assert_array_equal(judged.pd, sigmoid(expected))
    points = read_share(shares[0])["base_points"]
    for member, share, values in zip(members, shares, [own, *others], strict=True):
        card = read_card(share)
        points = points + card.points(values[:, [member.features.index(each.name) for each in card.features]])
    assert judged.points.tolist() == points.tolist()
