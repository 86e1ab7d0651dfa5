"""Masked shares: the expectation of trees without a partner, and drift when a partner's data change."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from run_kit import TOML, Runs, here, scenario
from scoring_kit import copied
from settling_kit import CLAUSE, bundle_of, checked, said

from vfl.errors import UsageError
from vfl.learn.tree import Cover, Tree
from vfl.settle.monitoring import Share, expected


def test_an_absent_owner_sends_customers_both_ways() -> None:
    """Root of owner 1; its left child of owner 0 with the leaves 0 and 1; its right is leaf 2."""
    cover = Cover(np.array([30, 10, 60]), np.zeros(3), np.zeros(2))
    tree = Tree(
        np.array([1, ~0], np.int32), np.array([~2, ~1], np.int32), np.array([1, 0], np.int16), np.zeros(2, np.int32),
        np.array([1.0, 2.0, 10.0]), cover,
    )  # fmt: skip
    mine, theirs = np.array([[True, False, True]]), np.array([[True, True, False]])
    assert expected(tree, {0: mine, 1: theirs}, 3).tolist() == [1.0, 2.0, 10.0]
    assert expected(tree, {0: mine}, 3).tolist() == pytest.approx([0.4 * 1 + 6, 0.4 * 2 + 6, 0.4 * 1 + 6])
    assert expected(tree, {1: theirs}, 3).tolist() == pytest.approx([1.25, 1.25, 10.0])
    assert expected(tree, {}, 3).tolist() == pytest.approx([0.4 * 1.25 + 6] * 3)
    leaf = Tree(*(np.zeros(0, kind) for kind in (np.int32, np.int32, np.int16, np.int32)), np.array([5.0]), cover)
    assert expected(leaf, {}, 2).tolist() == [5.0, 5.0]
    with pytest.raises(UsageError, match="no counts of training rows"):
        expected(Tree(tree.left, tree.right, tree.owner, tree.record, tree.leaf_value), {}, 3)


def test_drift_is_a_first_share_outside_the_interval_of_now() -> None:
    found = [Share("a", 0.5, 0.4, 0.3, 0.5, first) for first in (0.2, 0.3, 0.5, 0.6)]
    assert [one.drifted for one in found] == [True, False, False, True]
    assert found[0].to_json()["drifted"]


CARD = TOML[: TOML.index("[model]")] + '[model]\nkind = "scorecard"\n' + TOML[TOML.index("[privacy]") :]


@pytest.mark.parametrize("text", [TOML, CARD], ids=["trees", "scorecard"])
def test_a_partner_whose_data_went_bad_is_seen(text: str, finished: Runs, tmp_path: Path) -> None:
    """The payroll provider's table, a month later: the same customers, another order of salaries."""
    own = scenario(tmp_path / "own", text + CLAUSE)
    root = tmp_path / "run"
    assert here("run", own, "--out", root).returncode == 0
    assert "was not valued" in here("settle", "monitor", root).stderr
    said("value", root)
    first = said("monitor", root)["players"]
    assert all(one["first"] == pytest.approx(one["masked"], abs=1e-6) for one in first)
    assert not any(one["drifted"] for one in first)
    table = own.parent / "payroll.csv"
    frame = pd.read_csv(table, dtype={"mobile": str})
    frame["salary"] = frame["salary"].sample(frac=1.0, random_state=1).to_numpy()
    frame.to_csv(table, index=False)
    now = {one["name"]: one for one in said("monitor", root)["players"]}
    assert now["payroll"]["masked"] < now["payroll"]["first"] / 2
    assert "masked at first" in here("settle", "monitor", root).stdout
    assert checked(bundle_of(root), root).code == 0, "and it is on record"


def test_a_label_owner_that_plays_is_not_masked(finished: Runs, tmp_path: Path) -> None:
    root = copied(finished(TOML + CLAUSE.replace("price", 'label_owner = "player"\nprice')).out, tmp_path)
    shares = said("value", root)
    assert json.dumps(shares["ppm"]["bank"]) != "0"
    assert "cannot be masked" in here("settle", "monitor", root).stderr
