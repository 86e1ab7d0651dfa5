"""Joint prediction: what the ensemble says of the pooled values, seen or not, missing or not."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from effort import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from vfl.channel import Channel
from vfl.errors import BrokenPromise, VflError
from vfl.learn.columns import Columns
from vfl.protocols import score
from vfl.protocols.score import Decisions, ScoreRows
from vfl.wire import pack

from .boosting import Case, cases, clear, credit, reference, train
from .hostile import Role, Tape, assert_harmless, damage, play, record


def bank(rows: np.ndarray, records: Mapping[str, int]) -> Role:
    async def role(peers: Mapping[str, Channel]) -> list[np.ndarray]:
        return [await score.active(peers[name], rows, count) for name, count in records.items()]

    return role


def partner(left: np.ndarray) -> Role:
    return lambda peers: score.passive(peers["bank"], left)


def run(rows: np.ndarray, **lefts: np.ndarray) -> dict[str, Tape]:
    passives = {name: partner(left) for name, left in lefts.items()}
    asks = bank(rows, {name: len(left) for name, left in lefts.items()})
    return record({"bank": asks, **passives}, [("bank", name) for name in lefts])


def joint(case: Case, values: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Raw scores of `rows` of other pooled values, got together by the parties that trained `case`."""
    tapes = train(case, clear(True))
    model = tapes["bank"].result

    def decided(columns: Columns, party: int, records: Any) -> np.ndarray:
        return dataclasses.replace(columns, values=case.of(party, values)).left_values(records)

    lefts = {
        name: decided(*tapes[name].result[:1], i, tapes[name].result[1]) for i, name in enumerate(case.partners, 1)
    }
    heard = run(rows, **lefts)
    assert all(np.array_equal(heard[name].result, rows) for name in lefts)
    own = decided(case.columns(0), 0, model.records)[:, rows]
    return model.predict_raw([own, *heard["bank"].result])


@settings(deadline=None, max_examples=60)
@given(cases(), st.integers(0, 2**32 - 1), st.booleans())
def test_joint_scores_are_those_of_the_pooled_values(case: Case, number: int, seen: bool) -> None:
    rng = np.random.default_rng(number)
    values = case.values.copy()
    if not seen:
        values = rng.normal(size=(int(rng.integers(1, 40)), case.values.shape[1])) * 10.0 ** rng.integers(-2, 4)
        values[rng.random(values.shape) < 0.2] = np.nan
        values[rng.random(values.shape) < 0.1] = rng.choice([-1e300, 0.0, 1e300])
    rows = rng.random(len(values)) < rng.choice([0.0, 0.5, 1.0])
    found = joint(case, values, rows)
    assert found.tobytes() == reference(case).predict_raw(values[rows]).tobytes()


def test_missing_values_that_training_never_saw() -> None:
    case = credit(200, (2, 2), num_leaves=8)
    values = np.full((3, 4), np.nan)
    np.testing.assert_array_equal(joint(case, values, np.ones(3, np.bool_)), reference(case).predict_raw(values))


def test_nobody_to_score_and_nothing_to_say() -> None:
    none = np.zeros(9, np.bool_)
    assert run(none, telecom=np.ones((3, 9), np.bool_))["bank"].result[0].shape == (3, 0)
    assert run(~none, telecom=np.ones((0, 9), np.bool_))["bank"].result[0].shape == (0, 9)


def test_cost_is_as_written() -> None:
    tapes = run(np.ones(800, np.bool_), telecom=np.zeros((16, 800), np.bool_))
    sizes = [len(tapes[name].messages()[0][1].body) for name in ("telecom", "bank")]
    assert sizes[0] <= 800 // 8 + 60
    assert sizes[1] <= 800 * 16 // 8 + 60


# Any peer at all

ROWS = np.array([True, False, True, True, False, True, False, False, False, True])
LEFT = np.random.default_rng(1).random((3, 10)) < 0.5


@pytest.fixture(scope="module")
def tapes() -> dict[str, Tape]:
    return run(ROWS, telecom=LEFT)


ROLES = {"bank": bank(ROWS, {"telecom": 3}), "telecom": partner(LEFT)}
LIES = [
    ("telecom", ScoreRows(11, b"\xff\xe0"), "the rows asked for are the aligned rows"),
    ("telecom", ScoreRows(9, b"\xff\x80"), "the rows asked for are the aligned rows"),
    ("telecom", ScoreRows(10, b"\xff"), "10 bits take 2 bytes"),
    ("telecom", ScoreRows(10, b"\xff\xff"), "padding bits are zero"),
    ("bank", Decisions(4, bytes(3)), "the passive party holds 3 splits"),
    ("bank", Decisions(2, bytes(2)), "the passive party holds 3 splits"),
    ("bank", Decisions(3, bytes(1)), "15 bits take 2 bytes"),
    ("bank", Decisions(3, b"\xff\xff"), "padding bits are zero"),
]


@pytest.mark.parametrize(("victim", "said", "sentence"), LIES, ids=[f"{v}: {s}" for v, _, s in LIES])
def test_false_counts_are_refused(tapes: dict[str, Tape], victim: str, said: Any, sentence: str) -> None:
    tape = tapes[victim]
    fate = play(tape.replace(tape.place(type(said).__name__), pack(said)), ROLES[victim])
    assert isinstance(fate, BrokenPromise)
    assert fate.peer == ("telecom" if victim == "bank" else "bank")
    assert sentence in str(fate)


@pytest.mark.parametrize("victim", ["bank", "telecom"])
def test_any_peer_at_all_ends_in_known_errors(tapes: dict[str, Tape], victim: str) -> None:
    assert_harmless(tapes[victim], ROLES[victim])

    @examples(80, thorough=250)
    @given(damage(tapes[victim]))
    def attack(damaged: Tape) -> None:
        fate = play(damaged, ROLES[victim])
        assert isinstance(fate, VflError) or victim == "telecom" or fate[0].shape == (3, 5)

    attack()
