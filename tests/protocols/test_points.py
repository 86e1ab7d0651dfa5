"""Joint prediction with a scorecard: the parts add up, and no peer can bend or break it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings

from vfl.channel import Channel
from vfl.errors import BrokenPromise, UsageError, VflError
from vfl.protocols import points
from vfl.protocols.points import PartScores, PointRows
from vfl.wire import pack

from .hostile import Role, Tape, assert_harmless, damage, play, record

ROWS = np.array([True, False, True, True, False, True, False, False, False, True])
PARTS = np.linspace(-3.0, 2.0, 10), np.arange(-5, 5)


def bank(rows: np.ndarray = ROWS) -> Role:
    async def role(peers: Mapping[str, Channel]) -> Any:
        return await points.active(peers["telecom"], rows)

    return role


def partner(predictor: np.ndarray = PARTS[0], earned: np.ndarray = PARTS[1]) -> Role:
    return lambda peers: points.passive(peers["bank"], predictor, earned)


def run(rows: np.ndarray = ROWS, **others: Role) -> dict[str, Tape]:
    return record({"bank": bank(rows), "telecom": partner(), **others}, [("bank", "telecom")])


def test_parts_are_told_of_the_rows_asked() -> None:
    tapes = run()
    told, earned = tapes["bank"].result
    np.testing.assert_allclose(told, PARTS[0][ROWS], atol=2**-21)
    assert earned.tolist() == PARTS[1][ROWS].tolist()
    assert np.array_equal(tapes["telecom"].result, ROWS)


def test_nobody_to_score() -> None:
    told, earned = run(~ROWS & ROWS)["bank"].result
    assert len(told) == len(earned) == 0


def test_cost_is_as_written() -> None:
    rows = np.ones(800, np.bool_)
    tapes = run(rows, telecom=partner(np.zeros(800), np.zeros(800, np.int64)))
    sizes = [len(tapes[name].messages()[0][1].body) for name in ("telecom", "bank")]
    assert sizes[0] <= 800 // 8 + 60
    assert sizes[1] <= 800 * 8 + 60


@pytest.mark.parametrize("part", [(np.full(10, 4000.0), PARTS[1]), (PARTS[0], np.full(10, 2**31))])
def test_a_part_beyond_32_bits_is_the_partys_own_fault(part: tuple[np.ndarray, np.ndarray]) -> None:
    with pytest.raises(UsageError, match="too large"):
        run(telecom=partner(*part))


LIES = [
    ("telecom", PointRows(11, b"\xff\xe0"), "the rows asked for are the aligned rows"),
    ("telecom", PointRows(10, b"\xff"), "10 bits take 2 bytes"),
    ("telecom", PointRows(10, b"\xff\xff"), "padding bits are zero"),
    ("bank", PartScores(bytes(16), bytes(20)), "two numbers of 4 bytes for each of 5 rows"),
    ("bank", PartScores(bytes(20), bytes(24)), "two numbers of 4 bytes for each of 5 rows"),
]
ROLES = {"bank": bank(), "telecom": partner()}


@pytest.mark.parametrize(("victim", "said", "sentence"), LIES, ids=[f"{v}: {s}" for v, _, s in LIES])
def test_false_counts_are_refused(victim: str, said: Any, sentence: str) -> None:
    tape = run()[victim]
    fate = play(tape.replace(tape.place(type(said).__name__), pack(said)), ROLES[victim])
    assert isinstance(fate, BrokenPromise)
    assert sentence in str(fate)


@pytest.mark.parametrize("victim", ["bank", "telecom"])
def test_any_peer_at_all_ends_in_known_errors(victim: str) -> None:
    tape = run()[victim]
    assert_harmless(tape, ROLES[victim])

    @settings(deadline=None, max_examples=100)
    @given(damage(tape))
    def attack(damaged: Tape) -> None:
        fate = play(damaged, ROLES[victim])
        assert isinstance(fate, VflError) or victim == "telecom" or len(fate[0]) == 5

    attack()
