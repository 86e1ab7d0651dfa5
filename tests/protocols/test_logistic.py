"""Vertical logistic regression: the solution of the pooled columns, and no peer that can bend or break it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec
import numpy as np
import pytest
from clear_shares import ClearShares
from hypothesis import example, given, settings
from hypothesis import strategies as st

from vfl.decoys import Shown
from vfl.errors import BrokenPromise, UsageError, VflError
from vfl.protocols.logistic import (
    Combination,
    CountSums,
    Direction,
    FitHint,
    FitRows,
    MaskedGradient,
    MaskedSums,
    PassiveFit,
    ResidualBlock,
    ResidualQuery,
    Standing,
)
from vfl.wire import Message, pack, unpack

from .fitting import TOLD_APART, Regression, bank, coefficients, fit, partner, regression, terms
from .hostile import Change, Role, Tape, assert_harmless, assert_refused, changed, damage, play

FLAVOURS = pytest.mark.parametrize("named", [True, False], ids=["named", "hidden"])
AGREED: list[dict[str, Any]] = [{}, {"signs": "positive"}, {"l1": 4.0}, {"l2": 5.0}]
SMALL = regression(40, (1, 2), 2, bins=2, aside=0.0, iterations=4)
BOUNDED = regression(60, (1, 3), number=4, bins=3, aside=0.0, iterations=6, signs="positive", l2=1.0)


def assert_as_pooled(case: Regression, tapes: dict[str, Tape]) -> None:
    found, due = tapes["bank"].result, case.reference()
    assert found.converged
    np.testing.assert_allclose(coefficients(case, tapes), due.coefficients, atol=1e-4)
    assert found.joint.intercept == pytest.approx(due.intercept, abs=1e-4)
    labels = case.features.labels[case.features.parts.train]

    def loss(scores: np.ndarray) -> float:
        return float((np.logaddexp(0, scores) - labels * scores).mean())

    assert loss(found.joint.predictor()) == pytest.approx(loss(due.predictor(case.pooled)), abs=1e-6)


@settings(deadline=None, max_examples=15)
@given(
    st.lists(st.integers(1, 4), min_size=2, max_size=4).map(tuple), st.integers(0, 10**6), st.sampled_from(AGREED),
    st.booleans(),
)  # fmt: skip
@example(owned=(2, 3, 3), number=233, agreed={"signs": "positive"}, named=True)  # a direction earlier ones nearly make
def test_the_solution_of_the_pooled_columns(owned: tuple[int, ...], number: int, agreed: Any, named: bool) -> None:
    case = regression(400, owned, number, **agreed, iterations=40)
    assert_as_pooled(case, fit(case, ClearShares(named)))


@pytest.mark.parametrize("agreed", AGREED, ids=str)
@pytest.mark.parametrize("owned", [(2, 3), (3, 2, 4)], ids=str)
def test_the_same_under_real_encryption(agreed: Any, owned: tuple[int, ...]) -> None:
    case = regression(5000, owned, 7, **agreed)
    assert_as_pooled(case, fit(case, terms(case)))


def test_the_same_under_paillier() -> None:
    case = regression(60, (1, 2), bins=2)
    assert_as_pooled(case, fit(case, terms(case, "paillier")))


def test_decoys_change_nothing() -> None:
    case = regression(300, (2, 2))
    n, rng = 300, np.random.default_rng(3)
    places = np.sort(rng.permutation(n + 40)[:n])
    train = np.ones(n + 40, np.bool_)
    train[places] = case.features.parts.train
    shown = Shown(places, train, ~train, np.zeros(n + 40, np.bool_))
    values = rng.normal(size=(n + 40, 2))
    values[places] = case.features.of(1)
    shares = ClearShares(False)
    tapes = fit(case, shares, bank=bank(case, shares, shown=shown), telecom=partner(case, 1, shares, values=values))
    assert_as_pooled(case, tapes)


def told_by(tape: Tape) -> int:
    """How often a number of every row came."""
    kinds: dict[str, type[Message]] = {"Standing": Standing, "Direction": Direction}
    said = [(kinds.get(one.slot.split("/")[2]), one.body) for _, one in tape.messages()]
    return sum(bool(unpack(kind, body).predictor) for kind, body in said if kind is not None)


def test_no_more_numbers_are_told_than_were_agreed_on() -> None:
    case = regression(2000, (4, 6), 5, iterations=4)
    tapes = fit(case, ClearShares(False))
    assert not tapes["bank"].result.converged
    assert told_by(tapes["bank"]) == tapes["telecom"].result.owner.told == 3, "room for a start anew is left"
    assert tapes["bank"].result.told == (3,)


def test_cost_is_as_written() -> None:
    case = regression(5000, (1, 3), 2)
    tape, partner_tape = (fit(case, terms(case))[name] for name in ("bank", "telecom"))
    rows, cells = int(case.features.parts.train.sum()), case.coded(1).layout.cells
    queries = [said for _, said in partner_tape.messages() if "ResidualQuery" in said.slot]
    steps = len([said for _, said in tape.messages() if "MaskedSums" in said.slot])
    assert sum(len(said.body) for said in queries) / steps == pytest.approx(28 * rows + 115_000, rel=0.01)
    assert len(unpack(MaskedSums, tape.at(tape.place("MaskedSums")).body).sums) == 28 * cells
    assert len(unpack(FitHint, tape.at(tape.place("FitHint")).body).hint) == 32_768 * cells
    assert len(unpack(Standing, tape.at(tape.place("Standing")).body).predictor) == 4 * rows


@FLAVOURS
def test_the_same_seeds_say_the_same_bytes(named: bool) -> None:
    first, second = (fit(SMALL, ClearShares(named)) for _ in range(2))
    assert {name: tape.frames for name, tape in first.items()} == {name: tape.frames for name, tape in second.items()}
    other = fit(SMALL, ClearShares(named), telecom=partner(SMALL, 1, ClearShares(named), 77))
    assert other["bank"].frames != first["bank"].frames


def test_replay_under_real_encryption() -> None:
    case = regression(300, (2, 2))
    tapes = fit(case, terms(case))
    again = play(tapes["bank"], bank(case, terms(case)))
    assert again.joint.predictor().tobytes() == tapes["bank"].result.joint.predictor().tobytes()
    mine = play(tapes["telecom"], partner(case, 1, terms(case)))
    assert mine.coefficients.tolist() == tapes["telecom"].result.coefficients.tolist()


def test_masked_gradients_say_nothing_to_whoever_carries_them() -> None:
    """Another seed of the partner's masks: other shares from the first byte on, the same coefficients."""
    case = regression(300, (2, 2))
    one, other = (fit(case, terms(case), telecom=partner(case, 1, terms(case), number)) for number in (2, 9))
    shares = [unpack(MaskedGradient, t["telecom"].at(t["telecom"].place("MaskedGradient")).body) for t in (one, other)]
    assert shares[0].share != shares[1].share
    np.testing.assert_allclose(one["telecom"].result.coefficients, other["telecom"].result.coefficients, atol=1e-12)


