"""Noise on a partner's cells: it adds up to nothing, accuses nobody, and hides whose the sums of few rows are."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vfl.crypto.cell_noise import cell_noise
from vfl.crypto.lattice import LatticeParameters
from vfl.crypto.scheme import CellLayout, Lanes
from vfl.errors import BrokenPromise, UsageError
from vfl.learn.metrics import auc
from vfl.learn.tree import go_left
from vfl.protocols.boost import NodeHistograms
from vfl.wire import Message

from .boosting import Case, cases, clear, credit, lattice, seed, share_of, train
from .test_boost_hostile import caught_lying, of_sums


@given(st.lists(st.integers(1, 40), min_size=1, max_size=5), st.integers(0, 2**40), st.integers(0, 2**30))
def test_noise_sums_to_nothing_over_each_feature_and_is_bounded_over_any_run_of_bins(bins, g_noise, h_noise):
    layout, lanes = CellLayout(tuple(bins)), Lanes(2**20, 2**32, 2**30, g_noise, h_noise)
    noise = cell_noise(layout, lanes, seed(1))
    assert np.array_equal(noise, cell_noise(layout, lanes, seed(1)))
    for offset, count in zip(layout.offsets, bins, strict=True):
        own = noise[offset : offset + count]
        assert not own.sum(axis=0).any()
        assert (np.abs(np.cumsum(own, axis=0)) <= [2 * g_noise, 2 * h_noise]).all()


def test_noise_is_uniform_and_differs_from_node_to_node():
    layout, lanes = CellLayout((4000,)), Lanes(1000, 1 << 20, 1 << 20, 100, 7)
    first, second = (cell_noise(layout, lanes, seed(number)) for number in (1, 2))
    assert (np.abs(first).max(axis=0) <= [200, 14]).all()
    assert (np.abs(first).max(axis=0) >= [180, 14]).all()
    variance = (2 * 100 + 1) ** 2 / 12
    assert abs(first[:, 0].var() / (2 * variance) - 1) < 0.1
    assert abs(np.corrcoef(first[:, 0], second[:, 0])[0, 1]) < 0.06


def test_bounds_leave_room_for_noise():
    small, large = (LatticeParameters(Lanes(1000, 1 << 16, 1 << 14, noise), 100, 100) for noise in (0, 60_000_000))
    assert large.log_delta < small.log_delta
    with pytest.raises(UsageError, match="h_noise is -1; allowed: 0 to"):
        Lanes(10, 8, 8, 0, -1)


@settings(deadline=None, max_examples=60)
@given(cases(), st.sampled_from([0.01, 0.5, 3.0]), st.booleans())
def test_noise_accuses_nobody(drawn: Case, noise: float, named: bool) -> None:
    options = dataclasses.replace(drawn.parameters, min_sum_hessian_in_leaf=1e-3)
    case = dataclasses.replace(drawn, noise=noise, parameters=options)
    train(case, clear(named))


@settings(deadline=None, max_examples=15)
@given(cases(), st.sampled_from([0.5, 3.0]))
def test_noise_under_encryption_accuses_nobody(drawn: Case, noise: float) -> None:
    options = dataclasses.replace(drawn.parameters, min_sum_hessian_in_leaf=1e-3)
    case, scheme = lattice(dataclasses.replace(drawn, noise=noise, parameters=options))
    train(case, scheme)


def test_noise_comes_with_the_lattice_too() -> None:
    quiet, loud = (lattice(credit(600, (1, 2), num_leaves=8, num_iterations=4)) for _ in range(2))
    case = dataclasses.replace(loud[0], noise=2.0)
    case, scheme = lattice(case)
    honest, noisy = train(*quiet), train(case, scheme)
    assert share_of(honest, quiet[0]) != share_of(noisy, case)
    assert train_auc(case, noisy) > 0.8


def train_auc(case: Case, tapes) -> float:
    sides = [
        np.array([go_left(case.of(party)[:, r.feature], r) for r in records]).reshape(-1, len(case.labels))
        for party, records in enumerate(share_of(tapes, case))
    ]
    return auc(case.labels, tapes["bank"].result.predict_raw(sides))


@pytest.mark.parametrize("named", [True, False])
def test_lies_beyond_the_noise_are_still_caught(named: bool) -> None:
    case = dataclasses.replace(credit(60, (1, 2), num_leaves=6), noise=0.5)
    scale = case.parameters.scale

    def off_by_one(cells: np.ndarray) -> np.ndarray:
        cells[0, 0] += 1
        return cells

    def swapped(cells: np.ndarray) -> np.ndarray:
        cells[0, 1], cells[1, 1] = -3 * scale // 4, cells[0, 1] + cells[1, 1] + 3 * scale // 4
        return cells

    for lie, sentence in ((off_by_one, "sum to the node's total"), (swapped, "each bin's H is in 0 to that")):
        error, then = caught_lying(case, of_sums(lie), named=named)
        assert isinstance(error, BrokenPromise)
        assert sentence in str(error)
        assert then == []


def test_a_split_beyond_the_noise_is_still_caught() -> None:
    case = dataclasses.replace(credit(60, (1, 2), num_leaves=6), noise=0.25)

    def tempting(cells: np.ndarray) -> np.ndarray:
        cells[:2, 0] += np.array([1, -1]) * 30 * case.parameters.scale
        return cells

    seen: list[Message] = []

    def lie(message: Message) -> Message:
        seen.append(message)
        return of_sums(tempting)(message)

    error, _ = caught_lying(case, lie, named=True)
    assert "the rows sent left have the sums of the bins on the left" in str(error)
    assert any(isinstance(message, NodeHistograms) for message in seen)
