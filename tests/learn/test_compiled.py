"""Compiled models say what the plain ones say, to the last bit where they are asked to, for one row as for many."""

from __future__ import annotations

from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vfl.errors import UsageError
from vfl.learn import compiled_reasons, compiled_splits, compiled_trees
from vfl.learn.columns import left_values
from vfl.learn.compiled_card import CompiledCard
from vfl.learn.compiled_reasons import CompiledReasons, top_reasons
from vfl.learn.compiled_splits import CompiledSplits
from vfl.learn.compiled_trees import CompiledTrees
from vfl.learn.ensemble import Ensemble
from vfl.learn.explain import shapley
from vfl.learn.feature_parameters import BinningParameters
from vfl.learn.scorecard import Card, Scaling
from vfl.learn.scorecard_parameters import ScorecardParameters
from vfl.learn.tree import Cover, SplitRecord, Tree, TreeShape
from vfl.learn.woe import WoeFeature
from vfl.reasons import Column, groups_of, reasons

from .columns import odd_columns

SEEDS = st.integers(0, 2**32 - 1)
ODD = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, -1.0, 1.0, 2.5, 5e-324, 1e300])


# ---- splits ----------------------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=150)
@given(SEEDS, st.integers(0, 40), st.integers(0, 60), st.sampled_from([1, 30, 1 << 18]))
def test_splits_are_decided_as_one_by_one(seed: int, count: int, rows: int, cells: int) -> None:
    draw = np.random.default_rng(seed)
    values = np.column_stack([*odd_columns(rows, draw).values(), draw.integers(-1, 6, rows), draw.choice(ODD, rows)])
    records = []
    for _ in range(count):
        feature = int(draw.integers(values.shape[1]))
        threshold = float(draw.choice(np.append(values[:, feature], ODD)))
        listed = tuple(sorted(draw.choice(8, draw.integers(1, 5), replace=False).tolist()))
        split = threshold, 0, bool(draw.integers(2)), listed if draw.integers(2) else ()
        records.append(SplitRecord(feature, *split))
    whole = CompiledSplits.of(records)
    with mock.patch.object(compiled_splits, "_CELLS", cells):
        np.testing.assert_array_equal(whole.left(values), left_values(values, records))
    for row in range(min(rows, 5)):
        np.testing.assert_array_equal(whole.left(values[row : row + 1]), left_values(values[row : row + 1], records))


# ---- trees -----------------------------------------------------------------------------------------------------------


def drawn_tree(counts: list[int], leaves: int, reach: int, draw: np.random.Generator) -> Tree:
    """A tree over new records and some old ones of its owners; it splits one of its last `reach` leaves."""
    shape = TreeShape()
    for _ in range(leaves - 1):
        owner = int(draw.integers(len(counts)))
        old = counts[owner] and draw.random() < 0.1
        record = int(draw.integers(counts[owner])) if old else counts[owner]
        counts[owner] = max(counts[owner], record + 1)
        shape.split(int(draw.integers(max(0, shape.n_leaves - reach), shape.n_leaves)), owner, record, 1.0)
    rows = draw.integers(0, 50, leaves) + (np.arange(leaves) == 0)
    return shape.tree(draw.normal(size=leaves), Cover(rows, rows * 0.2, np.array(shape.gains)))


def drawn(seed: int, outputs: int, leaves: int, reach: int, rows: int) -> tuple[Ensemble, list[np.ndarray], list[int]]:
    """A model of one to four parties, what they decide about so many rows, and how many features each has."""
    draw = np.random.default_rng(seed)
    counts = [0] * int(draw.integers(1, 5))
    sizes = np.append(draw.integers(1, leaves + 1, int(draw.integers(0, 4)) * outputs), [leaves] * outputs)
    trees = tuple(drawn_tree(counts, int(size), reach, draw) for size in sizes)
    widths = [int(draw.integers(1, 8)) for _ in counts]
    own, *others = (draw.integers(width, size=count).tolist() for width, count in zip(widths, counts, strict=True))
    records = tuple(SplitRecord(feature, 0.0, 0, True) for feature in own)
    objective = "multiclass" if outputs > 1 else ("binary", "regression")[seed % 2]
    starts = tuple(draw.normal(size=outputs).tolist())
    model = Ensemble(starts, trees, records, tuple(map(tuple, others)), (), objective)
    return model, [draw.random((count, rows)) < draw.random((count, 1)) for count in counts], widths


