"""The active party reads a partner's columns from exact sums: each attack at work, and what stands against it."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from unittest import mock

import numpy as np
import pytest
from attack_kit import EVEN, PARAMETERS, card_case, run
from derivatives import fixed_gradients
from protocols.boosting import Case, clear

from vfl.attacks.differencing import difference
from vfl.attacks.inversion import invert
from vfl.attacks.ordering import in_order
from vfl.attacks.tags import read, tag
from vfl.learn.ensemble import Leaf
from vfl.learn.histogram import build
from vfl.learn.parameters import GBDTParameters
from vfl.protocols import boost

DEFAULTS = GBDTParameters(num_iterations=20, min_data_in_bin=20)
"""LightGBM's defaults, as a run has them: 31 leaves, 255 bins of 20 rows or more."""


@cache
def facts(name: str, rows: int, trees: int, noise: float = 0.0) -> tuple[int, int, int]:
    """Claims about customers from LightGBM's defaults; `off`: without a minimum population of bins and leaves."""
    case = replace(card_case(EVEN, rows, parameters=replace(DEFAULTS, num_iterations=trees)), noise=noise)
    if name == "off":
        case = replace(case, parameters=replace(case.parameters, min_data_in_bin=1, min_data_in_leaf=1), least=1)
    return claims_of(case)


def claims_of(case: Case) -> tuple[int, int, int]:
    """Distinct (customer, feature, bin) claims at all nodes and siblings, how many are true, how many were possible."""
    claimed: set[tuple[int, int]] = set()
    mine = case.columns(1)
    cell = mine.codes + mine.layout.offsets[:-1]
    search = boost._Grower._search

    def watched(grower: boost._Grower, leaf: Leaf) -> None:
        rows = np.flatnonzero(leaf.rows & case.parts.train)
        draws = 2 * (leaf.depth + 1)  # two in a sum, and those of the sums that it is a difference of
        slack = draws * case.lanes.g_noise, draws * case.lanes.h_noise
        claims = invert(grower.booster.now.g[rows], grower.booster.now.h[rows], leaf.sums[1], slack)
        claimed.update((int(rows[claim.row]), claim.cell) for claim in claims)
        search(grower, leaf)

    with mock.patch.object(boost._Grower, "_search", watched):
        run(case, clear(False))
    true = sum(at in cell[row] for row, at in claimed)
    return len(claimed), true, int(case.parts.train.sum()) * len(mine.layout.n_bins)


@pytest.mark.parametrize(
    ("name", "rows", "trees"),
    [
        ("defaults", 3000, 4),
        ("off", 900, 2),
        pytest.param("defaults", 3000, 20, marks=pytest.mark.slow),
        pytest.param("defaults", 30_000, 20, marks=pytest.mark.slow),
        pytest.param("off", 900, 5, marks=pytest.mark.slow),
    ],
)
def test_exact_sums_of_small_cells_give_customers_away(name: str, rows: int, trees: int) -> None:
    """A minimum population of bins counts all training rows: cells of deep nodes are smaller, and this is the price."""
    claimed, true, possible = facts(name, rows, trees)
    print(f"\nexact sums, {name}, {rows * 2 // 3} training rows: {claimed} claims, {true} true, of {possible} possible")
    assert claimed > 0
    assert true > 0.5 * claimed


@pytest.mark.parametrize(("noise", "share"), [(0.01, 1.0), (0.1, 0.1), (1.0, 0.0)])
def test_noise_on_cells_hides_whose_the_sums_are(noise: float, share: float) -> None:
    """The attacker knows how wide the noise is. Noise of one customer's gradient leaves no claim."""
    exact, noisy = (facts("defaults", 3000, 4, each) for each in (0.0, noise))
    print(f"\ncell noise {noise:g}, 2,000 training rows, 4 trees: {noisy[1]} true claims, {exact[1]} without noise")
    assert noisy[1] <= share * exact[1]


def test_inversion_claims_what_has_one_solution_only() -> None:
    g, h = np.array([5, -7, 11, 11]), np.array([2, 3, 4, 4])
    cells = np.array([[5, 2], [-2, 5], [11, 4], [22, 8], [0, 0], [99, 1]])
    found = {(claim.row, claim.cell) for claim in invert(g, h, cells)}
    assert found == {(0, 0), (0, 1), (1, 1), (2, 3), (3, 3)}


