"""Weights of evidence between parties: the bins of the pooled columns, and no peer that can bend or break it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import pytest
from clear_scheme import change_sums, read_sums
from effort import examples
from hypothesis import given

from vfl.decoys import Shown
from vfl.errors import BrokenPromise, UsageError, VflError
from vfl.learn.rounds import Parts
from vfl.learn.woe import WoeFeature, fit_features
from vfl.protocols.woe import LabelBlock, LabelQuery, LabelSums, PreBinHint, PreBinLayout, WoeBins, WoeRows
from vfl.wire import Message, pack, unpack

from .boosting import Scheme, clear, paillier
from .hostile import Change, Tape, assert_harmless, assert_refused, damage, play
from .weighing import Features, bank, cases, credit, lattice, partner, weigh

FLAVOURS = pytest.mark.parametrize("named", [True, False], ids=["named", "hidden"])
SMALL = credit(40, (1, 2), max_prebins=4)


def assert_as_pooled(case: Features, tapes: dict[str, Tape]) -> None:
    """Groups, WOE and counts of everybody are those of the pooled columns."""
    report = tapes["bank"].result
    for party, name in enumerate(case.partners, 1):
        due = case.fitted(party)
        for found, table, truth in zip(tapes[name].result, report.partners[party - 1], due, strict=True):
            np.testing.assert_array_equal(found.groups, truth.groups)
            np.testing.assert_array_equal(table.counts, truth.counted.counts)
            np.testing.assert_array_equal(table.woe, truth.woe)
            assert table.ordinary == truth.counted.ordinary
            assert table.iv == truth.iv
            assert found.prebins.upper.tolist() == truth.prebins.upper.tolist()
            assert found.counted is None
            if case.parameters.share_woe:
                assert found.woe.tolist() == truth.woe.tolist()
            else:
                assert found.woe is None


@examples(50, thorough=150)
@given(cases())
def test_bins_of_the_pooled_columns(case: Features) -> None:
    for named in (True, False):
        assert_as_pooled(case, weigh(case, clear(named)))


def test_the_same_under_real_encryption() -> None:
    case = credit(300, (1, 2, 1))
    assert_as_pooled(case, weigh(case, lattice(case)))
    small = credit(40, (1, 1), max_prebins=4)
    assert_as_pooled(small, weigh(small, paillier(512)))


def test_cost_is_as_written() -> None:
    case = credit(5000, (1, 2))
    tapes = weigh(case, lattice(case))
    cells, rows = len(told(tapes["telecom"], WoeBins).groups), int(case.parts.train.sum())
    assert sum(len(said.body) for _, said in tapes["telecom"].messages() if "LabelQuery" in said.slot) == pytest.approx(
        28 * rows + 115_000, rel=0.01
    )
    assert len(told(tapes["bank"], LabelSums).sums) == 28 * cells
    assert len(told(tapes["bank"], PreBinHint).hint) == 32_768 * cells


def test_columns_become_weights() -> None:
    case = credit(400, (1, 2))
    for found, truth, column in zip(
        weigh(case, clear(False))["telecom"].result, case.fitted(1), case.of(1).T, strict=True
    ):
        assert len(np.unique(found.transform(column))) > 2
        assert found.transform(column).tolist() == truth.transform(column).tolist()
        assert found.transform([np.nan, 1e9, -1.0]).shape == (3,)


def test_decoys_count_nothing() -> None:
    """The passive party has 20 rows more, anywhere; pre-bins know them, counts do not."""
    case = credit(200, (1, 2), min_bin_share=0.0)
    n, rng = len(case.labels), np.random.default_rng(3)
    places = np.sort(rng.permutation(n + 20)[:n])
    train = np.ones(n + 20, np.bool_)
    train[places] = case.parts.train
    shown = Shown(places, train, ~train, np.zeros(n + 20, np.bool_))
    values = rng.normal(size=(n + 20, 2))
    values[places] = case.of(1)
    scheme = clear(False)
    tapes = weigh(case, scheme, bank=bank(case, scheme, shown=shown), telecom=partner(case, 1, scheme, values=values))
    for table, feature, column in zip(
        tapes["bank"].result.partners[0], tapes["telecom"].result, case.of(1).T, strict=True
    ):
        codes = feature.codes(column[case.parts.train])
        bads = np.bincount(codes, weights=case.labels[case.parts.train], minlength=feature.n_bins)
        assert table.counts[:, 1].tolist() == bads.tolist()
        assert table.rows == case.parts.train.sum()


@FLAVOURS
def test_the_same_seeds_say_the_same_bytes(named: bool) -> None:
    first, second = (weigh(SMALL, clear(named)) for _ in range(2))
    assert {name: tape.frames for name, tape in first.items()} == {name: tape.frames for name, tape in second.items()}
    other = weigh(SMALL, clear(named), telecom=partner(SMALL, 1, clear(named), 77))
    assert other["bank"].frames != first["bank"].frames


def test_replay_under_real_encryption() -> None:
    case = credit(60, (1, 1), max_prebins=4)
    tape = weigh(case, lattice(case))["bank"]
    again = play(tape, bank(case, lattice(case)))
    assert again.partners[0][0].woe.tolist() == tape.result.partners[0][0].woe.tolist()


def test_labels_are_in_no_message_of_the_active_party() -> None:
    """With the lattice the passive party hears a key, ciphertexts and the groups: other labels change no clear byte."""
    case = credit(60, (1, 1), max_prebins=4, share_woe=False, max_bins=2, min_bin_share=0.5, trend="none")
    other = dataclasses.replace(case, labels=1 - case.labels)
    said = []
    for one in (case, other):
        tape = weigh(one, lattice(one))["telecom"]
        said.append([message.body for _, message in tape.messages() if "LabelQuery" not in message.slot])
    assert said[0] == said[1]


# Own input


def test_a_bad_column_is_named() -> None:
    values = SMALL.of(1).copy()
    values[0, 1] = np.inf
    with pytest.raises(UsageError, match="feature 'f1': a column holds an infinite value"):
        weigh(SMALL, clear(True), telecom=partner(SMALL, 1, clear(True), values=values))


def test_noise_on_counts_is_refused() -> None:
    noisy = Scheme(lambda lanes: clear(True).holder(dataclasses.replace(lanes, g_noise=1)), clear(True).evaluator)
    with pytest.raises(UsageError, match="cell_noise is for the sums of tree nodes"):
        weigh(SMALL, noisy)


def test_special_values_of_no_feature_are_refused() -> None:
    with pytest.raises(UsageError, match="'age', which is no feature"):
        fit_features(
            ["income"], SMALL.of(0), SMALL.labels, SMALL.parts.train, SMALL.parameters, 5, special={"age": [1.0]}
        )


# Any peer at all


def told(tape: Tape, kind: type[Message]) -> Any:
    return unpack(kind, tape.at(tape.place(kind.__name__)).body)


def sums(change: Callable[[np.ndarray], None]) -> Change:
    def changed(said: LabelSums) -> LabelSums:
        cells = read_sums(said.sums).copy()
        change(cells)
        return LabelSums(change_sums(said.sums, cells))

    return changed


def moved(cells: np.ndarray) -> None:
    """Rows of the first pre-bin moved to the second, so that all sums still hold."""
    cells[1] += cells[0] - [0, 1]
    cells[0] = [0, 1]


def regrouped(*groups: int) -> Change:
    return lambda said: msgspec.structs.replace(said, groups=bytes(groups) + said.groups[len(groups) :])


LIES: list[tuple[str, type[Message], Change, str]] = [
    (
        "bank",
        PreBinLayout,
        lambda m: PreBinLayout(m.ordinary[:1], m.apart, m.trends),
        "one entry for each of the 2 features",
    ),
    ("bank", PreBinLayout, lambda m: PreBinLayout([0, 2], [1, 1], m.trends), "a feature has 1 to 4 pre-bins"),
    ("bank", PreBinLayout, lambda m: PreBinLayout([2, 2], [-1, 1], m.trends), "a feature has 1 to 4 pre-bins"),
    ("bank", PreBinLayout, lambda m: PreBinLayout([2, 4], [1, 1], m.trends), "a feature has 1 to 4 pre-bins"),
    ("bank", PreBinLayout, lambda m: msgspec.structs.replace(m, trends=["up", "auto"]), "a trend is one of none, auto"),
    ("bank", PreBinHint, lambda m: PreBinHint(1, m.hint), "block 0 of the hint"),
    ("bank", LabelSums, sums(lambda cells: cells.__setitem__((0, 1), cells[0, 1] + 1)), "feature 0 hold all bads"),
    ("bank", LabelSums, sums(lambda cells: cells.__setitem__((-1, 0), cells[-1, 0] - 1)), "feature 1 hold all bads"),
    ("bank", LabelSums, sums(lambda cells: cells.__setitem__((0, 0), cells[0, 1] + 1)), "the bads of a bin are some"),
    ("bank", LabelSums, sums(moved), "a pre-bin has 5 rows at least"),
    ("telecom", WoeRows, lambda m: msgspec.structs.replace(m, count=m.count - 1), "the rows are the 40 aligned rows"),
    ("telecom", WoeRows, lambda m: msgspec.structs.replace(m, train=bytes(5)), "some rows train"),
    ("telecom", WoeRows, lambda m: msgspec.structs.replace(m, scheme="other"), "another scheme was agreed on"),
    ("telecom", LabelQuery, lambda m: LabelQuery(1, m.rows), "block 0 of the query"),
    ("telecom", WoeBins, lambda m: msgspec.structs.replace(m, groups=m.groups[1:]), "pre-bins have a bin each"),
    ("telecom", WoeBins, regrouped(1), "are neighbours, numbered in order"),
    ("telecom", WoeBins, regrouped(0, 2), "are neighbours, numbered in order"),
    ("telecom", WoeBins, regrouped(0, 1, 0), "are neighbours, numbered in order"),
    ("telecom", WoeBins, regrouped(0, 0, 0, 2), "are neighbours, numbered in order"),
    ("telecom", WoeBins, lambda m: msgspec.structs.replace(m, bins=m.bins + 1), "bins"),
    (
        "telecom",
        WoeBins,
        lambda m: msgspec.structs.replace(m, woe=m.woe[4:]),
        "the WOE of every bin is told, or of none",
    ),
    (
        "telecom",
        WoeBins,
        lambda m: msgspec.structs.replace(m, woe=b"\xff\xff\xff\x7f" + m.woe[4:]),
        "a WOE is at most 64",
    ),
]


@pytest.fixture(scope="module")
def hidden() -> dict[str, Tape]:
    return weigh(SMALL, clear(False))


def role_of(victim: str, named: bool) -> Any:
    return bank(SMALL, clear(named)) if victim == "bank" else partner(SMALL, 1, clear(named))


@pytest.mark.parametrize(("victim", "kind", "change", "sentence"), LIES, ids=[f"{v}: {s}" for v, _, _, s in LIES])
def test_lies_are_refused(
    hidden: dict[str, Tape], victim: str, kind: type[Message], change: Change, sentence: str
) -> None:
    assert_refused(hidden[victim], kind, change, role_of(victim, False), sentence)


def test_special_values_do_not_join_each_other() -> None:
    values = np.concatenate([np.arange(20.0), np.full(10, -1.0), np.full(10, 999.0)])[:, None]
    labels = (np.arange(40) % 3 == 0).astype(np.int8)
    everyone = np.ones(40, np.bool_)
    case = Features(
        np.tile(values, 2), (1, 1), labels, Parts(everyone, ~everyone), SMALL.parameters, special=(-1.0, 999.0)
    )
    tape = weigh(case, clear(False))["telecom"]
    said = told(tape, WoeBins)
    apart = said.groups[-1]
    role = partner(case, 1, clear(False))
    for groups, right in ((said.groups, True), (said.groups[:-1] + bytes([apart - 1]), False)):
        changed = msgspec.structs.replace(
            said, groups=groups, bins=max(groups) + 1, woe=said.woe[: 4 * max(groups) + 4]
        )
        fate = play(tape.replace(tape.place("WoeBins"), pack(changed)), role)
        assert isinstance(fate, list) if right else "are neighbours, numbered in order" in str(fate)


def test_blocks_of_rows_come_in_order() -> None:
    tape = weigh(SMALL, clear(True))["telecom"]
    said = told(tape, LabelBlock)
    fate = play(tape.replace(tape.place("LabelBlock"), pack(LabelBlock(1, True, said.rows))), role_of("telecom", True))
    assert isinstance(fate, BrokenPromise)
    assert "rows come in blocks" in str(fate)


@FLAVOURS
@pytest.mark.parametrize("victim", ["bank", "telecom"])
def test_any_peer_at_all_ends_in_known_errors(victim: str, named: bool) -> None:
    tape, role = weigh(SMALL, clear(named))[victim], role_of(victim, named)
    assert_harmless(tape, role)

    @examples(50, thorough=150)
    @given(damage(tape))
    def attack(damaged: Tape) -> None:
        fate = play(damaged, role)
        if not isinstance(fate, VflError) and victim == "telecom":
            assert all(isinstance(feature, WoeFeature) for feature in fate)

    attack()