# Own input


def test_weights_that_were_not_told_are_missed() -> None:
    case = replace(SMALL, features=replace(SMALL.features, parameters=SMALL.features.parameters))
    features = [replace(one.without_counts(), woe=None) for one in case.features.fitted(1)]

    def role(peers: Any) -> Any:
        from vfl.protocols import logistic

        from .boosting import seed

        return logistic.passive(
            peers["bank"], features, case.features.of(1), case.parameters, 12, ClearShares(True), seed(2)
        )

    with pytest.raises(UsageError, match="were not told to its owner"):
        fit(case, ClearShares(True), telecom=role)


# Any peer at all


def shorter(field: str) -> Change:
    return lambda said: msgspec.structs.replace(said, **{field: getattr(said, field)[4:]})


LIES: list[tuple[str, type[Message], Change, str]] = [
    ("bank", FitHint, changed(index=1), "block 0 of the hint"),
    ("bank", Standing, changed(predictor=b""), "the start is told"),
    ("bank", Standing, shorter("predictor"), "a number of 4 bytes for each of 40 rows"),
    ("bank", Standing, lambda m: changed(predictor=b"\xff\xff\xff\x7f" + m.predictor[4:])(m), "is above"),
    ("bank", Standing, changed(products=[]), "products with 1 directions"),
    ("bank", Standing, changed(products=[9.0]), "directions have entries up to 1"),
    ("bank", Standing, changed(products=[float("nan")]), "directions have entries up to 1"),
    ("bank", Standing, changed(products=[-1.0]), "products of directions are those of some"),
    ("bank", Standing, changed(slope=float("inf")), "directions have entries up to 1"),
    ("bank", Standing, changed(scale=0.0), "coefficients have a scale"),
    ("bank", Standing, changed(scale=float("nan")), "coefficients have a scale"),
    ("bank", CountSums, shorter("sums"), "has"),
    ("bank", MaskedSums, shorter("sums"), "an answer of another size"),
    ("bank", Direction, changed(step=-1.0), "a step is a number, 0 or more"),
    ("bank", Direction, changed(step=float("nan")), "a step is a number, 0 or more"),
    ("bank", Direction, changed(predictor=b"", step=1.0), "a step is told"),
    ("bank", Direction, changed(predictor=b"\0" * 8, step=1.0), "a number of 4 bytes"),
    ("bank", Direction, changed(predictor=b"\0" * 160, products=[0.0, -1.0]), "are those of some"),
    ("telecom", FitRows, changed(count=39), "the rows are the 40 aligned rows"),
    ("telecom", FitRows, changed(train=bytes(5)), "some rows train"),
    ("telecom", FitRows, changed(cells=1), "there are 4 bins here"),
    ("telecom", FitRows, changed(scheme="other"), "another scheme was agreed on"),
    ("telecom", Combination, changed(coefficients=[1.0, 2.0]), "a coefficient for each direction"),
    ("telecom", Combination, changed(coefficients=[float("nan")]), "coefficients are at most"),
    ("telecom", Combination, changed(coefficients=[1e7]), "coefficients are at most"),
    ("telecom", ResidualQuery, changed(index=1), "block 0 of the query"),
    ("telecom", MaskedGradient, shorter("share"), "a share of another size"),
    ("telecom", MaskedGradient, changed(curvature=0.0), "an average of p (1 - p) is from"),
    ("telecom", MaskedGradient, changed(curvature=float("nan")), "an average of p (1 - p) is from"),
]