@pytest.mark.parametrize("noise", [0.0, 0.25, 1.0])
def test_tagged_gradients_are_read_from_one_histogram(noise: float) -> None:
    """Nothing in this version prevents it; noise of the partner on its sums would, at 1/1,000 of a gradient already."""
    case = card_case(EVEN)
    fit = case.parts.train
    columns, rng = case.columns(1), np.random.default_rng(3)
    codes, layout = columns.codes[fit], columns.layout
    g, h = fixed_gradients(np.zeros(int(fit.sum())), case.labels[fit], 24)
    victims = rng.choice(len(g), 12, replace=False)
    tagged = tag(g, victims, 1 << 24)
    assert np.abs(tagged).max() <= 1 << 24
    assert np.abs(tagged - g).max() <= 1 << 12  # 2^-12 of a gradient
    sums = build(codes, layout, tagged, h)[:, 0]
    sums = sums + np.rint(rng.normal(size=len(sums)) * noise * (1 << 24)).astype(np.int64)
    right = float((read(sums, len(victims), layout.offsets) == codes[victims]).mean())
    print(f"\ntagged gradients, 12 victims x 10 features, noise {noise}: {right:.1%} of bins read")
    assert right == 1.0 if noise == 0 else right < 0.1


@pytest.mark.parametrize("noise", [0.0, 0.05, 1.0])
def test_two_runs_that_differ_by_one_customer(noise: float) -> None:
    """Nothing in this version prevents it but the ledgers, in which both populations stand."""
    case = card_case(EVEN, 6000)
    columns, rng = case.columns(1), np.random.default_rng(4)
    rows = np.flatnonzero(case.parts.train)
    codes, layout = columns.codes[rows], columns.layout
    found = []
    for one in rng.choice(len(rows), 40, replace=False):
        kept = np.arange(len(rows)) != one
        counts = []
        for who in (np.ones(len(rows), np.bool_), kept):
            rate = case.labels[rows[who]].mean()
            score = np.full(int(who.sum()), np.log(rate / (1 - rate)))
            g, h = fixed_gradients(score, case.labels[rows[who]], 24)
            sums = build(codes[who], layout, g, h)[:, 1] / 2**24
            counts.append((sums + rng.normal(size=len(sums)) * noise) / (rate * (1 - rate)))
        found.append(difference(*counts, layout.offsets) == codes[one])
    right = float(np.mean(found))
    common = np.mean([np.bincount(column).max() / len(column) for column in codes.T])
    print(f"\ntwo runs, noise {noise}: {right:.1%} of bins found; the commonest bin is {common:.1%}")
    assert right > 0.9 if noise == 0.0 else right < (1.0 if noise < 1 else common + 0.03)


def test_shuffled_candidates_are_put_back_into_order() -> None:
    case = card_case(EVEN, 3000)
    rows = case.parts.train
    columns, rng = case.columns(1), np.random.default_rng(5)
    g, h = fixed_gradients(np.zeros(int(rows.sum())), case.labels[rows], 24)
    sums = build(columns.codes[rows], columns.layout, g, h)
    shares = {"cumulated": [], "single": []}
    for feature in range(len(columns.layout.n_bins)):
        own = sums[columns.layout.cells_of(feature), 1]
        order = rng.permutation(len(own))
        for kind, told in (("cumulated", np.cumsum(own)), ("single", own)):
            shares[kind].append((in_order(told[order]) == order).mean())
    cumulated, single = (float(np.mean(share)) for share in shares.values())
    print(f"\nsorting by H: {cumulated:.1%} of shuffled cumulated bins in place, {single:.1%} of single ones")
    assert cumulated == 1.0
    assert single < 0.6


def test_parameters_of_the_study() -> None:
    assert (PARAMETERS.num_iterations, PARAMETERS.max_depth, PARAMETERS.learning_rate) == (10, 4, 0.3)
    assert PARAMETERS.max_bin == 32
