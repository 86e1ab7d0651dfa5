"""`scores.csv`: what is written is read again, and damage is named."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from vfl import scores as module
from vfl.errors import UsageError
from vfl.learn.ensemble import Ensemble
from vfl.learn.objective import sigmoid
from vfl.learn.parameters import GBDTParameters
from vfl.learn.reference import ReferenceModel, train_reference
from vfl.learn.tree import SplitRecord
from vfl.scores import MODELS, Scores, joint_scores

RNG = np.random.default_rng(5)


def some(count: int = 6) -> Scores:
    part = np.arange(count, dtype=np.int8) % 3
    names = [f'C,"{number}' for number in range(count)]
    return Scores(names, part, (part == 2).astype(np.int8), {model: RNG.random(count) for model in MODELS})


def test_what_is_written_is_read_again_to_the_bit(tmp_path: Path) -> None:
    before = some()
    before.write(tmp_path)
    after = Scores.read(tmp_path)
    assert list(after.ids) == list(before.ids)
    assert after.part.tolist() == before.part.tolist()
    assert after.labels.tolist() == before.labels.tolist()
    assert {model: score.tolist() for model, score in after.scores.items()} == {
        model: score.tolist() for model, score in before.scores.items()
    }
    assert after.holdout.tolist() == [False, False, True] * 2
    assert (tmp_path / "scores.csv").read_text().startswith("id,part,label,federated,bank_only,pooled_lightgbm\n")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (",pooled_lightgbm", ",pooled"),
        ("holdout", "heldout"),
        (",1,", ",bad,"),
        (",0,", ",0,nan,"),
        (",0,", ",0,inf,"),
        ("\nC", '\n"C'),
    ],
)
def test_damage_is_named(tmp_path: Path, old: str, new: str) -> None:
    some().write(tmp_path)
    path = tmp_path / "scores.csv"
    text = path.read_text()
    assert old in text or old == "\nC"
    path.write_text(text.replace(old, new) if old != "\nC" else text + '"unfinished')
    with pytest.raises(UsageError, match=r"scores\.csv is damaged"):
        Scores.read(tmp_path)


def test_a_directory_without_scores_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"there is no scores\.csv in"):
        Scores.read(tmp_path)


def test_a_joint_model_over_two_tables_scores_as_one_over_both(monkeypatch: pytest.MonkeyPatch) -> None:
    """Splits of columns 0 and 1 are one party's, of 2 the other's; rows come in several pieces."""
    monkeypatch.setattr(module, "_ROWS_AT_ONCE", 70)
    table = RNG.normal(size=(300, 3))
    table[RNG.random((300, 3)) < 0.1] = np.nan
    y = (np.nansum(table, axis=1) + RNG.normal(size=300) > 0).astype(int)
    whole = train_reference(table, y, GBDTParameters(num_iterations=5, num_leaves=6))
    model, records = apart(whole)
    found = joint_scores(model, records, [table[:, :2], table[:, 2:]])
    assert found == pytest.approx(sigmoid(whole.predict_raw(table)), abs=1e-12)


def apart(whole: ReferenceModel) -> tuple[Ensemble, list[list[SplitRecord]]]:
    """The same trees, column 2's splits at a second party."""
    owner = [record.feature // 2 for record in whole.records]
    records = [[replace(r, feature=r.feature % 2) for r in whole.records if r.feature // 2 == k] for k in (0, 1)]
    number = [owner[:at].count(owner[at]) for at in range(len(owner))]
    trees = tuple(
        replace(
            tree,
            owner=np.array([owner[record] for record in tree.record], np.int16),
            record=np.array([number[record] for record in tree.record], np.int32),
        )
        for tree in whole.trees
    )
    assert min(map(len, records)) > 2, "both parties take part"
    return Ensemble(whole.starts, trees, tuple(records[0]), (tuple(r.feature for r in records[1]),)), records
