"""Correlations between two passive parties: those of the pooled columns, and no peer that can bend or break it."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import numpy as np
import pytest
from clear_scheme import change_sums, read_sums
from effort import examples
from hypothesis import given

from vfl.errors import BrokenPromise, VflError
from vfl.protocols import correlate_partners
from vfl.protocols.correlate import CandidateRows
from vfl.protocols.correlate_partners import (
    PartnerBins,
    PartnerHint,
    PartnerKey,
    PartnerMeans,
    PartnerQuery,
    PartnerRows,
    PartnerSums,
    YourTurn,
)
from vfl.wire import Message, pack, unpack

from .boosting import clear, paillier
from .correlating import Comparison, bank, compare, lattice, partner, three_partners
from .hostile import Change, Role, Tape, assert_harmless, assert_refused, changed, damage, play
from .weighing import credit

THREE = three_partners()
TWO = Comparison(replace(credit(40, (1, 1, 1), max_prebins=4), called=("retailer", "telecom")), THREE.parameters)
FLAVOURS = pytest.mark.parametrize("named", [True, False], ids=["named", "hidden"])


@pytest.fixture(scope="module")
def hidden() -> dict[str, Tape]:
    return compare(THREE, clear(False))


def assert_as_pooled(case: Comparison, tapes: dict[str, Tape]) -> None:
    selection = tapes["bank"].result
    assert np.isfinite(selection.matrix).all()
    np.testing.assert_allclose(selection.matrix, case.pooled(selection.compared), atol=2e-5)


def test_all_correlations_are_those_of_the_pooled_columns(hidden: dict[str, Tape]) -> None:
    assert_as_pooled(THREE, hidden)
    assert_as_pooled(THREE, compare(THREE, clear(True)))
    between = hidden["bank"].result.matrix[1:3, 3:5]
    assert (np.abs(between) > 0.01).any(), "and say something"


def test_the_same_under_real_encryption() -> None:
    assert_as_pooled(THREE, compare(THREE, lattice(THREE)))
    assert_as_pooled(TWO, compare(TWO, paillier(512)))


def test_variance_inflation_is_the_factor_itself_then(hidden: dict[str, Tape]) -> None:
    known = {one.candidate: one.vif for one in hidden["bank"].result.verdicts}
    bound = compare(three_partners(partner_correlations=False), clear(False))["bank"].result.verdicts
    assert all(one.vif <= known[one.candidate] + 1e-6 for one in bound)
    assert any(one.vif < known[one.candidate] - 1e-3 for one in bound)


def test_the_same_seeds_say_the_same_bytes(hidden: dict[str, Tape]) -> None:
    again = compare(THREE, clear(False))
    assert {name: tape.frames for name, tape in again.items()} == {name: tape.frames for name, tape in hidden.items()}


# Any peer at all


def sums(cell: tuple[int, int], by: int, back: tuple[int, int] | None = None) -> Change:
    def change(said: PartnerSums) -> PartnerSums:
        cells = read_sums(said.sums).copy()
        cells[cell] += by
        if back is not None:
            cells[back] -= by
        return PartnerSums(change_sums(said.sums, cells))

    return change


def role_of(victim: str, named: bool, case: Comparison = THREE) -> Role:
    scheme = clear(named)
    return (
        bank(case, scheme) if victim == "bank" else partner(case, case.features.partners.index(victim) + 1, scheme, 3)
    )


LIES: list[tuple[str, type[Message], Change, str]] = [
    ("telecom", CandidateRows, changed(partners=[True, True, True]), "talks are with parties and as agreed"),
    ("telecom", PartnerKey, changed(columns=3), "at most 2 columns are to come"),
    ("telecom", PartnerKey, changed(scheme="other"), "another scheme was agreed on"),
    ("telecom", PartnerQuery, changed(index=1), "block 0 of the query"),
    ("telecom", PartnerBins, changed(bins=[0]), "a feature has 1 to 256 bins"),
    ("telecom", PartnerBins, changed(bins=[257]), "a feature has 1 to 256 bins"),
    ("telecom", PartnerHint, changed(index=1), "block 0 of the hint"),
    ("telecom", PartnerSums, sums((0, 0), 1), "the bins of every feature hold all rows and sum to the column"),
    ("telecom", PartnerSums, sums((0, 1), 1), "the bins of every feature hold all rows and sum to the column"),
    ("telecom", PartnerSums, sums((0, 0), 1 << 25, (1, 0)), "no sum is beyond what the rows of its bin can have"),
    ("bank", PartnerMeans, changed(columns=7), "columns have means in"),
    ("bank", PartnerMeans, changed(means=b""), "a mean has 4 bytes"),
    ("bank", PartnerMeans, lambda m: changed(means=b"\0\0\0\x7f" + m.means[4:])(m), "at most 1"),
]


@pytest.mark.parametrize(("victim", "kind", "change", "sentence"), LIES, ids=[f"{v}: {s}" for v, _, _, s in LIES])
def test_lies_are_refused(
    hidden: dict[str, Tape], victim: str, kind: type[Message], change: Change, sentence: str
) -> None:
    assert_refused(hidden[victim], kind, change, role_of(victim, False), sentence)


def test_rows_come_in_order() -> None:
    tape = compare(THREE, clear(True))["telecom"]
    said = unpack(PartnerRows, tape.at(tape.place("PartnerRows")).body)
    lie = tape.replace(tape.place("PartnerRows"), pack(PartnerRows(1, True, said.rows)))
    fate = play(lie, role_of("telecom", True))
    assert "rows come in blocks" in str(fate)


def test_whoever_did_not_agree_talks_to_nobody(hidden: dict[str, Tape]) -> None:
    fate = play(hidden["telecom"], role_of("telecom", False, three_partners(partner_correlations=False)))
    assert isinstance(fate, BrokenPromise)
    assert "talks are with parties and as agreed" in str(fate)


def test_talks_without_features_are_refused(hidden: dict[str, Tape]) -> None:
    tape = hidden["telecom"]
    said = unpack(CandidateRows, tape.at(tape.place("CandidateRows")).body)
    lie = tape.replace(tape.place("CandidateRows"), pack(msgspec.structs.replace(said, asked=b"\0")))
    fate = play(lie, role_of("telecom", False))
    assert "nothing to talk about" in str(fate)


def test_the_messenger_carries_no_more_than_any_two_have_to_say(
    hidden: dict[str, Tape], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(correlate_partners, "MAX_CARRIED", 3)
    fate = play(hidden["bank"], role_of("bank", False))
    assert isinstance(fate, BrokenPromise)
    assert "two parties have at most 3 messages for each other" in str(fate)


def test_means_come_from_the_party_with_the_key(hidden: dict[str, Tape]) -> None:
    """The second of the first couple speaks up in place of its bins."""
    tape = hidden["bank"]
    peer, number = tape.place("PartnerBins")
    said = tape.at((peer, number))
    slot = said.slot.replace("PartnerBins", "PartnerMeans")
    frame = msgspec.msgpack.encode(type(said)(slot, said.signature, pack(PartnerMeans(1, 1, bytes(4)))))
    fate = play(tape.reframe((peer, number), frame), role_of("bank", False))
    assert isinstance(fate, BrokenPromise)
    assert "the party with the key tells the means" in str(fate)
    assert fate.peer == peer


@FLAVOURS
@pytest.mark.parametrize("victim", ["bank", "telecom"])
def test_any_peer_at_all_ends_in_known_errors(victim: str, named: bool) -> None:
    case = THREE if victim == "telecom" else TWO
    tape, role = compare(case, clear(named))[victim], role_of(victim, named, case)
    assert_harmless(tape, role)

    @examples(20, thorough=60)
    @given(damage(tape))
    def attack(damaged: Tape) -> None:
        fate = play(damaged, role)
        if not isinstance(fate, VflError) and victim == "telecom":
            assert fate.shape == (2,)

    attack()


def test_a_turn_is_not_carried(hidden: dict[str, Tape]) -> None:
    heard = {
        said.slot.split("/")[2] for name in ("retailer", "telecom", "insurer") for _, said in hidden[name].messages()
    }
    assert YourTurn.__name__ not in heard
    assert PartnerMeans.__name__ not in heard
