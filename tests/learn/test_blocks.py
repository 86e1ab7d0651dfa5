"""The joint fit of blocks comes to the solution of the pooled columns, whoever has which."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from vfl.errors import UsageError
from vfl.learn.blocks import JointFit, OwnBlock
from vfl.learn.joint_errors import block_inference, joint_covariances
from vfl.learn.logistic import Logistic
from vfl.learn.scorecard_parameters import ScorecardParameters


def columns(rows: int, count: int, number: int, repeat: float = 0.3) -> tuple[np.ndarray, np.ndarray]:
    """Weights of evidence of quartiles of columns that repeat each other a little."""
    rng = np.random.default_rng(number)
    values = rng.normal(size=(rows, count)) @ (np.eye(count) + repeat * rng.normal(size=(count, count)))
    labels = (values @ rng.uniform(0.2, 1.0, count) + rng.logistic(size=rows) > 1.0).astype(np.int8)
    codes = (values > 0).astype(int) + (values > 0.8) + (values < -0.8) * 3
    found = np.empty(values.shape)
    for place in range(count):
        for code in np.unique(codes[:, place]):
            inside = codes[:, place] == code
            bads, goods = labels[inside].sum() + 0.5, (1 - labels[inside]).sum() + 0.5
            found[inside, place] = np.log(bads / goods * (1 - labels).sum() / labels.sum())
    return np.ldexp(np.rint(np.ldexp(found, 12)), -12), labels


class Talk:
    """Blocks that tell each other what a protocol would carry."""

    def __init__(self, matrix: np.ndarray, labels: np.ndarray, owned: tuple[int, ...], agreed: ScorecardParameters):
        self.parts = np.split(matrix, np.cumsum(owned)[:-1], axis=1)
        self.agreed = agreed
        self.joint = JointFit(self.parts[0], labels, len(owned) - 1, agreed)
        self.blocks = [OwnBlock(part, agreed) for part in self.parts[1:]]
        self.told = [0] * len(self.blocks)
        for number in range(len(self.blocks)):
            self.restart(number)

    def restart(self, number: int) -> None:
        self.joint.restart(number, *self.blocks[number].restart())
        self.told[number] += 1

    def move(self) -> bool:
        settled = self.joint.solve()
        for number, block in enumerate(self.blocks):
            if not block.combine(self.joint.combination(number)):
                self.restart(number)
                settled = False
        return settled

    def settle(self, steps: int = 40) -> int:
        """Steps until none is large."""
        for step in range(steps):
            settled = self.move()
            residuals, curvature = self.joint.residuals()
            largest = 0.0
            for number, block in enumerate(self.blocks):
                size, told = block.step(self.parts[number + 1].T @ residuals, curvature)
                largest = max(largest, size)
                if told is not None:
                    self.joint.add(number, told)
                    self.told[number] += 1
            if settled and largest <= self.agreed.tolerance:
                self.move()
                return step
        raise AssertionError("the coefficients do not settle")

    @property
    def coefficients(self) -> np.ndarray:
        return np.concatenate([self.joint.coefficients, *(block.coefficients for block in self.blocks)])


def reference(matrix: np.ndarray, labels: np.ndarray, agreed: ScorecardParameters) -> Logistic:
    return Logistic.fit(matrix, labels, l1=agreed.l1, l2=agreed.l2, positive=agreed.signs == "positive")


def loss(model_predictor: np.ndarray, labels: np.ndarray) -> float:
    return float((np.logaddexp(0, model_predictor) - labels * model_predictor).mean())


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.integers(1, 5), min_size=2, max_size=4).map(tuple),
    st.integers(0, 10**6),
    st.sampled_from([0.1, 0.4]),
    st.sampled_from([{}, {"signs": "positive"}, {"l1": 8.0}, {"l2": 5.0}, {"l1": 4.0, "l2": 2.0, "signs": "positive"}]),
)
def test_the_solution_of_the_pooled_columns(owned: tuple[int, ...], number: int, repeat: float, agreed: Any) -> None:
    parameters = ScorecardParameters.from_mapping(agreed)
    matrix, labels = columns(1500, sum(owned), number, repeat)
    # As selection leaves it.
    assume(matrix.std(axis=0).min() > 0.1)
    assume(np.linalg.cond(np.corrcoef(matrix.T)) < 200)
    talk = Talk(matrix, labels, owned, parameters)
    talk.settle()
    due = reference(matrix, labels, parameters)
    np.testing.assert_allclose(talk.coefficients, due.coefficients, atol=1e-4)
    assert talk.joint.intercept == pytest.approx(due.intercept, abs=1e-4)
    assert loss(talk.joint.predictor(), labels) == pytest.approx(loss(due.predictor(matrix), labels), abs=1e-6)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10**6), st.sampled_from([0.5, 5.0, 50.0]), st.sampled_from(["free", "positive"]))
def test_a_penalty_above_all_that_a_column_says(number: int, l1: float, signs: str) -> None:
    """Columns of hardly any variance: the penalty would drive them past 0 without end."""
    rng = np.random.default_rng(number)
    values = rng.normal(size=(300, 6))
    labels = (values[:, 0] + values[:, 3] + rng.logistic(size=300) > 0.5).astype(np.int8)
    matrix = np.ldexp(np.rint(np.ldexp(values * [1.0, 0.02, 1.0, 1.0, 0.02, 0.05], 12)), -12)
    parameters = ScorecardParameters(l1=l1, signs=signs)
    talk = Talk(matrix, labels, (2, 2, 2), parameters)
    talk.settle()
    np.testing.assert_allclose(talk.coefficients, reference(matrix, labels, parameters).coefficients, atol=1e-4)


def test_few_numbers_are_enough() -> None:
    """No more than the block has features, and one, where nothing is penalised."""
    matrix, labels = columns(4000, 14, 5, 0.15)
    talk = Talk(matrix, labels, (6, 8), ScorecardParameters())
    talk.settle()
    assert talk.told[0] <= 9


def test_tests_of_the_pooled_columns() -> None:
    matrix, labels = columns(2000, 7, 3)
    talk = Talk(matrix, labels, (2, 3, 2), ScorecardParameters())
    talk.settle()
    due = reference(matrix, labels, ScorecardParameters()).inference(matrix)
    spans, directions = [], []
    for number, block in enumerate(talk.blocks):
        chosen, missing = block.basis()
        mine, new = block.complete(chosen)
        assert len(new) == missing
        told = talk.joint.told(number)
        spans.append(np.column_stack([*(told[one] for one in chosen), *(one.predictor for one in new)]))
        directions.append(mine)
    own, blocks = joint_covariances(talk.joint, spans)
    rest = [block_inference(b.coefficients, d, c) for b, d, c in zip(talk.blocks, directions, blocks, strict=True)]
    np.testing.assert_allclose(np.concatenate([own.errors, *(one.errors for one in rest)]), due.errors, rtol=1e-5)
    np.testing.assert_allclose(
        np.concatenate([own.p_values, *(one.p_values for one in rest)]), due.p_values, rtol=1e-3, atol=1e-12
    )


def test_a_column_of_zeros_has_no_coefficient() -> None:
    matrix, labels = columns(500, 4, 1)
    matrix[:, 3] = 0.0
    matrix[:, 1] = 0.0
    talk = Talk(matrix, labels, (2, 2), ScorecardParameters())
    talk.settle()
    assert talk.coefficients[[1, 3]].tolist() == [0.0, 0.0]


def test_directions_that_say_nothing_new_are_not_told() -> None:
    matrix, labels = columns(500, 3, 1)
    talk = Talk(matrix, labels, (2, 1), ScorecardParameters())
    talk.settle()
    assert talk.told == [1], "one feature: its start spans it"


def test_coefficients_with_the_wrong_sign_are_held_at_zero() -> None:
    matrix, labels = columns(3000, 4, 3, 0.0)
    matrix[:, [1, 2]] *= -1
    agreed = ScorecardParameters(signs="positive")
    talk = Talk(matrix, labels, (2, 2), agreed)
    talk.settle()
    assert talk.coefficients[[1, 2]].tolist() == [0.0, 0.0]
    assert (talk.coefficients[[0, 3]] > 0).all()
    assert reference(matrix, labels, agreed).coefficients[[1, 2]].tolist() == [0.0, 0.0]


def test_columns_that_tell_labels_apart_are_refused() -> None:
    matrix, labels = columns(300, 3, 4)
    matrix[:, 2] = np.where(labels == 1, 3.0, -3.0)
    talk = Talk(matrix, labels, (2, 1), ScorecardParameters())
    with pytest.raises(UsageError, match="tell good and bad training customers apart"):
        talk.settle()