MODELS = {
    "seed": SEEDS,
    "outputs": st.sampled_from([1, 1, 3, 10]),
    "leaves": st.sampled_from([1, 2, 8, 31, 300]),
    "reach": st.sampled_from([1, 4, 1000]),
    "rows": st.sampled_from([0, 1, 2, 7, 60]),
}


@settings(deadline=None, max_examples=200)
@given(**MODELS, few=st.sampled_from([0, 1000]), block=st.sampled_from([5, 16, 4096]))
def test_scores_are_those_of_the_plain_trees(
    seed: int, outputs: int, leaves: int, reach: int, rows: int, few: int, block: int
) -> None:
    model, decisions, _ = drawn(seed, outputs, min(leaves, 40) if outputs > 1 else leaves, reach, rows)
    whole, stacked = CompiledTrees.of(model), np.vstack(decisions)
    with mock.patch.multiple(compiled_trees, _FEW=few, _ROWS=block):
        found, told = whole.raw_scores(stacked), whole.predict(stacked)
    assert found.flags.c_contiguous
    assert (found.shape, found.tobytes()) == ((rows, outputs), model.raw_scores(decisions).tobytes())
    assert (told.shape, told.tobytes()) == (model.predict(decisions).shape, model.predict(decisions).tobytes())


def test_a_row_is_scored_alike_alone_and_among_many() -> None:
    """Both ways, and whatever the place in an array does to the processor's exp."""
    for outputs in (1, 10):
        model, decisions, _ = drawn(7, outputs, 12, 1000, 300)
        assert len(model.trees) > outputs
        whole, stacked = CompiledTrees.of(model), np.vstack(decisions)
        every = whole.predict(stacked)
        for start, stop in [(0, 300), (1, 299), (13, 13 + compiled_trees._FEW), *((k, k + 1) for k in range(60))]:
            assert whole.predict(stacked[:, start:stop]).tobytes() == every[start:stop].tobytes()


def test_terms_are_added_in_order() -> None:
    """Numbers whose sum depends on the order, as most do."""
    values = np.random.default_rng(2).normal(size=(500, 2)).tolist()
    shape = TreeShape()
    shape.split(0, 0, 0)
    model = Ensemble((0.1,), tuple(shape.tree(pair) for pair in values), (SplitRecord(0, 0.0, 0, True),), ())
    due, terms = 0.1, [0.1, *(left for left, _ in values)]
    for term in terms[1:]:
        due += term
    assert due != np.sum(terms), "by halves"
    assert CompiledTrees.of(model).raw_scores(np.ones((1, 1), np.bool_)).tolist() == [[due]]


def test_other_arrays_are_no_decisions() -> None:
    model, decisions, widths = drawn(7, 1, 8, 4, 3)
    stacked = np.vstack(decisions)
    for wrong in (stacked[1:], stacked[:, 0], stacked.astype(np.uint8)):
        with pytest.raises(ValueError, match=rf"not bool\[{len(stacked)}, n\]"):
            CompiledTrees.of(model).raw_scores(wrong)
        with pytest.raises(ValueError, match="decisions are"):
            CompiledReasons.of(model, widths).attributions(wrong)


# ---- reasons ---------------------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=150)
@given(
    **MODELS,
    most_bits=st.sampled_from([2, 4, 9]),
    most_bytes=st.sampled_from([3000, 64 << 20]),
    cells=st.sampled_from([1, 500, 1 << 20]),
)
def test_attributions_are_those_worked_out_in_place(
    seed: int, outputs: int, leaves: int, reach: int, rows: int, most_bits: int, most_bytes: int, cells: int
) -> None:
    model, decisions, widths = drawn(seed, min(outputs, 3), min(leaves, 24), reach, rows)
    stacked, output = np.vstack(decisions), min(outputs, 3) - 1
    due = shapley(model, decisions, widths, output)
    with mock.patch.multiple(compiled_reasons, _MOST_BITS=most_bits, _MOST_BYTES=most_bytes):
        whole = CompiledReasons.of(model, widths, output)
    assert whole._tables.cells.nbytes <= most_bytes
    assert whole._tables.weight.max(initial=1) < 1 << (most_bits + compiled_reasons._ALONE)
    with mock.patch.multiple(compiled_reasons, _CELLS=cells):
        few = whole.attributions(stacked)
    with mock.patch.multiple(compiled_reasons, _FEW=-1, _ROWS=32):
        many = whole.attributions(stacked)
    assert whole.base == due.base
    np.testing.assert_allclose(few, due.values, rtol=0, atol=1e-12)
    assert few.tobytes() == many.tobytes()
    for row in range(min(rows, 3)):
        assert whole.attributions(stacked[:, row : row + 1]).tobytes() == many[row].tobytes()