@pytest.fixture(scope="module")
def hidden() -> dict[str, Tape]:
    return fit(SMALL, ClearShares(False))


def role_of(victim: str, named: bool, case: Regression = SMALL) -> Role:
    return bank(case, ClearShares(named)) if victim == "bank" else partner(case, 1, ClearShares(named))


@pytest.mark.parametrize(("victim", "kind", "change", "sentence"), LIES, ids=[f"{v}: {s}" for v, _, _, s in LIES])
def test_lies_are_refused(
    hidden: dict[str, Tape], victim: str, kind: type[Message], change: Change, sentence: str
) -> None:
    assert_refused(hidden[victim], kind, change, role_of(victim, False), sentence)


def test_a_start_anew_has_its_reasons(hidden: dict[str, Tape]) -> None:
    """Without penalties no coefficient is put to 0, so no combination is refused."""
    tape = hidden["bank"]
    start = tape.at(tape.place("Standing")).body
    fate = play(tape.replace(tape.place("Standing", 1), start), role_of("bank", False))
    assert "every combination will do" in str(fate)


def test_a_partner_tells_no_more_than_it_agreed_to(hidden: dict[str, Tape]) -> None:
    """The active party goes on and on."""
    case = replace(SMALL, parameters=replace(SMALL.parameters, iterations=3))
    generous = regression(300, (2, 6), 3, iterations=12)
    stingy = replace(generous, parameters=replace(generous.parameters, iterations=3))
    tape = fit(generous, ClearShares(True))["telecom"]
    fate = play(tape, partner(stingy, 1, ClearShares(True)))
    assert isinstance(fate, BrokenPromise)
    assert "at most 3" in str(fate)
    assert case.parameters.iterations == 3


def test_blocks_of_rows_come_in_order() -> None:
    tape = fit(SMALL, ClearShares(True))["telecom"]
    place = tape.place("ResidualBlock")
    said = unpack(ResidualBlock, tape.at(place).body)
    fate = play(tape.replace(place, pack(ResidualBlock(1, True, said.rows))), role_of("telecom", True))
    assert "rows come in blocks" in str(fate)


@pytest.mark.parametrize(("case", "named"), [(SMALL, True), (SMALL, False), (BOUNDED, False)])
@pytest.mark.parametrize("victim", ["bank", "telecom"])
def test_any_peer_at_all_ends_in_known_errors(victim: str, named: bool, case: Regression) -> None:
    tape, role = fit(case, ClearShares(named))[victim], role_of(victim, named, case)
    assert_harmless(tape, role)

    @settings(deadline=None, max_examples=15)
    @given(damage(tape))
    def attack(damaged: Tape) -> None:
        fate = play(damaged, role)
        if isinstance(fate, VflError) or fate == TOLD_APART:
            return
        if victim == "telecom":
            assert isinstance(fate, PassiveFit)
            assert np.isfinite(fate.coefficients).all()
        else:
            assert np.isfinite(fate.joint.predictor()).all()

    attack()
