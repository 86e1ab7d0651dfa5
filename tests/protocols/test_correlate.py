"""Selection across parties: the correlations of the pooled columns, a verdict a feature, and no peer that bends it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from clear_scheme import change_sums, read_sums
from effort import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from vfl.decoys import Shown
from vfl.errors import BrokenPromise, VflError
from vfl.learn.feature_parameters import SelectionParameters
from vfl.learn.selection import Candidate, screen, select
from vfl.protocols.correlate import (
    CandidateHint,
    CandidateRows,
    ColumnBlock,
    ColumnQuery,
    ColumnSums,
    FeaturesKept,
    OwnFigures,
)
from vfl.wire import Message, unpack

from .boosting import clear, paillier
from .correlating import Comparison, bank, compare, lattice, partner
from .hostile import Change, Tape, assert_harmless, assert_refused, changed, damage, fate_of, play
from .weighing import Features, cases, credit

FLAVOURS = pytest.mark.parametrize("named", [True, False], ids=["named", "hidden"])
ALL = SelectionParameters(min_iv=0.0, max_correlation=1.0, max_vif=0.0)
CLOSE = 2e-5


def of(features: Features, **options: Any) -> Comparison:
    return Comparison(features, replace(ALL, **options))


SMALL = of(credit(60, (3, 3), max_prebins=4))


def assert_as_pooled(case: Comparison, tapes: dict[str, Tape], close: float = CLOSE) -> None:
    """The matrix is that of the pooled columns, and so are the verdicts; every party knows its own."""
    selection, data = tapes["bank"].result, case.features
    due = case.pooled(selection.compared)
    np.testing.assert_allclose(selection.matrix, due, atol=close)
    for party, name in enumerate(data.partners, 1):
        np.testing.assert_array_equal(tapes[name].result, selection.kept(party))
    everyone = [
        Candidate(party, one.name, one.n_bins, one.iv, psi)
        for party in range(len(data.owned))
        for one, psi in zip(data.fitted(party), case.psi(party), strict=True)
    ]
    # A partner tells nothing of features that were not asked for.
    alone = screen([replace(one, psi=None) for one in everyone], case.parameters)
    everyone = [
        one if first.kept or not one.party else first.candidate for one, first in zip(everyone, alone, strict=True)
    ]
    again = select(screen(everyone, case.parameters), selection.matrix, case.parameters)
    assert list(selection.verdicts) == again


@settings(deadline=None, max_examples=80)
@given(
    cases(), st.booleans(), st.sampled_from([0.0, 0.02, 0.3]), st.sampled_from([0.3, 1.0]), st.sampled_from([1, 9, 500])
)
def test_correlations_of_the_pooled_columns(
    features: Features, named: bool, least: float, most: float, rows: int
) -> None:
    shared = replace(features, parameters=replace(features.parameters, share_woe=True))
    rules = {"min_iv": least, "max_correlation": most, "max_vif": 3.0, "min_psi_rows": rows, "share_psi": rows > 1}
    case = of(shared, **rules, partner_correlations=rows == 1)
    assert_as_pooled(case, compare(case, clear(named)))


def test_the_same_under_real_encryption() -> None:
    case = of(credit(300, (3, 2, 1)))
    assert_as_pooled(case, compare(case, lattice(case)))
    small = of(credit(40, (1, 2), max_prebins=4))
    assert_as_pooled(small, compare(small, paillier(512)))


def test_cost_is_as_written() -> None:
    case = of(credit(300, (3, 2)))
    tapes = compare(case, lattice(case))
    rows, said = int(case.features.parts.train.sum()), tapes["telecom"].messages()
    query = sum(len(message.body) for _, message in said if "ColumnQuery" in message.slot)
    assert query == pytest.approx(2 * (28 * rows + 115_000), rel=0.01), "two pairs of columns"
    bins = sum(one.n_bins for one in case.features.fitted(1))
    place = tapes["bank"].place
    assert len(unpack(ColumnSums, tapes["bank"].at(place("ColumnSums")).body).sums) == 28 * bins
    assert len(unpack(CandidateHint, tapes["bank"].at(place("CandidateHint")).body).hint) == 32_768 * bins


def test_most_correlations_say_something() -> None:
    """Guards the properties above against constant columns."""
    matrix = compare(SMALL, clear(False))["bank"].result.matrix
    assert matrix.shape == (6, 6)
    assert (np.abs(matrix) > 0.01).mean() > 0.5


def test_two_partners_stay_unknown_to_each_other() -> None:
    tapes = compare(of(credit(100, (1, 2, 2))), clear(False))
    matrix = tapes["bank"].result.matrix
    assert np.isnan(matrix[1:3, 3:]).all()
    assert np.isfinite(matrix[:3, :3]).all()
    assert all(verdict.vif is not None for verdict in tapes["bank"].result.verdicts)


def test_own_correlations_are_told_where_agreed_only() -> None:
    kept = compare(of(credit(100, (2, 2)), share_correlation=False), clear(False))["bank"].result
    assert np.isnan(kept.matrix[2, 3])
    assert np.isfinite(kept.matrix[:2]).all()
    without = compare(of(credit(100, (2, 2), share_woe=False)), clear(False))["bank"].result
    assert np.isnan(without.matrix[2, 3]), "who has no WOE cannot correlate them"


def test_features_that_alone_say_nothing_are_not_asked_for() -> None:
    features = credit(100, (2, 2))
    values = features.values.copy()
    values[:, 3] = 1.0
    case = of(replace(features, values=values), min_iv=0.001)
    tapes = compare(case, clear(False))
    asked = unpack(CandidateRows, tapes["telecom"].at(tapes["telecom"].place("CandidateRows")).body)
    assert asked.asked == b"\x80"
    assert tapes["telecom"].result.tolist() == [True, False]
    assert "one bin only" in tapes["bank"].result.verdicts[3].reason


@pytest.mark.parametrize("empty", [0, 1], ids=["active", "passive"])
def test_where_one_side_has_nothing_left_nothing_is_encrypted(empty: int) -> None:
    features = credit(100, (2, 2))
    values = features.values.copy()
    values[:, 2 * empty : 2 * empty + 2] = 1.0
    case = of(replace(features, values=values))
    tapes = compare(case, clear(False))
    said = {message.slot.split("/")[2] for _, message in tapes["telecom"].messages()}
    assert said == {"CandidateRows", "FeaturesKept"}
    assert tapes["bank"].result.kept(1 - empty).any()
    assert not tapes["bank"].result.kept(empty).any()


def drifted() -> Features:
    """The second feature of each party is spread differently outside training."""
    features = credit(200, (2, 2))
    values = features.values.copy()
    values[~features.parts.train, 1::2] += 2.0
    return replace(features, values=values)


def test_stability_that_is_told_counts() -> None:
    case = of(drifted(), max_psi=0.8, min_psi_rows=20)
    tapes = compare(case, clear(False))
    reasons = [verdict.reason for verdict in tapes["bank"].result.verdicts]
    assert [reason.startswith("stability index") for reason in reasons] == [False, True, False, True]
    assert tapes["telecom"].result.tolist() == [True, False]
    assert tapes["bank"].result.compared == (0, 2)
    assert_as_pooled(case, tapes)
    kept = compare(of(drifted(), max_psi=0.8, min_psi_rows=20, share_psi=False), clear(False))
    assert kept["telecom"].result.tolist() == [True, True]
    few = compare(of(drifted(), max_psi=0.8), clear(False))
    assert all(verdict.kept for verdict in few["bank"].result.verdicts), "too few rows to say"


def test_decoys_change_nothing_but_own_correlations() -> None:
    case = of(credit(200, (2, 2)))
    data = case.features
    n, rng = len(data.labels), np.random.default_rng(3)
    places = np.sort(rng.permutation(n + 20)[:n])
    train = np.ones(n + 20, np.bool_)
    train[places] = data.parts.train
    shown = Shown(places, train, ~train, np.zeros(n + 20, np.bool_))
    values = rng.normal(size=(n + 20, 2))
    values[places] = data.of(1)
    scheme = clear(False)
    found = compare(
        case, scheme, bank=bank(case, scheme, shown=shown), telecom=partner(case, 1, scheme, values=values)
    )["bank"].result
    due = case.pooled(found.compared)
    np.testing.assert_allclose(found.matrix[:2], due[:2], atol=CLOSE)
    assert abs(found.matrix[2, 3] - due[2, 3]) > CLOSE


@FLAVOURS
def test_the_same_seeds_say_the_same_bytes(named: bool) -> None:
    first, second = (compare(SMALL, clear(named)) for _ in range(2))
    assert {name: tape.frames for name, tape in first.items()} == {name: tape.frames for name, tape in second.items()}
    other = compare(SMALL, clear(named), telecom=partner(SMALL, 1, clear(named), 77))
    assert other["bank"].frames != first["bank"].frames


# Any peer at all


def sums(cell: tuple[int, int], by: int, back: tuple[int, int] | None = None) -> Change:
    def change(said: ColumnSums) -> ColumnSums:
        cells = read_sums(said.sums).copy()
        cells[cell] += by
        if back is not None:
            cells[back] -= by
        return ColumnSums(said.pair, change_sums(said.sums, cells))

    return change


HUGE = 1 << 25
LIES: list[tuple[str, type[Message], Change, str]] = [
    ("bank", OwnFigures, lambda m: changed(correlations=m.correlations[4:])(m), "3 features have 3 correlations"),
    (
        "bank",
        OwnFigures,
        lambda m: changed(correlations=b"\x01\x00\x10\x00" + m.correlations[4:])(m),
        "between -1 and 1",
    ),
    (
        "bank",
        OwnFigures,
        lambda m: changed(correlations=b"\x00\x00\x00\x80" + m.correlations[4:])(m),
        "between -1 and 1",
    ),
    ("bank", OwnFigures, changed(psi=[0]), "one stability index for each of the 3"),
    ("bank", OwnFigures, changed(psi=[0, 0, -2]), "a stability index is at most 1000"),
    ("bank", OwnFigures, changed(psi=[0, 0, 1_000_001]), "a stability index is at most 1000"),
    ("bank", CandidateHint, changed(index=1), "block 0 of the hint"),
    ("bank", ColumnSums, changed(pair=1), "the sums are of pair 0"),
    ("bank", ColumnSums, sums((0, 0), 1), "the bins of feature 0 sum to the columns"),
    ("bank", ColumnSums, sums((-1, 1), -1), "the bins of feature 2 sum to the columns"),
    ("bank", ColumnSums, sums((0, 0), HUGE, (1, 0)), "no sum is beyond what the rows of its bin can have"),
    ("telecom", CandidateRows, lambda m: changed(count=m.count - 1)(m), "the rows are the 60 aligned rows"),
    ("telecom", CandidateRows, changed(train=bytes(8)), "some rows train"),
    ("telecom", CandidateRows, changed(scheme="other"), "another scheme was agreed on"),
    ("telecom", CandidateRows, changed(pairs=3), "3 columns at most are to come"),
    ("telecom", CandidateRows, changed(asked=b""), "3 bits take 1 bytes"),
    ("telecom", ColumnQuery, changed(index=1), "block 0 of the query"),
    ("telecom", FeaturesKept, changed(kept=b"\xff"), "padding bits are zero"),
]


@pytest.fixture(scope="module")
def hidden() -> dict[str, Tape]:
    return compare(SMALL, clear(False))


def role_of(victim: str, named: bool, case: Comparison = SMALL) -> Any:
    return bank(case, clear(named)) if victim == "bank" else partner(case, 1, clear(named))


@pytest.mark.parametrize(("victim", "kind", "change", "sentence"), LIES, ids=[f"{v}: {s}" for v, _, _, s in LIES])
def test_lies_are_refused(
    hidden: dict[str, Tape], victim: str, kind: type[Message], change: Change, sentence: str
) -> None:
    assert_refused(hidden[victim], kind, change, role_of(victim, False), sentence)


def test_what_was_not_agreed_is_refused(hidden: dict[str, Tape]) -> None:
    kept = of(SMALL.features, share_correlation=False)
    fate = play(hidden["bank"], role_of("bank", False, kept))
    assert "own correlations are told only where that is agreed" in str(fate)
    fate = fate_of(
        hidden["bank"],
        OwnFigures,
        changed(psi=[-1, -1, 0]),
        role_of("bank", False, of(SMALL.features, share_psi=False)),
    )
    assert "stability is told only where that is agreed" in str(fate)
    strict = of(SMALL.features, min_iv=100.0)
    tapes = compare(strict, clear(False))
    fate = fate_of(tapes["telecom"], FeaturesKept, changed(kept=b"\x80"), role_of("telecom", False, strict))
    assert "only features that were asked for stay" in str(fate)


def test_blocks_of_rows_come_in_order() -> None:
    tape = compare(SMALL, clear(True))["telecom"]
    fate = fate_of(tape, ColumnBlock, changed(index=1), role_of("telecom", True))
    assert isinstance(fate, BrokenPromise)
    assert "rows come in blocks" in str(fate)


@FLAVOURS
@pytest.mark.parametrize("victim", ["bank", "telecom"])
def test_any_peer_at_all_ends_in_known_errors(victim: str, named: bool) -> None:
    tape, role = compare(SMALL, clear(named))[victim], role_of(victim, named)
    assert_harmless(tape, role)

    @examples(40, thorough=100)
    @given(damage(tape))
    def attack(damaged: Tape) -> None:
        fate = play(damaged, role)
        if not isinstance(fate, VflError) and victim == "telecom":
            assert fate.shape == (3,)

    attack()