@settings(deadline=None, max_examples=200)
@given(SEEDS, st.integers(0, 60), st.integers(0, 6), st.integers(0, 5))
def test_reasons_are_those_given_one_by_one(seed: int, count: int, rows: int, most: int) -> None:
    draw = np.random.default_rng(seed)
    columns = [Column(f"party {draw.integers(2)}", str(k), f"words {draw.integers(25)}") for k in range(count)]
    contributions = draw.integers(-2, 3, (rows, count)) * draw.choice([1.0, 0.1, 1 / 3], (rows, count))
    keys, groups = groups_of(columns)
    found = top_reasons(contributions, np.array(groups, np.intp), most)
    assert found.shape == (rows, most)
    for row, numbers in zip(contributions.tolist(), found.tolist(), strict=True):
        due = [(reason.party, reason.words) for reason in reasons(row, columns, most)]
        assert [keys[number] for number in numbers if number >= 0] == due
        assert numbers[len(due) :] == [-1] * (most - len(due))


# ---- scorecards ------------------------------------------------------------------------------------------------------


def drawn_card(seed: int, features: int) -> Card:
    draw = np.random.default_rng(seed)
    kinds = odd_columns(400, draw)
    labels = (draw.random(400) < 0.3).astype(np.int8)
    made = []
    for name in draw.choice(sorted(kinds), features).tolist():
        special = draw.choice([-2.0, -1.0, 0.0, 1.5, 999.0], int(draw.integers(3)), replace=False)
        column = np.where(draw.random(400) < 0.1, draw.choice(np.append(special, np.nan), 400), kinds[name])
        made.append(WoeFeature.fit(name, column, labels, BinningParameters(), 20, special.tolist()))
    coefficients = draw.normal(size=features) * draw.integers(0, 2, features)
    return Card(tuple(made), coefficients, Scaling.of(ScorecardParameters()))


@settings(deadline=None, max_examples=80)
@given(SEEDS, st.integers(0, 10), st.integers(0, 80))
def test_cards_say_what_the_plain_ones_say(seed: int, features: int, rows: int) -> None:
    card, draw = drawn_card(seed, features), np.random.default_rng(seed)
    edges = np.concatenate([ODD, [999.0], *(np.append(f.prebins.upper, f.prebins.special) for f in card.features)])
    near = np.nextafter(edges, draw.choice([-np.inf, np.inf], len(edges)))
    values = draw.choice(np.concatenate([edges, near, draw.normal(size=9)]), (rows, features))
    whole = CompiledCard.of(card)
    predictor, points, by_feature = whole.parts(values)
    assert predictor.tobytes() == card.predictor(values).tobytes()
    np.testing.assert_array_equal(points, card.points(values))
    alone = [Card((f,), card.coefficients[[k]], card.scaling) for k, f in enumerate(card.features)]
    for k, one in enumerate(alone):
        np.testing.assert_array_equal(by_feature[:, k], one.points(values[:, [k]]))
        best = max(line.points for line in one.attributes())
        assert whole.lost(by_feature)[:, k].tolist() == [best - p for p in by_feature[:, k].tolist()]
    for row in range(min(rows, 10)):
        assert card.predictor(values[row : row + 1]).tobytes() == predictor[row].tobytes()
        assert whole.parts(values[row : row + 1])[0].tobytes() == predictor[row].tobytes()


def test_a_card_without_weights_of_evidence_is_refused() -> None:
    card = drawn_card(1, 1)
    feature = WoeFeature("late", card.features[0].prebins, card.features[0].groups, None)
    with pytest.raises(UsageError, match="'late' were not told"):
        CompiledCard.of(Card((feature,), card.coefficients, card.scaling))
