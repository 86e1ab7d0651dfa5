"""What a partner can do with the weights of evidence it is told: rank customers by its own columns, and no better."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest
from attack_kit import EVEN, STRONG, WEAK, card_case
from sklearn.linear_model import LogisticRegression

from vfl.learn.feature_parameters import BinningParameters
from vfl.learn.metrics import auc
from vfl.learn.woe import fit_features, woe_matrix

SPLITS = {"even": EVEN, "weak": WEAK, "strong": STRONG}
LEAST = 20


@cache
def ranked(name: str) -> tuple[float, float]:
    """AUC for the labels of the training customers: by the sum of the WOE told, and by all labels and own columns."""
    case = card_case(SPLITS[name])
    train, labels, values = case.parts.train, case.labels, case.of(1)
    names = [f"f{number}" for number in range(values.shape[1])]
    woe = woe_matrix(fit_features(names, values, labels, train, BinningParameters(), LEAST), values)[train]
    fitted = LogisticRegression(max_iter=500).fit(woe, labels[train])
    return auc(labels[train], woe.sum(axis=1)), auc(labels[train], fitted.decision_function(woe))


@pytest.mark.parametrize("name", SPLITS)
def test_the_sum_of_weights_ranks_nearly_as_well_as_all_labels_would(name: str) -> None:
    told, everything = ranked(name)
    print(f"\n{name}: WOE told {told:.3f}, all labels {everything:.3f}")
    assert everything - 0.03 < told <= everything + 0.002


def test_the_guide_has_the_figures() -> None:
    page = (Path(__file__).parents[2] / "docs/guide/privacy.md").read_text("utf-8")
    for name, words in (
        ("even", "10 columns, arrears but the latest"),
        ("weak", "6 columns"),
        ("strong", "latest arr"),
    ):
        told, _ = ranked(name)
        assert any(words in line and f"| {told:.3f} |" in line for line in page.splitlines()), f"{name} {told:.3f}"


def test_nothing_is_known_of_one_customer_in_a_bin() -> None:
    """Two label columns with equal counts in every pre-bin give a partner the same weights."""
    rng = np.random.default_rng(4)
    column = rng.normal(size=400)
    labels = (rng.random(400) < 0.3).astype(np.int8)
    other = labels.copy()
    order = np.argsort(column)
    for block in np.array_split(order, 400 // LEAST):
        other[block] = np.roll(labels[block], 1)
    bins = BinningParameters(max_prebins=400 // LEAST)
    first, second = (fit_features(["x"], column[:, None], y, y >= 0, bins, LEAST) for y in (labels, other))
    assert first[0].woe.tolist() == second[0].woe.tolist()
    assert (labels != other).mean() > 0.2
